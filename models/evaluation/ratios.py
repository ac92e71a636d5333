"""Bootstrap over users with several values each: intervals of a mean and of the ratio of two means.

A user's values are drawn together, since nights of one user are not independent. Percentile intervals, as in
models/evaluation/comparison.py. Source: Davison and Hinkley 1997, Bootstrap methods and their application, section
3.8, on grouped data.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lake.arrays import Doubles
from models.evaluation.comparison import Estimate

# Numbers of a batch of draws: a few megabytes, near the processor.
_MAX_DRAWS = 2**18


@dataclass(frozen=True)
class Sample:
    """Values and their users; entry n of both belongs together."""

    values: Doubles  # [values]
    users: NDArray[np.int64]  # [values], numbers from 0 on

    def __post_init__(self) -> None:
        if self.values.shape != self.users.shape or not np.isfinite(self.values).all():
            raise ValueError(f"expected a finite value for each of {self.users.shape} users, found {self.values.shape}")


def estimate_mean(sample: Sample, resamples: int, confidence: float, seed: int) -> Estimate:
    """The mean over values with its interval over users. Raises ValueError for an empty sample."""
    _check(sample)
    sums, counts = _by_user(sample, int(sample.users.max()) + 1)
    (drawn_sums, drawn_counts) = _draw([sums[counts > 0], counts[counts > 0]], resamples, seed)
    low, high = _interval(drawn_sums / drawn_counts, confidence)
    return Estimate(float(sample.values.mean()), low, high, int(np.count_nonzero(counts)))


def estimate_ratio(above: Sample, below: Sample, resamples: int, confidence: float, seed: int) -> Estimate:
    """The ratio of two means with its interval: users of either sample are drawn, with their values in both.

    Draws without users of one sample, or with a mean of 0 below, are left out. `count_users` counts the users of
    `above`. Raises ValueError where a sample is empty or the mean of `below` is 0.
    """
    _check(above)
    _check(below)
    if below.values.mean() == 0:
        raise ValueError("the mean below is 0: there is no ratio to it")
    count = int(max(above.users.max(), below.users.max())) + 1
    parts = [*_by_user(above, count), *_by_user(below, count)]
    is_in = (parts[1] > 0) | (parts[3] > 0)
    sums, counts, sums_below, counts_below = _draw([part[is_in] for part in parts], resamples, seed)
    is_defined = (counts > 0) & (counts_below > 0) & (sums_below != 0)
    ratios = (sums[is_defined] / counts[is_defined]) / (sums_below[is_defined] / counts_below[is_defined])
    low, high = _interval(ratios, confidence) if len(ratios) else (float("nan"), float("nan"))
    mean = float(above.values.mean() / below.values.mean())
    return Estimate(mean, low, high, int(np.count_nonzero(parts[1])))


def _by_user(sample: Sample, count: int) -> tuple[Doubles, Doubles]:
    """[users]: the sum and the number of each user's values."""
    sums = np.bincount(sample.users, weights=sample.values, minlength=count).astype(np.float64)
    return sums, np.bincount(sample.users, minlength=count).astype(np.float64)


def _draw(parts: list[Doubles], resamples: int, seed: int) -> list[Doubles]:
    """[resamples] per part [users]: its sum over as many users as there are, drawn with replacement."""
    if resamples < 1:
        raise ValueError(f"expected resamples of 1 or more, found {resamples}")
    random, count = np.random.default_rng(seed), len(parts[0])
    step = max(_MAX_DRAWS // count, 1)
    sums = [np.empty(resamples) for _ in parts]
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = random.integers(count, size=(size, count), dtype=np.int32)
        for part_sums, part in zip(sums, parts, strict=True):
            part_sums[start : start + size] = part[drawn].sum(axis=1)
    return sums


def _interval(values: Doubles, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _check(sample: Sample) -> None:
    if not len(sample.values):
        raise ValueError("expected the value of at least one user, found none")
