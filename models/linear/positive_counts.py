"""Positives per title, and the titles that have the most."""

import numpy as np
from scipy import sparse

from lake.arrays import Doubles, Ids
from models.data.content import Content


def count_positives(positives: sparse.csr_matrix) -> Ids:
    """[titles]: users per title. Raises ValueError for a matrix [users, titles] without entries."""
    counts = np.bincount(positives.nonzero()[1], minlength=positives.shape[1])
    if not counts.any():
        users, titles = positives.shape
        raise ValueError(f"positives: none of {users} users likes any of {titles} titles; nothing to fit")
    return counts


def mean_history(positives: sparse.csr_matrix) -> Doubles:
    """[titles]: the share of users with the title."""
    return np.asarray(positives.mean(axis=0), dtype=np.float64).ravel()


def most_liked(positive_counts: Ids, limit: int) -> Ids:
    """Rows of the `limit` titles with the most positives, ascending; titles without positives are left out."""
    best = np.argsort(-positive_counts, kind="stable")[:limit]
    return np.sort(best[positive_counts[best] > 0])


def check_same_titles(positives: sparse.csr_matrix, content: Content) -> None:
    """Raise ValueError where positives and content are of catalogues of different sizes."""
    if positives.shape[1] != content.count_titles:
        raise ValueError(
            f"positives have {positives.shape[1]} titles and content {content.count_titles}; expected the same"
            " catalogue"
        )
