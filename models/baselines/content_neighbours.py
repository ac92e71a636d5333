"""Content nearest neighbours: titles similar to those of the history."""

import numpy as np
from scipy import sparse

from lake.arrays import Ids
from models.data.content import Content
from models.linear.cold_users import serve_cold_users
from models.linear.content_kernel import Features, combine, features, inner_products, select, squared_lengths
from models.linear.nearest import nearest_titles
from models.linear.positive_counts import check_same_titles, mean_history
from models.recommender import Scores


class ContentNeighbours:
    """Scores are the mean cosine with the history's titles over all blocks of content, each centred and scaled.

    Likes of other users do not count, so cold titles score as others do. A title without content has cosine 0 with
    every other. A user without content in the history gets the mean of the training users' scores.
    """

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        check_same_titles(positives, content)
        rows = features(content)
        lengths = np.sqrt(squared_lengths(rows))
        # Rounding leaves a trace in rows at the mean of all blocks; the mean square length is 1.
        self._has_content = lengths > 1e-6
        inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=self._has_content)
        self._titles: Features = combine(sparse.diags(inverse, format="csr"), rows)
        mean_likes = sparse.csr_matrix(mean_history(_shares(positives)))
        self._cold_user_scores = inner_products(combine(mean_likes, self._titles), self._titles)[0].astype(np.float32)

    def score(self, histories: sparse.csr_matrix) -> Scores:
        means = combine(_shares(histories), self._titles)
        scores = inner_products(means, self._titles).astype(np.float32)
        return serve_cold_users(scores, histories, self._has_content, self._cold_user_scores)

    def similar_titles(self, row: int, count: int) -> Ids:
        """By the cosine of all content; a title without content is near nothing."""
        similarities = np.full(self._titles.count, -np.inf)
        if self._has_content[row]:
            cosines = inner_products(select(self._titles, np.array([row])), self._titles)[0]
            similarities[self._has_content] = cosines[self._has_content]
        return nearest_titles(similarities, row, count)


def _shares(likes: sparse.csr_matrix) -> sparse.csr_matrix:
    """[users, titles]: each user's likes sum to 1, or to 0 where there are none."""
    sums = np.asarray(likes.sum(axis=1), dtype=np.float64).ravel()
    return sparse.csr_matrix(sparse.diags(np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)) @ likes)
