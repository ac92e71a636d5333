"""Content nearest neighbours: titles like those of the history, whoever else liked them."""

import numpy as np
from scipy import sparse

from models.data.content import Content
from models.linear.content_kernel import Features, combine, features, inner_products, select, squared_lengths
from models.linear.likes import check_same_titles, mean_history, nearest_titles, serve_unknown
from models.recommender import Positions, Scores


class ContentNeighbours:
    """Scores are the mean cosine with the history's titles over all blocks of content, each centred and scaled.

    Likes of other users say nothing, so a cold title stands as well as any. A title without content has cosine 0 with
    every other. A user without content in the history gets the mean of the training users' scores.
    """

    def fit(self, liked: sparse.csr_matrix, content: Content) -> None:
        check_same_titles(liked, content)
        rows = features(content)
        lengths = np.sqrt(squared_lengths(rows))
        # Rounding leaves a trace in rows that are at the mean of everything; the mean square length is 1.
        self._has_content = lengths > 1e-6
        inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=self._has_content)
        self._titles: Features = combine(sparse.diags(inverse, format="csr"), rows)
        mean_likes = sparse.csr_matrix(mean_history(_shares(liked)))
        self._usual = inner_products(combine(mean_likes, self._titles), self._titles)[0].astype(np.float32)

    def score(self, histories: sparse.csr_matrix) -> Scores:
        means = combine(_shares(histories), self._titles)
        scores = inner_products(means, self._titles).astype(np.float32)
        return serve_unknown(scores, histories, self._has_content, self._usual)

    def similar_titles(self, position: int, count: int) -> Positions:
        """By the cosine of all content; none for a title without content, nor one without content for any."""
        similarities = np.full(self._titles.count, -np.inf)
        if self._has_content[position]:
            own = inner_products(select(self._titles, np.array([position])), self._titles)[0]
            similarities[self._has_content] = own[self._has_content]
        return nearest_titles(similarities, position, count)


def _shares(likes: sparse.csr_matrix) -> sparse.csr_matrix:
    """[users, titles]: each user's likes sum to 1, or to 0 where there are none."""
    sums = np.asarray(likes.sum(axis=1), dtype=np.float64).ravel()
    return sparse.csr_matrix(sparse.diags(np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)) @ likes)
