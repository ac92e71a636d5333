"""Numbers per title on one scale: over the candidates alone, nothing known in the middle."""

import numpy as np
import pytest

from models.standardised import log_popularity, standardise


@pytest.mark.parametrize("candidates", [slice(2), np.array([True, True, False])])
def test_standardised_over_candidates_alone(candidates: slice | np.ndarray) -> None:
    # Candidates 1, 3: mean 2, deviation 1. The last title left the guide.
    found = standardise(np.array([1.0, 3.0, 7.0]), candidates)
    assert found.values.tolist() == [-1, 1, 5]
    assert (found.mean, found.std) == (2, 1)


def test_value_that_is_not_known_is_the_mean() -> None:
    assert standardise(np.array([1.0, np.nan, 3.0]), slice(3)).values.tolist() == [-1, 0, 1]


@pytest.mark.parametrize("values", [[0.1, 0.1, 0.1], [np.nan, np.nan, np.nan]])
def test_values_all_alike_say_nothing(values: list[float]) -> None:
    found = standardise(np.array(values), slice(3))
    assert found.values.tolist() == [0, 0, 0]
    assert found.std == 0


def test_how_popular_a_title_is_that_nobody_liked_is_not_known() -> None:
    found = log_popularity(np.array([0, 9, 1]))
    assert found[1:].tolist() == [np.log(10), np.log(2)]
    assert np.isnan(found[0])
    # So it is in the middle, and the dial moves it neither way.
    assert standardise(found, slice(3)).values.tolist() == [0, 1, -1]
