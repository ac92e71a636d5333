"""From a history to a query: what each part brings, folded in as ALS itself does."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from models.data.padded_histories import pad_newest_first
from models.linear.als import fold_in
from models.towers.layers import HistoryTensors, query_vectors
from models.towers.legacy_keras import tf
from models.towers.query_module import QueryModule, QueryParameters, QueryTables
from tests.fixtures.query_parts import parameters, tables

TITLES, DIM, DIMS, FACTORS = 12, 4, 7, 3


@pytest.fixture(scope="module")
def own() -> QueryTables:
    return tables(np.random.default_rng(1), TITLES, DIM, DIMS, FACTORS)


@pytest.fixture(scope="module")
def query(own: QueryTables) -> QueryParameters:
    return parameters(own, np.random.default_rng(2))


def only(part: str, query: QueryParameters, **changes: Any) -> QueryParameters:
    weights = dict.fromkeys(("towers", "linear", "als"), 0.0) | {part: 1.0}
    return QueryParameters(**{**vars(query), "part_weights": weights, **changes})


def asked(tables: QueryTables, query: QueryParameters, rows: Any, weights: Any = None, **more: Any) -> np.ndarray:
    places = np.array(rows, dtype=np.int64)
    likes = np.array(weights if weights is not None else places > 0, dtype=np.float32)
    ages = np.array(more.get("ages", np.zeros_like(likes)), dtype=np.float32)
    countries = np.array(more.get("countries", [0] * len(places)), dtype=np.int64)
    return QueryModule(tables, query)(places, likes, ages, countries).numpy()


def length_one(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_factors_are_those_of_the_fold_in(own: QueryTables, query: QueryParameters) -> None:
    liked = sparse.random(20, TITLES, 0.3, format="csr", random_state=3)
    liked.data[:] = 1
    liked.sort_indices()
    histories = pad_newest_first(liked, None, None, TITLES)
    identity = only("als", query, factor_projection=np.eye(FACTORS, DIMS, dtype=np.float32))
    found = asked(own, identity, histories.rows, histories.weights)[:, :FACTORS]
    expected = fold_in(liked, own.factors.astype(np.float64), query.system.astype(np.float64), query.alpha)
    has_history = np.diff(liked.indptr) > 0
    assert has_history.any()
    assert not has_history.all()
    np.testing.assert_allclose(found[has_history], length_one(expected[has_history]), atol=1e-4)
    # What is met without liking it says nothing to the old recommender.
    assert not asked(own, identity, [[3, 5]], [[0.1, 0.2]]).any()


def test_linear_part_is_the_sum_of_its_likes(own: QueryTables, query: QueryParameters) -> None:
    # The second is met and not liked, the third disliked.
    found = asked(own, only("linear", query), [[3, 5, 8, 1, 0]], [[1.0, 0.1, -1.0, 0.25, 0.0]])
    np.testing.assert_allclose(found[0], length_one(own.linear[2] + own.linear[0]), atol=1e-5)


def test_towers_are_pooled_and_projected(own: QueryTables, query: QueryParameters) -> None:
    rows = np.array([[3, 5, 8, 0]])
    weights, ages = np.array([[1, 1, 0.1, 0]], np.float32), np.array([[0, 3, 9, 0]], np.float32)
    found = asked(own, only("towers", query), rows, weights, ages=ages, countries=[2])
    padded = tf.constant(np.pad(own.tower, ((1, 0), (0, 0))))
    history = HistoryTensors(*map(tf.constant, (rows, weights, ages, np.array([2]))))
    tower = query_vectors(history, padded, query.tower).numpy()[0]
    np.testing.assert_allclose(found[0], length_one(tower @ query.tower_projection), atol=1e-5)


def test_parts_add_up_by_their_weights(own: QueryTables, query: QueryParameters) -> None:
    rows = [[3, 5, 8, 0], [2, 0, 0, 0]]
    alone = {part: asked(own, only(part, query), rows) for part in query.part_weights}
    expected = alone["towers"] + 0.5 * alone["linear"] + 0.25 * alone["als"]
    np.testing.assert_allclose(asked(own, query, rows), expected, atol=1e-5)


def test_without_als_there_is_nothing_to_fold_in(own: QueryTables, query: QueryParameters) -> None:
    nothing = QueryTables(own.tower, own.linear, np.empty((TITLES, 0), np.float32))
    empty = {"system": np.empty((0, 0), np.float32), "factor_projection": np.empty((0, DIMS), np.float32)}
    bare = QueryParameters(**{**vars(query), **empty})
    with_zero = QueryParameters(**{**vars(query), "part_weights": {"towers": 1.0, "linear": 0.5, "als": 0.0}})
    rows = [[3, 5, 8, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(asked(nothing, bare, rows), asked(own, with_zero, rows), atol=1e-5)


@pytest.mark.parametrize("part", ["towers", "linear", "als"])
def test_newer_likes_count_more(own: QueryTables, query: QueryParameters, part: str) -> None:
    # The second and third are of one age, each with one like that is newer; the fourth is no like, the fifth not known.
    rows, weights = np.array([[3, 5, 8, 1, 0, 2, 0]]), [[1.0, 1.0, 1.0, 0.1, 0.0, 1.0, 0.0]]
    ages = [[0.0, 2.0, 2.0, 3.0, 3.0, 9.0, 0.0]]
    counted = {3: 1.0, 5: 0.3 + 0.7 * 0.5, 8: 0.3 + 0.7 * 0.5, 2: 0.3 + 0.7 * 0.125}
    fading = only(part, query, recency_half_life=1.0, recency_floor=0.3)
    found = asked(own, fading, rows, weights, ages=ages)[0]
    if part == "linear":
        expected = sum(share * own.linear[row - 1] for row, share in counted.items())
    elif part == "als":
        liked = own.factors[[row - 1 for row in counted]].astype(np.float64)
        shares = np.array(list(counted.values()))
        system = query.system + (query.alpha - 1) * (liked.T * shares) @ liked
        expected = np.linalg.solve(system, query.alpha * shares @ liked) @ query.factor_projection
    else:
        padded = tf.constant(np.pad(own.tower, ((1, 0), (0, 0))))
        history = HistoryTensors(*map(tf.constant, (rows, np.float32(weights), np.float32(ages), np.array([0]))))
        # What is met without liking counts less than it did by the two likes that are newer than it and its own age.
        shares = np.array([[1.0, 0.65, 0.65, 0.3 + 0.7 * 0.125, 0.0, 0.3 + 0.7 * 0.125, 0.0]], np.float32)
        tower = query_vectors(history, padded, query.tower, tf.constant(shares)).numpy()[0]
        expected = tower @ query.tower_projection
    np.testing.assert_allclose(found, length_one(expected), atol=1e-4)
    # Without ages all are of today, and count alike.
    alike = asked(own, only(part, query), rows, weights)
    np.testing.assert_allclose(asked(own, fading, rows, weights), alike, atol=1e-5)


def test_padding_says_nothing_wherever_it_stands(own: QueryTables, query: QueryParameters) -> None:
    behind = asked(own, query, [[3, 5, 0, 0, 0, 0]])
    np.testing.assert_allclose(asked(own, query, [[0, 3, 0, 0, 0, 5]]), behind, atol=1e-5)
    np.testing.assert_allclose(asked(own, query, [[3, 5]]), behind, atol=1e-5)
    # Nor do the histories that are asked together.
    together = asked(own, query, [[3, 5, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]])
    np.testing.assert_allclose(together[:1], behind, atol=1e-5)


def test_whoever_likes_nothing_is_nobody(own: QueryTables, query: QueryParameters) -> None:
    rows, weights = [[0, 0], [3, 5], [3, 5], [3, 0]], [[0.0, 0.0], [-1.0, 0.0], [-1.0, 0.1], [1.0, 0.0]]
    found = asked(own, query, rows, weights, countries=[0, 3, 3, 3])
    np.testing.assert_array_equal(found[:2], np.stack([query.cold_user_query] * 2))
    assert not np.isclose(found[2:], query.cold_user_query).all(axis=1).any()


def test_it_asks_the_same_after_saving(own: QueryTables, query: QueryParameters, tmp_path: Any) -> None:
    module = QueryModule(own, query)
    tf.saved_model.save(module, str(tmp_path))
    history = (np.array([[3, 5, 0]]), np.ones((1, 3), np.float32), np.zeros((1, 3), np.float32), np.array([1]))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded(*history), module(*history), atol=1e-6)


def test_the_linear_part_is_kept_only_where_a_score_goes_by_it(own: QueryTables, query: QueryParameters) -> None:
    shapes = [variable.shape[1:] for variable in QueryModule(own, query).variables]
    without = [variable.shape[1:] for variable in QueryModule(own, only("als", query)).variables]
    assert sorted(map(str, shapes)) == sorted(map(str, [*without, own.linear.shape[1:]]))


def test_what_was_loaded_takes_the_tables_of_a_larger_catalogue(
    own: QueryTables, query: QueryParameters, tmp_path: Any
) -> None:
    again = np.tile(np.arange(TITLES), 2)
    larger = QueryTables(own.tower[again], own.linear[again], own.factors[again])
    tf.saved_model.save(QueryModule(own, query), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    tables = [variable for variable in loaded.signatures["serving_default"].variables if variable.shape[:1] == [None]]
    for table in tables:
        table.assign(np.concatenate([table.numpy(), table.numpy()[1:]]))
    history = (np.array([[TITLES + 3, 5]]), np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32), np.array([1]))
    np.testing.assert_allclose(loaded(*history), QueryModule(larger, query)(*history), atol=1e-6)
