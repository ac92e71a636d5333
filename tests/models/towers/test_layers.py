"""The towers against plain loops over titles."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lake.arrays import Doubles
from models.towers.layers import (
    HistoryTensors,
    QueryTower,
    TitleTower,
    attend,
    attention_by_title,
    pooled_queries,
    query_vectors,
    scattered,
    unit,
    weighted_rows,
)
from models.towers.legacy_keras import tf

DIM, COUNT_TITLES, COUNT_COUNTRIES = 4, 9, 3


def unit_rows(vectors: Doubles) -> Doubles:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def table() -> NDArray[np.float32]:
    """[titles + 1, dim], row 0 zeros."""
    vectors = unit_rows(np.random.default_rng(1).normal(size=(COUNT_TITLES + 1, DIM)))
    vectors[0] = 0
    return vectors.astype(np.float32)


def test_a_title_is_its_id_beside_its_content() -> None:
    content = np.random.default_rng(4).normal(size=(COUNT_TITLES, 3)).astype(np.float32)
    tower = TitleTower(COUNT_TITLES, DIM, content)
    tower.build()
    ids, of_content = tower.ids.numpy()[1:], tower.of_content.numpy()
    # Ids begin near 0, so that content decides.
    assert np.abs(ids).mean() < 0.2 * np.abs(content @ of_content).mean()
    np.testing.assert_allclose(tower.table().numpy()[1:], unit_rows(ids + content @ of_content), rtol=1e-5)
    np.testing.assert_array_equal(tower.table().numpy()[0], 0)
    rows = tf.constant([3, 5, 0], tf.int64)
    vectors = tower(rows, tf.constant([1.0, 0.0, 1.0])).numpy()
    np.testing.assert_allclose(vectors[0], tower.table().numpy()[3], rtol=1e-5)
    np.testing.assert_allclose(vectors[1], unit_rows(content[4] @ of_content), rtol=1e-5)
    np.testing.assert_array_equal(vectors[2], 0)


@pytest.fixture(scope="module")
def weights() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(2)
    made = {
        "of_vector": random.normal(size=DIM),
        "of_age": np.array(-0.3),
        "of_weight": np.array(0.7),
        "everybody": random.normal(size=DIM),
        "countries": random.normal(size=(COUNT_COUNTRIES, DIM)),
    }
    return {name: values.astype(np.float32) for name, values in made.items()}


def history(
    *entries: list[tuple[int, float, float]], countries: list[int] | None = None, length: int = 5
) -> HistoryTensors:
    """Histories of (row, weight, age in days), padded behind."""
    padded = np.zeros((len(entries), length, 3))
    for number, titles in enumerate(entries):
        if titles:
            padded[number, : len(titles)] = titles
    rows, likes, ages = padded[..., 0].astype(np.int64), padded[..., 1], padded[..., 2]
    known = np.zeros(len(entries), dtype=np.int64) if countries is None else np.array(countries)
    return HistoryTensors(*map(tf.constant, (rows, likes.astype(np.float32), ages.astype(np.float32), known)))


def expected_query(
    entries: list[tuple[int, float, float]], country: int, table: NDArray[Any], weights: dict[str, NDArray[Any]]
) -> Doubles:
    """Title by title: softmax of the logits; the pool is scaled by the root of the effective number of titles."""
    counted = [(row, like, age) for row, like, age in entries if row > 0 and like > 0]
    pooled = np.zeros(DIM)
    if counted:
        logits = [
            float(table[row] @ weights["of_vector"] + weights["of_age"] * np.log1p(age))
            + float(weights["of_weight"]) * (like - 1)
            for row, like, age in counted
        ]
        shares = np.exp(logits) / np.exp(logits).sum()
        effective = 1 / np.square(shares).sum()
        for share, (row, _, _) in zip(shares, counted, strict=True):
            pooled += np.sqrt(effective) * share * table[row]
    return unit_rows(pooled + weights["everybody"] + weights["countries"][country])


HISTORIES: list[list[tuple[int, float, float]]] = [
    [(3, 1.0, 0.0)],
    [(1, 1.0, 2.0), (4, 0.3, 30.0), (9, 2.0, 400.0)],
    [],
    [(5, -1.0, 1.0)],
    [(7, 1.0, 0.0), (6, -0.5, 0.0), (2, 0.0, 3.0), (8, 1.0, 9.0)],
]


def test_queries_are_those_of_a_loop_over_titles(
    table: NDArray[np.float32], weights: dict[str, NDArray[np.float32]]
) -> None:
    countries = [0, 1, 2, 1, 0]
    queries = query_vectors(history(*HISTORIES, countries=countries), tf.constant(table), weights).numpy()
    expected = [
        expected_query(entries, country, table, weights) for entries, country in zip(HISTORIES, countries, strict=True)
    ]
    np.testing.assert_allclose(queries, expected, atol=1e-5)


@pytest.mark.parametrize("without", [None, 1])
def test_queries_from_the_vectors_of_entries_are_those_from_the_table(
    without: int | None, table: NDArray[np.float32], weights: dict[str, NDArray[np.float32]]
) -> None:
    """Also of users without history, with dislikes alone, and where an entry has been dropped from each."""
    whole = history(*HISTORIES, countries=[0, 1, 2, 1, 0])
    is_kept = np.arange(5) != without
    kept = whole._replace(rows=whole.rows * is_kept, weights=whole.weights * is_kept.astype(np.float32))
    entries = tf.where(whole.rows > 0)
    vectors = tf.gather(tf.constant(table), tf.gather_nd(whole.rows, entries))
    queries = pooled_queries(kept, entries, vectors, weights).numpy()
    np.testing.assert_allclose(queries, query_vectors(kept, tf.constant(table), weights).numpy(), atol=1e-5)


def test_query_weights_start_with_equal_attention(table: NDArray[np.float32]) -> None:
    tower = QueryTower(DIM, COUNT_COUNTRIES)
    tower.build()
    weights = tower.weights_by_name()
    attention = attend(history(HISTORIES[1]), attention_by_title(tf.constant(table), weights), weights).numpy()
    np.testing.assert_allclose(attention, [[1 / 3, 1 / 3, 1 / 3, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("entries", "alike"),
    [
        ([(5, -1.0, 1.0)], []),
        ([(5, 0.0, 1.0)], []),
        ([(3, 1.0, 0.0), (0, 0.0, 0.0), (4, 1.0, 1.0)], [(3, 1.0, 0.0), (4, 1.0, 1.0)]),
        ([(3, 1.0, 0.0), (5, -2.0, 0.0)], [(3, 1.0, 0.0)]),
        # Values on padding are ignored.
        ([(3, 1.0, 0.0), (0, 1.0, 7.0)], [(3, 1.0, 0.0)]),
        # The order of titles does not matter, only their ages.
        ([(3, 1.0, 5.0), (4, 0.5, 1.0)], [(4, 0.5, 1.0), (3, 1.0, 5.0)]),
    ],
)
def test_dislikes_and_padding_are_left_out(
    entries: list[tuple[int, float, float]],
    alike: list[tuple[int, float, float]],
    table: NDArray[np.float32],
    weights: dict[str, NDArray[np.float32]],
) -> None:
    queries = query_vectors(history(entries, alike), tf.constant(table), weights).numpy()
    np.testing.assert_allclose(queries[0], queries[1], atol=1e-6)


def test_an_empty_history_gives_the_shared_query(
    table: NDArray[np.float32], weights: dict[str, NDArray[np.float32]]
) -> None:
    attention = attend(history([]), attention_by_title(tf.constant(table), weights), weights).numpy()
    assert attention.tolist() == [[0, 0, 0, 0, 0]]
    query = query_vectors(history([], countries=[1]), tf.constant(table), weights).numpy()[0]
    np.testing.assert_allclose(query, unit_rows(weights["everybody"] + weights["countries"][1]), atol=1e-6)


def test_country_beyond_the_table_is_clipped(
    table: NDArray[np.float32], weights: dict[str, NDArray[np.float32]]
) -> None:
    queries = query_vectors(history([], [], countries=[2, 50]), tf.constant(table), weights).numpy()
    np.testing.assert_allclose(queries[0], queries[1])


def test_sums_are_the_same_through_a_dense_matrix_or_by_gathering() -> None:
    random = np.random.default_rng(3)
    for count_rows, length in ((6, 5), (200, 3)):  # few titles beside the histories, and many
        rows = random.integers(0, count_rows, size=(4, length))
        shares = random.normal(size=(4, length)).astype(np.float32)
        vectors = random.normal(size=(count_rows, DIM)).astype(np.float32)
        expected = [sum(shares[n, m] * vectors[rows[n, m]] for m in range(length)) for n in range(4)]
        sums = weighted_rows(tf.constant(rows), tf.constant(shares), tf.constant(vectors))
        np.testing.assert_allclose(sums, expected, atol=1e-5)
        # A table whose size the graph does not know is gathered from.
        signature = [tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None, None]), tf.TensorSpec([None, DIM])]
        in_graph = tf.function(weighted_rows, input_signature=signature)
        np.testing.assert_allclose(in_graph(rows, shares, vectors), expected, atol=1e-5)


def test_values_of_one_column_are_added_up() -> None:
    sums = scattered(tf.constant([[2, 0, 2], [1, 1, 1]]), tf.constant([[1.0, 5.0, 0.5], [1.0, 2.0, 3.0]]), 4)
    assert sums.numpy().tolist() == [[5, 0, 1.5, 0], [0, 6, 0, 0]]


def test_zero_vectors_stay_zero() -> None:
    units = unit(tf.constant([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]])).numpy()
    np.testing.assert_allclose(units, [[0.6, 0.8], [0, 0], [-1, 0]], atol=1e-6)


def test_a_title_vector_is_its_id_s_embedding() -> None:
    tower = TitleTower(COUNT_TITLES, DIM)
    tower.build()
    table = tower.table().numpy()
    assert table[0].tolist() == [0] * DIM
    np.testing.assert_allclose(table[1:], unit_rows(tower.ids.numpy()[1:]), atol=1e-5)
    np.testing.assert_allclose(tower(tf.constant([4, 0, 4])), table[[4, 0, 4]], atol=1e-6)
