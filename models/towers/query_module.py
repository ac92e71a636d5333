"""Query of a history: the computation that evaluation, the bundle and serving share."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lake.arrays import Floats
from models.towers.layers import HistoryTensors, attention_by_title, query_vectors, unit, weighted_rows
from models.towers.legacy_keras import tf


@dataclass(frozen=True)
class QueryTables:
    """Contributions of a history's titles to the query: row n is the n-th title of the catalogue."""

    tower: Floats  # [titles, dim of the towers]
    linear: Floats  # [titles, dims], of EASE and content: what a like adds; of no use where the part has no weight
    factors: Floats  # [titles, factors], of ALS; of width 0 without it


@dataclass(frozen=True)
class QueryParameters:
    """Parameters that do not depend on the title."""

    tower: Mapping[str, Floats]  # QUERY_WEIGHTS of QueryTower
    tower_projection: Floats  # [dim of the towers, dims]
    factor_projection: Floats  # [factors, dims]
    part_weights: Mapping[str, float]  # of towers, linear and als, and of `cold_user_query` for known users
    system: Floats  # [factors, factors]: Gram matrix plus regularisation, of the fold-in
    alpha: float  # weight of a like in the fold-in
    cold_user_query: Floats  # [dims]: where no title of a history weighs more than 0
    positive_min_weight: float  # from here on an interaction is a like
    recency_half_life: float = 0.0  # newer likes that halve a like's weight above the floor; 0: all weigh 1
    recency_floor: float = 1.0  # weight that the oldest likes keep


