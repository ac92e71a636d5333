"""What every recommender is: fitted on who liked what, it scores all titles of the catalogue for a history.

Users are rows of a matrix and titles are its columns: position n is the n-th title of the catalogue, whether anybody
liked it or not. A title that nobody liked is cold; what to make of it is each recommender's own affair.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import NO_TITLE
from models.data.content import Content

Scores = NDArray[np.float32]
Positions = NDArray[np.int64]


class Recommender(Protocol):
    """Scores come from a history alone, so a user whom training never saw is served by the same path."""

    def fit(self, liked: sparse.csr_matrix, content: Content) -> None:
        """Learn from `liked` [users, titles], 1 where a user liked a title, and from what is known of every title."""

    def score(self, histories: sparse.csr_matrix) -> Scores:
        """[users, titles] for `histories` [users, titles], 1 where liked: the greater the better, of any scale."""

    def similar_titles(self, position: int, count: int) -> Positions:
        """[count]: the titles nearest to one, nearest first, without itself; NO_TITLE where there are no more."""


def recommend(
    model: Recommender,
    histories: sparse.csr_matrix,
    count: int,
    candidates: NDArray[np.bool_] | None = None,
    excluded: sparse.csr_matrix | None = None,
    batch_users: int = 1024,
) -> Positions:
    """[users, count]: the titles of the highest scores, best first, without those of the user's own history.

    `candidates` [titles] says which titles may be recommended, all by default; `excluded` [users, titles] holds pairs
    that are left out besides. Equal scores are ordered by position.
    Where a user has fewer titles left the row ends in NO_TITLE.
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
) -> Positions:
    """As `recommend`, with scores [users of the slice, titles] by whatever knows more of the users than histories."""
    forbidden = histories if excluded is None else histories + excluded
    batches = _allowed_scores(score, forbidden, candidates, batch_users)
    found = [top_titles(scores, count) for scores in batches]
    return np.concatenate(found) if found else np.empty((0, count), dtype=np.int64)


def _allowed_scores(
    score: Callable[[slice], Scores],
    forbidden: sparse.csr_matrix,
    candidates: NDArray[np.bool_] | None,
    batch_users: int,
) -> Iterator[Scores]:
    """Scores of a batch of users at a time; minus infinity for what must not be recommended."""
    for start in range(0, forbidden.shape[0], batch_users):
        users = slice(start, start + batch_users)
        scores = np.array(score(users), dtype=np.float32)
        if not np.isfinite(scores).all():
            raise ValueError("the model gave scores that are no finite numbers")
        scores[forbidden[users].nonzero()] = -np.inf
        if candidates is not None:
            scores[:, ~candidates] = -np.inf
        yield scores


def top_titles(scores: Scores, count: int) -> Positions:
    """[rows, count]: positions of the highest finite scores per row, best first; NO_TITLE where there are no more."""
    width = min(count, scores.shape[1])
    # Partitioning finds the width-th score; all that lie above it are in, and ties at it are taken by position.
    least = -np.partition(-scores, width - 1, axis=1)[:, width - 1 : width]
    found = np.full((len(scores), count), NO_TITLE, dtype=np.int64)
    for row, (own, bound) in enumerate(zip(scores, least, strict=True)):
        near = np.flatnonzero((own >= bound) & np.isfinite(own))
        best = near[np.argsort(-own[near], kind="stable")][:width]
        found[row, : len(best)] = best
    return found
