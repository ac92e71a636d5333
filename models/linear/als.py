"""ALS: matrix factorisation of implicit feedback by alternating least squares.

Source: Hu, Koren, Volinsky 2008, Collaborative filtering for implicit feedback datasets, as `implicit` trains it.
"""

from collections.abc import Iterator

import numpy as np
from implicit.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from lake.arrays import Ids
from models.data.content import Content
from models.linear.cold_users import has_known
from models.linear.nearest import nearest_by_cosine
from models.linear.positive_counts import count_positives
from models.recommender import Scores

Vectors = NDArray[np.float64]

# Numbers in a batch of the fold-in: 32 MB, which fits the processor's cache.
_MAX_NUMBERS = 2**22


class Als:
    """Scores are inner products of a user's and the titles' factors.

    A user's factors come from the history by fold-in, never from training, so users outside of training are served by
    the same path. A cold title has factors of zero and scores 0. A user without a known title in the history gets the
    mean of the training users' factors, which scores nearly by popularity.

    The same seed gives the same factors, bit for bit, on any number of threads: each row is solved by itself, and BLAS
    is held to one thread, as `implicit` recommends.
    """

    def __init__(
        self, factors: int, regularization: float, alpha: float, iterations: int, seed: int, num_threads: int = 0
    ) -> None:
        """`alpha` is the weight of a positive, where every other title weighs 1; `num_threads` 0 takes all cores."""
        self._factors = factors
        self._regularization = regularization
        self._alpha = alpha
        self._iterations = iterations
        self._seed = seed
        self._num_threads = num_threads

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        warm = np.flatnonzero(count_positives(positives))
        users = np.flatnonzero(np.diff(positives.indptr))
        # Cold titles and users without positives would change what the seed draws for the others.
        likes = positives[users][:, warm].astype(np.float32)
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=self._factors,
                regularization=self._regularization,
                alpha=self._alpha,
                iterations=self._iterations,
                num_threads=self._num_threads,
                random_state=self._seed,
                use_gpu=False,  # used by default where there is one, with other factors for the same seed
            )
            model.fit(likes, show_progress=False)
        self.title_vectors = np.zeros((positives.shape[1], model.item_factors.shape[1]))  # [titles, factors]
        self.title_vectors[warm] = model.item_factors
        self.cold_user_factors = model.user_factors.mean(axis=0, dtype=np.float64)  # [factors]
        gram = self.title_vectors.T @ self.title_vectors
        # [factors, factors]: the fold-in's system of an empty history
        self.system = gram + self._regularization * np.eye(len(gram))

    def score(self, histories: sparse.csr_matrix) -> Scores:
        return (self.user_vectors(histories) @ self.title_vectors.T).astype(np.float32)

    def similar_titles(self, row: int, count: int) -> Ids:
        """By the cosine of factors; a cold title is near nothing."""
        return nearest_by_cosine(self.title_vectors, row, count)

    def user_vectors(self, histories: sparse.csr_matrix) -> Vectors:
        """[users, factors]: inner products with `title_vectors` are the scores."""
        return self.user_vectors_for(self.title_vectors, histories)

    def user_vectors_for(self, title_vectors: Vectors, histories: sparse.csr_matrix) -> Vectors:
        """[users, factors] by the given `title_vectors` [titles, factors], which may know more titles than training."""
        users = fold_in(histories, title_vectors, self.system, self._alpha)
        is_known = np.count_nonzero(title_vectors, axis=1) > 0
        return np.where(has_known(histories, is_known)[:, None], users, self.cold_user_factors)


def fold_in(histories: sparse.csr_matrix, title_vectors: Vectors, system: Vectors, alpha: float) -> Vectors:
    """[users, factors]: least squares of each user of `histories` [users, titles] for given factors of titles.

    x = (S + Σ (c - 1) y yᵀ)⁻¹ Σ c y over the history's titles, whose factors are y, with c = alpha times the history's
    value and S = `system`, the sum of y yᵀ over the titles trained on plus the regularization on its diagonal.
    Source: Hu et al. 2008, equation 4; the same system that `implicit` solves.
    """
    # One more row of zeros, so that histories can be padded to one length.
    padded_vectors = np.vstack([title_vectors, np.zeros(len(system))])
    users = np.zeros((histories.shape[0], len(system)))
    # The systems are too small for several threads, which would wait for each other.
    with threadpool_limits(1, "blas"):
        _solve_batches(users, histories, padded_vectors, system, alpha)
    return users


def _solve_batches(
    users: Vectors, histories: sparse.csr_matrix, padded_vectors: Vectors, system: Vectors, alpha: float
) -> None:
    """Fill in `users` [users, factors]."""
    for batch in _batches(np.diff(histories.indptr), len(system)):
        titles, weights = _padded(histories, batch, len(padded_vectors) - 1)
        vectors = padded_vectors[titles]  # [batch, longest history, factors]
        confidences = alpha * weights
        systems = system + vectors.transpose(0, 2, 1) @ ((confidences - 1)[:, :, None] * vectors)
        sums = (confidences[:, None, :] @ vectors)[:, 0]
        users[batch] = np.linalg.solve(systems, sums[:, :, None])[:, :, 0]


def _batches(lengths: NDArray[np.int32], factors: int) -> Iterator[Ids]:
    """Users with histories of similar length together, so that little is padded; users without history are left out."""
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        size = max(1, _MAX_NUMBERS // (factors * max(factors, int(lengths[order[start]]))))
        yield order[start : start + size]
        start += size


def _padded(histories: sparse.csr_matrix, users: Ids, padding: int) -> tuple[Ids, Vectors]:
    """Titles and their values, [users, longest history] both; `padding` and 0 after a history's end."""
    rows = histories[users]
    lengths = np.diff(rows.indptr)
    is_title = np.arange(lengths.max()) < lengths[:, None]
    titles = np.full(is_title.shape, padding, dtype=np.int64)
    titles[is_title] = rows.indices
    weights = np.zeros(is_title.shape)
    weights[is_title] = rows.data
    return titles, weights
