"""Scores of users without a known title in the history."""

import numpy as np
from scipy import sparse

from lake.arrays import Flags, Ids
from models.recommender import Scores


def serve_cold_users(scores: Scores, histories: sparse.csr_matrix, is_known: Flags, cold_user_scores: Scores) -> Scores:
    """`scores` [users, titles], with `cold_user_scores` [titles] for users without a title of `is_known` [titles]."""
    return np.where(has_known(histories, is_known)[:, None], scores, cold_user_scores)


def has_known(histories: sparse.csr_matrix, is_known: Flags) -> Flags:
    """[users]: the history has a title of `is_known` [titles]."""
    return (histories != 0) @ is_known.astype(np.int64) > 0


def is_among(rows: Ids, count_titles: int) -> Flags:
    """[titles]: True at `rows`."""
    flags = np.zeros(count_titles, dtype=np.bool_)
    flags[rows] = True
    return flags
