"""How sure a mean, and the ratio of two means, are where people come several times: bootstrap over people.

A person's values are drawn together, since they go together: nights of one person are no nights of several. Percentile
intervals, as in models/evaluation/comparison.py. Source: Davison and Hinkley 1997, Bootstrap methods and their
application, section 3.8, on data that are grouped.
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
    """Values, each of a person; entry n of both belongs together."""

    values: Doubles  # [values]
    people: NDArray[np.int64]  # [values], numbers from 0 on

    def __post_init__(self) -> None:
        if self.values.shape != self.people.shape or not np.isfinite(self.values).all():
            raise ValueError(
                f"expected a finite value for each of {self.people.shape} people, found {self.values.shape}"
            )


def estimate_mean(sample: Sample, resamples: int, confidence: float, seed: int) -> Estimate:
    """The mean over values, with the interval over people; `count_users` are people. Raises ValueError for none."""
    _check(sample)
    sums, counts = _by_person(sample, int(sample.people.max()) + 1)
    (drawn_sums, drawn_counts) = _draw([sums[counts > 0], counts[counts > 0]], resamples, seed)
    low, high = _interval(drawn_sums / drawn_counts, confidence)
    return Estimate(float(sample.values.mean()), low, high, int(np.count_nonzero(counts)))


def estimate_ratio(above: Sample, below: Sample, resamples: int, confidence: float, seed: int) -> Estimate:
    """The ratio of two means with its interval: people of either are drawn, with all they have in both.

    Draws without anybody of one of the two, or where the mean `below` is 0, say nothing and are left out. Raises
    ValueError where a sample is empty or the mean `below` is 0. `count_users` are the people of `above`.
    """
    _check(above)
    _check(below)
    if below.values.mean() == 0:
        raise ValueError("the mean below is 0: there is no ratio to it")
    count = int(max(above.people.max(), below.people.max())) + 1
    parts = [*_by_person(above, count), *_by_person(below, count)]
    is_in = (parts[1] > 0) | (parts[3] > 0)
    sums, counts, sums_below, counts_below = _draw([part[is_in] for part in parts], resamples, seed)
    says = (counts > 0) & (counts_below > 0) & (sums_below != 0)
    ratios = (sums[says] / counts[says]) / (sums_below[says] / counts_below[says])
    low, high = _interval(ratios, confidence) if len(ratios) else (float("nan"), float("nan"))
    mean = float(above.values.mean() / below.values.mean())
    return Estimate(mean, low, high, int(np.count_nonzero(parts[1])))


def _by_person(sample: Sample, count: int) -> tuple[Doubles, Doubles]:
    """[people]: the sum of each person's values, and how many they are."""
    sums = np.bincount(sample.people, weights=sample.values, minlength=count).astype(np.float64)
    return sums, np.bincount(sample.people, minlength=count).astype(np.float64)


def _draw(parts: list[Doubles], resamples: int, seed: int) -> list[Doubles]:
    """[resamples] per part [people]: its sum over as many people as there are, drawn with replacement."""
    if resamples < 1:
        raise ValueError(f"expected resamples of 1 or more, found {resamples}")
    random, count = np.random.default_rng(seed), len(parts[0])
    step = max(_MAX_DRAWS // count, 1)
    found = [np.empty(resamples) for _ in parts]
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = random.integers(count, size=(size, count), dtype=np.int32)
        for own, part in zip(found, parts, strict=True):
            own[start : start + size] = part[drawn].sum(axis=1)
    return found


def _interval(values: Doubles, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _check(sample: Sample) -> None:
    if not len(sample.values):
        raise ValueError("expected the value of one person at least, found none")
