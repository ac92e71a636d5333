"""Rows of the training tables as rows of the model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lake.snapshot import LakeSnapshot
from models.data.model_tables import TRAINING_TABLES
from models.fit import training
from models.fit.network_inputs import InputMaker
from models.towers.legacy_keras import tf

TITLES = np.array([30, 10, 20])  # rows 1, 2 and 3


@pytest.fixture(scope="module")
def maker() -> InputMaker:
    return InputMaker(TITLES, ["DE", "FR"])


def batch(titles: list[list[int]], countries: list[str | bytes]) -> dict[str, tf.Tensor]:
    ids = np.array(titles)
    return {
        "history_title_ids": tf.constant(ids, tf.int64),
        "history_weights": tf.constant(np.ones(ids.shape), tf.float32),
        "history_ages_days": tf.constant(np.zeros(ids.shape), tf.float32),
        "country": tf.constant(countries),
    }


def test_titles_without_a_row_are_padding(maker: InputMaker) -> None:
    # 5 and 99 lie before and behind all known ones, 15 between; 0 is the table's own padding.
    inputs = maker.inputs(batch([[10, 5, 30], [99, 20, 15], [0, 0, 0]], ["DE", "FR", "DE"]))
    assert inputs["rows"].numpy().tolist() == [[2, 0, 1], [0, 3, 0], [0, 0, 0]]
    assert inputs["rows"].dtype == tf.int64


def test_countries_are_ids_of_the_vocabulary_and_1_where_it_lacks_them(maker: InputMaker) -> None:
    inputs = maker.inputs(batch([[10]] * 3, ["FR", "DE", "XX"]))
    assert inputs["country"].numpy().tolist() == [3, 2, 1]


def test_an_epoch_has_full_batches_of_users_of_the_table(
    trained: Any, tiny_settings: Callable[..., Any], tmp_path: Any
) -> None:
    settings = tiny_settings(trained.lake.root, tmp_path, **{"training.users_per_batch": 10})
    inputs = trained.inputs
    reader = training.reader_for(settings, inputs.snapshot)
    maker = InputMaker(inputs.title_ids, inputs.countries)
    likes = inputs.positives  # [users, warm titles]
    for epoch in (0, 1):
        batches = list(maker.dataset(reader, epoch))
        # 48 users in batches of ten: eight are dropped, different ones in each epoch.
        assert [len(batch["rows"]) for batch in batches] == [10, 10, 10, 10]
        histories = [set(row[row > 0] - 1) for batch in batches for row in batch["rows"].numpy()]
        known = [set(likes[user].indices) for user in range(48)]
        assert len(histories) == 40
        assert all(liked in known for liked in histories)
    assert LakeSnapshot.pin(settings.lake.root, TRAINING_TABLES) == inputs.snapshot
