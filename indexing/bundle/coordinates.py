"""What stands in a title's vector, so that one inner product searches what is wanted, and a searcher finds it well.

A vector is [s·z, f·r, e]: standardised popularity, standardised freshness, embedding. With the query [d/s, w/f, q]
the inner product is q·e + d·z + w·r, for any dial d and any weight w of freshness chosen when asking.

How a coordinate is scaled changes no score, if queries are scaled the other way, but it changes what quantisation does
to it: a searcher spends its codes on what is large in vectors, and an error counts by what is large in queries. So each
coordinate is made as large in queries as it is in vectors: of embeddings every dimension by √(rms(q) / std(e)) of its
own; popularity, whose deviation is 1 and which queries weigh by the dial's settings, by s = √|d|. None is then coded
better or worse than it matters. What a dimension adds to the variance of scores is the same square of both; those that
add most stand first, so that a searcher may look at the first ones alone before it scores in full. Balanced
realisations in control theory are the same idea: Moore 1981, Principal component analysis in linear systems.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexing.bundle.manifest import Dial
from lake.arrays import Floats

_BATCH_TITLES = 65_536
_LEAST = 1e-6  # of a scale, where embeddings or queries are all zeros


def freshness(release_days: NDArray[np.float64], as_of_day: float, decay_days: float) -> NDArray[np.float64]:
    """[titles]: exp(-age / decay), 1 for what is not yet released, NaN where the release is not known.

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
    """Settings given in standard deviations of a user's scores, as the weight d of popularity in those scores.

    What holds until settings are chosen by what they do to recommendations.
    """
    return Dial(
        minimum=-reach * spread,
        maximum=reach * spread,
        settings={name: value * spread for name, value in settings.items()},
        source=f"by rule: multiples of the spread of a user's scores, {spread:.6g}",
    )


def dial_scale(dial: Dial) -> float:
    """The scale s of popularity, and of freshness: √|d|, the root mean square of the dial's settings that are not 0."""
    turned = [value for value in dial.settings.values() if value]
    strength = _rms(np.array(turned)) if turned else dial.maximum / 2
    return max(float(np.sqrt(strength)), _LEAST)


@dataclass(frozen=True)
class Balance:
    """The model's dimensions in another order, each scaled; queries are scaled the other way."""

    order: NDArray[np.int64]  # [dim]
    factors: Floats  # [dim], in the new order
    energies: Floats  # [dim], what a dimension adds to the variance of scores

    def titles(self, embeddings: Floats) -> Floats:
        """[titles, dim], of the model's."""
        return embeddings[:, self.order] * self.factors

    def queries(self, queries: Floats) -> Floats:
        """[users, dim], of the model's."""
        return queries[:, self.order] / self.factors

    def leading(self, share: float) -> int:
        """The fewest dimensions that together add so large a share of the variance."""
        added = np.cumsum(self.energies, dtype=np.float64)
        return min(int(np.searchsorted(added, share * added[-1])) + 1, len(added))


def balance(embeddings: Floats, queries: Floats) -> Balance:
    """For `embeddings` [candidates, dim] and `queries` [users, dim]; see the module."""
    # What all titles have alike makes no difference between them.
    of_titles = _at_least(_deviations(embeddings))
    of_queries = _at_least(np.sqrt(np.mean(np.square(queries, dtype=np.float64), axis=0)))
    energies = np.square(of_titles * of_queries)
    order = np.argsort(-energies, kind="stable")
    factors = np.sqrt(of_queries / of_titles)[order]
    return Balance(order, factors.astype(np.float32), energies[order].astype(np.float32))


def _deviations(embeddings: Floats) -> NDArray[np.float64]:
    """[dim], some titles at a time: in float64 all at once would take three times the room."""
    mean = embeddings.mean(axis=0, dtype=np.float64)
    squares = np.zeros(embeddings.shape[1])
    for start in range(0, len(embeddings), _BATCH_TITLES):
        squares += np.square(embeddings[start : start + _BATCH_TITLES] - mean).sum(axis=0)
    return np.sqrt(squares / len(embeddings))


def _at_least(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """A dimension that a sample does not use may be used yet: not by factors without bound."""
    return np.maximum(sizes, max(_LEAST, 1e-3 * float(sizes.max(initial=0))))


def _rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
