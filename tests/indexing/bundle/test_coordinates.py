"""Popularity and freshness beside the embedding: their values, and that their scale changes no score."""

import numpy as np
import pytest

from indexing.bundle import coordinates
from indexing.bundle.manifest import Coordinate, Dial, Vectors


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


def test_popularity_is_as_large_in_queries_as_in_vectors() -> None:
    # Turned by 4: s = 2, which is the deviation of s·z, and the query's 4 / 2.
    dial = Dial(minimum=-8, maximum=8, settings={"popular": 4, "balanced": 0, "gems": -4}, source="test")
    assert coordinates.dial_scale(dial) == 2


def test_balanced_dimensions_are_as_large_in_queries_as_in_vectors() -> None:
    random = np.random.default_rng(0)
    titles = (random.normal(size=(400, 3)) * [1, 8, 2] + [0, 50, 0]).astype("f")
    queries = (random.normal(size=(300, 3)) * [1, 2, 0.5]).astype("f")
    balanced = coordinates.balance(titles, queries)
    assert np.allclose(balanced.titles(titles) @ balanced.queries(queries).T, titles @ queries.T, rtol=1e-4, atol=1e-3)
    rms = np.sqrt(np.mean(balanced.queries(queries) ** 2, axis=0))
    assert rms == pytest.approx(np.std(balanced.titles(titles), axis=0), rel=1e-3)
    # Deviations of scores by dimension are about 1, 16 and 1: the second comes first, and has nearly all the variance.
    assert balanced.order[0] == 1
    assert [balanced.leading(share) for share in (0.9, 0.9945, 1.0)] == [1, 2, 3]


def test_dimension_that_no_query_uses_is_not_blown_up() -> None:
    titles, queries = np.array([[1, 1], [-1, -1]], "f"), np.array([[1, 0]], "f")
    balanced = coordinates.balance(titles, queries)
    # At least a thousandth of the largest: √0.001.
    assert balanced.factors.tolist() == pytest.approx([1, 0.001**0.5])
    later = np.array([[0, 1]], "f")
    assert np.allclose(balanced.titles(titles) @ balanced.queries(later).T, [[1], [-1]])


def test_scale_changes_no_score() -> None:
    random = np.random.default_rng(0)
    titles, queries = random.normal(size=(20, 3)).astype("f"), random.normal(size=(2, 3)).astype("f")
    popularity, freshness = random.normal(size=(2, 20)).astype("f")
    expected = queries @ titles.T + 0.7 * popularity - 0.2 * freshness
    for scale in (0.01, 1, 30):
        coordinate = Coordinate(value="test", mean=0, std=1, scale=scale)
        layout = Vectors(embedding_dim=3, popularity=coordinate, freshness=coordinate, freshness_decay_days=1)
        vectors = np.hstack([(popularity * scale)[:, None], (freshness * scale)[:, None], titles])
        scores = coordinates.query_vectors(layout, queries, dial=0.7, freshness=-0.2) @ vectors.T
        assert np.allclose(scores, expected, atol=1e-4)


def test_settings_beyond_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"settings \['gems'\] lie outside of -1.0 to 1.0"):
        Dial(minimum=-1, maximum=1, settings={"gems": -2}, source="test")
