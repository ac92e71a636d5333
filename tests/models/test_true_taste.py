"""The true taste of simulated users: by hand, and for a model that learnt two tastes."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from conf.settings import Settings
from models import true_taste
from models.data.catalogue import Catalogue
from models.data.content import Content
from models.data.positives import Positives
from models.errors import ModelError
from models.evaluation.comparison import Difference
from models.evaluation.measurement import Measurement
from models.studies import simulated_tastes

FLOATS = pa.list_(pa.float32())


def write_truth(folder: Path, users: dict[str, Any], titles: dict[str, Any], gems: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps({"enjoyment": {"affinity": 2.0, "quality": 0.5}}))
    for name, columns in (("users", users), ("titles", titles), ("gems", gems)):
        lists = {
            column: pa.array(values, FLOATS) if column == "taste" else values for column, values in columns.items()
        }
        pq.write_table(pa.table(lists), folder / f"{name}.parquet")
    return folder


def catalogue_of(count: int, release_days: list[float]) -> Catalogue:
    return Catalogue(
        title_ids=np.arange(10, 10 + count),
        is_listed=np.ones(count, dtype=np.bool_),
        object_types=["movie"] * count,
        genre_names=["drama"],
        genres=sparse.csr_matrix(np.ones((count, 1), dtype=np.float32)),
        release_days=np.array(release_days),
        content=Content({}, {}),
    )


# Title 13 was released on day 101 and has no likes; the simulation does not know 14.
CATALOGUE = catalogue_of(5, [0, 0, 0, 101, 0])
LIKED = sparse.csr_matrix(np.array([[1, 0, 0, 0, 1], [0, 1, 0, 0, 0]], dtype=np.float32))
TRAIN = Positives(["a", "b"], ["DE", "FR"], LIKED, np.array([99.0, 99.5, 100.25]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    users = {"user_id": ["b", "new"], "country": ["FR", "DE"], "is_niche": [True, False], "taste": [[1, 0], [0, 1]]}
    titles = {"title_id": [13, 10, 11, 12], "taste": [[1, 1], [1, 0], [0, 1], [0, 1]], "quality": [0.0, 1.0, 2.0, 4.0]}
    gems = {"title_id": [12, 11, 99], "best_users": [["new", "unknown"], ["b"], ["b"]]}
    return write_truth(tmp_path_factory.mktemp("truth"), users, titles, gems)


def test_enjoyment_is_the_formula_of_the_simulation(folder: Path) -> None:
    tastes = simulated_tastes.read_tastes(folder, CATALOGUE)
    # 2 · taste + ½ · quality, titles 10 to 14.
    expected = [[2.5, 1, 2, 2, np.nan], [0.5, 3, 4, 2, np.nan]]
    np.testing.assert_array_equal(tastes.enjoyment(slice(None)), expected)
    assert tastes.gems.toarray().tolist() == [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]


def test_truths_by_hand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_tastes, "BEST", 2)
    truths = simulated_tastes.evaluation_sets(simulated_tastes.read_tastes(folder, CATALOGUE), TRAIN, CATALOGUE)
    assert list(truths) == ["taste", "gems"]  # 13 is in no user's top tenth
    taste = truths["taste"]
    assert taste.user_ids == ["b", "new"]
    assert taste.countries == ["FR", "DE"]
    # b likes 11 already, and of 12 and 13, enjoyed alike, the first is taken.
    assert taste.relevant.toarray().tolist() == [[1, 0, 1, 0, 0], [0, 1, 1, 0, 0]]
    assert taste.histories.toarray().tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert taste.history_ages_days.tolist() == [0.75]  # liked at 100.25, recommended at the end of day 100
    assert taste.candidates.tolist() == [True, True, True, True, False]
    # The gem for b is one that b has already.
    assert truths["gems"].user_ids == ["new"]
    assert truths["gems"].relevant.toarray().tolist() == [[0, 0, 1, 0, 0]]


def test_new_titles_count_for_users_who_enjoy_them_most(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_tastes, "_TOP_SHARE", 0.5)
    releases = simulated_tastes.evaluation_sets(simulated_tastes.read_tastes(folder, CATALOGUE), TRAIN, CATALOGUE)[
        "releases"
    ]
    # The medians are 2 and 2.5; 13 gives 2 to either.
    assert releases.user_ids == ["b"]
    assert releases.relevant.toarray().tolist() == [[0, 0, 0, 1, 0]]
    assert releases.candidates.tolist() == [False, False, False, True, False]


def test_a_part_of_a_truth_keeps_what_belongs_to_its_users(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_tastes, "BEST", 2)
    evaluation_set = simulated_tastes.evaluation_sets(
        simulated_tastes.read_tastes(folder, CATALOGUE), TRAIN, CATALOGUE
    )["taste"]
    part = simulated_tastes.users_of(evaluation_set, np.array([1]))
    assert (part.user_ids, part.countries, part.history_ages_days.tolist()) == (["new"], ["DE"], [])
    assert part.relevant.toarray().tolist() == [[0, 1, 1, 0, 0]]
    assert part.ages_days.tolist() == [101.0, 101.0]
    first = simulated_tastes.users_of(
        replace(evaluation_set, history_weights=np.array([0.5, 1.0, 0.25])), np.array([0])
    )
    assert first.history_ages_days.tolist() == [0.75]
    assert first.weighted_histories.data.tolist() == [0.5]


def test_a_folder_without_truth_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"expected the truth of jobs\.sources\.simulate"):
        simulated_tastes.read_tastes(tmp_path, CATALOGUE)
    with pytest.raises(ModelError, match=r"none of its 4 titles is in the lake's catalogue"):
        simulated_tastes.read_tastes(folder, catalogue_of(2, [0, 0]).take(np.array([], dtype=np.int64)))


def test_of_many_users_some_are_taken_the_same_ones_for_the_same_seed(tmp_path: Path) -> None:
    count = 30
    users = {
        "user_id": [f"u{n}" for n in range(count)],
        "country": ["DE", "FR"] * 15,
        "is_niche": [n % 3 == 0 for n in range(count)],
        "taste": [[n, -n] for n in range(count)],
    }
    titles = {"title_id": [10, 11], "taste": [[1, 0], [0, 1]], "quality": [0.0, 0.0]}
    gems: dict[str, Any] = {"title_id": [10], "best_users": [[]]}
    folder = write_truth(tmp_path, users, titles, gems)
    whole = simulated_tastes.read_tastes(folder, CATALOGUE)
    for limit in (None, count, 99):
        assert simulated_tastes.read_tastes(folder, CATALOGUE, limit, seed=1).user_ids == users["user_id"]
    tastes, again, other = (simulated_tastes.read_tastes(folder, CATALOGUE, 12, seed=seed) for seed in (1, 1, 2))
    assert tastes.user_ids == again.user_ids != other.user_ids
    assert len(set(tastes.user_ids)) == 12
    # What is known of each is still that user's.
    chosen = np.array([int(user[1:]) for user in tastes.user_ids])
    assert tastes.countries == [users["country"][n] for n in chosen]
    assert tastes.is_niche.tolist() == [users["is_niche"][n] for n in chosen]
    np.testing.assert_array_equal(tastes.enjoyment(slice(None)), whole.enjoyment(slice(None))[chosen])


def test_only_significant_losses_are_reported() -> None:
    def row(metric: str, high: float, users: int) -> Measurement:
        difference = Difference(-0.1, -0.2, high, users, 0.1, 0.5, 0.4)
        return Measurement("taste", metric, metric, 20, 0.1, 0.0, 0.2, users, 0, difference)

    rows = [row("recall", -0.01, 100), row("ndcg", 0.01, 100), row("recall", -0.01, 99), row("novelty", -0.01, 100)]
    assert true_taste.worse_segments(rows, 100) == rows[:1]


def test_the_command_finds_the_taste_that_was_learnt(
    registered: Settings, tiny_command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users, titles = range(48), range(18)
    sides = {"taste": [[1 - n % 2, n % 2] for n in users]}
    user_columns = {"user_id": [f"u{n:03}" for n in users], "country": ["DE"] * 48, "is_niche": [n < 10 for n in users]}
    title_columns = {
        "title_id": [100 + n for n in titles],
        "taste": [[1 - n % 2, n % 2] for n in titles],
        "quality": [0.0] * 18,
        "release_date": [date(2024, 1, 1)] * 18,
    }
    folder = write_truth(
        tmp_path / "truth", {**user_columns, **sides}, title_columns, {"title_id": [116], "best_users": [["u000"]]}
    )
    arguments = ["--taste", str(folder), "--out", str(tmp_path), "--dials", "-0.5", "--set", "gate.min_users=5"]
    assert true_taste.main([*tiny_command, *arguments]) == 0
    rows = pd.read_csv(tmp_path / "true_taste.csv")
    assert set(rows["model"]) == {"popularity", "als", "als -0.50", "challenger", "challenger -0.50"}
    gem_recall = rows[(rows["model"] == "challenger") & (rows["truth"] == "gems") & (rows["metric"] == "recall")]
    # The new title of the user's taste is among the first two of the four remaining.
    assert gem_recall[gem_recall["segment"] == "all"]["mean"].tolist() == [1.0, 1.0]
    assert set(rows[rows["dimension"] == "taste"]["segment"]) == {"niche", "mainstream"}
    shown = capsys.readouterr().out
    assert "gems: challenger against popularity, segments of 5 users or more: nowhere below" in shown
    of_taste = rows[(rows["truth"] == "taste") & (rows["segment"] == "all") & (rows["metric"] == "recall")]
    assert set(of_taste["count_users"]) == {48}


def test_the_command_measures_as_many_users_as_requested(
    registered: Settings, tiny_command: list[str], tmp_path: Path
) -> None:
    users = {"user_id": [f"u{n:03}" for n in range(48)], "country": ["DE"] * 48, "is_niche": [False] * 48}
    titles = {"title_id": [100 + n for n in range(18)], "quality": [0.0] * 18}
    sides = [[1 - n % 2, n % 2] for n in range(48)]
    gems: dict[str, Any] = {"title_id": [116], "best_users": [[]]}
    folder = write_truth(tmp_path / "truth", {**users, "taste": sides}, {**titles, "taste": sides[:18]}, gems)
    arguments = ["--taste", str(folder), "--out", str(tmp_path), "--models", "popularity", "--against", "popularity"]
    assert true_taste.main([*tiny_command, *arguments, "--max-users", "20"]) == 0
    rows = pd.read_csv(tmp_path / "true_taste.csv")
    of_taste = rows[(rows["truth"] == "taste") & (rows["segment"] == "all") & (rows["metric"] == "recall")]
    assert set(of_taste["count_users"]) == {20}


def test_of_many_users_some_are_measured_and_all_whom_a_gem_suits(tmp_path: Path) -> None:
    count = 12
    users = {
        "user_id": [f"u{n}" for n in range(count)],
        "country": ["DE"] * count,
        "is_niche": [False] * count,
        "taste": [[1, n] for n in range(count)],
    }
    titles = {"title_id": [10, 11, 12], "taste": [[1, 1], [1, 0], [0, 1]], "quality": [0.0, 1.0, 2.0]}
    gems = {"title_id": [12], "best_users": [["u3", "u9"]]}
    folder = write_truth(tmp_path, users, titles, gems)
    tastes = simulated_tastes.read_tastes(folder, CATALOGUE, max_users=4, seed=1)
    sampled = [user for user, is_one in zip(tastes.user_ids, tastes.is_sampled, strict=True) if is_one]
    assert len(sampled) == 4
    assert set(tastes.user_ids) == {*sampled, "u3", "u9"}
    assert tastes.gems.toarray()[:, 2].tolist() == [user in ("u3", "u9") for user in tastes.user_ids]
    sets = simulated_tastes.evaluation_sets(tastes, TRAIN, CATALOGUE)
    assert sets["taste"].user_ids == sampled
    assert sets["gems"].user_ids == ["u3", "u9"]
    again = simulated_tastes.read_tastes(folder, CATALOGUE, max_users=4, seed=1)
    assert again.user_ids == tastes.user_ids
    assert simulated_tastes.read_tastes(folder, CATALOGUE, max_users=12).is_sampled.all()
