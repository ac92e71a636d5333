"""Several models' scores as one inner product of few dimensions.

Each part's scores are inner products. A user's scores of a part are brought to mean 0 and standard deviation
1 over titles, weighted and summed. The directions in which the users' summed scores vary most are kept.

With R [titles, dims] these directions, orthonormal, a title's vector is its row of √titles · R. A part's query goes to
the same space by the projection (centred vectors)ᵀ R; brought to length 1 there, its scores have standard deviation 1.

Cold users all get the same scores. They are one more direction, kept exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from sklearn.utils.extmath import randomized_svd

from lake.arrays import Floats

_LEAST = 1e-12


@dataclass(frozen=True)
class Part:
    """A model whose scores are `queries` [users, width] · `vectors` [titles, width]."""

    queries: Floats | sparse.csr_matrix  # sparse ones of a linear part
    vectors: Floats
    weight: float  # relative to the other parts

    def centred(self) -> Floats:
        """[titles, width]: vectors whose scores have mean 0, and the same order."""
        return self.vectors - self.vectors.mean(axis=0)

    def scores(self) -> Floats:
        """[users, titles], each user's of mean 0 and standard deviation `weight`; zeros where all are alike."""
        scores = np.asarray(self.queries @ self.centred().T, dtype=np.float32)
        return scores * (self.weight / np.maximum(scores.std(axis=1, keepdims=True), _LEAST))


@dataclass(frozen=True)
class Combined:
    """One vector per title, and a projection of each part's queries to the same space."""

    vectors: Floats  # [titles, dims], of mean square 1 in each dimension
    projections: Mapping[str, Floats]  # [width of the part, dims]
    cold_user_query: Floats  # [dims], of length 1; zeros where `cold_user_scores` are all alike

    def queries(self, parts: Mapping[str, Part]) -> Floats:
        """[users, dims]: the queries of `parts`, each brought to length 1, weighted and summed."""
        weighted = [part.weight * _unit(part.queries @ self.projections[name]) for name, part in parts.items()]
        return np.sum(weighted, axis=0)


def combine(parts: Mapping[str, Part], dims: int, seed: int, cold_user_scores: NDArray[np.floating]) -> Combined:
    """Vectors of `dims` dimensions from all parts, or of fewer where the scores vary in no more directions.

    One dimension is that of `cold_user_scores` [titles], so `cold_user_query` ranks the titles in their order. Where
    all parts together are no wider than the rest, nothing is lost; else the rest is the nearest approximation of its
    rank to the sum of scores (Eckart and Young 1936).
    """
    first = _direction(cold_user_scores.astype(np.float64))
    rest = dims - first.shape[1]
    width = sum(part.vectors.shape[1] for part in parts.values())
    remaining = _all_directions(parts, first) if width <= rest else _main_directions(parts, first, rest, seed)
    directions = np.hstack([first, remaining])
    projections = {name: (part.centred().T @ directions).astype(np.float32) for name, part in parts.items()}
    cold_user_query = np.zeros(directions.shape[1], dtype=np.float32)
    cold_user_query[: first.shape[1]] = 1
    return Combined((directions * np.sqrt(len(directions))).astype(np.float32), projections, cold_user_query)


def _direction(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """[titles, 1], of length 1: `scores` [titles] less their mean; [titles, 0] where all scores are alike."""
    apart = scores - scores.mean()
    length = np.linalg.norm(apart)
    is_any = length > 1e-9 * np.linalg.norm(scores)  # rounding leaves a trace
    return apart[:, None] / length if is_any else np.empty((len(scores), 0))


def _all_directions(parts: Mapping[str, Part], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """An orthonormal basis [titles, dims] of the span of the parts' vectors, orthogonal to `first` [titles, 0 or 1]."""
    vectors = np.hstack([part.centred() for part in parts.values()]).astype(np.float64)
    vectors -= first @ (first.T @ vectors)
    values, axes = linalg.eigh(vectors.T @ vectors)
    kept = values > values[-1] * 1e-9
    return vectors @ axes[:, kept] / np.sqrt(values[kept])


def _main_directions(
    parts: Mapping[str, Part], first: NDArray[np.float64], dims: int, seed: int
) -> NDArray[np.float64]:
    """Orthonormal directions [titles, dims], orthogonal to `first` [titles, 0 or 1], in which scores vary most."""
    scores = np.sum([part.scores() for part in parts.values()], axis=0)
    scores -= (scores @ first) @ first.T
    _, values, directions = randomized_svd(scores, min(dims, *scores.shape), n_iter=4, random_state=seed)
    return directions[values > values[0] * 1e-6].T


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """`vectors` [rows, width] at length 1; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _LEAST)
