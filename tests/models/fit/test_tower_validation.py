"""NDCG of the towers on held-back positives: lists of known titles, without those of the history."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from models.evaluation.evaluation_set import EvaluationSet
from models.fit import tower_validation
from models.fit.tower_validation import TowerValidation
from models.towers.layers import HistoryTensors
from models.towers.legacy_keras import tf

# Of five titles the towers know 0, 2, 3 and 4, as rows 1 to 4; 1 is new.
WARM = np.array([0, 2, 3, 4])
POPULARITY = [9.0, 7.0, 5.0, 3.0]


class ByPopularity:
    """Stands in for a network: scores are POPULARITY for every history."""

    def __init__(self) -> None:
        self.calls: list[HistoryTensors] = []

    def scores(self, history: HistoryTensors) -> Any:
        self.calls.append(history)
        return tf.constant([[0.0, *POPULARITY]] * len(history.rows))


def held_back(histories: list[list[int]], relevant: list[list[int]], ages: list[float]) -> EvaluationSet:
    def matrix(titles: list[list[int]]) -> sparse.csr_matrix:
        dense = np.zeros((len(titles), 5), dtype=np.float32)
        for user, liked in enumerate(titles):
            dense[user, liked] = 1
        return sparse.csr_matrix(dense)

    every, nothing = np.ones(5, dtype=np.bool_), matrix([[] for _ in relevant])
    names = [f"u{n}" for n in range(len(relevant))]
    return EvaluationSet(
        "validation", names, [None] * len(names), matrix(histories), np.array(ages), matrix(relevant), nothing,
        np.zeros(1), every,
    )  # fmt: skip


@pytest.fixture
def options(tiny_settings: Callable[..., Any], tmp_path: Any) -> Callable[..., Any]:
    return lambda **changes: tiny_settings(tmp_path, tmp_path, **changes)


def test_it_is_the_mean_over_users_with_a_known_positive(options: Callable[..., Any]) -> None:
    # The first had title 0, so that 2 is the first of their list; the second finds 4 as the fourth; the third
    # has only the new title, which no tower knows.
    evaluation_set = held_back([[0], [], [2]], [[2], [4], [1]], ages=[0.0, 3.0])
    ndcg = TowerValidation(options(), evaluation_set, WARM, ByPopularity())()
    assert ndcg == pytest.approx((1 + 1 / np.log2(5)) / 2)


def test_histories_are_passed_newest_first(options: Callable[..., Any]) -> None:
    network = ByPopularity()
    # Title 1 is none that the towers know; an age of 0 is one.
    evaluation_set = held_back([[0, 1, 3, 4]], [[2]], ages=[5.0, 1.0, 0.0, 2.0])
    TowerValidation(options(), evaluation_set, WARM, network)()
    [history] = network.calls
    assert history.rows.numpy()[0, :4].tolist() == [3, 4, 1, 0]
    assert history.weights.numpy()[0, :4].tolist() == [1, 1, 1, 0]
    assert history.ages_days.numpy()[0, :4].tolist() == [0, 2, 5, 0]


def test_of_many_users_the_same_sample_is_measured_each_time(
    options: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(1)
    relevant = [[int(random.choice(WARM))] for _ in range(40)]
    evaluation_set = held_back([[] for _ in relevant], relevant, ages=[])
    few, many = ByPopularity(), ByPopularity()
    with monkeypatch.context() as patched:
        patched.setattr(tower_validation, "VALIDATION_USERS", 10)
        figures = [TowerValidation(options(), evaluation_set, WARM, few)() for _ in range(2)]
    assert figures[0] == figures[1]
    assert [len(history.rows) for history in few.calls] == [10, 10]
    assert TowerValidation(options(), evaluation_set, WARM, many)() > 0
    assert len(many.calls[0].rows) == 40


def test_without_known_positives_it_is_0(options: Callable[..., Any]) -> None:
    network = SimpleNamespace(scores=None)
    assert TowerValidation(options(), held_back([[0]], [[1]], ages=[0.0]), WARM, network)() == 0.0
