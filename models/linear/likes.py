"""What baselines share: how often titles were liked, users of whom a model knows nothing, titles near another one."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.data.content import Content
from models.recommender import Positions, Scores, top_titles

Counts = NDArray[np.int64]


def count_likes(liked: sparse.csr_matrix) -> Counts:
    """[titles]: how many users liked each title. Raises ValueError where nobody liked anything."""
    counts = np.bincount(liked.nonzero()[1], minlength=liked.shape[1])
    if not counts.any():
        raise ValueError(f"liked: none of {liked.shape[0]} users likes any of {liked.shape[1]} titles; nothing to fit")
    return counts


def mean_history(liked: sparse.csr_matrix) -> NDArray[np.float64]:
    """[titles]: the share of users who liked each."""
    return np.asarray(liked.mean(axis=0), dtype=np.float64).ravel()


def most_liked(counts: Counts, limit: int) -> Positions:
    """Positions of the `limit` titles that most users liked, in the catalogue's order; none that nobody liked."""
    best = np.argsort(-counts, kind="stable")[:limit]
    return np.sort(best[counts[best] > 0])


def check_same_titles(liked: sparse.csr_matrix, content: Content) -> None:
    """Raise ValueError where likes and content are of catalogues of different sizes."""
    if liked.shape[1] != content.count_titles:
        raise ValueError(
            f"liked has {liked.shape[1]} titles and content {content.count_titles}; expected the same catalogue"
        )


def serve_unknown(scores: Scores, histories: sparse.csr_matrix, is_known: NDArray[np.bool_], usual: Scores) -> Scores:
    """`scores` [users, titles], with `usual` [titles] for users whose history has no title of `is_known` [titles]."""
    return np.where(has_known(histories, is_known)[:, None], scores, usual)


def are_among(positions: Positions, count_titles: int) -> NDArray[np.bool_]:
    """[titles]: whether each is one of `positions`."""
    found = np.zeros(count_titles, dtype=np.bool_)
    found[positions] = True
    return found


def has_known(histories: sparse.csr_matrix, is_known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[users]: whether the history has a title of `is_known` [titles]."""
    return (histories != 0) @ is_known.astype(np.int64) > 0


def nearest_titles(similarities: Scores, position: int, count: int) -> Positions:
    """[count]: the titles of the highest `similarities` [titles] to the one at `position`, without it.

    Those of minus infinity are left out; where too few remain the array ends in NO_TITLE.
    """
    others = np.array(similarities, dtype=np.float32)
    others[position] = -np.inf
    return top_titles(others[None], count)[0]


def nearest_by_cosine(vectors: NDArray[np.float64], position: int, count: int) -> Positions:
    """[count]: the titles whose `vectors` [titles, width] have the highest cosine with the one at `position`.

    A vector of zeros, of a title of which nothing is known, is near nothing and nothing is near it.
    """
    norms = np.linalg.norm(vectors, axis=1)
    similarities = np.full(len(vectors), -np.inf)
    if norms[position] > 0:
        has_vector = norms > 0
        similarities[has_vector] = vectors[has_vector] @ vectors[position] / norms[has_vector] / norms[position]
    return nearest_titles(similarities, position, count)
