"""Recommender: fitted on positives, it scores all titles of the catalogue for a history.

Matrices are [users, titles], and column n is the n-th title of the catalogue, with positives or without. A title
without positives is cold; each recommender decides how to score it.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import NO_TITLE, Ids
from models.data.content import Content

Scores = NDArray[np.float32]


class Recommender(Protocol):
    """Scores depend on a history alone, so users outside of training are served by the same path."""

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        """Learn from `positives` [users, titles], 1 where a user liked a title, and from the content of every title."""

    def score(self, histories: sparse.csr_matrix) -> Scores:
        """[users, titles] for `histories` [users, titles], 1 where liked; greater is better, on any scale."""

    def similar_titles(self, row: int, count: int) -> Ids:
        """[count]: rows of the titles nearest to the one at `row`, without it, padded with NO_TITLE."""


def recommend(
    model: Recommender,
    histories: sparse.csr_matrix,
    count: int,
    candidates: NDArray[np.bool_] | None = None,
    excluded: sparse.csr_matrix | None = None,
    batch_users: int = 1024,
) -> Ids:
    """[users, count]: rows of the titles with the highest scores, best first, without those of the user's history.

    `candidates` [titles] are the titles that may be recommended, all by default; pairs of `excluded` [users, titles]
    are left out too. Equal scores are ordered by row. Lists of users with fewer titles left end in NO_TITLE.
    """
    return recommend_by(
        lambda users: model.score(histories[users]), histories, count, candidates, excluded, batch_users
    )


def recommend_by(
    score: Callable[[slice], Scores],
    histories: sparse.csr_matrix,
    count: int,
    candidates: NDArray[np.bool_] | None = None,
    excluded: sparse.csr_matrix | None = None,
    batch_users: int = 1024,
) -> Ids:
    """`recommend` with scores [users of the slice, titles] from a function of the users."""
    forbidden = histories if excluded is None else histories + excluded
    batches = _allowed_scores(score, forbidden, candidates, batch_users)
    lists = [top_titles(scores, count) for scores in batches]
    return np.concatenate(lists) if lists else np.empty((0, count), dtype=np.int64)


def _allowed_scores(
    score: Callable[[slice], Scores],
    forbidden: sparse.csr_matrix,
    candidates: NDArray[np.bool_] | None,
    batch_users: int,
) -> Iterator[Scores]:
    """Scores by batch of users; minus infinity for titles that must not be recommended."""
    for start in range(0, forbidden.shape[0], batch_users):
        users = slice(start, start + batch_users)
        scores = np.array(score(users), dtype=np.float32)
        if not np.isfinite(scores).all():
            raise ValueError("the model gave scores that are no finite numbers")
        scores[forbidden[users].nonzero()] = -np.inf
        if candidates is not None:
            scores[:, ~candidates] = -np.inf
        yield scores


def top_titles(scores: NDArray[np.floating], count: int) -> Ids:
    """[users, count]: rows of the highest finite scores per user, best first, padded with NO_TITLE."""
    width = min(count, scores.shape[1])
    # The width-th score bounds the list; ties at it are ordered by row.
    least = -np.partition(-scores, width - 1, axis=1)[:, width - 1 : width]
    lists = np.full((len(scores), count), NO_TITLE, dtype=np.int64)
    for user, (user_scores, bound) in enumerate(zip(scores, least, strict=True)):
        contenders = np.flatnonzero((user_scores >= bound) & np.isfinite(user_scores))
        best = contenders[np.argsort(-user_scores[contenders], kind="stable")][:width]
        lists[user, : len(best)] = best
    return lists
