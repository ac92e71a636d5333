"""The part of the model that is linear in likes: EASE and a kernel ridge on content.

Each is a matrix of weights [titles, titles]: row i is what a like of title i adds to the scores of others. Those
of content are the weights by which a kernel ridge predicts each title from all others. EASE learns which titles the
same users like, content shows what titles have in common.
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

# A like of a popular title tells little about a user.
_POPULARITY_POWER = 0.5
_LEAST = 1e-12  # of a deviation that is divided by


def content_weights(rows: Features, counts: NDArray[np.int64], ridge: ColdRidge) -> Floats:
    """[titles, titles], 0 on the diagonal, for two or more titles with `counts` positives and features `rows`.

    With C = (K + diag(noise))⁻¹ title t is predicted without itself by -C_it / C_tt from each other title i: equation
    5.12 of Rasmussen and Williams 2006, Gaussian processes for machine learning. A like of title i weighs less, the
    more users liked it.
    """
    noise = noise_of_counts(counts, ridge.noise, ridge.noise_power)
    nothing = np.empty((len(counts), 0))
    # Without the additive kernel's share of single blocks, which helps new titles and costs warm ones.
    weights = fit_leave_one_out(rows, nothing, noise, ridge.length_scale).of_others()
    return np.asarray(weights * (counts / counts.mean())[:, None] ** -_POPULARITY_POWER, dtype=np.float32)


def linear_part(histories: sparse.csr_matrix, weighted: Sequence[tuple[Floats, float]]) -> Part:
    """Weighted matrices as one part.

    Scores of each matrix are scaled to a mean standard deviation of 1 over `histories` [users, titles], weighted and
    summed. The part's weight is the mean standard deviation of the sum, so a matrix counts as if it were alone.
    """
    scaled = [weight / max(_spread(histories, matrix), _LEAST) * matrix for matrix, weight in weighted]
    summed = np.sum(scaled, axis=0)
    return Part(histories, summed.T, _spread(histories, summed))


def _spread(histories: sparse.csr_matrix, matrix: Floats) -> float:
    """The mean over users of the standard deviation of their scores."""
    return float((histories @ matrix).std(axis=1).mean())
