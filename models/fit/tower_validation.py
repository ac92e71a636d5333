"""Validation of the towers while they train."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from conf.settings import Settings
from models.data.padded_histories import PaddedHistories, pad_newest_first
from models.evaluation import metrics
from models.evaluation.evaluation_set import EvaluationSet
from models.recommender import top_titles
from models.towers.layers import HistoryTensors
from models.towers.legacy_keras import tf
from models.towers.networks import TwoTowerNetwork

# Most users measured after each epoch: the figure only compares epochs, and its time is added to each of them.
VALIDATION_USERS = 2000
_MEASURED_AT = 20
_BATCH_USERS = 256


class TowerValidation:
    """NDCG@20 over the titles that the towers know, of at most VALIDATION_USERS users.

    Called after an epoch. Titles without positives in training have no embedding and are left out, and so are users
    whose held-back positives are all of such titles.
    """

    def __init__(
        self, settings: Settings, held_back: EvaluationSet, warm: NDArray[np.int64], network: TwoTowerNetwork
    ) -> None:
        relevant = held_back.relevant[:, warm].tocsr()
        users = np.flatnonzero(np.diff(relevant.indptr))
        if len(users) > VALIDATION_USERS:
            generator = np.random.default_rng(settings.seed)
            users = np.sort(generator.choice(users, VALIDATION_USERS, replace=False))
        self._relevant = relevant[users]
        ages = held_back.histories.copy()
        ages.data = held_back.history_ages_days + 1  # so that an age of 0 is no empty entry
        ages = ages[users][:, warm].tocsr()
        ones = np.ones(ages.nnz, np.float32)
        self._is_in_history = sparse.csr_matrix((ones, ages.indices, ages.indptr), shape=ages.shape)
        length = settings.examples.user_history_titles
        self._histories = pad_newest_first(self._is_in_history, ages.data - 1, None, length)
        self._network = network

    def __call__(self) -> float:
        if not self._relevant.shape[0]:
            return 0.0
        scores = np.concatenate([self._network.scores(history).numpy()[:, 1:] for history in _batches(self._histories)])
        scores[self._is_in_history.nonzero()] = -np.inf
        lists = top_titles(scores, _MEASURED_AT)
        return float(metrics.ndcg_at_k(lists, self._relevant, _MEASURED_AT).mean())


def tower_queries(network: TwoTowerNetwork, histories: PaddedHistories) -> NDArray[np.float32]:
    """[users, dim of the towers]."""
    table = network.titles.table()
    queries = [tf.cast(network.query(history, table), tf.float32).numpy() for history in _batches(histories)]
    return np.concatenate(queries)


def _batches(histories: PaddedHistories) -> Iterator[HistoryTensors]:
    for part in histories.batches(_BATCH_USERS):
        yield HistoryTensors(*map(tf.constant, (part.rows, part.weights, part.ages_days, part.countries)))
