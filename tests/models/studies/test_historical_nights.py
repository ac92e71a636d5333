"""Historical nights: what was known by each, what came after, and models that know nothing of what came after."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from scipy import sparse

from models.data.catalogue import Catalogue
from models.data.content import Content
from models.debiasing.click_ranks import ClickRanks
from models.studies import historical_nights
from models.studies.historical_nights import InteractionLog

NIGHT = date(2024, 5, 10)
DAY = historical_nights.day_number(NIGHT)


def catalogue_of(release_days: list[float]) -> Catalogue:
    count = len(release_days)
    return Catalogue(
        title_ids=np.arange(count),
        is_listed=np.arange(count) != 5,
        object_types=["movie"] * count,
        genre_names=["drama"],
        genres=sparse.csr_matrix(np.ones((count, 1), dtype=np.float32)),
        release_days=np.array(release_days),
        content=Content({}, {}),
    )


# Title 2 is released the day after the night, 3 five days after it, 4 has no date, 5 left the guide.
CATALOGUE = catalogue_of([0, DAY - 3, DAY + 1, DAY + 5, np.nan, 0])


def row(user: str, title: int, day: float, known_after: int = 0, country: str = "DE") -> dict[str, Any]:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=DAY + day)
    known = moment.date() + timedelta(days=known_after)
    return {"user_id": user, "title_id": title, "event_time": moment, "country": country, "known_ds": known}


ROWS = [
    row("a", 0, 0.5),
    row("a", 1, 0.9, known_after=1),  # late: happened on the night's day, known on the next
    row("b", 0, -2.25, country="FR"),
    row("b", 2, 1.75, country="FR"),
    row("b", 0, 1.5, country="FR"),  # again
    row("a", 3, 1.25),  # released two days after the horizon
    row("c", 4, 2.5),
    row("c", 5, 2.5),
    row("c", 1, 3.0),
]


def ranks_of(*rows: tuple[int, int, bool, int, int, int]) -> ClickRanks:
    """Rows: title, day, is in random order, rank, impressions, clicks."""
    columns = np.array(rows, dtype=np.int64).reshape(-1, 6).T
    return ClickRanks(columns[0], columns[1], columns[2].astype(np.bool_), *columns[3:])


def history_of(rows: list[dict[str, Any]]) -> InteractionLog:
    types = {"user_id": pa.string(), "title_id": pa.int64(), "event_time": pa.timestamp("us", "UTC")}
    types |= {"country": pa.string(), "known_ds": pa.date32()}
    columns = {name: pa.array([row[name] for row in rows], type_) for name, type_ in types.items()}
    return InteractionLog(CATALOGUE, ["DE", "FR"], pa.table(columns), ranks_of())


def test_a_night_knows_the_positives_known_by_its_end() -> None:
    known = history_of(ROWS).known_by(NIGHT)
    assert known.user_ids == ["a", "b"]
    assert known.liked.toarray().tolist() == [[1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]
    assert known.days.tolist() == [DAY + 0.5, DAY - 2.25]
    assert history_of(ROWS).known_by(NIGHT + timedelta(days=1)).liked[0].indices.tolist() == [0, 1, 3]


def test_the_truth_is_the_next_likes_of_released_titles() -> None:
    interactions = history_of(ROWS)
    evaluation_set = interactions.evaluation_set_after(NIGHT, 2, interactions.known_by(NIGHT))
    assert evaluation_set is not None
    # a's like of 3 is of a title released after both days, b's of 0 is known already; c's of 1 is a day later.
    assert evaluation_set.user_ids == ["b", "c"]
    assert evaluation_set.countries == ["FR", "DE"]
    assert evaluation_set.relevant.toarray().tolist() == [[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]]
    assert evaluation_set.histories.toarray().tolist() == [[1, 0, 0, 0, 0, 0], [0] * 6]
    assert evaluation_set.history_ages_days.tolist() == [3.25]  # before midnight after the night
    assert evaluation_set.ages_days[0] == 0  # liked on its release day
    assert np.isnan(evaluation_set.ages_days[1])
    assert evaluation_set.candidates.tolist() == [True, True, True, False, True, False]


def test_without_later_likes_there_is_no_truth() -> None:
    interactions = history_of(ROWS[:5])
    assert interactions.evaluation_set_after(NIGHT + timedelta(days=1), 5, interactions.known_by(NIGHT)) is None


@pytest.fixture(scope="module")
def dated(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny lake, whose likes were known on the day they happened."""
    root = tmp_path_factory.mktemp("replay") / "lake"
    shutil.copytree(trained.settings.lake.root, root)
    rows = DeltaTable(root / "training_examples").to_pyarrow_table()
    dated = rows.append_column("known_ds", rows["event_time"].cast(pa.date32()))
    shutil.rmtree(root / "training_examples")
    write_deltalake(str(root / "training_examples"), dated, partition_by=["split"])
    return root


@pytest.fixture(scope="module")
def settings_of(tiny_settings: Callable[..., Any], dated: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    work = tmp_path_factory.mktemp("work")
    return lambda **changes: tiny_settings(dated, work, **{"training.epochs": 2, **changes})


def without_later(interactions: InteractionLog, night: date) -> InteractionLog:
    kept = interactions.rows.filter(pa.array([day <= night for day in interactions.rows["known_ds"].to_pylist()]))
    return replace(interactions, rows=kept, ranks=interactions.ranks.until(historical_nights.day_number(night)))


def test_a_night_s_model_does_not_depend_on_later_events(settings_of: Any) -> None:
    settings, night = settings_of(), date(2024, 5, 3)
    day = historical_nights.day_number(night)
    # By the night the first title was clicked at rank 4; on the next day at rank 1, and examination falls no more.
    by_night = ((101, day, True, 1, 1000, 200), (101, day, True, 4, 1000, 100), (100, day, False, 4, 90, 50))
    after = ((101, day + 1, True, 4, 1000, 300), (100, day + 1, False, 1, 90, 50))
    interactions = replace(historical_nights.read_interaction_log(settings), ranks=ranks_of(*by_night, *after))
    models = [
        historical_nights.train_night(settings, log, night, log.known_by(night), None)
        for log in (interactions, without_later(interactions, night))
    ]
    assert len(interactions.known_by(night).days) == 48 * 3  # a like a day, of six
    vectors = [model.title_vectors(interactions.catalogue) for model in models]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    uncorrected = historical_nights.train_night(
        settings, replace(interactions, ranks=ranks_of()), night, interactions.known_by(night), None
    )
    assert not np.array_equal(uncorrected.title_vectors(interactions.catalogue), vectors[0])
    later = historical_nights.train_night(
        settings, interactions, date(2024, 5, 4), interactions.known_by(date(2024, 5, 4)), None
    )
    assert not np.array_equal(later.title_vectors(interactions.catalogue), vectors[0])


def test_a_large_catalogue_is_trained_on_users_of_the_night(settings_of: Any) -> None:
    changes = {"training.loss": "sampled_softmax", "model.weights.als": 0.0, "training.epochs": 1}
    settings, night = settings_of(**changes), date(2024, 5, 3)
    interactions = historical_nights.read_interaction_log(settings)
    known = interactions.known_by(night)
    model = historical_nights.train_night(settings, interactions, night, known, None)
    assert sorted(model.title_ids.tolist()) == (np.flatnonzero(known.liked.sum(axis=0)) + 100).tolist()
    warmer = historical_nights.train_night(
        settings_of(**changes, **{"training.warm_start_epochs": 1}), interactions, night, known, model
    )
    assert warmer.dim == model.dim
