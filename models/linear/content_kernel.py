"""Content as features on one scale, kernels between titles, and kernel ridge regression on them.

Memory: of n titles their blocks are kept in float64, sparse ones as sparse matrices. A ridge on m titles makes one
dense matrix [m, m] in float64, 8 m² bytes (0.8 GB for 10,000 titles), perhaps a copy of it while it solves, and keeps m
times the targets' width.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from lake.arrays import Doubles, Ids
from models.data.content import Block, Content

_BATCH_ROWS = 1024  # of a product at a time: that of sparse rows is nearly dense, and takes more room than a dense one


@dataclass(frozen=True)
class _FeatureBlock:
    """Rows of one block: `values` less `presence` times `mean`. Dense values are centred already, so their mean is 0.

    The difference is never computed for sparse values, since it would be dense.
    """

    values: Any  # [rows, width], an array or a csr_matrix: SciPy has no types
    presence: Doubles  # [rows]
    mean: Doubles  # [width]
    share: float  # of the mean squared length of whole rows; 0 where all titles are alike


@dataclass(frozen=True)
class Features:
    """Rows of numbers in blocks, each row a title or a sum of titles: made by `features`, `select` and `combine`."""

    blocks: tuple[_FeatureBlock, ...]
    count: int


def features(content: Content) -> Features:
    """One row per title: every block centred on its mean and scaled to a root mean square length of rows.

    Mean and scale are those of the titles that have the block; the others' rows are zeros, as if at the mean. So every
    block counts by its weight alone, whatever its width and its unit: mean squares are in proportion to the weights.
    Whole rows have root mean square length 1, so that distances mean the same however many blocks there are.
    """
    weights = {name: content.weights.get(name, 1.0) for name in content.blocks}
    lengths = {name: np.sqrt(weight / sum(weights.values())) for name, weight in weights.items()}
    blocks = (
        _centred_and_scaled(block, content.present[name], lengths[name]) for name, block in content.blocks.items()
    )
    return Features(tuple(blocks), content.count_titles)


def select(rows: Features, positions: Ids) -> Features:
    """The rows at `positions`, in their order."""
    blocks = (
        replace(block, values=block.values[positions], presence=block.presence[positions]) for block in rows.blocks
    )
    return Features(tuple(blocks), len(positions))


def combine(weights: sparse.csr_matrix, rows: Features) -> Features:
    """Sums of rows: `weights` [sums, rows] times the features."""
    blocks = (replace(block, values=weights @ block.values, presence=weights @ block.presence) for block in rows.blocks)
    return Features(tuple(blocks), weights.shape[0])


def inner_products(left: Features, right: Features) -> Doubles:
    """[left rows, right rows] of two parts of the same features."""
    products = np.zeros((left.count, right.count))
    for a, b in zip(left.blocks, right.blocks, strict=True):
        of_mean = b.values @ b.mean - (b.mean @ b.mean) * b.presence
        for batch in _batches(left.count):
            values, presence = a.values[batch], a.presence[batch]
            products[batch] += _dense(values @ b.values.T)
            if sparse.issparse(values):  # (A - p mᵀ)(B - q mᵀ)ᵀ = A Bᵀ - (A m) qᵀ - p (B m - |m|² q)ᵀ
                products[batch] -= np.outer(values @ a.mean, b.presence) + np.outer(presence, of_mean)
    return products


def squared_lengths(rows: Features) -> Doubles:
    """[rows]: the inner product of each row with itself."""
    squares = np.zeros(rows.count)
    for block in rows.blocks:
        squares += _row_sums_of_squares(block.values) - 2 * block.presence * (block.values @ block.mean)
        squares += block.presence**2 * (block.mean @ block.mean)
    return np.maximum(squares, 0)  # rounding may take what should be 0 below it


def gaussian_kernel(left: Features, right: Features, length_scale: float) -> Doubles:
    """[left rows, right rows]: exp(-½ · squared distance / length_scale²)."""
    logarithms = _log_kernel(left, right, length_scale)
    return np.exp(logarithms, out=logarithms)


def additive_kernel(left: Features, right: Features, length_scale: float, alone_share: float) -> Doubles:
    """[left rows, right rows]: the Gaussian kernel, with a share of it from each block by itself.

    Titles must be alike in all blocks to be alike by the Gaussian kernel, a product over blocks; in the sum over
    blocks one is enough, such as the plot of a sequel. The sum is `alone_share` of the whole, and a block counts in it
    as it does in rows, scaled as if there were no other. Source: Duvenaud, Nickisch and Rasmussen 2011, Additive
    Gaussian processes.
    """
    if not alone_share:
        return gaussian_kernel(left, right, length_scale)
    kernel = np.empty((left.count, right.count))
    for batch in _batches(left.count):
        part = select(left, np.arange(left.count)[batch])
        summed, alone = np.zeros((part.count, right.count)), np.zeros((part.count, right.count))
        for a, b in zip(part.blocks, right.blocks, strict=True):
            if a.share > 0:
                logarithms = _log_kernel(Features((a,), part.count), Features((b,), right.count), length_scale)
                summed += logarithms
                alone += a.share * np.exp(logarithms / a.share)
        kernel[batch] = (1 - alone_share) * np.exp(summed) + alone_share * alone
    return kernel


def kernels_by_batch(
    left: Features, right: Features, length_scale: float, alone_share: float
) -> Iterator[tuple[slice, Doubles]]:
    """Batches of the left rows with their `additive_kernel` [batch, right rows]: one at a time is in memory."""
    for batch in _batches(left.count):
        part = select(left, np.arange(left.count)[batch])
        yield batch, additive_kernel(part, right, length_scale, alone_share)


def _log_kernel(left: Features, right: Features, length_scale: float) -> Doubles:
    # In place: the matrix of all pairs is what takes memory.
    logarithms = inner_products(left, right)
    logarithms -= 0.5 * squared_lengths(left)[:, None]
    logarithms -= 0.5 * squared_lengths(right)
    np.minimum(logarithms, 0, out=logarithms)
    logarithms /= length_scale**2
    return logarithms


@dataclass(frozen=True)
class KernelRidge:
    """A fitted kernel ridge regression: predictions are `mean` plus kernel times coefficients."""

    known: Features
    length_scale: float
    mean: Doubles  # [width]
    coefficients: Doubles  # [known rows, width]
    alone_share: float = 0.0  # of `additive_kernel`

    def predict(self, rows: Features) -> Doubles:
        """[rows, width]: predictions, which are near `mean` for a row that is like no known one."""
        predicted = np.empty((rows.count, len(self.mean)))
        for batch, kernel in kernels_by_batch(rows, self.known, self.length_scale, self.alone_share):
            predicted[batch] = self.mean + kernel @ self.coefficients
        return predicted


def fit_kernel_ridge(
    known: Features, targets: Doubles, noise: Doubles, length_scale: float, alone_share: float = 0.0
) -> KernelRidge:
    """Coefficients (K + diag(noise))⁻¹ · (targets - mean) for `targets` [known rows, width], `noise` [known rows] > 0.

    The mean of a Gaussian process whose observations have variances `noise`, K being its prior covariance.
    Source: Rasmussen and Williams 2006, Gaussian processes for machine learning, equations 2.25 and 2.38.
    """
    kernel = additive_kernel(known, known, length_scale, alone_share)
    kernel[np.diag_indices_from(kernel)] += noise
    mean = targets.mean(axis=0)
    coefficients = linalg.cho_solve(linalg.cho_factor(kernel, overwrite_a=True), targets - mean)
    return KernelRidge(known, length_scale, mean, coefficients, alone_share)


def noise_of_counts(counts: Ids, noise: float, power: float) -> Doubles:
    """[titles]: `noise` · (count / mean count)^-power of titles that `counts` users liked, all of them above 0.

    Targets learnt from few positives are less certain, so they are fitted less closely; power 0 treats all alike.
    """
    return noise * (counts / counts.mean()) ** -power


def _centred_and_scaled(block: Block, present: NDArray[np.bool_], length: float) -> _FeatureBlock:
    presence = present.astype(np.float64)
    count = max(presence.sum(), 1)
    values = sparse.csr_matrix(block, dtype=np.float64) if sparse.issparse(block) else np.asarray(block, np.float64)
    mean = np.asarray(presence @ values).ravel() / count
    if not sparse.issparse(values):
        # Takes no more memory; a mean far from 0 would cancel digits if it were taken off products later.
        values, mean = values - presence[:, None] * mean, np.zeros_like(mean)
    squares = _row_sums_of_squares(values).sum() / count - mean @ mean
    # Where all titles are equal, rounding leaves a trace, which must not be scaled up.
    scale = length / np.sqrt(squares) if squares > 1e-12 * (1 + mean @ mean) else 0.0
    return _FeatureBlock(values * scale, presence, mean * scale, length**2 if scale else 0.0)


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + _BATCH_ROWS) for start in range(0, count, _BATCH_ROWS))


def _dense(values: Any) -> Doubles:
    return values.toarray() if sparse.issparse(values) else values


def _row_sums_of_squares(values: Any) -> Doubles:
    if sparse.issparse(values):
        return np.asarray(values.multiply(values).sum(axis=1)).ravel()
    return np.einsum("rw,rw->r", values, values)
