"""Softmax per user over a sample of the catalogue: for catalogues too large to score every title in each step."""

from collections.abc import Mapping

import numpy as np

from lake.arrays import Doubles, Ids
from models.towers.layers import HistoryTensors, pooled_queries, scattered
from models.towers.legacy_keras import tf
from models.towers.networks import NEVER, NetworkOptions, UserOptions, UserSoftmax, mean_over_users

# Share of the sample that is drawn evenly; the rest is drawn by popularity.
_EVEN_SHARE = 0.5
_ID_DROPOUT = 0.5  # of titles that have content


class SampledSoftmax(UserSoftmax):
    """`UserSoftmax` whose sum over all titles is estimated from a sample that all users of the batch share.

    A title comes into the sample at most once, with a known probability π. Its term in the sum is divided by π, so that
    the sum over titles is unbiased (Horvitz and Thompson 1952); a user's own targets always count, with their own term.
    All scores of negatives are then one matrix product. A history names a title at most once.
    """

    def __init__(self, options: NetworkOptions, users: UserOptions, popularity: Doubles | Ids, negatives: int) -> None:
        """`popularity` [titles] is in proportion to each title's positives, `negatives` the size of the sample."""
        super().__init__(options, users)
        self._count_rows = options.count_titles + 1
        shares = inclusion_probabilities(popularity, negatives)
        self._negatives = round(shares.sum())
        # In random order, for titles next to each other seldom come into one sample.
        order = np.random.default_rng(options.seed).permutation(options.count_titles)
        self._order = tf.constant(order + 1, tf.int64)
        self._ends = tf.constant(np.cumsum(shares[order]), tf.float64)
        log_shares = tf.constant(np.log(np.append(1.0, shares)), tf.float32)
        self._offsets = -log_shares if self.log_popularity is None else self.log_popularity - log_shares

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """As `UserSoftmax.compute_loss`, in expectation of the sum over titles; a scalar."""
        history = HistoryTensors(inputs["rows"], inputs["weights"], inputs["ages_days"], inputs["country"])
        kept, is_target = self.split(history)
        # Histories are mostly padding, so their titles are looked up one by one, and once for both uses.
        entries = tf.where(history.rows > 0)  # [titles of all users, 2]
        users = entries[:, 0]
        rows = tf.gather_nd(history.rows, entries)
        vectors = self.titles(rows, self.keeps_id(rows, 4))
        queries = pooled_queries(kept, entries, vectors, self.query.weights_by_name())
        products = tf.cast(tf.reduce_sum(tf.gather(queries, users) * vectors, axis=1), tf.float32)
        targets = tf.gather_nd(is_target, entries)  # [titles of all users]
        logits = products / self.temperature
        if self.log_popularity is not None:
            logits += tf.gather(self.log_popularity, rows)
        own = tf.where(targets > 0, logits, NEVER)
        others = self._scores_of_negatives(queries, kept, history, is_target)
        losses = tf.gather(_log_sum(own, users, others), users) - own
        weights = tf.gather(self.title_weights, rows)
        counts = tf.reduce_sum(is_target, axis=1)
        summed = tf.math.unsorted_segment_sum(tf.where(targets > 0, weights * losses, 0.0), users, tf.size(counts))
        return mean_over_users(summed, counts, self.users.target_power)

    def draw_negatives(self) -> tf.Tensor:
        """int64 [negatives]: rows of this step's sample, each at most once.

        Systematic sampling: titles lie on a line, each as long as its probability, and are hit by points 1 apart.
        Source: Madow 1949, On the theory of systematic sampling II.
        """
        start = tf.random.stateless_uniform([], self.draw(3), dtype=tf.float64)
        points = start + tf.range(self._negatives, dtype=tf.float64)
        hit = tf.searchsorted(self._ends, points, side="right")
        return tf.gather(self._order, tf.minimum(hit, self._count_rows - 2))

    def keeps_id(self, rows: tf.Tensor, purpose: int) -> tf.Tensor | None:
        """[rows]: 0 for titles that this step knows by content alone, so that content learns to do without ids."""
        if self.titles.content is None:
            return None
        return tf.cast(tf.random.stateless_uniform(tf.shape(rows), self.draw(purpose)) >= _ID_DROPOUT, tf.float32)

    def _scores_of_negatives(
        self, queries: tf.Tensor, kept: HistoryTensors, history: HistoryTensors, is_target: tf.Tensor
    ) -> tf.Tensor:
        """[batch, negatives]: logits less log π; titles that a user kept and liked, or is to be predicted, are out."""
        negatives = self.draw_negatives()
        products = tf.matmul(queries, self.titles(negatives, self.keeps_id(negatives, 5)), transpose_b=True)
        logits = tf.cast(products, tf.float32) / self.temperature
        logits += tf.gather(self._offsets, negatives)
        numbers = tf.range(self._negatives)
        number_of = tf.tensor_scatter_nd_update(
            tf.fill([self._count_rows], self._negatives), negatives[:, None], numbers
        )
        is_out = tf.maximum(is_target, tf.cast(kept.weights >= self.users.positive_min_weight, tf.float32))
        taken = scattered(tf.gather(number_of, history.rows), is_out, self._negatives + 1)[:, :-1]
        return logits + NEVER * tf.minimum(taken, 1.0)


def inclusion_probabilities(popularity: Doubles | Ids, count: int) -> Doubles:
    """[titles]: the probability that each comes into a sample of `count`, or of all titles where there are fewer.

    In proportion to a mean of `popularity` [titles] and an even share, but at most 1; they sum to the sample's size.
    """
    even = np.full(len(popularity), 1 / len(popularity))
    shares = _EVEN_SHARE * even + (1 - _EVEN_SHARE) * popularity / popularity.sum()
    count = min(count, len(shares))
    certain = np.zeros(len(shares), dtype=np.bool_)
    while True:
        scaled = shares * (count - certain.sum()) / max(shares[~certain].sum(), 1e-300)
        more = ~certain & (scaled >= 1)
        if not more.any():
            return np.where(certain, 1.0, scaled)
        certain |= more


def _log_sum(own: tf.Tensor, users: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """[batch]: log Σ exp of each user's `others` [batch, negatives] and `own` [entries], whose users are `users`."""
    batch = tf.shape(others)[0]
    largest = tf.maximum(tf.math.unsorted_segment_max(own, users, batch), tf.reduce_max(others, axis=1))
    largest = tf.stop_gradient(largest)
    of_others = tf.reduce_sum(tf.exp(others - largest[:, None]), axis=1)
    of_own = tf.math.unsorted_segment_sum(tf.exp(own - tf.gather(largest, users)), users, batch)
    return largest + tf.math.log(of_own + of_others)
