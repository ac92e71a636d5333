"""Bootstrap over users: intervals of a mean, and of the difference between two models on the same users.

Percentile intervals: users are drawn with replacement, as many as there are, and the interval runs between quantiles of
the means of the draws. Source: Efron and Tibshirani 1993, An introduction to the bootstrap, section 13.3.

The interval covers the sampling of users, not the seeds of training. It is too narrow for a few dozen users or fewer:
for one user it is a single point.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Level of the intervals that are shown and compared: the customary one.
CONFIDENCE = 0.95
# Users drawn at a time: a few megabytes, near the processor.
_MAX_DRAWS = 2**18


@dataclass(frozen=True)
class Estimate:
    """The mean over `count_users` users, in the unit of the values; `low` to `high` is its interval."""

    mean: float
    low: float
    high: float
    count_users: int


@dataclass(frozen=True)
class Difference:
    """The mean over users of a model's value less the baseline's; `low` to `high` is its interval.

    The shares are of users whose value is greater (better), smaller (worse) or exactly equal. For a metric where less
    is better, read them the other way round.
    """

    mean: float
    low: float
    high: float
    count_users: int
    share_better: float
    share_worse: float
    share_equal: float


def estimate_mean(values: NDArray[np.float64], resamples: int, confidence: float, seed: int) -> Estimate:
    """The mean of `values` [users] with the interval that covers it with probability `confidence`.

    The same seed draws the same users for all arrays of one length, so that columns of a table are comparable.
    Raises ValueError for no users, and for a value that is not finite.
    """
    _check(values, "values")
    low, high = _interval(values, resamples, confidence, seed)
    return Estimate(mean=float(values.mean()), low=low, high=high, count_users=len(values))


def compare_paired(
    values: NDArray[np.float64], baseline: NDArray[np.float64], resamples: int, confidence: float, seed: int
) -> Difference:
    """The mean of `values` - `baseline` [users] with its interval; entry n of both is the same user.

    A user's two values are drawn together, so variation that both models share cancels.
    Raises ValueError as `estimate_mean` does, and for arrays of different lengths.
    """
    _check(values, "values")
    _check(baseline, "baseline")
    if len(values) != len(baseline):
        raise ValueError(f"values are of {len(values)} users and baseline of {len(baseline)}; expected the same users")
    differences = values - baseline
    low, high = _interval(differences, resamples, confidence, seed)
    return Difference(
        mean=float(differences.mean()),
        low=low,
        high=high,
        count_users=len(differences),
        share_better=float(np.mean(differences > 0)),
        share_worse=float(np.mean(differences < 0)),
        share_equal=float(np.mean(differences == 0)),
    )


def _check(values: NDArray[np.float64], name: str) -> None:
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: expected one value for each of one or more users, found shape {values.shape}")
    count_missing = int(np.sum(~np.isfinite(values)))
    if count_missing:
        raise ValueError(
            f"{name}: {count_missing} of {len(values)} users have no finite value; leave them out and count them"
        )


def _interval(values: NDArray[np.float64], resamples: int, confidence: float, seed: int) -> tuple[float, float]:
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"expected resamples of 1 or more and a confidence between 0 and 1, found {resamples} and {confidence}"
        )
    means = _resampled_means(values, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resampled_means(
    values: NDArray[np.float64], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """[resamples]: means of as many users as there are, drawn with replacement."""
    count = len(values)
    step = max(_MAX_DRAWS // count, 1)
    means = np.empty(resamples)
    for start in range(0, resamples, step):
        size = (min(step, resamples - start), count)
        # Drawing users costs a tenth of drawing multinomial weights, which count how often each user was drawn.
        means[start : start + step] = values[generator.integers(count, size=size, dtype=np.int32)].mean(axis=1)
    return means
