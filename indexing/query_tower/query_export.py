"""Export of the query tower, and the SavedModel from features to titles: query tower, dial, ScaNN's TensorFlow ops.

    retrieval = tf.saved_model.load("…/retrieval")      # after `import scann`, which registers its ops
    retrieval(history_title_ids, history_weights, history_ages_days, country, dial, freshness, count)
    -> {"title_ids": int64 [batch, count], "scores": float32 [batch, count]}, best first

Titles of the history are left out. `retrieval.search(queries, count)` is the searcher alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from indexing.ann.pybind_search import TUNED_COUNT
from indexing.ann.runtime import save_module, scann_ops, tf
from indexing.ann.tuning import Tuned
from indexing.bundle import bundle_files
from indexing.bundle.coordinates import Balance
from indexing.bundle.manifest import Vectors
from lake.arrays import NO_TITLE, Floats, Ids
from models.data.padded_histories import PaddedHistories
from models.towers.query_module import QueryModule

_OTHER_COUNTRY = 1
_BATCH_USERS = 64


def save_query_tower(query_tower: tf.Module, balance: Balance, folder: Path) -> tf.Module:
    """Write the query tower as a SavedModel, and its parameters as arrays; returns it with balanced embeddings.

    A tower of another form than QueryModule has no arrays, and is served by its SavedModel.
    """
    if isinstance(query_tower, QueryModule):
        arrays: dict[str, Any] = {**query_tower.arrays()}
        np.savez(folder / bundle_files.QUERY_TOWER_ARRAYS, **arrays)
    balanced = BalancedTower(query_tower, balance)
    save_module(balanced, folder / bundle_files.QUERY_TOWER)
    return balanced


def embed(query_tower: Any, histories: PaddedHistories) -> Floats:
    """Embeddings [users, dim] of histories, by a query tower of the training graph or of a bundle."""
    parts = [
        query_tower(part.rows, part.weights, part.ages_days, part.countries).numpy()
        for part in histories.batches(_BATCH_USERS)
    ]
    return np.concatenate(parts)


class BalancedTower(tf.Module):
    """The training graph's query tower with balanced embeddings, comparable with the bundle's title embeddings."""

    def __init__(self, query_tower: tf.Module, balance: Balance) -> None:
        super().__init__(name="balanced_tower")
        self._query_tower = query_tower
        self._order = tf.Variable(balance.order, trainable=False)
        self._divisors = tf.Variable(balance.factors, trainable=False)

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
        """[batch, dim] for histories [batch, length]: rows of the bundle + 1, the newest first, then 0 as padding."""
        queries = self._query_tower(history_rows, history_weights, history_ages_days, country)
        return tf.gather(queries, self._order, axis=1) / self._divisors


class Retrieval(tf.Module):
    """Features to title ids and scores; the module says how to call it."""

    def __init__(
        self,
        query_tower: tf.Module,
        searcher: Any,
        tuned: Tuned,
        vectors: Vectors,
        title_ids: Ids,
        count_candidates: int,
        countries: Mapping[str, int],
    ) -> None:
        """`searcher` is made of TensorFlow's ops, over the first `count_candidates` of `title_ids` [titles]."""
        super().__init__(name="retrieval")
        order = np.argsort(title_ids, kind="stable")
        self._query_tower = query_tower
        self._searcher = searcher.serialize_to_module()
        self._title_ids = tf.Variable(title_ids, trainable=False)
        self._sorted_ids = tf.Variable(title_ids[order], trainable=False)
        self._order = tf.Variable(order, trainable=False)
        self._count_candidates = count_candidates
        self._scales = (vectors.popularity.scale, vectors.freshness.scale)
        self._tuned = tuned
        codes, ids = list(countries), list(countries.values())
        known = tf.lookup.KeyValueTensorInitializer(["", *codes], [0, *ids], tf.string, tf.int64)
        self._countries = tf.lookup.StaticHashTable(known, _OTHER_COUNTRY)
        # A signature needs the size of vectors, which differs between models.
        spec = (tf.TensorSpec([None, vectors.vector_dim], tf.float32, "queries"), tf.TensorSpec([], tf.int32, "count"))
        self.search = tf.function(self._search, input_signature=spec)

    @tf.function(
        input_signature=(
            tf.TensorSpec([None, None], tf.int64, "history_title_ids"),
            tf.TensorSpec([None, None], tf.float32, "history_weights"),
            tf.TensorSpec([None, None], tf.float32, "history_ages_days"),
            tf.TensorSpec([None], tf.string, "country"),
            tf.TensorSpec([None], tf.float32, "dial"),
            tf.TensorSpec([None], tf.float32, "freshness"),
            tf.TensorSpec([], tf.int32, "count"),
        )
    )
    def __call__(
        self,
        history_title_ids: tf.Tensor,
        history_weights: tf.Tensor,
        history_ages_days: tf.Tensor,
        country: tf.Tensor,
        dial: tf.Tensor,
        freshness: tf.Tensor,
        count: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Recommend `count` titles that are not in the history; ids that the bundle lacks are ignored.

        `history_*` [batch, length], the newest first, padded with NO_TITLE; `country` [batch] is an ISO 3166-1 code or
        "". Where there are fewer titles, rows end in NO_TITLE with scores of minus infinity.
        """
        rows = self._rows(history_title_ids)
        # The query tower cuts a batch to its longest history, so known titles must come first.
        order = tf.argsort(tf.cast(rows == 0, tf.int32), axis=1, stable=True)
        rows, weights, ages = (
            tf.gather(part, order, batch_dims=1) for part in (rows, history_weights, history_ages_days)
        )
        embedded = self._query_tower(rows, weights, ages, self._countries.lookup(country))
        beside = tf.stack([dial / self._scales[0], freshness / self._scales[1]], axis=1)
        seen = tf.reduce_max(tf.reduce_sum(tf.cast(rows > 0, tf.int32), axis=1))
        candidate_rows, scores = self._search(tf.concat([beside, embedded], axis=1), count + seen)
        # Seen titles may be among the results: `seen` more were searched for.
        is_seen = tf.reduce_any(candidate_rows[:, :, None] + 1 == rows[:, None, :], axis=2)
        scores = tf.where(is_seen, -np.inf, scores)
        best, columns = tf.math.top_k(scores, tf.minimum(count, tf.shape(scores)[1]))
        titles = tf.gather(self._title_ids, tf.gather(candidate_rows, columns, batch_dims=1))
        padding = [[0, 0], [0, count - tf.shape(best)[1]]]
        return {
            "title_ids": tf.pad(
                tf.where(best == -np.inf, np.int64(NO_TITLE), titles), padding, constant_values=NO_TITLE
            ),
            "scores": tf.pad(best, padding, constant_values=-np.inf),
        }

    def _search(self, queries: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows int64 and scores [batch, count] for `queries` [batch, vector_dim]; scores of minus infinity pad."""
        searcher = scann_ops.searcher_from_module(self._searcher)
        count = tf.minimum(count, self._count_candidates)
        reorder = -1
        if self._tuned.reorder:
            reorder = -(-self._tuned.reorder * tf.maximum(count, TUNED_COUNT) // TUNED_COUNT)
        rows, scores = searcher.search_batched(queries, count, reorder, self._tuned.leaves_to_search or -1)
        return tf.cast(rows, tf.int64), tf.where(tf.math.is_nan(scores), -np.inf, scores)

    def _rows(self, title_ids: tf.Tensor) -> tf.Tensor:
        """Row + 1 of each title; 0 for an id that the bundle lacks."""
        last = tf.shape(self._sorted_ids, tf.int64)[0] - 1
        slots = tf.minimum(tf.searchsorted(self._sorted_ids, tf.reshape(title_ids, [-1]), out_type=tf.int64), last)
        is_there = tf.gather(self._sorted_ids, slots) == tf.reshape(title_ids, [-1])
        rows = tf.where(is_there, tf.gather(self._order, slots) + 1, 0)
        return tf.reshape(rows, tf.shape(title_ids))
