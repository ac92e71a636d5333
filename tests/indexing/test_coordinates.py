"""Popularity and freshness beside the embedding: what they say, and that their scale changes no score."""

import numpy as np
import pytest

from indexing import bundle, coordinates
from indexing.manifest import Coordinate, Dial, Vectors


def test_standardised_over_candidates_alone() -> None:
    # Candidates 1, 3: mean 2, deviation 1. The last title left the guide.
    found = coordinates.standardise(np.array([1.0, 3.0, 7.0]), 2)
    assert found.values.tolist() == [-1, 1, 5]
    assert (found.mean, found.std) == (2, 1)


def test_value_that_is_not_known_is_the_mean() -> None:
    assert coordinates.standardise(np.array([1.0, np.nan, 3.0]), 3).values.tolist() == [-1, 0, 1]


@pytest.mark.parametrize("values", [[0.1, 0.1, 0.1], [np.nan, np.nan, np.nan]])
def test_values_all_alike_say_nothing(values: list[float]) -> None:
    found = coordinates.standardise(np.array(values), 3)
    assert found.values.tolist() == [0, 0, 0]
    assert found.std == 0


def test_title_without_positives_has_a_popularity() -> None:
    assert coordinates.log_popularity(np.array([0, 9])).tolist() == [0, np.log(10)]


def test_freshness_halves_by_its_decay_and_is_full_before_release() -> None:
    decay = 100 / np.log(2)
    ages = coordinates.freshness(np.array([1000.0, 900.0, 1200.0, np.nan]), 1000, decay)
    assert ages[:3].tolist() == pytest.approx([1, 0.5, 1])
    assert np.isnan(ages[3])


def test_spread_is_the_deviation_of_each_users_scores() -> None:
    random = np.random.default_rng(0)
    queries, titles = random.normal(size=(5, 4)).astype("f"), random.normal(size=(50, 4)).astype("f")
    slow = [np.std([float(query @ title) for title in titles]) for query in queries]
    assert coordinates.score_spread(queries, titles) == pytest.approx(np.median(slow), rel=1e-4)


def test_dial_by_rule_is_in_units_of_scores() -> None:
    dial = coordinates.dial_by_rule({"popular": 0.5, "gems": -0.25}, reach=2, spread=4)
    assert dial.settings == {"popular": 2, "gems": -1}
    assert (dial.minimum, dial.maximum) == (-8, 8)


def test_coordinate_is_as_conspicuous_in_vectors_as_in_queries() -> None:
    # Entries of embeddings are ±2, of queries ±0.5, the dial is turned by 4: s = √(2 · 4 / 0.5) = 4.
    dial = Dial(minimum=-8, maximum=8, settings={"popular": 4, "balanced": 0, "gems": -4}, source="test")
    embeddings, queries = np.array([[2, -2], [-2, 2]], "f"), np.array([[0.5, -0.5]], "f")
    scale = coordinates.balanced_scale(embeddings, queries, dial)
    assert scale == pytest.approx(4)
    # Twice as large as the others in vectors, and twice in queries.
    assert scale / 2 == pytest.approx((4 / scale) / 0.5)


def test_scale_changes_no_score() -> None:
    random = np.random.default_rng(0)
    titles, queries = random.normal(size=(20, 3)).astype("f"), random.normal(size=(2, 3)).astype("f")
    popularity, freshness = random.normal(size=(2, 20)).astype("f")
    wanted = queries @ titles.T + 0.7 * popularity - 0.2 * freshness
    for scale in (0.01, 1, 30):
        coordinate = Coordinate(value="test", mean=0, std=1, scale=scale)
        layout = Vectors(embedding_dim=3, popularity=coordinate, freshness=coordinate, freshness_decay_days=1)
        vectors = np.hstack([titles, (popularity * scale)[:, None], (freshness * scale)[:, None]])
        found = bundle.turned(layout, queries, dial=0.7, freshness=-0.2) @ vectors.T
        assert np.allclose(found, wanted, atol=1e-4)


def test_settings_beyond_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"settings \['gems'\] lie outside of -1.0 to 1.0"):
        Dial(minimum=-1, maximum=1, settings={"gems": -2}, source="test")
