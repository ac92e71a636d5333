"""Kernel ridge regression on more titles than a matrix of all pairs allows: by similarity to some of them, landmarks.

Memory is that of landmarks² and of a batch of titles, time that of titles · landmarks².
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from lake.arrays import Doubles, Ids
from models.linear.content_kernel import Features, KernelRidge, additive_kernel, select

_BATCH_TITLES = 2048
_JITTER = 1e-6  # on the diagonal of the kernel between landmarks, whose own is 1: near twins make it singular


@dataclass(frozen=True)
class LandmarkRidge:
    """The ridge restricted to kernels with the landmarks; with all known titles as landmarks it is the ridge itself.

    Minimises Σ (y - K c)² / noise + cᵀ K c, with kernels K to and between landmarks: the subset of regressors of
    Rasmussen and Williams 2006, Gaussian processes for machine learning, section 8.3.1.
    """

    known: Features
    landmarks: Features
    length_scale: float
    alone_share: float
    noise: Doubles  # [known titles]
    targets: Doubles  # [known titles, width]
    mean: Doubles  # [width], of the targets
    lower: Doubles  # [landmarks, landmarks], the Cholesky factor of the normal equations
    coefficients: Doubles  # [landmarks, width]

    def predict_new(self, rows: Features) -> Doubles:
        """[rows, width]: predictions for titles that are not among the known ones, before shrinkage and scale."""
        ridge = KernelRidge(self.landmarks, self.length_scale, self.mean, self.coefficients, self.alone_share)
        return ridge.predict(rows)

    def left_out(self) -> Doubles:
        """[known titles, width]: each predicted from the others' targets, but for its part in their mean.

        With H the matrix that takes targets to predictions, it is y - (y - H y) / (1 - diag H), as for every linear
        smoother. Source: Hastie, Tibshirani, Friedman 2009, The elements of statistical learning, equation 7.52.
        """
        predicted = np.empty_like(self.targets)
        for batch, kernel in _kernels(self.known, self.landmarks, self.length_scale, self.alone_share):
            spread = linalg.solve_triangular(self.lower, kernel.T, lower=True, check_finite=False)
            own_share = np.einsum("mb,mb->b", spread, spread) / self.noise[batch]
            missed = self.targets[batch] - self.mean - kernel @ self.coefficients
            predicted[batch] = self.targets[batch] - missed / (1 - own_share)[:, None]
        return predicted


def count_landmarks(count_titles: int, max_titles: int) -> int:
    """As many landmarks as take the time of an exact ridge on `max_titles` titles: all titles up to that number."""
    return min(count_titles, int(np.sqrt(max_titles**3 / max(count_titles, 1))))


def choose_landmarks(positive_counts: Ids, count: int) -> Ids:
    """Rows of `count` titles, ascending: evenly from the most to the least liked, by `positive_counts` [titles]."""
    order = np.argsort(-positive_counts, kind="stable")
    return np.sort(order[np.linspace(0, len(order) - 1, count).round().astype(np.int64)])


def fit_landmark_ridge(
    known: Features, landmarks: Ids, targets: Doubles, noise: Doubles, length_scale: float, alone_share: float
) -> LandmarkRidge:
    """The fit to `targets` [known titles, width] with `noise` [known titles] > 0; `landmarks` are rows of `known`."""
    chosen = select(known, landmarks)
    mean = targets.mean(axis=0)
    system = additive_kernel(chosen, chosen, length_scale, alone_share)
    system[np.diag_indices_from(system)] += _JITTER
    sums = np.zeros((len(landmarks), targets.shape[1]))
    for batch, kernel in _kernels(known, chosen, length_scale, alone_share):
        weighted = kernel / noise[batch, None]
        system += weighted.T @ kernel
        sums += weighted.T @ (targets[batch] - mean)
    lower = linalg.cholesky(system, lower=True, overwrite_a=True, check_finite=False)
    coefficients = linalg.cho_solve((lower, True), sums)
    return LandmarkRidge(known, chosen, length_scale, alone_share, noise, targets, mean, lower, coefficients)


def _kernels(
    rows: Features, landmarks: Features, length_scale: float, alone_share: float
) -> Iterator[tuple[slice, Doubles]]:
    """Batches of titles with their kernels [batch, landmarks]."""
    for start in range(0, rows.count, _BATCH_TITLES):
        batch = slice(start, min(start + _BATCH_TITLES, rows.count))
        part = select(rows, np.arange(batch.start, batch.stop))
        yield batch, additive_kernel(part, landmarks, length_scale, alone_share)
