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

from lake.arrays import Doubles, Floats

_LEAST = 1e-12
_BATCH_USERS = 256
# Of the search for the main directions: more than are kept are followed, that many times there and back.
_MORE_DIRECTIONS = 10
_ROUNDS = 4


@dataclass(frozen=True)
class Part:
    """A model whose scores are `queries` [users, width] · `vectors` [titles, width]."""

    queries: Floats | sparse.csr_matrix  # sparse ones of a linear part
    vectors: Floats
    weight: float  # relative to the other parts

    def centred(self) -> Floats:
        """[titles, width]: vectors whose scores have mean 0, and the same order."""
        return self.vectors - self.vectors.mean(axis=0)

    def scaled_queries(self) -> Floats | sparse.csr_matrix:
        """`queries` such that each user's scores by centred vectors have standard deviation `weight`.

        Zeros stay zeros, and so do scores that are all alike.
        """
        scale = self.weight / np.maximum(self._deviations(), _LEAST)
        if sparse.issparse(self.queries):
            return sparse.csr_matrix(sparse.diags(scale.astype(np.float32)) @ self.queries)
        return (self.queries * scale[:, None]).astype(np.float32)

    def _deviations(self) -> Doubles:
        """[users]: of each user's scores; only a batch of users has all scores at a time."""
        centred = self.centred()
        count = self.queries.shape[0]
        batches = (self.queries[start : start + _BATCH_USERS] for start in range(0, count, _BATCH_USERS))
        return np.concatenate([np.asarray(batch @ centred.T, dtype=np.float32).std(axis=1) for batch in batches])


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
    """Orthonormal directions [titles, dims], orthogonal to `first` [titles, 0 or 1], in which scores vary most.

    By products with the parts alone, never from a matrix [users, titles]. Source: Halko, Martinsson and Tropp 2011,
    Finding structure with randomness, algorithms 4.4 and 5.1.
    """
    factors = [(part.scaled_queries(), part.centred()) for part in parts.values()]
    apart = first.astype(np.float32)
    users, titles = factors[0][0].shape[0], len(first)

    def scores_times(block: Floats) -> Floats:  # [titles, any] to [users, any]
        block = block - apart @ (apart.T @ block)
        return np.sum([queries @ (vectors.T @ block) for queries, vectors in factors], axis=0)

    def transposed_times(block: Floats) -> Floats:  # [users, any] to [titles, any]
        product = np.sum([vectors @ (queries.T @ block) for queries, vectors in factors], axis=0)
        return np.asarray(product - apart @ (apart.T @ product))

    width = min(dims + _MORE_DIRECTIONS, users, titles)
    found = np.random.default_rng(seed).standard_normal((titles, width), dtype=np.float32)
    for _ in range(_ROUNDS):
        found = _orthonormal(transposed_times(_orthonormal(scores_times(found))))
    _, values, axes = linalg.svd(scores_times(found), full_matrices=False)
    return (found @ axes.T)[:, : min(dims, width)][:, values[: min(dims, width)] > values[0] * 1e-6]


def _orthonormal(block: Floats) -> Floats:
    return linalg.qr(block, mode="economic", overwrite_a=True, check_finite=False)[0]


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """`vectors` [rows, width] at length 1; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _LEAST)
