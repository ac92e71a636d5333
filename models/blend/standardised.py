"""Popularity per title, standardised over the candidates: the number that the popularity dial multiplies.

The index stores it, and evaluation of the dial adds the same to scores.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scale = Literal["log", "rank"]


@dataclass(frozen=True)
class Standardised:
    """`values` [titles] of mean 0 and standard deviation 1 over the candidates; 0 where not known."""

    values: NDArray[np.float32]
    mean: float
    std: float


def standardise(values: NDArray[np.float64], candidates: NDArray[np.bool_] | slice) -> Standardised:
    """`values` [titles], NaN where not known. All are 0, and so is `std`, where the candidates are all alike."""
    known = values[candidates]
    known = known[~np.isnan(known)]
    mean = float(known.mean()) if len(known) else 0.0
    std = float(known.std()) if len(known) else 0.0
    if std <= 1e-9 * (1 + abs(mean)):  # rounding leaves a trace
        return Standardised(np.zeros(len(values), dtype=np.float32), mean, 0.0)
    return Standardised(np.nan_to_num((values - mean) / std).astype(np.float32), mean, std)


def popularity(counts: NDArray[np.int64], candidates: NDArray[np.bool_] | slice, scale: Scale) -> Standardised:
    """Popularity by `counts` [titles] of positives: log(1 + count), or the share of candidates with fewer positives.

    Not known for a title without positives, which is new rather than a hidden gem: as the least popular title it would
    be raised by the dial long before titles with few positives.
    """
    if scale == "log":
        values = np.log1p(counts.astype(np.float64))
    else:
        liked = np.sort(counts[candidates][counts[candidates] > 0])
        # Equal counts share the middle rank.
        doubled_ranks = np.searchsorted(liked, counts, "left") + np.searchsorted(liked, counts, "right")
        values = doubled_ranks / (2 * max(len(liked), 1))
    return standardise(np.where(counts > 0, values, np.nan), candidates)
