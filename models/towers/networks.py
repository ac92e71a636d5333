"""The two towers with a loss: a softmax over the whole catalogue per user, or over sampled titles per example.

The first is for catalogues small enough to score every title in each step, the second for larger ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.towers.layers import HistoryTensors, QueryTower, TitleTower, scattered
from models.towers.legacy_keras import keras, tf, tfrs

_NEVER = -1e9  # a logit
# With fewer titles each step computes the whole table, else only the rows that it needs.
_FEW_TITLES = 50_000


@dataclass(frozen=True)
class NetworkOptions:
    """Options of both networks; `conf` explains those that are settings."""

    dim: int
    count_titles: int
    count_countries: int
    temperature: float
    seed: int
    title_weights: NDArray[np.float32] | None = None  # [titles], of a like in the loss; 1 each where None


class TwoTowerNetwork(tfrs.Model):
    """Both towers and the temperature of their softmax; subclasses define the loss."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.titles = TitleTower(options.count_titles, options.dim)
        self.query = QueryTower(options.dim, options.count_countries)
        self.titles.build()
        self.query.build()
        # By way of the logarithm: without its rounding a training would give another model than before.
        self._temperature = tf.exp(tf.constant(np.log(options.temperature), tf.float32))
        self._seed = options.seed
        weights = np.ones(options.count_titles, np.float32) if options.title_weights is None else options.title_weights
        self._title_weights = tf.constant(np.append(np.float32(0), weights))
        self._mean_loss = keras.metrics.Mean("mean_loss")

    def train_step(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """A step of TFRS, which returns the loss of this step alone; `epoch_loss` is the mean over steps."""
        measured = super().train_step(inputs)
        self._mean_loss.update_state(measured["loss"])
        return measured

    def epoch_loss(self) -> float:
        """The mean over steps, replicas and workers since Keras' fit began its last epoch."""
        return float(self._mean_loss.result())

    def scores(self, history: HistoryTensors) -> tf.Tensor:
        """[batch, titles + 1]: query · title / temperature; column 0 is padding."""
        return self._logits(history, self.titles.table())

    def _logits(self, history: HistoryTensors, table: tf.Tensor) -> tf.Tensor:
        products = tf.matmul(self.query(history, table), table, transpose_b=True)
        return tf.cast(products, tf.float32) / self._temperature

    def draw(self, purpose: int) -> tf.Tensor:
        """int32 [2]: a seed of this step, replica and purpose, the same when the step is repeated."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        step = tf.cast(self.optimizer.iterations, tf.int32)
        return tf.stack([self._seed + 1009 * purpose, step * 64 + tf.cast(replica, tf.int32)])


class UserSoftmax(TwoTowerNetwork):
    """A part of each user's history is dropped and predicted from the rest.

    The logits are query · title / temperature, the softmax is over all titles, less the user's kept ones. Source: Liang
    et al. 2018, Variational autoencoders for collaborative filtering, section 2, for the multinomial likelihood over a
    user's held-out titles.
    """

    def __init__(
        self,
        options: NetworkOptions,
        dropped_share: tuple[float, float],
        target_power: float,
        positive_min_weight: float,
    ) -> None:
        """`dropped_share` is the least and most of a history that is dropped.

        A user counts as much as the number of targets to the power `target_power`.
        """
        super().__init__(options)
        self._least_dropped, self._most_dropped = dropped_share
        self._target_power = target_power
        self._positive_min_weight = positive_min_weight

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The mean over users of the mean of -log p over their targets, both weighted; a scalar."""
        history = HistoryTensors(inputs["rows"], inputs["weights"], inputs["ages_days"], inputs["country"])
        kept, is_target = self._split(history)
        table = self.titles.table()
        logits = self._logits(kept, table)
        liked = tf.cast(kept.weights >= self._positive_min_weight, tf.float32)
        is_kept = tf.minimum(scattered(kept.rows, liked, table.shape[0]), 1.0)
        # Row 0, padding, is left out as the history's titles are.
        logits += _NEVER * tf.maximum(is_kept, tf.one_hot([0], table.shape[0]))
        targets = tf.minimum(scattered(history.rows, is_target, table.shape[0]), 1.0) * (1 - is_kept)
        return _mean_over_users(logits, targets, self._title_weights, self._target_power)

    def _split(self, history: HistoryTensors) -> tuple[HistoryTensors, tf.Tensor]:
        """The history less what is dropped, and 1.0 where a dropped title is liked [batch, length]."""
        batch = tf.shape(history.rows)[0]
        span = self._most_dropped - self._least_dropped
        share = self._least_dropped + span * tf.random.stateless_uniform([batch, 1], self.draw(0))
        is_dropped = tf.random.stateless_uniform(tf.shape(history.rows), self.draw(1)) < share
        is_title = history.rows > 0
        is_liked = is_title & (history.weights >= self._positive_min_weight)
        kept = history._replace(
            rows=tf.where(is_dropped, tf.zeros_like(history.rows), history.rows),
            weights=tf.where(is_dropped, 0.0, history.weights),
        )
        return kept, tf.cast(is_dropped & is_liked, tf.float32)


def _mean_over_users(logits: tf.Tensor, targets: tf.Tensor, title_weights: tf.Tensor, target_power: float) -> tf.Tensor:
    counts = tf.reduce_sum(targets, axis=1)
    weighted = targets * title_weights
    losses = -tf.reduce_sum(weighted * tf.nn.log_softmax(logits), axis=1) / tf.maximum(counts, 1.0)
    weights = tf.where(counts > 0, counts**target_power, 0.0)
    return tf.reduce_sum(weights * losses) / tf.maximum(tf.reduce_sum(weights), 1.0)


class SampledSoftmax(TwoTowerNetwork):
    """Softmax per example: the liked title against the batch's others and some drawn evenly from the catalogue.

    Logits are corrected by the log of how often a title comes as a negative, so that the softmax is that over all
    titles; a negative that is the example's own title, or in its history, is left out. Sources: Yi et al. 2019,
    Sampling-bias-corrected neural modeling, section 3; Yang et al. 2020, Mixed negative sampling, section 3.
    """

    def __init__(
        self,
        options: NetworkOptions,
        popularity: NDArray[np.float32],
        uniform_negatives: int,
        correct_sampling: bool,
    ) -> None:
        """`popularity` [titles] is each title's share of all positives, and so of the titles in batches."""
        super().__init__(options)
        self._count_titles = options.count_titles
        self._popularity = tf.constant(np.append(np.float32(0), popularity))
        self._uniform_negatives = uniform_negatives
        self._correct_sampling = correct_sampling
        # One loss per example, whose mean is taken: the task's own sum would tie the learning rate to the batch size.
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=keras.losses.Reduction.NONE)
        self.task = tfrs.tasks.Retrieval(loss=loss, remove_accidental_hits=True)

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The mean over examples of -log p of the liked title, weighted; a scalar."""
        title_rows = inputs["title_row"]  # int64 [batch]
        drawn = tf.random.stateless_uniform(
            [self._uniform_negatives], self.draw(3), 1, self._count_titles + 1, title_rows.dtype
        )
        candidates = tf.concat([title_rows, drawn], axis=0)  # [batch + drawn]
        table, rows, columns = self._local_table(inputs["rows"], candidates)
        history = HistoryTensors(rows, inputs["weights"], inputs["ages_days"], inputs["country"])
        query = tf.cast(self.query(history, table), tf.float32)
        losses = self.task(
            query / self._temperature,
            tf.cast(tf.gather(table, columns), tf.float32),
            candidate_sampling_probability=self._candidate_shares(inputs, drawn) if self._correct_sampling else None,
            candidate_ids=candidates,
            score_mask=_score_mask(rows, columns, tf.shape(table)[0]),
            compute_metrics=False,
        )
        return tf.reduce_mean(losses * tf.gather(self._title_weights, title_rows))

    def _local_table(self, rows: tf.Tensor, candidates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Vectors [titles here, dim], and the rows of `rows` and `candidates` among them; padding stays row 0.

        The table of a small catalogue is whole, so its shape never changes; of a large one only the batch's titles.
        """
        if self._count_titles < _FEW_TITLES:
            return self.titles.table(), rows, candidates
        named = tf.concat([tf.zeros([1], rows.dtype), tf.reshape(rows, [-1]), candidates], axis=0)
        unique, table_rows = tf.unique(named, out_idx=rows.dtype)
        count = tf.size(rows)
        return (
            self.titles(unique),
            tf.reshape(table_rows[1 : 1 + count], tf.shape(rows)),
            table_rows[1 + count :],
        )

    def _candidate_shares(self, inputs: Mapping[str, tf.Tensor], drawn: tf.Tensor) -> tf.Tensor:
        """[batch + drawn]: the share that each title has of all candidates, expected over batches and draws."""
        share = tf.concat([inputs["sampling_probability"], tf.gather(self._popularity, drawn)], axis=0)
        count = tf.cast(tf.shape(inputs["sampling_probability"])[0], tf.float32)
        total = count + self._uniform_negatives
        return (count * share + self._uniform_negatives / self._count_titles) / total


def _score_mask(rows: tf.Tensor, columns: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """bool [batch, candidates]: False for candidates in the example's history, other than its own liked title."""
    batch, count = tf.shape(rows)[0], tf.shape(columns)[0]
    # By number of the candidate, not by title: a matrix of all titles would be the largest of the step.
    last = tf.math.unsorted_segment_max(tf.range(count), columns, width)  # [titles + 1], below 0 for no candidate
    numbers = tf.gather(last, rows)
    flat = tf.where(numbers < 0, count, numbers) * batch + tf.range(batch)[:, None]
    counts = tf.math.unsorted_segment_sum(tf.ones_like(flat, tf.float32), flat, (count + 1) * batch)
    is_in_history = tf.gather(tf.reshape(counts, [count + 1, batch]), tf.gather(last, columns)) > 0
    is_liked = tf.eye(batch, count, dtype=tf.bool)
    return is_liked | ~tf.transpose(is_in_history)
