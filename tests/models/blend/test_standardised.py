"""Numbers per title on one scale, by the candidates alone; a missing number is the mean."""

import numpy as np
import pytest

from models.blend.standardised import Scale, popularity, standardise


@pytest.mark.parametrize("candidates", [slice(2), np.array([True, True, False])])
def test_standardised_over_candidates_alone(candidates: slice | np.ndarray) -> None:
    # Candidates 1, 3: mean 2, deviation 1. The last title left the guide.
    numbers = standardise(np.array([1.0, 3.0, 7.0]), candidates)
    assert numbers.values.tolist() == [-1, 1, 5]
    assert (numbers.mean, numbers.std) == (2, 1)


def test_missing_value_is_the_mean() -> None:
    assert standardise(np.array([1.0, np.nan, 3.0]), slice(3)).values.tolist() == [-1, 0, 1]


@pytest.mark.parametrize("values", [[0.1, 0.1, 0.1], [np.nan, np.nan, np.nan]])
def test_equal_values_become_zeros(values: list[float]) -> None:
    numbers = standardise(np.array(values), slice(3))
    assert numbers.values.tolist() == [0, 0, 0]
    assert numbers.std == 0


@pytest.mark.parametrize("scale", ["log", "rank"])
def test_title_without_likes_has_the_mean_popularity(scale: Scale) -> None:
    # So the dial moves it neither way.
    assert popularity(np.array([0, 9, 1]), slice(3), scale).values.tolist() == [0, 1, -1]


def test_popularity_is_a_log_or_a_rank() -> None:
    counts = np.array([8, 0, 2, 99, 2, 5])
    candidates = np.arange(6) != 5  # which left, and stands between the others
    logs = popularity(counts, candidates, "log")
    assert logs.mean == pytest.approx(np.log([9, 3, 100, 3]).mean())
    np.testing.assert_allclose(logs.values[5], (np.log(6) - logs.mean) / logs.std, rtol=1e-6)
    ranks = popularity(counts, candidates, "rank")
    expected = np.array([2.5, 1, 3.5, 1, 2]) / 4
    assert (ranks.mean, ranks.std) == (pytest.approx(expected[:4].mean()), pytest.approx(expected[:4].std()))
    np.testing.assert_allclose(ranks.values[[0, 2, 3, 4, 5]], (expected - ranks.mean) / ranks.std, rtol=1e-6)
    assert not popularity(np.zeros(3, np.int64), slice(3), "rank").values.any()
