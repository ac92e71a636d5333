"""The part of the model that is linear in likes: EASE, and what content says of the likes themselves.

Each is a matrix of weights [titles, titles]: row i is what a like of title i says of the others. Of content these are
the weights by which a kernel ridge regression predicts each title from all others. EASE knows who liked both titles,
content what they have in common.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import Floats
from models.blend.combined import Part
from models.linear.cold_ridge import ColdRidge
from models.linear.content_kernel import Features, noise_of_counts
from models.linear.leave_one_out import fit_leave_one_out

# What everybody liked says little of a person. Anything from .25 to .75 does as well on held-out likes of MovieLens 1M.
_POPULARITY_POWER = 0.5
_LEAST = 1e-12  # of a deviation that is divided by


def content_weights(rows: Features, counts: NDArray[np.int64], ridge: ColdRidge) -> Floats:
    """[titles, titles], 0 on the diagonal, of two or more titles that `counts` people liked, whose features are `rows`.

    With C = (K + diag(noise))⁻¹ title t is predicted without itself by -C_it / C_tt from each other title i: equation
    5.12 of Rasmussen and Williams 2006, Gaussian processes for machine learning. A like of title i says the less, the
    more people liked it.
    """
    noise = noise_of_counts(counts, ridge.noise, ridge.noise_power)
    nothing = np.empty((len(counts), 0))
    # By the Gaussian kernel alone: with blocks by themselves, as for new titles, 1M warm loses .001 of Recall@20.
    found = fit_leave_one_out(rows, nothing, noise, ridge.length_scale).of_others()
    return np.asarray(found * (counts / counts.mean())[:, None] ** -_POPULARITY_POWER, dtype=np.float32)


def linear_part(histories: sparse.csr_matrix, weighted: Sequence[tuple[Floats, float]]) -> Part:
    """Matrices of weights with how much each is to count, as one part.

    Scores of each are brought to a standard deviation of 1 on the mean over `histories` [users, titles], and added up.
    The part weighs what the sum's standard deviation is on the mean, so that a matrix counts as if it stood alone.
    """
    scaled = [weight / max(_spread(histories, matrix), _LEAST) * matrix for matrix, weight in weighted]
    summed = np.sum(scaled, axis=0)
    return Part(histories, summed.T, _spread(histories, summed))


def _spread(histories: sparse.csr_matrix, matrix: Floats) -> float:
    """The mean over users of the standard deviation of their scores."""
    return float((histories @ matrix).std(axis=1).mean())