class QueryModule(tf.Module):
    """Histories to queries [batch, dims]; see `__call__`."""

    def __init__(self, tables: QueryTables, parameters: QueryParameters) -> None:
        super().__init__(name="query_tower")

        def fixed(values: Floats) -> tf.Variable:  # variables, for a graph holds no constants beyond 2 GB
            return tf.Variable(values, dtype=tf.float32, trainable=False)

        def padded(values: Floats) -> tf.Variable:
            # Of no fixed length: a loaded module takes the tables of a catalogue of another size.
            table = np.pad(values, ((1, 0), (0, 0)))
            return tf.Variable(table, dtype=tf.float32, trainable=False, shape=[None, table.shape[1]])

        self._parts = {"popularity": 0.0, **parameters.part_weights}  # models of earlier versions have none
        self._tower_table = padded(tables.tower)
        if self._parts["linear"]:  # without a weight the table, as large as the vectors, need not be served
            self._linear_table = padded(tables.linear)
        self._factor_table = padded(tables.factors)
        self._weights = {name: fixed(weight) for name, weight in parameters.tower.items()}
        by_title = attention_by_title(self._tower_table, self._weights)
        self._by_title = tf.Variable(by_title, trainable=False, shape=[None])
        self._tower_projection = fixed(parameters.tower_projection)
        self._factor_projection = fixed(parameters.factor_projection)
        self._system = fixed(parameters.system)
        self._nobody = fixed(parameters.cold_user_query)  # named so in bundles
        self._alpha = parameters.alpha
        self._least = parameters.positive_min_weight
        self._half_life, self._floor = parameters.recency_half_life, parameters.recency_floor
        # Constants of the graph, readable in a loaded SavedModel.
        self.numbers = {name: fixed(np.array(number, dtype=np.float32)) for name, number in self._constants().items()}

    def _constants(self) -> dict[str, float]:
        return {
            **self._parts,
            "alpha": self._alpha,
            "positive_min_weight": self._least,
            "half_life": self._half_life,
            "floor": self._floor,
        }

    def arrays(self) -> dict[str, Floats]:
        """Every parameter by name, for a computation without TensorFlow; variables are not copied.

        `tables.*` have a row of padding, then one per title of the catalogue: of the towers, of the linear part where
        it has a weight, of ALS' factors, and the attention logits. `tower.*` are QUERY_WEIGHTS, `numbers.*` scalars.
        """
        variables = {
            "tables.tower": self._tower_table,
            "tables.factors": self._factor_table,
            "tables.attention": self._by_title,
            **{f"tower.{name}": weight for name, weight in self._weights.items()},
            "tower_projection": self._tower_projection,
            "factor_projection": self._factor_projection,
            "system": self._system,
            "cold_user_query": self._nobody,
            **{f"numbers.{name}": number for name, number in self.numbers.items()},
        }
        if self._parts["linear"]:
            variables["tables.linear"] = self._linear_table
        return {name: np.asarray(variable.value()) for name, variable in variables.items()}

    @tf.function(
        input_signature=(
            tf.TensorSpec([None, None], tf.int64, "history_rows"),
            tf.TensorSpec([None, None], tf.float32, "history_weights"),
            tf.TensorSpec([None, None], tf.float32, "history_ages_days"),
            tf.TensorSpec([None], tf.int64, "country"),
        )
    )
    def __call__(
        self, history_rows: tf.Tensor, history_weights: tf.Tensor, history_ages_days: tf.Tensor, country: tf.Tensor
    ) -> tf.Tensor:
        """[batch, dims] for histories [batch, length]: rows of the catalogue + 1, the newest first, 0 padding."""
        # Most histories are far shorter than the longest, so columns that no history of the batch reaches are cut off.
        # The number of titles would not do as a length, since an unknown title leaves a gap.
        is_reached = tf.reduce_any(history_rows > 0, axis=0)
        cut = tf.reduce_max(tf.where(is_reached, tf.range(1, tf.shape(history_rows)[1] + 1), 1))
        history = HistoryTensors(history_rows[:, :cut], history_weights[:, :cut], history_ages_days[:, :cut], country)
        weights = {name: weight.value() for name, weight in self._weights.items()}
        liked = tf.cast((history.rows > 0) & (history.weights >= self._least), tf.float32)
        recency = self._recency(history, liked) if self._half_life else None
        tower = query_vectors(history, self._tower_table.value(), weights, recency, self._by_title.value())
        if recency is not None:
            liked *= recency
        queries = self._parts["towers"] * unit(tf.matmul(tower, self._tower_projection))
        if self._parts["linear"]:
            linear = weighted_rows(history.rows, liked, self._linear_table.value())
            queries += self._parts["linear"] * unit(linear)
        if self._factor_table.shape[1]:
            factors = self._folded_in(history.rows, liked)
            queries += self._parts["als"] * unit(tf.matmul(factors, self._factor_projection))
        if self._parts["popularity"]:
            queries += self._parts["popularity"] * self._nobody.value()
        is_known = tf.reduce_any((history.rows > 0) & (history.weights > 0), axis=1)
        return tf.where(is_known[:, None], queries, self._nobody)

    def _recency(self, history: HistoryTensors, liked: tf.Tensor) -> tf.Tensor:
        """[batch, length]: weight of each title by the number of newer likes; titles of one age have the same."""
        columns = tf.range(1, tf.shape(liked)[1] + 1)
        last = tf.reduce_max(tf.where(history.rows > 0, columns, 0), axis=1, keepdims=True)
        ages = tf.where(columns <= last, history.ages_days, np.inf)  # padding is no newest title
        newer = tf.gather(tf.cumsum(liked, axis=1, exclusive=True), tf.searchsorted(ages, ages), batch_dims=1)
        return self._floor + (1 - self._floor) * tf.pow(2.0, -newer / self._half_life)

    def _folded_in(self, rows: tf.Tensor, liked: tf.Tensor) -> tf.Tensor:
        """[batch, factors]: the batched form of `als.fold_in`; `liked` [batch, length] is the weight of each like."""
        factors = tf.gather(self._factor_table, rows)
        weighted = factors * liked[:, :, None]
        systems = self._system + (self._alpha - 1) * tf.matmul(factors, weighted, transpose_a=True)
        sums = self._alpha * tf.reduce_sum(weighted, axis=1)
        # Positive definite, whatever the history: the Gram matrix and its regularisation are.
        return tf.linalg.cholesky_solve(tf.linalg.cholesky(systems), sums[:, :, None])[:, :, 0]
