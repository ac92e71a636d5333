"""EASE: every title's score is a linear regression on all other titles of the history, in closed form.

Source: Steck 2019, Embarrassingly shallow autoencoders for sparse data.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from lake.arrays import Ids
from models.data.content import Content
from models.linear.cold_users import is_among, serve_cold_users
from models.linear.nearest import nearest_titles
from models.linear.positive_counts import count_positives, mean_history, most_liked
from models.recommender import Scores

Weights = NDArray[np.float64]


class Ease:
    """Scores are history · B. Titles that are left out, cold ones among them, score 0 and add nothing to others.

    A user without any title used gets the mean of the training users' scores.
    Memory: two or three matrices in float64 of the titles used, 8 m² bytes each, while fitting; one to keep.
    """

    def __init__(
        self,
        regularization: float,
        max_titles: int,
        most_liked_only: int | None = None,
        dropout: float = 0.0,
        history_power: float = 0.0,
    ) -> None:
        """`fit` refuses more than `max_titles`; `most_liked_only` keeps that many titles with the most positives.

        `dropout` is the chance that a positive of the input is dropped. In expectation it is one more regularization,
        of dropout / (1 - dropout) times the title's positives (Steck 2020, Autoencoders that don't overfit towards the
        identity). With `history_power` a user's positives are divided by their number to that power, so that long
        histories count less; those of the mean user count 1.
        """
        self._regularization = regularization
        self._dropout = dropout
        self._history_power = history_power
        self._max_titles = max_titles
        self._most_liked_only = most_liked_only

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        """Raises ValueError for more than `max_titles` titles, counted after `most_liked_only`."""
        counts = count_positives(positives)
        self.titles = titles_to_use(counts, self._max_titles, self._most_liked_only)
        used = positives[:, self.titles].astype(np.float64)
        inverse = ridge_inverse(self._products(used), self._regularization)
        self.weights = weights_of_inverse(inverse)  # [titles used, titles used]
        self._is_used = is_among(self.titles, positives.shape[1])
        self._cold_user_scores = self._scattered(mean_history(used)[None] @ self.weights)[0]

    def _products(self, likes: sparse.csr_matrix) -> Weights:
        """[titles used, titles used]."""
        counts = np.asarray(likes.sum(axis=1), dtype=np.float64).ravel()
        shares = np.divide(counts, counts.mean(), out=np.ones_like(counts), where=counts > 0)
        # Squared, as likes are multiplied by likes.
        products = (likes.T @ sparse.diags(shares ** (-2 * self._history_power)) @ likes).toarray()
        products[np.diag_indices_from(products)] *= 1 + self._dropout / (1 - self._dropout)
        return products

    def score(self, histories: sparse.csr_matrix) -> Scores:
        scores = self._scattered(histories[:, self.titles] @ self.weights)
        return serve_cold_users(scores, histories, self._is_used, self._cold_user_scores)

    def similar_titles(self, row: int, count: int) -> Ids:
        """The titles to whose scores a like of this title adds most; none for a title left out."""
        similarities = np.full(len(self._is_used), -np.inf)
        if self._is_used[row]:
            similarities[self.titles] = self.weights[np.searchsorted(self.titles, row)]
        return nearest_titles(similarities, row, count)

    def _scattered(self, scores: Weights) -> Scores:
        """[users, titles] from scores [users, titles used]."""
        all_scores = np.zeros((len(scores), len(self._is_used)), dtype=np.float32)
        all_scores[:, self.titles] = scores
        return all_scores


def titles_to_use(counts: Ids, max_titles: int, most_liked_only: int | None) -> Ids:
    """Rows of the titles with positives, or of the `most_liked_only` with the most.

    Raises ValueError for more than `max_titles`: time grows with their cube and memory with their square.
    """
    count_warm = int(np.count_nonzero(counts))
    used = most_liked(counts, count_warm if most_liked_only is None else most_liked_only)
    if len(used) > max_titles:
        gigabytes = 8 * len(used) ** 2 / 1e9
        raise ValueError(
            f"{len(used)} titles to use, but max_titles is {max_titles}: a matrix of all pairs would take "
            f"{gigabytes:.1f} GB; set most_liked_only to {max_titles} or less, or raise max_titles"
        )
    return used


def ridge_inverse(products: Weights, regularization: float) -> Weights:
    """P [titles, titles] = (`products` + regularization · I)⁻¹."""
    regularized = products + regularization * np.eye(len(products))
    return linalg.inv(regularized, overwrite_a=True)


def weights_of_inverse(inverse: Weights) -> Weights:
    """B [titles, titles] = I - P · diag(1 / diag(P)), whose diagonal is 0. Source: Steck 2019, equation 8."""
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights
