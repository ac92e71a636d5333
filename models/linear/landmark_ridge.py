"""Kernel ridge regression on more titles than a matrix of all pairs allows: by similarity to some of them, landmarks.

Memory is that of landmarks² and of a batch of titles, time that of titles · landmarks².
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from lake.arrays import Doubles, Ids
from models.linear.content_kernel import Features, KernelRidge, additive_kernel, kernels_by_batch, select

MIN_LANDMARKS = 2000
_JITTER = 1e-6  # on the diagonal of the kernel between landmarks, whose own is 1: near twins make it singular


@dataclass(frozen=True)
class LandmarkRidge:
    """The ridge restricted to kernels with the landmarks; with all known titles as landmarks it is the ridge itself.

    Minimises Σ (y - K c)² / noise + cᵀ K c, with kernels K to and between landmarks: the subset of regressors of
    Rasmussen and Williams 2006, Gaussian processes for machine learning, section 8.3.1.
    """

    landmarks: Features
    length_scale: float
    alone_share: float
    targets: Doubles  # [known titles, width]
    mean: Doubles  # [width], of the targets
    coefficients: Doubles  # [landmarks, width]
    predicted_left_out: Doubles  # [known titles, width]

    def predict_new(self, rows: Features) -> Doubles:
        """[rows, width]: predictions for titles that are not among the known ones, before shrinkage and scale."""
        ridge = KernelRidge(self.landmarks, self.length_scale, self.mean, self.coefficients, self.alone_share)
        return ridge.predict(rows)

    def left_out(self) -> Doubles:
        """[known titles, width]: each predicted from the others' targets, but for its part in their mean."""
        return self.predicted_left_out


def count_landmarks(count_titles: int, max_titles: int) -> int:
    """All titles up to `max_titles`; of more as many as need no more kernels than that number, but MIN_LANDMARKS."""
    return min(count_titles, max(max_titles**2 // max(count_titles, 1), MIN_LANDMARKS))


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
    for batch, kernel in kernels_by_batch(known, chosen, length_scale, alone_share):
        weighted = kernel / noise[batch, None]
        system += weighted.T @ kernel
        sums += weighted.T @ (targets[batch] - mean)
    lower = linalg.cholesky(system, lower=True, overwrite_a=True, check_finite=False)
    coefficients = linalg.cho_solve((lower, True), sums)
    # With H the matrix that takes targets to predictions, title n left out is y - (y - H y) / (1 - H_nn), as for every
    # linear smoother. Source: Hastie, Tibshirani, Friedman 2009, The elements of statistical learning, equation 7.52.
    left_out = np.empty_like(targets)
    for batch, kernel in kernels_by_batch(known, chosen, length_scale, alone_share):
        spread = linalg.solve_triangular(lower, kernel.T, lower=True, check_finite=False)
        own_share = np.einsum("mb,mb->b", spread, spread) / noise[batch]
        missed = targets[batch] - mean - kernel @ coefficients
        left_out[batch] = targets[batch] - missed / (1 - own_share)[:, None]
    return LandmarkRidge(chosen, length_scale, alone_share, targets, mean, coefficients, left_out)
