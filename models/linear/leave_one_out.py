"""Leave-one-out predictions of a kernel ridge: each known title as if it had no positives.

One fit serves all titles and all choices of their content: nothing is solved again per title.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from lake.arrays import Doubles
from models.linear.content_kernel import Features, KernelRidge, additive_kernel


@dataclass(frozen=True)
class LeaveOneOut:
    """A kernel ridge on known titles, kept as (K + diag(noise))⁻¹ and the targets."""

    known: Features
    length_scale: float
    alone_share: float
    inverse: Doubles  # [titles, titles]
    targets: Doubles  # [titles, width]

    def predict_new(self, rows: Features) -> Doubles:
        """[rows, dim]: predictions for titles that are not among the known ones, before shrinkage and scale."""
        return KernelRidge(self.known, self.length_scale, self.mean, self._coefficients, self.alone_share).predict(rows)

    def left_out(self) -> Doubles:
        """[titles, width]: `predict` for the known titles with all their content, without computing a kernel.

        With C the inverse and A = C (Y - mean) it is Y - (A + C 1 (Y - mean) / (n - 1)) / C_nn: equation 5.12 of
        the source of `predict`, with the mean of the other titles. Two titles at least.
        """
        apart = (self.targets - self.mean) / (len(self.targets) - 1)
        moved = self.inverse.sum(axis=1)[:, None] * apart
        return self.targets - (self._coefficients + moved) / np.diag(self.inverse)[:, None]

    def of_others(self) -> Doubles:
        """[titles, titles], 0 on the diagonal: column n is how much of each other title's target is in `left_out` n."""
        shares = -self.inverse / np.diag(self.inverse)
        np.fill_diagonal(shares, 0)
        return shares

    def predict(self, rows: Features) -> Doubles:
        """[titles, width]: row n is title n predicted from all others, by the content that row n of `rows` has.

        `rows` are the known titles in their order, as they are or with fields left out. Prediction n is what
        `fit_kernel_ridge` without title n gives, up to rounding: with C the inverse, A = C (Y - mean), k the kernel
        with the others and C⁻ⁿ = C - c cᵀ / C_nn without row and column n, it is mean⁻ⁿ + k C⁻ⁿ (Y - mean⁻ⁿ).
        Source: Rasmussen and Williams 2006, Gaussian processes for machine learning, section 5.4.2.
        """
        mean, coefficients = self.mean, self._coefficients
        sums, diagonal = self.inverse.sum(axis=1), np.diag(self.inverse)
        kernel = additive_kernel(rows, self.known, self.length_scale, self.alone_share)
        np.fill_diagonal(kernel, 0)
        left_out = np.einsum("nm,nm->n", kernel, self.inverse) / diagonal  # k c / C_nn
        moved = (mean - self.targets) / (len(self.targets) - 1)  # the mean of the others less that of all
        predicted = mean + kernel @ coefficients - left_out[:, None] * coefficients
        return predicted + moved * (1 - kernel @ sums + left_out * sums)[:, None]

    @cached_property
    def mean(self) -> Doubles:
        """[width], of the targets."""
        return self.targets.mean(axis=0)

    @cached_property
    def _coefficients(self) -> Doubles:
        return self.inverse @ (self.targets - self.mean)


def fit_leave_one_out(
    known: Features, targets: Doubles, noise: Doubles, length_scale: float, alone_share: float = 0.0
) -> LeaveOneOut:
    """The fit to `targets` [known titles, width], `noise` [known titles] > 0; two titles at least, to leave one out."""
    kernel = additive_kernel(known, known, length_scale, alone_share)
    kernel[np.diag_indices_from(kernel)] += noise
    inverse = linalg.inv(kernel, overwrite_a=True, assume_a="pos")
    return LeaveOneOut(known, length_scale, alone_share, inverse, targets)
