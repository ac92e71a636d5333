"""The search on objectives with a known best point."""

import logging
import math

import pytest

from models.linear.als_search import AlsGrid, AlsParameters, Trial, best_trial, search_als

GRID = AlsGrid(
    factors=(16, 32, 64, 128, 256),
    regularization=(0.1, 1.0, 10.0, 50.0, 150.0, 500.0),
    alpha=(1.0, 5.0, 20.0, 80.0),
    iterations=(5, 10, 20, 40),
)  # 480 points
BEST = AlsParameters(factors=128, regularization=150.0, alpha=20.0, iterations=20)


def _one_peak(parameters: AlsParameters) -> float:
    """Falls with the distance from BEST on a logarithmic scale, regularisation and alpha depending on each other."""
    distances = [
        math.log(getattr(parameters, name) / getattr(BEST, name))
        for name in ("factors", "regularization", "alpha", "iterations")
    ]
    return -sum(distance**2 for distance in distances) + 0.6 * distances[1] * distances[2]


@pytest.mark.parametrize("seed", range(5))
def test_the_peak_is_found_in_a_fraction_of_the_grid(seed: int) -> None:
    trials = search_als(_one_peak, GRID, count_random=10, count_climbs=1, max_trials=100, seed=seed)
    assert best_trial(trials).parameters == BEST
    assert best_trial(trials).objective == pytest.approx(0)
    assert len(trials) < 100


def test_a_ridge_that_no_single_step_climbs_is_climbed() -> None:
    """Regularisation and alpha are good only together, and the better the greater both are."""
    steps = (1.0, 2.0, 3.0, 4.0, 5.0)
    grid = AlsGrid((16,), steps, steps, (5,))

    def ridge(parameters: AlsParameters) -> float:
        off = abs(parameters.regularization - parameters.alpha)
        return parameters.alpha if off == 0 else -off

    for seed in range(5):
        trials = search_als(ridge, grid, count_random=3, count_climbs=1, max_trials=25, seed=seed)
        assert best_trial(trials).objective == 5


def test_several_climbs_find_what_one_misses() -> None:
    """A broad hill with its top at 16 factors, and a narrow higher one at 256."""

    def two_hills(parameters: AlsParameters) -> float:
        return {16: 3.0, 32: 2.5, 64: 1.0, 128: 2.0, 256: 4.0}[parameters.factors]

    grid = AlsGrid((16, 32, 64, 128, 256), (1.0,), (1.0,), (5,))
    # A seed that draws a point at the foot of each hill, 32 and 128 of the five.
    seed = next(
        seed
        for seed in range(1000)
        if {t.parameters.factors for t in search_als(two_hills, grid, 2, 0, 9, seed)} == {32, 128}
    )
    assert best_trial(search_als(two_hills, grid, 2, 1, 9, seed)).parameters.factors == 16
    assert best_trial(search_als(two_hills, grid, 2, 2, 9, seed)).parameters.factors == 256


def test_the_same_seed_makes_the_same_trials() -> None:
    first, second = (search_als(_one_peak, GRID, 10, 2, 100, seed=4) for _ in range(2))
    assert first == second
    other = search_als(_one_peak, GRID, 10, 2, 100, seed=5)
    assert [t.parameters for t in other[:10]] != [t.parameters for t in first[:10]]


def test_no_point_is_tried_twice_and_none_beyond_the_limit() -> None:
    calls: list[AlsParameters] = []

    def counted(parameters: AlsParameters) -> float:
        calls.append(parameters)
        return _one_peak(parameters)

    trials = search_als(counted, GRID, count_random=10, count_climbs=4, max_trials=33, seed=1)
    assert len(trials) == 33
    assert calls == [trial.parameters for trial in trials]
    assert len(set(calls)) == 33
    assert [trial.stage for trial in trials] == ["random"] * 10 + ["neighbour"] * 23


def test_a_grid_smaller_than_the_request_is_tried_whole() -> None:
    grid = AlsGrid((16, 32), (1.0, 10.0), (1.0,), (5,))
    trials = search_als(_one_peak, grid, count_random=50, count_climbs=3, max_trials=50, seed=1)
    assert {trial.parameters for trial in trials} == {grid.point(number) for number in range(4)}
    assert len(trials) == grid.count_points == 4


def test_the_earliest_of_equal_trials_is_best() -> None:
    grid = AlsGrid((16, 32, 64), (1.0,), (1.0,), (5,))
    trials = search_als(lambda _: 1.0, grid, count_random=3, count_climbs=1, max_trials=9, seed=1)
    assert best_trial(trials) is trials[0]


def test_the_best_at_an_end_of_the_grid_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    grid = AlsGrid((64, 128), (50.0, 150.0, 500.0), (20.0,), (20, 40))
    with caplog.at_level(logging.WARNING):
        search_als(_one_peak, grid, count_random=4, count_climbs=1, max_trials=50, seed=1)
    assert caplog.messages == [
        "the best parameters found are at an end of the grid for: factors, iterations; widen it there"
    ]


def test_an_objective_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"objective of AlsParameters\(factors=16, .* is nan; expected a finite"):
        search_als(lambda _: math.nan, AlsGrid((16,), (1.0,), (1.0,), (5,)), 1, 1, 1, seed=1)


def test_values_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha: expected different values in ascending order, found \[5.0, 1.0\]"):
        AlsGrid((16,), (1.0,), (5.0, 1.0), (5,))
    with pytest.raises(ValueError, match=r"factors: expected different values in ascending order, found \[\]"):
        AlsGrid((), (1.0,), (1.0,), (5,))


def test_a_trial_records_its_parameters_and_objective() -> None:
    (trial,) = search_als(lambda _: 0.25, AlsGrid((16,), (1.0,), (2.0,), (5,)), 1, 1, 1, seed=1)
    assert trial == Trial(AlsParameters(16, 1.0, 2.0, 5), 0.25, "random", seconds=0)
    assert trial.seconds >= 0
