"""The same list for everybody: the titles that most users liked, ever or lately."""

import numpy as np
from scipy import sparse

from models.data.content import Content
from models.linear.likes import Counts, count_likes, nearest_titles
from models.recommender import Positions, Scores


class Popularity:
    """Scores are how many users ever liked a title, whatever the history, so an empty one is served as any other."""

    def fit(self, liked: sparse.csr_matrix, content: Content) -> None:
        self._scores = count_likes(liked).astype(np.float32)

    def score(self, histories: sparse.csr_matrix) -> Scores:
        return np.tile(self._scores, (histories.shape[0], 1))

    def similar_titles(self, position: int, count: int) -> Positions:
        """The most liked titles: popularity knows no other likeness."""
        return nearest_titles(self._scores, position, count)


class RecentPopularity:
    """Scores are `recent_counts` [titles], likes of the last days before the histories end; else as Popularity.

    Likes carry no dates, so whoever makes `liked` counts those of the last 28 days as well.
    """

    def __init__(self, recent_counts: Counts) -> None:
        self._scores = np.asarray(recent_counts, dtype=np.float32)

    def fit(self, liked: sparse.csr_matrix, content: Content) -> None:
        """Raises ValueError where `recent_counts` are of another catalogue; learns nothing more."""
        if len(self._scores) != liked.shape[1]:
            raise ValueError(f"recent_counts are of {len(self._scores)} titles and liked of {liked.shape[1]}")

    def score(self, histories: sparse.csr_matrix) -> Scores:
        return np.tile(self._scores, (histories.shape[0], 1))

    def similar_titles(self, position: int, count: int) -> Positions:
        """The titles that were liked most lately: popularity knows no other likeness."""
        return nearest_titles(self._scores, position, count)
