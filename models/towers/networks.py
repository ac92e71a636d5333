"""The two towers with a loss: a softmax over the whole catalogue per user.

For catalogues small enough to score every title in each step; `sampled_softmax` is for larger ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.towers.layers import HistoryTensors, QueryTower, TitleTower, scattered
from models.towers.legacy_keras import keras, tf, tfrs

NEVER = -1e9  # a logit


@dataclass(frozen=True)
class NetworkOptions:
    """Options of both networks; `conf` explains those that are settings."""

    dim: int
    count_titles: int
    count_countries: int
    temperature: float
    seed: int
    title_weights: NDArray[np.float32] | None = None  # [titles], of a like in the loss; 1 each where None
    content: NDArray[np.float32] | None = None  # [titles, features]; ids alone where None
    log_popularity: NDArray[np.float32] | None = None  # [titles], added to logits, so that vectors need not tell it


@dataclass(frozen=True)
class UserOptions:
    """Options of a loss by user: `dropped_share` is the least and most of a history that is dropped and predicted.

    A user counts as much as the number of targets to the power `target_power`.
    """

    dropped_share: tuple[float, float]
    target_power: float
    positive_min_weight: float  # from here on an interaction is a like


class TwoTowerNetwork(tfrs.Model):
    """Both towers and the temperature of their softmax; subclasses define the loss."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.titles = TitleTower(options.count_titles, options.dim, options.content)
        self.query = QueryTower(options.dim, options.count_countries)
        self.titles.build()
        self.query.build()
        # By way of the logarithm: without its rounding a training would give another model than before.
        self.temperature = tf.exp(tf.constant(np.log(options.temperature), tf.float32))
        self._seed = options.seed
        weights = np.ones(options.count_titles, np.float32) if options.title_weights is None else options.title_weights
        self.title_weights = tf.constant(np.append(np.float32(0), weights))
        logs = options.log_popularity
        self.log_popularity = None if logs is None else tf.constant(np.append(np.float32(0), logs))
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
        """[batch, titles + 1]: query · title / temperature, and log popularity if given; column 0 is padding."""
        return self._logits(history, self.titles.table())

    def _logits(self, history: HistoryTensors, table: tf.Tensor) -> tf.Tensor:
        products = tf.matmul(self.query(history, table), table, transpose_b=True)
        logits = tf.cast(products, tf.float32) / self.temperature
        return logits if self.log_popularity is None else logits + self.log_popularity

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

    def __init__(self, options: NetworkOptions, users: UserOptions) -> None:
        super().__init__(options)
        self.users = users

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The mean over users of the mean of -log p over their targets, both weighted; a scalar."""
        history = HistoryTensors(inputs["rows"], inputs["weights"], inputs["ages_days"], inputs["country"])
        kept, is_target = self.split(history)
        table = self.titles.table()
        logits = self._logits(kept, table)
        liked = tf.cast(kept.weights >= self.users.positive_min_weight, tf.float32)
        is_kept = tf.minimum(scattered(kept.rows, liked, table.shape[0]), 1.0)
        # Row 0, padding, is left out as the history's titles are.
        logits += NEVER * tf.maximum(is_kept, tf.one_hot([0], table.shape[0]))
        targets = tf.minimum(scattered(history.rows, is_target, table.shape[0]), 1.0) * (1 - is_kept)
        losses = -tf.reduce_sum(targets * self.title_weights * tf.nn.log_softmax(logits), axis=1)
        return mean_over_users(losses, tf.reduce_sum(targets, axis=1), self.users.target_power)

    def split(self, history: HistoryTensors) -> tuple[HistoryTensors, tf.Tensor]:
        """The history less what is dropped, and 1.0 where a dropped title is liked [batch, length]."""
        batch = tf.shape(history.rows)[0]
        least, most = self.users.dropped_share
        share = least + (most - least) * tf.random.stateless_uniform([batch, 1], self.draw(0))
        is_dropped = tf.random.stateless_uniform(tf.shape(history.rows), self.draw(1)) < share
        is_title = history.rows > 0
        is_liked = is_title & (history.weights >= self.users.positive_min_weight)
        kept = history._replace(
            rows=tf.where(is_dropped, tf.zeros_like(history.rows), history.rows),
            weights=tf.where(is_dropped, 0.0, history.weights),
        )
        return kept, tf.cast(is_dropped & is_liked, tf.float32)


def mean_over_users(losses: tf.Tensor, counts: tf.Tensor, target_power: float) -> tf.Tensor:
    """The mean of `losses` [users] per target, of which users have `counts` [users], weighted by their power."""
    weights = tf.where(counts > 0, counts**target_power, 0.0)
    means = losses / tf.maximum(counts, 1.0)
    return tf.reduce_sum(weights * means) / tf.maximum(tf.reduce_sum(weights), 1.0)
