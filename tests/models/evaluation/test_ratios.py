"""Means and ratios with intervals over users with several values each."""

import numpy as np
import pytest

from models.evaluation.comparison import estimate_mean as estimate_plain
from models.evaluation.ratios import Sample, estimate_mean, estimate_ratio

PLAIN = np.array([0.1, 0.4, 0.9, 0.0, 0.6])


def sample(values: list[float], users: list[int]) -> Sample:
    return Sample(np.array(values, dtype=float), np.array(users))


def test_one_value_per_user_is_an_ordinary_bootstrap() -> None:
    estimate = estimate_mean(Sample(PLAIN, np.arange(5)), 400, 0.9, 3)
    plain = estimate_plain(PLAIN, 400, 0.9, 3)
    assert (estimate.mean, estimate.count_users) == (plain.mean, 5)
    assert (estimate.low, estimate.high) == pytest.approx((plain.low, plain.high))


def test_a_user_with_several_values_is_drawn_as_one() -> None:
    # User 7 has three values of 1, user 2 one of 0: the mean is ¾, and draws of two users give 0, ¾ or 1.
    estimate = estimate_mean(sample([1, 1, 1, 0], [7, 7, 7, 2]), 500, 0.9, 1)
    assert (estimate.mean, estimate.low, estimate.high, estimate.count_users) == (0.75, 0, 1, 2)
    # One user alone gives a single point.
    alone = estimate_mean(sample([1, 0], [4, 4]), 50, 0.9, 1)
    assert (alone.mean, alone.low, alone.high, alone.count_users) == (0.5, 0.5, 0.5, 1)


def test_a_ratio_draws_users_with_all_their_values() -> None:
    # Every user's value above is twice that below, so the ratio of every draw is 2.
    random = np.random.default_rng(5)
    values, users = random.random(40) * 10 ** random.random(40), random.integers(0, 9, 40)
    estimate = estimate_ratio(Sample(2 * values, users), Sample(values, users), 200, 0.95, 2)
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((2, 2, 2))


def test_a_ratio_is_that_of_a_slow_bootstrap() -> None:
    random = np.random.default_rng(6)
    above = Sample(random.random(30), random.integers(0, 8, 30))
    below = Sample(random.random(50) + 1, random.integers(4, 12, 50))
    estimate = estimate_ratio(above, below, 300, 0.8, 9)
    users = np.unique(np.concatenate([above.users, below.users]))
    drawn = np.random.default_rng(9).integers(len(users), size=(300, len(users)), dtype=np.int32)
    ratios = []
    for draw in drawn:
        parts = []
        for part in (above, below):
            values = [value for n in draw for value in part.values[part.users == users[n]]]
            parts.append(np.mean(values))
        ratios.append(parts[0] / parts[1])
    assert estimate.mean == pytest.approx(above.values.mean() / below.values.mean())
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(ratios, [0.1, 0.9])))
    assert estimate.count_users == len(np.unique(above.users))


def test_samples_without_values_are_refused() -> None:
    no_users, one = sample([], []), sample([1], [0])
    for call in (
        lambda: estimate_mean(no_users, 10, 0.9, 1),
        lambda: estimate_ratio(no_users, one, 10, 0.9, 1),
        lambda: estimate_ratio(one, no_users, 10, 0.9, 1),
    ):
        with pytest.raises(ValueError, match="expected the value of at least one user, found none"):
            call()
    with pytest.raises(ValueError, match="the mean below is 0"):
        estimate_ratio(one, sample([0, 0], [1, 2]), 10, 0.9, 1)
    with pytest.raises(ValueError, match="expected a finite value for each"):
        sample([float("nan")], [0])
    with pytest.raises(ValueError, match="expected resamples of 1 or more, found 0"):
        estimate_mean(one, 0, 0.9, 1)


def test_draws_without_users_below_are_left_out() -> None:
    # Of two users one is above and one below; only draws of both define a ratio, which is 3.
    estimate = estimate_ratio(sample([3], [0]), sample([1], [1]), 100, 0.9, 1)
    assert (estimate.mean, estimate.low, estimate.high) == (3, 3, 3)
