"""Measurement: the metrics of every model per segment, with differences to a reference model."""

import numpy as np
import pytest
from scipy import sparse

from conf.loader import load_settings
from conf.settings import Evaluation, with_changes
from lake.arrays import NO_TITLE
from models.data.catalogue import Catalogue
from models.data.content import Content
from models.evaluation import measurement
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.measurement import Measurement

# Training likes of titles 0 to 3: 4, 1, 1 and none.
LIKED = sparse.csr_matrix([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=np.float32)


@pytest.fixture(scope="module")
def options() -> Evaluation:
    changes = {"evaluation.k": [2], "evaluation.resamples": 200}
    return with_changes(load_settings(), changes).evaluation


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(
        title_ids=np.arange(4),
        is_listed=np.ones(4, dtype=np.bool_),
        object_types=["movie", "movie", "show", None],
        genre_names=["drama", "comedy"],
        genres=sparse.csr_matrix([[1, 0], [0, 1], [1, 1], [1, 0]], dtype=np.float32),
        release_days=np.zeros(4),
        content=Content({}, {}),
    )


@pytest.fixture
def evaluation_set() -> EvaluationSet:
    """Two users: one liked title 0, the other titles 2 and 3, the last of which is cold."""
    return EvaluationSet(
        name="test",
        user_ids=["u1", "u2"],
        countries=["FR", "DE"],
        histories=sparse.csr_matrix([[0, 1, 0, 0], [0, 0, 0, 0]], dtype=np.float32),
        history_ages_days=np.array([3.0]),
        relevant=sparse.csr_matrix([[1, 0, 0, 0], [0, 0, 1, 1]], dtype=np.float32),
        ignored=sparse.csr_matrix((2, 4), dtype=np.float32),
        ages_days=np.array([2.0, 40.0, np.nan]),
        candidates=np.ones(4, dtype=np.bool_),
    )


@pytest.fixture
def measured(options: Evaluation, catalogue: Catalogue, evaluation_set: EvaluationSet) -> dict[str, list[Measurement]]:
    recommended = {"old": np.array([[0, 2], [0, 1]]), "new": np.array([[2, 0], [3, NO_TITLE]])}
    return measurement.measure(recommended, "old", evaluation_set, catalogue, LIKED, options, seed=7)


def one(rows: list[Measurement], metric: str, segment: str, dimension: str = "all") -> Measurement:
    [row] = [row for row in rows if (row.metric, row.segment, row.dimension) == (metric, segment, dimension)]
    return row


def test_all_users_are_measured_and_compared(measured: dict[str, list[Measurement]]) -> None:
    # Both models find u1's one positive; the new one finds one of u2's two, the old none.
    assert one(measured["old"], "recall", "all").mean == 0.5
    new = one(measured["new"], "recall", "all")
    assert (new.mean, new.name, new.count_users) == (0.75, "recall@2", 2)
    assert new.difference is not None
    assert (new.difference.mean, new.difference.share_better, new.difference.share_worse) == (0.25, 0.5, 0)
    assert one(measured["old"], "recall", "all").difference is None


def test_segments_restrict_the_positives(measured: dict[str, list[Measurement]]) -> None:
    recall = {
        (row.dimension, row.segment): (row.mean, row.count_users) for row in measured["new"] if row.metric == "recall"
    }
    assert recall == {
        ("all", "all"): (0.75, 2),
        ("history_titles", "0"): (0.5, 1),
        ("history_titles", "1-4"): (1, 1),
        ("country", "DE"): (0.5, 1),
        ("country", "FR"): (1, 1),
        # 4 of 6 likes are title 0's; titles 1 and 2 have one each and are in one group.
        ("popularity", "head"): (1, 1),
        ("popularity", "mid"): (0, 1),
        ("popularity", "unseen"): (1, 1),
        ("title_age_days", "1-3"): (1, 1),
        ("title_age_days", "older"): (0, 1),
        ("title_age_days", "unknown"): (1, 1),
        # Title 2 is in both genres: u2 has a positive in each.
        ("genre", "drama"): (0.75, 2),
        ("genre", "comedy"): (0, 1),
        ("object_type", "movie"): (1, 1),
        ("object_type", "show"): (0, 1),
        ("object_type", "unknown"): (1, 1),
    }


def test_metrics_of_lists_alone_are_measured(measured: dict[str, list[Measurement]]) -> None:
    # u1 gets titles 2 and 0 with 1 and 4 likes, u2 gets title 3 with none.
    assert one(measured["new"], "mean_popularity", "all").mean == (2.5 + 0) / 2
    assert one(measured["new"], "cold_share", "all").mean == (0 + 1) / 2
    # Titles 0, 2 and 3 of four.
    assert one(measured["new"], "coverage", "all").mean == 0.75
    assert one(measured["new"], "coverage", "all").low is None


def test_users_without_a_defined_value_are_counted(measured: dict[str, list[Measurement]]) -> None:
    # A list of one title has no pair; u2's history is empty and so has no genres.
    diversity = one(measured["new"], "diversity", "all")
    assert (diversity.count_users, diversity.count_left_out) == (1, 1)
    assert diversity.difference is not None
    assert diversity.difference.count_users == 1
    assert one(measured["old"], "calibration", "all").count_left_out == 1


def test_list_entries_of_unseen_titles_are_counted(options: Evaluation, evaluation_set: EvaluationSet) -> None:
    recommended = {"old": np.array([[0, 2], [0, 1]]), "new": np.array([[2, 0], [3, NO_TITLE]])}
    is_seen = np.array([True, True, False, True])
    measured = measurement.measure_unseen(recommended, "old", evaluation_set, is_seen, options, seed=7)
    # Title 2 is one of two entries for u1 in both models' lists, and in none for u2.
    assert one(measured["new"], "unmet_share", "all").mean == 0.25
    recall = one(measured["new"], "recall_among_all", "all")
    assert recall.mean == 0.75
    assert recall.difference is not None
    assert recall.difference.mean == 0.25


def test_among_restricts_the_candidates(evaluation_set: EvaluationSet) -> None:
    among = evaluation_set.among(np.array([True, False, True, True])).among(np.array([True, True, False, True]))
    assert among.candidates.tolist() == [True, False, False, True]
    assert evaluation_set.candidates.all()
