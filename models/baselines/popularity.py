"""Popularity: the same list for every user, by positives of all time or of recent days."""

import numpy as np
from scipy import sparse

from lake.arrays import Ids
from models.data.content import Content
from models.linear.nearest import nearest_titles
from models.linear.positive_counts import count_positives
from models.recommender import Scores


class Popularity:
    """Scores are positives per title, whatever the history."""

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        self._scores = count_positives(positives).astype(np.float32)

    def score(self, histories: sparse.csr_matrix) -> Scores:
        return np.tile(self._scores, (histories.shape[0], 1))

    def similar_titles(self, row: int, count: int) -> Ids:
        """The titles with the most positives; popularity has no other similarity."""
        return nearest_titles(self._scores, row, count)


class RecentPopularity:
    """Scores are `recent_counts` [titles]: positives of the last days before the histories end.

    The matrix that `fit` takes has no dates, so the caller counts.
    """

    def __init__(self, recent_counts: Ids) -> None:
        self._scores = np.asarray(recent_counts, dtype=np.float32)

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        """Check the size only. Raises ValueError where `recent_counts` are of another catalogue."""
        if len(self._scores) != positives.shape[1]:
            raise ValueError(f"recent_counts are of {len(self._scores)} titles and positives of {positives.shape[1]}")

    def score(self, histories: sparse.csr_matrix) -> Scores:
        return np.tile(self._scores, (histories.shape[0], 1))

    def similar_titles(self, row: int, count: int) -> Ids:
        """The titles with the most recent positives; popularity has no other similarity."""
        return nearest_titles(self._scores, row, count)
