"""Intervals and paired differences: against known distributions, a plain bootstrap, and values done by hand."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from models.evaluation import comparison
from models.evaluation.comparison import Difference, Estimate, compare_paired, estimate_mean


def _normal_half_width(deviation: float, count: int) -> float:
    """Half the width of the 95 % interval of a mean."""
    return 1.96 * deviation / math.sqrt(count)


def test_interval_of_many_users_is_the_normal_one() -> None:
    values = np.random.default_rng(1).exponential(size=4000)
    estimate = estimate_mean(values, 4000, 0.95, seed=7)
    half_width = _normal_half_width(float(values.std()), 4000)
    assert estimate.mean == pytest.approx(values.mean(), abs=1e-12)
    assert estimate.count_users == 4000
    # A quantile of 4,000 means is off by some 2 % of the half width.
    assert estimate.mean - estimate.low == pytest.approx(half_width, rel=0.08)
    assert estimate.high - estimate.mean == pytest.approx(half_width, rel=0.08)


def test_interval_of_two_users_by_hand() -> None:
    # The mean of two draws from {0, 1} is 0, 1/2 or 1 with chances 1/4, 1/2 and 1/4: the middle 40 % are all 1/2, and
    # the middle 95 % reach from 0 to 1.
    values = np.array([0.0, 1.0])
    assert estimate_mean(values, 2000, 0.4, seed=3) == Estimate(mean=0.5, low=0.5, high=0.5, count_users=2)
    assert estimate_mean(values, 2000, 0.95, seed=3) == Estimate(mean=0.5, low=0.0, high=1.0, count_users=2)


def test_quantiles_are_those_of_all_resamples() -> None:
    # All 4^4 resamples of four users are equally likely. Sorted, the 26th and the 231st end the middle 80 %: .125 (from
    # 7.8 to 12.5 %) and .625 (from 87.9 to 92.6 %), so that the draw of 20,000 of them cannot miss either.
    values = [0.0, 0.1, 0.4, 1.0]
    means = sorted(sum(drawn) / 4 for drawn in itertools.product(values, repeat=4))
    assert (means[25], means[230]) == pytest.approx((0.125, 0.625))
    estimate = estimate_mean(np.array(values), 20_000, 0.8, seed=11)
    assert (estimate.low, estimate.high) == pytest.approx((0.125, 0.625))


def test_interval_covers_the_mean_with_its_confidence() -> None:
    generator = np.random.default_rng(5)
    trials = 600
    for confidence in (0.8, 0.95):
        estimates = [estimate_mean(generator.beta(0.5, 2, 150), 300, confidence, seed) for seed in range(trials)]
        # The mean of beta(a, b) is a / (a + b).
        covered = np.mean([one.low <= 0.2 <= one.high for one in estimates])
        # Three standard deviations of a share of 600 trials, and 2 % that intervals of skew values fall short.
        assert abs(covered - confidence) < 3 * math.sqrt(confidence * (1 - confidence) / trials) + 0.02


def test_same_seed_same_interval() -> None:
    generator = np.random.default_rng(0)
    values, baseline = generator.random(500), generator.random(500)
    assert estimate_mean(values, 200, 0.95, seed=4) == estimate_mean(values, 200, 0.95, seed=4)
    assert estimate_mean(values, 200, 0.95, seed=4) != estimate_mean(values, 200, 0.95, seed=5)
    assert compare_paired(values, baseline, 200, 0.95, 4) == compare_paired(values, baseline, 200, 0.95, 4)
    assert compare_paired(values, baseline, 200, 0.95, 4) != compare_paired(values, baseline, 200, 0.95, 5)


def test_columns_of_a_table_draw_the_same_users() -> None:
    values = np.random.default_rng(0).random(300)
    one, other = estimate_mean(values, 200, 0.95, seed=4), estimate_mean(3 * values + 1, 200, 0.95, seed=4)
    assert other.low == pytest.approx(3 * one.low + 1)
    assert other.high == pytest.approx(3 * one.high + 1)


def test_every_resample_is_drawn_however_many_fit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    half_width = _normal_half_width(float(values.std()), 50)
    for draws in (1, 50 * 7, 50 * 1000):  # one resample at a time, seven with a rest of six, all
        monkeypatch.setattr(comparison, "_MAX_DRAWS", draws)
        estimate = estimate_mean(values, 1000, 0.95, seed=4)
        assert estimate.high - estimate.low == pytest.approx(2 * half_width, rel=0.15)


def test_wider_confidence_wider_interval() -> None:
    values = np.random.default_rng(0).random(300)
    narrow, wide = estimate_mean(values, 500, 0.5, seed=4), estimate_mean(values, 500, 0.99, seed=4)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_one_user_is_a_point() -> None:
    assert estimate_mean(np.array([0.25]), 100, 0.95, seed=1) == Estimate(0.25, 0.25, 0.25, 1)


def test_equal_values_are_a_point() -> None:
    assert estimate_mean(np.full(40, 0.5), 100, 0.95, seed=1) == Estimate(0.5, 0.5, 0.5, 40)


def test_difference_by_hand() -> None:
    # Differences .5, .5, .5 and .5: the mean of every resample is .5.
    difference = compare_paired(np.array([0.5, 0.75, 1.0, 1.5]), np.array([0.0, 0.25, 0.5, 1.0]), 100, 0.95, seed=1)
    assert difference == Difference(0.5, 0.5, 0.5, 4, share_better=1.0, share_worse=0.0, share_equal=0.0)


def test_shares_of_users_better_worse_and_equal() -> None:
    # +.5, +.25, -1, 0, 0, 0, 0, +.25: 3 better, 1 worse, 4 equal of 8, mean 0
    values = np.array([1, 0.5, 0, 0.5, 0, 1, 0.25, 0.25])
    baseline = np.array([0.5, 0.25, 1, 0.5, 0, 1, 0.25, 0])
    difference = compare_paired(values, baseline, 200, 0.95, seed=1)
    assert (difference.mean, difference.count_users) == (0, 8)
    assert (difference.share_better, difference.share_worse, difference.share_equal) == (3 / 8, 1 / 8, 4 / 8)
    assert difference.low < 0 < difference.high


def test_better_and_worse_swap_with_the_models() -> None:
    generator = np.random.default_rng(2)
    values, baseline = generator.random(100), generator.random(100)
    one, other = compare_paired(values, baseline, 500, 0.95, 3), compare_paired(baseline, values, 500, 0.95, 3)
    assert (other.share_better, other.share_worse) == (one.share_worse, one.share_better)
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low))


def test_pairing_matters() -> None:
    # Users differ by 1, models by .02 with a noise of .1: 2 · 1.96 · .1 / √1000 = .0124 wide, and unpaired, with a
    # deviation of √2, 2 · 1.96 · √2 / √1000 = .175.
    generator = np.random.default_rng(3)
    baseline = generator.normal(size=1000)
    values = baseline + generator.normal(0.02, 0.1, 1000)
    paired = compare_paired(values, baseline, 1000, 0.95, seed=4)
    unpaired = compare_paired(generator.permutation(values), baseline, 1000, 0.95, seed=4)
    assert paired.mean == pytest.approx(unpaired.mean)
    assert paired.high - paired.low == pytest.approx(0.0124, rel=0.15)
    assert unpaired.high - unpaired.low == pytest.approx(0.175, rel=0.15)
    assert paired.low > 0 > unpaired.low


def test_interval_covers_the_true_difference_with_its_confidence() -> None:
    generator = np.random.default_rng(6)
    trials, covered = 400, 0
    for seed in range(trials):
        baseline = generator.normal(size=100)
        difference = compare_paired(baseline + generator.normal(0.1, 0.5, 100), baseline, 300, 0.9, seed)
        covered += difference.low <= 0.1 <= difference.high
    # Three standard deviations of a share of 400 trials, and 1 % that a percentile interval of 100 users falls short.
    assert abs(covered / trials - 0.9) < 3 * math.sqrt(0.9 * 0.1 / trials) + 0.01


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="values are of 3 users and baseline of 1"):
        compare_paired(np.zeros(3), np.zeros(1), 10, 0.95, seed=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"expected one value for each of one or more users, found shape \(0,\)"),
        ([[1.0]], r"expected one value for each of one or more users, found shape \(1, 1\)"),
        ([1.0, math.nan, math.inf], "2 of 3 users have no finite value"),
    ],
)
def test_values_of_wrong_shape_or_not_finite_are_refused(values: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"values: {message}"):
        estimate_mean(np.array(values), 10, 0.95, seed=1)
    with pytest.raises(ValueError, match=f"baseline: {message}"):
        compare_paired(np.zeros(3), np.array(values), 10, 0.95, seed=1)


@pytest.mark.parametrize(("resamples", "confidence"), [(0, 0.95), (10, 0.0), (10, 1.0), (10, 95.0)])
def test_impossible_intervals_are_refused(resamples: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="expected resamples of 1 or more and a confidence between 0 and 1"):
        estimate_mean(np.zeros(3), resamples, confidence, seed=1)
