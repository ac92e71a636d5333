"""A bundle's candidates as the planner searches them: by score, and by likeness to other titles."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from indexing import bundle
from indexing.bundle import Bundle

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_LEAST_LENGTH = 1e-12
_BATCH_TITLES = 65_536


@dataclass(frozen=True)
class ByScore:
    """Worth is query · vector, popularity and freshness included."""

    opened: Bundle

    @cached_property
    def _vectors(self) -> Floats:
        return self.opened.vectors[: self.opened.count_candidates]

    def __len__(self) -> int:
        return self.opened.count_candidates

    def score(self, queries: Floats, rows: Ids | slice) -> Floats:
        return queries @ self._vectors[rows].T

    def score_each(self, queries: Floats, rows: Ids) -> Floats:
        return np.einsum("qkw,qw->qk", self._vectors[rows], queries)

    def search(self, queries: Floats, count: int) -> tuple[Ids, Floats]:
        return search_index(self.opened, queries, count)


@dataclass(frozen=True)
class ByLikeness:
    """Worth is the cosine of a query and a title's embedding; a query of length 1 makes it one.

    The index knows inner products alone: `refetch` times as many as are wanted are taken from it, and their cosines
    decide.
    """

    opened: Bundle
    refetch: float

    @cached_property
    def _embeddings(self) -> Floats:
        return self.opened.embeddings[: self.opened.count_candidates]

    @cached_property
    def lengths(self) -> Floats:
        """[candidates]"""
        return lengths(self._embeddings)

    def __len__(self) -> int:
        return self.opened.count_candidates

    def score(self, queries: Floats, rows: Ids | slice) -> Floats:
        return (queries @ self._embeddings[rows].T) / self.lengths[rows]

    def score_each(self, queries: Floats, rows: Ids) -> Floats:
        return np.einsum("qkw,qw->qk", self._embeddings[rows], queries) / self.lengths[rows]

    def search(self, queries: Floats, count: int) -> tuple[Ids, Floats]:
        fetch = min(int(self.refetch * count), len(self))
        rows, _ = search_index(self.opened, self.opened.queries(queries, dial=0.0), fetch)
        scores = np.where(rows >= 0, self.score_each(queries, rows), -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def search_index(opened: Bundle, queries: Floats, count: int) -> tuple[Ids, Floats]:
    """`Bundle.search` for lists that may be far longer than those it was tuned for."""
    form = opened.manifest.forms.pybind
    return bundle.search(
        opened.searcher, queries, min(count, opened.count_candidates), form.reorder, form.leaves_to_search
    )


def lengths(vectors: Floats) -> Floats:
    """[rows] of `vectors` [rows, width]; never 0."""
    parts = [np.linalg.norm(vectors[n : n + _BATCH_TITLES], axis=1) for n in range(0, len(vectors), _BATCH_TITLES)]
    return np.maximum(np.concatenate(parts), np.float32(_LEAST_LENGTH))
