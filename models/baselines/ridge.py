"""ALS and EASE completed by content: warm titles keep their learned vectors, cold ones get predicted vectors.

Kernel ridge regression from content to ALS's factors, or to the columns of EASE's weights.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import Ids
from models.data.content import Content
from models.linear.als import Als
from models.linear.cold_users import is_among, serve_cold_users
from models.linear.content_kernel import features, fit_kernel_ridge, noise_of_counts, select
from models.linear.ease import Ease
from models.linear.nearest import nearest_by_cosine
from models.linear.positive_counts import check_same_titles, count_positives, mean_history, most_liked
from models.recommender import Scores


@dataclass(frozen=True)
class ContentRidge:
    """Prediction of missing vectors from content; see `content_kernel` for kernel and noise."""

    noise: float  # of a title as popular as the mean; the kernel of a title with itself is 1
    max_titles: int  # the most liked of the titles with a vector are fitted on
    length_scale: float = 1.0  # of the kernel; the root mean square distance of two titles is some √2
    noise_power: float = 0.0  # how much noisier titles with few positives are
    # Predicted vectors are shorter than learnt ones, so that cold titles fall behind warm ones.
    cold_lengths: Literal["raw", "mean_of_warm"] = "raw"  # as predicted, or all as long as warm ones are in the mean
    cold_scale: float = 1.0  # and longer by this factor

    def complete(self, vectors: NDArray[np.float64], counts: Ids, content: Content) -> NDArray[np.float64]:
        """`vectors` [titles, width], with rows of zeros predicted from the others; `counts` [titles] of likes."""
        has_vector = np.count_nonzero(vectors, axis=1) > 0
        known = most_liked(np.where(has_vector, counts, 0), self.max_titles)
        missing = np.flatnonzero(~has_vector)
        rows = features(content)
        noise = noise_of_counts(counts[known], self.noise, self.noise_power)
        learnt = fit_kernel_ridge(select(rows, known), vectors[known], noise, self.length_scale)
        predicted = learnt.predict(select(rows, missing))
        if self.cold_lengths == "mean_of_warm":
            mean_length = np.linalg.norm(vectors[has_vector], axis=1).mean()
            lengths = np.linalg.norm(predicted, axis=1, keepdims=True)
            predicted = np.divide(mean_length * predicted, lengths, out=np.zeros_like(predicted), where=lengths > 0)
        completed = vectors.copy()
        completed[missing] = self.cold_scale * predicted
        return completed


class AlsRidge:
    """ALS, with factors of cold titles predicted from content. Scores are inner products, as those of Als.

    A cold title in a later history is folded in by its predicted factors. A user with an empty history gets
    the mean of the training users' factors, as from Als.
    """

    def __init__(self, als: Als, ridge: ContentRidge) -> None:
        self._als = als
        self._ridge = ridge

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        check_same_titles(positives, content)
        self._als.fit(positives, content)
        self.title_vectors = self._ridge.complete(self._als.title_vectors, count_positives(positives), content)

    def score(self, histories: sparse.csr_matrix) -> Scores:
        return (self.user_vectors(histories) @ self.title_vectors.T).astype(np.float32)

    def similar_titles(self, row: int, count: int) -> Ids:
        """By the cosine of factors, learnt or predicted."""
        return nearest_by_cosine(self.title_vectors, row, count)

    def user_vectors(self, histories: sparse.csr_matrix) -> NDArray[np.float64]:
        """[users, factors]: inner products with `title_vectors` are the scores."""
        return self._als.user_vectors_for(self.title_vectors, histories)


class EaseRidge:
    """EASE, with the columns of B of titles that it leaves out predicted from content.

    A column is the weights with which the history's titles make a title's score, so predicting it is the same as
    predicting the training users' scores. Titles that EASE leaves out add nothing to scores, and a user with no others
    gets the mean of the training users' scores.
    """

    def __init__(self, ease: Ease, ridge: ContentRidge) -> None:
        self._ease = ease
        self._ridge = ridge

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        check_same_titles(positives, content)
        self._ease.fit(positives, content)
        used = self._ease.titles
        self._is_used = is_among(used, positives.shape[1])
        columns = np.zeros((positives.shape[1], len(used)))
        columns[used] = self._ease.weights.T
        self._columns = self._ridge.complete(columns, count_positives(positives), content)  # [titles, titles used]
        self._cold_user_scores = (mean_history(positives)[used] @ self._columns.T).astype(np.float32)

    def score(self, histories: sparse.csr_matrix) -> Scores:
        scores = (histories[:, self._ease.titles] @ self._columns.T).astype(np.float32)
        return serve_cold_users(scores, histories, self._is_used, self._cold_user_scores)

    def similar_titles(self, row: int, count: int) -> Ids:
        """By the cosine of columns, learnt or predicted: titles recommended for the same likes."""
        return nearest_by_cosine(self._columns, row, count)
