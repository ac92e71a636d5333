"""Several models' scores as one inner product of few dimensions.

Each part scores by an inner product of its own. Side by side, weighted, they are one; and of that the leading principal
directions are kept: those in which the scores of the training users vary most.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """Scores `queries` [users, width] · `vectors` [titles, width]; queries may be sparse, of a part that is linear."""

    queries: Floats | sparse.csr_matrix
    vectors: Floats

    def scores(self) -> Floats:
        """[users, titles]."""
        return np.asarray(self.queries @ self.vectors.T, dtype=np.float32)


@dataclass(frozen=True)
class Compressed:
    """One vector per title, and per part what turns its queries into such a vector: queries · projection, added up."""

    vectors: Floats  # [titles, dims]
    projections: Mapping[str, Floats]  # [width of the part, dims] by name of part


def compress(parts: Mapping[str, Part], dims: int, seed: int) -> Compressed:
    """The sum of the parts' scores, by vectors of `dims` or as many as there are titles.

    With S = Q Vᵀ the scores [users, titles] and T its first `dims` right singular vectors, S T Tᵀ is the nearest to S
    of that rank (Eckart and Young 1936). Vectors are T times the roots of the singular values, and queries Q Vᵀ T
    divided by them, so that both sides are alike long.
    """
    scores = total_scores(parts)
    kept = min(dims, *scores.shape)
    _, sigmas, directions = randomized_svd(scores, kept, n_iter=4, random_state=seed)
    # What is below rounding is noise; dividing by it would make it loud.
    roots = np.sqrt(np.maximum(sigmas, sigmas[0] * 1e-6))
    vectors = (directions.T * roots).astype(np.float32)
    back = directions.T / roots
    projections = {name: np.asarray(part.vectors.T @ back, dtype=np.float32) for name, part in parts.items()}
    return Compressed(vectors, projections)


def total_scores(parts: Mapping[str, Part]) -> Floats:
    """[users, titles]: the parts' scores added up."""
    return np.sum([part.scores() for part in parts.values()], axis=0)


def typical_spread(scores: Floats) -> float:
    """The mean over users of the standard deviation of a user's scores over titles."""
    return float(scores.std(axis=1).mean())
