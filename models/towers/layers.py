"""The two towers: titles and histories as vectors whose inner product says how much a user would like a title.

Titles are named by row: row n + 1 is the n-th title, and row 0 is padding.
"""

from typing import NamedTuple

import numpy as np

from lake.arrays import Floats
from models.towers.legacy_keras import keras, tf

_LEAST_SQUARE = 1e-12  # of a length that is divided by
_ID_SPREAD_BESIDE_CONTENT = 0.1  # of the usual spread


class HistoryTensors(NamedTuple):
    """Histories of a batch of users, the newest title first, as tensors or arrays."""

    rows: tf.Tensor  # int64 [batch, length], 0 is padding
    weights: tf.Tensor  # float32 [batch, length], 1 is a like
    ages_days: tf.Tensor  # float32 [batch, length], before the query
    country: tf.Tensor  # int64 [batch], a vocabulary id, 0 where not known


class TitleTower(keras.layers.Layer):
    """Rows to vectors of length 1: an embedding of the title's id, and with `content` a linear map of it beside that.

    With content an id has to learn only what sets its title apart, so it begins near 0.
    """

    def __init__(self, count_titles: int, dim: int, content: Floats | None = None) -> None:
        """`content` [titles, features]."""
        super().__init__(name="titles")
        self._count_rows = count_titles + 1
        self._dim = dim
        self.content = None if content is None else tf.constant(np.pad(content, ((1, 0), (0, 0))), tf.float32)

    def build(self, _shape: tf.TensorShape | None = None) -> None:
        spread = self._dim**-0.5 * (1 if self.content is None else _ID_SPREAD_BESIDE_CONTENT)
        initial = keras.initializers.RandomNormal(stddev=spread, seed=1)
        self.ids = self.add_weight("ids", [self._count_rows, self._dim], initializer=initial)
        if self.content is not None:
            width = self.content.shape[1]
            initial = keras.initializers.RandomNormal(stddev=width**-0.5, seed=2)
            self.of_content = self.add_weight("of_content", [width, self._dim], initializer=initial)
        self.built = True

    def table(self) -> tf.Tensor:
        """[titles + 1, dim]; row 0 is zeros."""
        return self.call(tf.range(self._count_rows))

    def call(self, rows: tf.Tensor, has_id: tf.Tensor | None = None) -> tf.Tensor:
        """[rows, dim]: rows of `table`; without their ids where `has_id` [rows] is 0."""
        embeddings = tf.gather(tf.cast(self.ids, self.compute_dtype), rows)
        if has_id is not None:
            embeddings *= tf.cast(has_id, embeddings.dtype)[:, None]
        if self.content is not None:
            features = tf.cast(tf.gather(self.content, rows), self.compute_dtype)
            embeddings += tf.matmul(features, tf.cast(self.of_content, self.compute_dtype))
        return unit(embeddings) * tf.cast(rows > 0, embeddings.dtype)[..., None]


class QueryTower(keras.layers.Layer):
    """Histories to vectors of length 1: the titles' vectors pooled by attention, and an embedding of the country.

    Attention depends on a title's vector, weight and age. The pooled vector is the longer, the more titles count, so
    that a long history outweighs the cold-user bias (`everybody`, its name in stored models); an empty one adds zeros.
    """

    def __init__(self, dim: int, count_countries: int) -> None:
        super().__init__(name="query")
        self._dim = dim
        self._count_countries = count_countries

    def build(self, _shape: tf.TensorShape | None = None) -> None:
        # At 0 all titles count alike.
        self.of_vector = self.add_weight("of_vector", [self._dim], initializer="zeros")
        self.of_age = self.add_weight("of_age", [], initializer="zeros")
        self.of_weight = self.add_weight("of_weight", [], initializer="zeros")
        spread = keras.initializers.RandomNormal(stddev=self._dim**-0.5, seed=3)
        self.everybody = self.add_weight("everybody", [self._dim], initializer=spread)
        self.countries = self.add_weight("countries", [self._count_countries, self._dim], initializer="zeros")
        self.built = True

    def call(self, history: HistoryTensors, table: tf.Tensor) -> tf.Tensor:
        """[batch, dim], with the titles' vectors in `table` [titles + 1, dim]."""
        return query_vectors(history, table, self.weights_by_name())

    def weights_by_name(self) -> dict[str, tf.Tensor]:
        """The weights that `query_vectors` takes, in the precision of the products."""
        named = {name: getattr(self, name) for name in QUERY_WEIGHTS}
        return {name: tf.cast(weight, self.compute_dtype) for name, weight in named.items()}


QUERY_WEIGHTS = ("of_vector", "of_age", "of_weight", "everybody", "countries")


