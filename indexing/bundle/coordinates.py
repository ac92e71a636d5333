"""Coordinates of title vectors and queries, whose inner product is the score.

A vector is [s·z, f·r, e]: standardised popularity, standardised freshness, embedding. With the query [d/s, w/f, q]
the inner product is q·e + d·z + w·r, for any dial d and any weight w of freshness chosen at request time.

Scaling a coordinate changes no score if queries are scaled inversely, but it changes the error of quantisation: a
searcher spends its codes on what is large in vectors, and an error counts by what is large in queries. So each
coordinate is made as large in queries as in vectors: every dimension of the embedding by √(rms(q) / std(e)), and
popularity, whose deviation is 1 and whose weight is the dial, by s = √|d|. What a dimension adds to the variance of
scores is then the square of both. Dimensions that add most come first, so that a searcher may look at the leading ones
alone before it scores in full. The idea is that of balanced realisations in control theory: Moore 1981, Principal
component analysis in linear systems.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexing.bundle.manifest import EMBEDDING_START, Dial, Vectors
from lake.arrays import Doubles, Floats, Ids

_BATCH_TITLES = 65_536
_LEAST = 1e-6  # lower bound of a scale, for embeddings or queries that are all zeros


def freshness(release_days: Doubles, as_of_day: float, decay_days: float) -> Doubles:
    """[titles]: exp(-age / decay), 1 for unreleased titles, NaN where the release date is missing.

    Both days count from 1970-01-01.
    """
    return np.exp(-np.maximum(as_of_day - release_days, 0) / decay_days)


def score_spread(queries: Floats, embeddings: Floats) -> float:
    """Standard deviation of a user's scores of the candidates, the median over `queries` [users, dim].

    From the covariance of the `embeddings` [candidates, dim]: Var(q·e) = qᵀ Cov(e) q.
    """
    mean = embeddings.mean(axis=0, dtype=np.float64)
    covariance = (embeddings.T @ embeddings) / len(embeddings) - np.outer(mean, mean)
    variances = np.einsum("ud,de,ue->u", queries, covariance, queries, optimize=True)
    return float(np.median(np.sqrt(np.maximum(variances, 0))))


def dial_by_rule(settings: Mapping[str, float], reach: float, spread: float) -> Dial:
    """Dial from `settings` in standard deviations of a user's scores, turned into weights d of popularity.

    The default until settings are chosen by their effect on recommendations.
    """
    return Dial(
        minimum=-reach * spread,
        maximum=reach * spread,
        settings={name: value * spread for name, value in settings.items()},
        source=f"by rule: multiples of the spread of a user's scores, {spread:.6g}",
    )


def dial_scale(dial: Dial) -> float:
    """The scale s of popularity and freshness: √|d|, with |d| the root mean square of settings other than 0."""
    weights = [value for value in dial.settings.values() if value]
    strength = _rms(np.array(weights)) if weights else dial.maximum / 2
    return max(float(np.sqrt(strength)), _LEAST)


def query_vectors(vectors: Vectors, embeddings: Floats, dial: float, freshness: float = 0.0) -> Floats:
    """Queries [batch, vector_dim] from the query tower's `embeddings` [batch, dim] and both weights."""
    queries = np.empty((len(embeddings), vectors.vector_dim), dtype=np.float32)
    queries[:, :EMBEDDING_START] = dial / vectors.popularity.scale, freshness / vectors.freshness.scale
    queries[:, EMBEDDING_START:] = embeddings
    return queries


@dataclass(frozen=True)
class Balance:
    """The model's dimensions reordered and scaled; queries are scaled inversely."""

    order: Ids  # [dim]
    factors: Floats  # [dim], in the new order
    energies: Floats  # [dim], share of each dimension in the variance of scores

    def titles(self, embeddings: Floats) -> Floats:
        """Balanced title embeddings [titles, dim] from the model's."""
        return embeddings[:, self.order] * self.factors

    def queries(self, queries: Floats) -> Floats:
        """Balanced query embeddings [users, dim] from the model's."""
        return queries[:, self.order] / self.factors

    def leading(self, share: float) -> int:
        """The fewest leading dimensions that together hold this share of the variance."""
        added = np.cumsum(self.energies, dtype=np.float64)
        return min(int(np.searchsorted(added, share * added[-1])) + 1, len(added))


def balance(embeddings: Floats, queries: Floats) -> Balance:
    """The balance of `embeddings` [candidates, dim] and `queries` [users, dim]."""
    # The mean over titles does not change their order, so it does not count.
    title_sizes = _at_least(_deviations(embeddings))
    query_sizes = _at_least(np.sqrt(np.mean(np.square(queries, dtype=np.float64), axis=0)))
    energies = np.square(title_sizes * query_sizes)
    order = np.argsort(-energies, kind="stable")
    factors = np.sqrt(query_sizes / title_sizes)[order]
    return Balance(order, factors.astype(np.float32), energies[order].astype(np.float32))


def _deviations(embeddings: Floats) -> Doubles:
    """[dim], in batches of titles: all at once in float64 would take three times the memory."""
    mean = embeddings.mean(axis=0, dtype=np.float64)
    squares = np.zeros(embeddings.shape[1])
    for start in range(0, len(embeddings), _BATCH_TITLES):
        squares += np.square(embeddings[start : start + _BATCH_TITLES] - mean).sum(axis=0)
    return np.sqrt(squares / len(embeddings))


def _at_least(sizes: Doubles) -> Doubles:
    """Sizes with a lower bound: a dimension that the sample does not use must not get an unbounded factor."""
    return np.maximum(sizes, max(_LEAST, 1e-3 * float(sizes.max(initial=0))))


def _rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
