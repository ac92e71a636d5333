"""A bundle's candidates for the planner: by score for a user, and by cosine to other titles."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexing.bundle import bundle
from indexing.bundle.bundle import TUNED_COUNT, Bundle
from lake.arrays import Floats, Ids
from serving.search import planner

_MIN_LENGTH = 1e-12
_BATCH_TITLES = 65_536
_BATCH_ROWS = 512


@dataclass(frozen=True)
class ByScore:
    """Score is the inner product of query and vector, popularity and freshness included."""

    opened: Bundle

    @cached_property
    def _vectors(self) -> Floats:
        return np.asarray(self.opened.vectors[: self.opened.count_candidates])

    def __len__(self) -> int:
        return self.opened.count_candidates

    def score(self, queries: Floats, rows: Ids | slice) -> Floats:
        return _products(queries, self._vectors, rows)

    def search(self, queries: Floats, count: int) -> tuple[Ids, Floats]:
        return search_index(self.opened, queries, count)


@dataclass(frozen=True)
class ByCosine:
    """Score is the query's inner product with a title's embedding of length 1: the cosine, if the query has length 1.

    The index ranks by inner product, so `refetch` times as many titles as wanted are taken from it and ranked again by
    cosine.
    """

    opened: Bundle
    refetch: float

    @cached_property
    def _embeddings(self) -> Floats:
        return np.asarray(self.opened.embeddings[: self.opened.count_candidates])

    @cached_property
    def lengths(self) -> Floats:
        """Lengths of the embeddings [candidates]."""
        return lengths(self._embeddings)

    def __len__(self) -> int:
        return self.opened.count_candidates

    def score(self, queries: Floats, rows: Ids | slice) -> Floats:
        return _products(queries, self._embeddings, rows) / self.lengths[rows]

    def search(self, queries: Floats, count: int) -> tuple[Ids, Floats]:
        fetch = min(int(self.refetch * count), len(self))
        rows, _ = search_index(self.opened, self.opened.queries(queries, dial=0.0), fetch)
        cosines = np.einsum("qkw,qw->qk", self._embeddings[rows], queries) / self.lengths[rows]
        scores = np.where(rows >= 0, cosines, np.float32(-np.inf))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return planner.take_columns(rows, order), planner.take_columns(scores, order)


def search_index(opened: Bundle, queries: Floats, count: int) -> tuple[Ids, Floats]:
    """`Bundle.search` that searches more leaves for lists longer than those the index was tuned for."""
    form, index = opened.manifest.forms.pybind, opened.manifest.index
    deeper = max(1.0, count / TUNED_COUNT) ** 0.5
    leaves = min(int(np.ceil(form.leaves_to_search * deeper)), index.leaves)
    return bundle.search(opened.searcher, queries, min(count, opened.count_candidates), form.reorder, leaves)


def _products(queries: Floats, vectors: Floats, rows: Ids | slice) -> Floats:
    """Inner products [queries, rows] of `queries` [queries, dim] with the `rows` of `vectors` [titles, dim].

    Rows given as an array are gathered in small batches, which are still in the processor's cache when multiplied.
    """
    if isinstance(rows, slice):
        return queries @ vectors[rows].T
    products = np.empty((len(queries), len(rows)), dtype=np.float32)
    gathered = np.empty((min(_BATCH_ROWS, len(rows)), vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), _BATCH_ROWS):
        part = rows[start : start + _BATCH_ROWS]
        batch = gathered[: len(part)]
        np.take(vectors, part, axis=0, out=batch, mode="clip")
        np.matmul(queries, batch.T, out=products[:, start : start + len(part)])
    return products


def lengths(vectors: Floats) -> Floats:
    """Lengths [rows] of `vectors` [rows, dim], at least a small positive number."""
    parts = [np.linalg.norm(vectors[n : n + _BATCH_TITLES], axis=1) for n in range(0, len(vectors), _BATCH_TITLES)]
    return np.maximum(np.concatenate(parts), np.float32(_MIN_LENGTH))