def query_vectors(
    history: HistoryTensors,
    table: tf.Tensor,
    weights: dict[str, tf.Tensor],
    recency: tf.Tensor | None = None,
    by_title: tf.Tensor | None = None,
) -> tf.Tensor:
    """[batch, dim] of QueryTower, from its weights: the computation that training, evaluation and serving share.

    Titles of weight 0 or less, which the user did not like, are left out. `recency` [batch, length] multiplies the
    attention to each title; `by_title` is the result of `attention_by_title`, where that is kept.
    """
    if by_title is None:
        by_title = attention_by_title(table, weights)
    attention = attend(history, by_title, weights)
    if recency is not None:
        attention *= recency
        attention /= tf.maximum(tf.reduce_sum(attention, axis=1, keepdims=True), _LEAST_SQUARE)
    # 1 / Σ a² is the effective number of titles: their count where attention is equal.
    squares = tf.reduce_sum(tf.square(attention), axis=1, keepdims=True)
    spread = tf.math.rsqrt(tf.maximum(squares, _LEAST_SQUARE)) * tf.cast(squares > 0, attention.dtype)
    return _biased(weighted_rows(history.rows, attention * spread, table), history, weights)


def pooled_queries(
    history: HistoryTensors, entries: tf.Tensor, vectors: tf.Tensor, weights: dict[str, tf.Tensor]
) -> tf.Tensor:
    """[batch, dim]: `query_vectors` from the `vectors` [entries, dim] of the titles alone.

    `entries` [entries, 2] are users and columns of the titles in `history`, in the order of users; entries that
    `history` no longer has, with a weight of 0, are left out.
    """
    users, batch = entries[:, 0], tf.shape(history.rows)[0]

    def summed(values: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(values, users, batch)

    logits = tf.linalg.matvec(vectors, weights["of_vector"])
    ages = tf.math.log1p(tf.maximum(tf.gather_nd(history.ages_days, entries), 0))
    of_entries = tf.gather_nd(history.weights, entries)
    logits += weights["of_age"] * tf.cast(ages, logits.dtype)
    logits += weights["of_weight"] * tf.cast(of_entries - 1, logits.dtype)
    logits = tf.where(of_entries > 0, logits, -1e4)
    largest = tf.math.unsorted_segment_max(logits, users, batch)
    attention = tf.exp(logits - tf.gather(largest, users)) * tf.cast(of_entries > 0, logits.dtype)
    attention /= tf.maximum(tf.gather(summed(attention), users), _LEAST_SQUARE)
    squares = summed(tf.square(attention))
    spread = tf.math.rsqrt(tf.maximum(squares, _LEAST_SQUARE)) * tf.cast(squares > 0, attention.dtype)
    pooled = summed(attention[:, None] * vectors) * spread[:, None]
    return _biased(pooled, history, weights)


def _biased(pooled: tf.Tensor, history: HistoryTensors, weights: dict[str, tf.Tensor]) -> tf.Tensor:
    known = tf.minimum(history.country, weights["countries"].shape[0] - 1)
    return unit(pooled + weights["everybody"] + tf.gather(weights["countries"], known))


def attention_by_title(table: tf.Tensor, weights: dict[str, tf.Tensor]) -> tf.Tensor:
    """[titles + 1]: the part of attention's logits that depends on the vector, for all of `table` [titles + 1, dim].

    As much work as the catalogue is large: training does it in each step, serving once.
    """
    return tf.linalg.matvec(table, weights["of_vector"])


def attend(history: HistoryTensors, by_title: tf.Tensor, weights: dict[str, tf.Tensor]) -> tf.Tensor:
    """[batch, length]: how much of the pooled history each title is; sums to 1, or to 0 where there is no title."""
    logits = tf.gather(by_title, history.rows)
    logits += weights["of_age"] * tf.cast(tf.math.log1p(tf.maximum(history.ages_days, 0)), logits.dtype)
    logits += weights["of_weight"] * tf.cast(history.weights - 1, logits.dtype)
    counts = tf.cast((history.rows > 0) & (history.weights > 0), logits.dtype)
    logits -= (1 - counts) * 1e4
    attention = tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True)) * counts
    return attention / tf.maximum(tf.reduce_sum(attention, axis=1, keepdims=True), _LEAST_SQUARE)


def weighted_rows(rows: tf.Tensor, weights: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """[batch, width]: Σ over `rows` [batch, length] of `weights` [batch, length] times rows of `table`.

    Computed by a dense matrix of weights where `table` is small beside the rows that would be gathered.
    """
    if table.shape[0] is not None and rows.shape[1] is not None and table.shape[0] <= 8 * rows.shape[1]:
        return tf.matmul(scattered(rows, weights, table.shape[0]), table)
    return tf.linalg.matvec(tf.gather(table, rows), weights, transpose_a=True)


def scattered(rows: tf.Tensor, values: tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """[batch, width]: `values` [batch, length] added up in the columns that `rows` [batch, length] name."""
    batch = tf.shape(rows)[0]
    flat = tf.cast(rows, tf.int32) + tf.range(batch)[:, None] * width
    summed = tf.math.unsorted_segment_sum(tf.reshape(values, [-1]), tf.reshape(flat, [-1]), batch * width)
    return tf.reshape(summed, [batch, width])


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """`vectors` [..., width] at length 1; zeros stay zeros."""
    return vectors * tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(vectors), -1, keepdims=True), _LEAST_SQUARE))
