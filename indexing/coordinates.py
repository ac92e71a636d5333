"""Popularity and freshness as coordinates of a title's vector, so that one inner product searches what is wanted.

A title's vector is [e, s·z, f·r]: embedding, standardised log popularity, standardised freshness. With the query
[q, d/s, w/f] the inner product is q·e + d·z + w·r, for any dial d and any weight w of freshness chosen when asking.

A scale does not change a score, but it changes what quantisation does to it: a searcher spends its codes on what is
large in the vectors, and an error counts by what is large in the queries. The coordinate is s / rms(e) times as large
as others in vectors, and |d| / s / rms(q) times in queries. A small s leaves it few codes and a large query multiplies
the error; a large s takes codes from the embedding, and the tree is split by popularity alone. `balanced_scale` makes
both factors the same: s = √(rms(e) · |d| / rms(q)).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexing.manifest import Coordinate, Dial

Floats = NDArray[np.float32]
_LEAST = 1e-6  # of a scale, where embeddings or queries are all zeros


@dataclass(frozen=True)
class Standardised:
    """`values` [titles] of mean 0 and standard deviation 1 over the candidates; 0 where not known."""

    values: Floats
    mean: float
    std: float

    def coordinate(self, what: str, scale: float) -> Coordinate:
        return Coordinate(value=what, mean=self.mean, std=self.std, scale=scale)


def standardise(values: NDArray[np.float64], count_candidates: int) -> Standardised:
    """`values` [titles], NaN where not known. All are 0, as the deviation is, where the candidates are all alike."""
    known = values[:count_candidates]
    known = known[~np.isnan(known)]
    mean = float(known.mean()) if len(known) else 0.0
    std = float(known.std()) if len(known) else 0.0
    if std <= 1e-9 * (1 + abs(mean)):  # rounding leaves a trace
        return Standardised(np.zeros(len(values), dtype=np.float32), mean, 0.0)
    return Standardised(np.nan_to_num((values - mean) / std).astype(np.float32), mean, std)


def log_popularity(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """[titles]: log(1 + positives)."""
    return np.log1p(counts.astype(np.float64))


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


def balanced_scale(embeddings: Floats, queries: Floats, dial: Dial) -> float:
    """The scale of a coordinate by which it is as conspicuous in vectors as in queries; see the module.

    `embeddings` [candidates, dim], `queries` [users, dim]; |d| is the root mean square of the dial's settings that are
    not 0.
    """
    turned = [value for value in dial.settings.values() if value]
    strength = _rms(np.array(turned)) if turned else dial.maximum / 2
    scale = np.sqrt(_rms(embeddings) * strength / max(_rms(queries), _LEAST))
    return max(float(scale), _LEAST)


def join(embeddings: Floats, *coordinates: tuple[Floats, float]) -> Floats:
    """[titles, width]: embeddings and each of the coordinates' values [titles] times its scale."""
    return np.hstack([embeddings, *[(values * scale)[:, None] for values, scale in coordinates]]).astype(np.float32)


def _rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
