"""From a history to a query: the parts one by one, with ALS folded in."""

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
def query_tables() -> QueryTables:
    return tables(np.random.default_rng(1), TITLES, DIM, DIMS, FACTORS)


@pytest.fixture(scope="module")
def query(query_tables: QueryTables) -> QueryParameters:
    return parameters(query_tables, np.random.default_rng(2))


def only(part: str, query: QueryParameters, **changes: Any) -> QueryParameters:
    weights = dict.fromkeys(("towers", "linear", "als"), 0.0) | {part: 1.0}
    return QueryParameters(**{**vars(query), "part_weights": weights, **changes})


def embed(tables: QueryTables, query: QueryParameters, rows: Any, weights: Any = None, **more: Any) -> np.ndarray:
    row_array = np.array(rows, dtype=np.int64)
    likes = np.array(weights if weights is not None else row_array > 0, dtype=np.float32)
    ages = np.array(more.get("ages", np.zeros_like(likes)), dtype=np.float32)
    countries = np.array(more.get("countries", [0] * len(row_array)), dtype=np.int64)
    return QueryModule(tables, query)(row_array, likes, ages, countries).numpy()


def length_one(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_factors_are_those_of_the_fold_in(query_tables: QueryTables, query: QueryParameters) -> None:
    liked = sparse.random(20, TITLES, 0.3, format="csr", random_state=3)
    liked.data[:] = 1
    liked.sort_indices()
    histories = pad_newest_first(liked, None, None, TITLES)
    identity = only("als", query, factor_projection=np.eye(FACTORS, DIMS, dtype=np.float32))
    queries = embed(query_tables, identity, histories.rows, histories.weights)[:, :FACTORS]
    expected = fold_in(liked, query_tables.factors.astype(np.float64), query.system.astype(np.float64), query.alpha)
    has_history = np.diff(liked.indptr) > 0
    assert has_history.any()
    assert not has_history.all()
    np.testing.assert_allclose(queries[has_history], length_one(expected[has_history]), atol=1e-4)
    # Entries that are not likes are ignored by ALS.
    assert not embed(query_tables, identity, [[3, 5]], [[0.1, 0.2]]).any()


def test_linear_part_is_the_sum_of_its_likes(query_tables: QueryTables, query: QueryParameters) -> None:
    # The second is not a like, the third a dislike.
    queries = embed(query_tables, only("linear", query), [[3, 5, 8, 1, 0]], [[1.0, 0.1, -1.0, 0.25, 0.0]])
    np.testing.assert_allclose(queries[0], length_one(query_tables.linear[2] + query_tables.linear[0]), atol=1e-5)


def test_towers_are_pooled_and_projected(query_tables: QueryTables, query: QueryParameters) -> None:
    rows = np.array([[3, 5, 8, 0]])
    weights, ages = np.array([[1, 1, 0.1, 0]], np.float32), np.array([[0, 3, 9, 0]], np.float32)
    queries = embed(query_tables, only("towers", query), rows, weights, ages=ages, countries=[2])
    padded = tf.constant(np.pad(query_tables.tower, ((1, 0), (0, 0))))
    history = HistoryTensors(*map(tf.constant, (rows, weights, ages, np.array([2]))))
    tower = query_vectors(history, padded, query.tower).numpy()[0]
    np.testing.assert_allclose(queries[0], length_one(tower @ query.tower_projection), atol=1e-5)


def test_parts_add_up_by_their_weights(query_tables: QueryTables, query: QueryParameters) -> None:
    rows = [[3, 5, 8, 0], [2, 0, 0, 0]]
    alone = {part: embed(query_tables, only(part, query), rows) for part in query.part_weights}
    expected = alone["towers"] + 0.5 * alone["linear"] + 0.25 * alone["als"]
    np.testing.assert_allclose(embed(query_tables, query, rows), expected, atol=1e-5)


def test_popularity_is_added_to_the_queries_of_known_users(query_tables: QueryTables, query: QueryParameters) -> None:
    rows = [[3, 5, 8, 0], [0, 0, 0, 0]]
    popular = QueryParameters(**{**vars(query), "part_weights": {**query.part_weights, "popularity": 0.5}})
    without, queries = embed(query_tables, query, rows), embed(query_tables, popular, rows)
    np.testing.assert_allclose(queries[0], without[0] + 0.5 * query.cold_user_query, atol=1e-6)
    np.testing.assert_array_equal(queries[1], query.cold_user_query)


def test_without_als_there_is_nothing_to_fold_in(query_tables: QueryTables, query: QueryParameters) -> None:
    nothing = QueryTables(query_tables.tower, query_tables.linear, np.empty((TITLES, 0), np.float32))
    empty = {"system": np.empty((0, 0), np.float32), "factor_projection": np.empty((0, DIMS), np.float32)}
    bare = QueryParameters(**{**vars(query), **empty})
    with_zero = QueryParameters(**{**vars(query), "part_weights": {"towers": 1.0, "linear": 0.5, "als": 0.0}})
    rows = [[3, 5, 8, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(embed(nothing, bare, rows), embed(query_tables, with_zero, rows), atol=1e-5)


@pytest.mark.parametrize("part", ["towers", "linear", "als"])
def test_newer_likes_count_more(query_tables: QueryTables, query: QueryParameters, part: str) -> None:
    # The second and third have one age and one newer like; the fourth is no like, the fifth unknown.
    rows, weights = np.array([[3, 5, 8, 1, 0, 2, 0]]), [[1.0, 1.0, 1.0, 0.1, 0.0, 1.0, 0.0]]
    ages = [[0.0, 2.0, 2.0, 3.0, 3.0, 9.0, 0.0]]
    counted = {3: 1.0, 5: 0.3 + 0.7 * 0.5, 8: 0.3 + 0.7 * 0.5, 2: 0.3 + 0.7 * 0.125}
    fading = only(part, query, recency_half_life=1.0, recency_floor=0.3)
    queries = embed(query_tables, fading, rows, weights, ages=ages)[0]
    if part == "linear":
        expected = sum(share * query_tables.linear[row - 1] for row, share in counted.items())
    elif part == "als":
        liked = query_tables.factors[[row - 1 for row in counted]].astype(np.float64)
        shares = np.array(list(counted.values()))
        system = query.system + (query.alpha - 1) * (liked.T * shares) @ liked
        expected = np.linalg.solve(system, query.alpha * shares @ liked) @ query.factor_projection
    else:
        padded = tf.constant(np.pad(query_tables.tower, ((1, 0), (0, 0))))
        history = HistoryTensors(*map(tf.constant, (rows, np.float32(weights), np.float32(ages), np.array([0]))))
        # An entry that is no like counts less by the two likes that are newer, and by its age.
        shares = np.array([[1.0, 0.65, 0.65, 0.3 + 0.7 * 0.125, 0.0, 0.3 + 0.7 * 0.125, 0.0]], np.float32)
        tower = query_vectors(history, padded, query.tower, tf.constant(shares)).numpy()[0]
        expected = tower @ query.tower_projection
    np.testing.assert_allclose(queries, length_one(expected), atol=1e-4)
    # Without ages all are of today, and count alike.
    alike = embed(query_tables, only(part, query), rows, weights)
    np.testing.assert_allclose(embed(query_tables, fading, rows, weights), alike, atol=1e-5)


def test_padding_is_ignored_at_any_position(query_tables: QueryTables, query: QueryParameters) -> None:
    behind = embed(query_tables, query, [[3, 5, 0, 0, 0, 0]])
    np.testing.assert_allclose(embed(query_tables, query, [[0, 3, 0, 0, 0, 5]]), behind, atol=1e-5)
    np.testing.assert_allclose(embed(query_tables, query, [[3, 5]]), behind, atol=1e-5)
    # Nor do other histories of the batch matter.
    together = embed(query_tables, query, [[3, 5, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]])
    np.testing.assert_allclose(together[:1], behind, atol=1e-5)


def test_history_without_likes_gives_the_cold_user_query(query_tables: QueryTables, query: QueryParameters) -> None:
    rows, weights = [[0, 0], [3, 5], [3, 5], [3, 0]], [[0.0, 0.0], [-1.0, 0.0], [-1.0, 0.1], [1.0, 0.0]]
    queries = embed(query_tables, query, rows, weights, countries=[0, 3, 3, 3])
    np.testing.assert_array_equal(queries[:2], np.stack([query.cold_user_query] * 2))
    assert not np.isclose(queries[2:], query.cold_user_query).all(axis=1).any()


def test_saved_module_gives_the_same_queries(query_tables: QueryTables, query: QueryParameters, tmp_path: Any) -> None:
    module = QueryModule(query_tables, query)
    tf.saved_model.save(module, str(tmp_path))
    history = (np.array([[3, 5, 0]]), np.ones((1, 3), np.float32), np.zeros((1, 3), np.float32), np.array([1]))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded(*history), module(*history), atol=1e-6)


def test_the_linear_table_is_kept_only_where_it_has_weight(query_tables: QueryTables, query: QueryParameters) -> None:
    shapes = [variable.shape[1:] for variable in QueryModule(query_tables, query).variables]
    without = [variable.shape[1:] for variable in QueryModule(query_tables, only("als", query)).variables]
    assert sorted(map(str, shapes)) == sorted(map(str, [*without, query_tables.linear.shape[1:]]))


def test_loaded_module_takes_the_tables_of_a_larger_catalogue(
    query_tables: QueryTables, query: QueryParameters, tmp_path: Any
) -> None:
    again = np.tile(np.arange(TITLES), 2)
    larger = QueryTables(query_tables.tower[again], query_tables.linear[again], query_tables.factors[again])
    tf.saved_model.save(QueryModule(query_tables, query), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    tables = [variable for variable in loaded.signatures["serving_default"].variables if variable.shape[:1] == [None]]
    for table in tables:
        table.assign(np.concatenate([table.numpy(), table.numpy()[1:]]))
    history = (np.array([[TITLES + 3, 5]]), np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32), np.array([1]))
    np.testing.assert_allclose(loaded(*history), QueryModule(larger, query)(*history), atol=1e-6)
