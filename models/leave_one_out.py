"""What content would say of a known title, had nobody liked it yet: kernel ridge regression with that title left out.

One fit serves all titles, whatever of their content is looked at: nothing is solved anew for each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from models.baselines.content_kernel import Features, gaussian_kernel, noise_of_counts, select
from models.baselines.likes import most_liked
from models.two_tower import ColdRidge

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LeaveOneOut:
    """(K + diag(noise))⁻¹ of the known titles, and what it makes of their targets."""

    known: Features
    length_scale: float
    inverse: Floats  # [titles, titles]
    targets: Floats  # [titles, width]

    def predict_new(self, rows: Features) -> Floats:
        """[rows, width]: titles that are none of the known ones, as the model predicts them but for its scale."""
        mean = self.targets.mean(axis=0)
        coefficients = self.inverse @ (self.targets - mean)
        return mean + gaussian_kernel(rows, self.known, self.length_scale) @ coefficients

    def predict(self, rows: Features) -> Floats:
        """[titles, width]: row n is title n predicted from all others, by the content that row n of `rows` has.

        `rows` are the known titles in their order, as they are or with fields left out. Prediction n is what
        `fit_kernel_ridge` without title n gives, up to rounding: with C the inverse, A = C (Y - mean), k the kernel
        with the others and C⁻ⁿ = C - c cᵀ / C_nn without row and column n, it is mean⁻ⁿ + k C⁻ⁿ (Y - mean⁻ⁿ).
        Source: Rasmussen and Williams 2006, Gaussian processes for machine learning, section 5.4.2.
        """
        mean = self.targets.mean(axis=0)
        coefficients = self.inverse @ (self.targets - mean)
        sums, diagonal = self.inverse.sum(axis=1), np.diag(self.inverse)
        kernel = gaussian_kernel(rows, self.known, self.length_scale)
        np.fill_diagonal(kernel, 0)
        own = np.einsum("nm,nm->n", kernel, self.inverse) / diagonal  # k c / C_nn
        moved = (mean - self.targets) / (len(self.targets) - 1)  # the mean of the others less that of all
        found = mean + kernel @ coefficients - own[:, None] * coefficients
        return found + moved * (1 - kernel @ sums + own * sums)[:, None]


def fit_leave_one_out(known: Features, targets: Floats, noise: Floats, length_scale: float) -> LeaveOneOut:
    """For `targets` [known titles, width] and `noise` [known titles] > 0; two titles at least."""
    kernel = gaussian_kernel(known, known, length_scale)
    kernel[np.diag_indices_from(kernel)] += noise
    inverse = linalg.cho_solve(linalg.cho_factor(kernel, overwrite_a=True), np.eye(len(kernel)))
    return LeaveOneOut(known, length_scale, inverse, targets)


def of_model(
    vectors: Floats, counts: NDArray[np.int64], rows: Features, ridge: ColdRidge, max_titles: int
) -> tuple[NDArray[np.int64], LeaveOneOut]:
    """The known titles, and what predicts their `vectors` [titles, width] as the model predicts those of new ones.

    `counts` [titles] are likes in training, `rows` features of all titles. Of more known titles than `max_titles` the
    most liked are used: memory grows with their square, time with their cube.
    """
    known = most_liked(counts, min(max_titles, ridge.max_titles))
    noise = noise_of_counts(counts[known], ridge.noise, ridge.noise_power)
    return known, fit_leave_one_out(select(rows, known), vectors[known], noise, ridge.length_scale)
