"""New titles over replayed nights: segments by hand, the summary for the gate, and a replay from end to end."""

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from scipy import sparse

from conf.loader import load_settings
from conf.settings import with_changes
from models import backtest
from models.data.positives import Positives
from models.evaluation.comparison import Estimate
from models.evaluation.evaluation_set import EvaluationSet
from models.studies import new_titles
from models.studies.new_titles import Ratio

SETTINGS = with_changes(load_settings(), {"evaluation.k": [2], "evaluation.resamples": 50})
NIGHT = date(2024, 5, 10)
# Title 0 has three likes, 1 one, 2 and 3 none.
KNOWN = Positives(
    ["x", "y", "z"],
    ["DE"] * 3,
    sparse.csr_matrix(np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=np.float32)),
    np.zeros(4),
)


@pytest.fixture
def few_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of ages that begin at 0, 1 and 31 days, and of likes that begin at 0, 1 and 3."""
    monkeypatch.setattr(new_titles, "AGES_DAYS", (0, 1, 31))
    monkeypatch.setattr(new_titles, "FIRST_KNOWN_LIKES", (0, 1, 3))


def evaluation_set_of(relevant: list[list[int]], ages: list[float]) -> EvaluationSet:
    matrix = sparse.csr_matrix(np.array(relevant, dtype=np.float32))
    users, titles = matrix.shape
    empty = sparse.csr_matrix((users, titles), dtype=np.float32)
    ids = [f"u{n}" for n in range(users)]
    return EvaluationSet(
        "hand", ids, ["DE"] * users, empty, np.empty(0), matrix, empty, np.array(ages), np.ones(titles, bool)
    )


@pytest.mark.usefixtures("few_segments")
def test_segments_by_hand() -> None:
    # u0 liked title 0 at 40 days and 2 on its first day; u1 liked 1 at nine days, new to the replay, and 3 unreleased.
    evaluation_set = evaluation_set_of([[1, 0, 1, 0], [0, 1, 0, 1]], [40, 0, 9, np.nan])
    lists = {"m": np.array([[0, 1], [3, 1]])}
    is_new = np.array([False, True, True, True])
    values = new_titles.values_of_night(SETTINGS, NIGHT, lists, evaluation_set, KNOWN, is_new)
    recall = values[values["metric"] == "recall"]
    by_user = {(row.dimension, row.segment, row.user_id): row.value for row in recall.itertuples()}
    assert by_user == {
        ("all", "all", "u0"): 0.5,
        ("all", "all", "u1"): 1.0,
        ("title_age_days", "0", "u0"): 0.0,
        ("title_age_days", "1-30", "u1"): 1.0,
        ("title_age_days", "older", "u0"): 1.0,
        ("title_age_days", "unknown", "u1"): 1.0,
        ("title_age_days", "later", "u1"): 1.0,
        ("known_likes", "0", "u0"): 0.0,
        ("known_likes", "0", "u1"): 1.0,
        ("known_likes", "1-2", "u1"): 1.0,
        ("known_likes", "3+", "u0"): 1.0,
    }
    assert set(values["night"]) == {NIGHT}


def values_of(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    columns = ("dimension", "segment", "user_id", "value")
    frame = pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])
    return frame.assign(model="m", metric="recall", night=NIGHT)


AGES = values_of(
    *[("title_age_days", "0", f"u{n}", value) for n, value in enumerate((0.0, 0.2, 0.4))],
    *[("title_age_days", "later", "u0", value) for value in (0.4, 0.4)],
    *[("title_age_days", "older", f"u{n}", 0.8) for n in range(4)],
    ("known_likes", "0", "u0", 0.1),
    ("known_likes", "3+", "u0", 0.5),
)


@pytest.mark.usefixtures("few_segments")
def test_means_and_shares_over_nights() -> None:
    [rows] = new_titles.measure_segments(AGES, SETTINGS).values()
    means = {(row.dimension, row.segment): (row.mean, row.count_users) for row in rows}
    assert means["title_age_days", "0"] == pytest.approx((0.2, 3))
    assert means["title_age_days", "later"] == pytest.approx((0.4, 1))
    shares = {(share.segment, share.reference): share for share in new_titles.compare(AGES, SETTINGS)}
    assert {key: share.estimate.mean for key, share in shares.items()} == pytest.approx(
        {("0", "later"): 0.5, ("0", "older"): 0.25, ("later", "older"): 0.5, ("older", "later"): 2, ("0", "3+"): 0.2}
    )
    assert shares["0", "older"].count_reference == 4
    table = new_titles.ratios_frame(list(shares.values()))
    assert table["ratio"].tolist() == [share.estimate.mean for share in shares.values()]
    by_night = new_titles.nights_frame(AGES)
    assert by_night[by_night["segment"] == "later"][["mean", "count_users"]].values.tolist() == [[0.4, 2]]


@pytest.mark.usefixtures("few_segments")
def test_the_cold_to_warm_ratio_is_to_the_same_titles_with_enough_users() -> None:
    shares = new_titles.compare(AGES, SETTINGS)
    few, enough = new_titles.cold_to_warm(shares, "m", 2), new_titles.cold_to_warm(shares, "m", 1)
    assert few is not None
    assert enough is not None
    assert (few.reference, enough.reference) == ("older", "later")
    assert (few.estimate.mean, enough.estimate.mean) == pytest.approx((0.25, 0.5))
    assert new_titles.cold_to_warm(shares, "another", 1) is None
    assert new_titles.summary(None) == {"cold_to_warm": None}
    ratio = Ratio("m", "title_age_days", "0", "recall", "later", Estimate(0.5, 0.4, 0.7, 120), 90)
    assert new_titles.summary(ratio) == {
        "cold_to_warm": 0.5,
        "low": 0.4,
        "high": 0.7,
        "count_users": 120,
        "reference": "later",
        "count_reference": 90,
    }


@pytest.mark.usefixtures("few_segments")
def test_a_reference_of_zero_gives_no_ratio() -> None:
    values = values_of(("title_age_days", "0", "u0", 0.5), ("title_age_days", "older", "u1", 0.0))
    assert new_titles.compare(values, SETTINGS) == []


def test_nights_begin_with_the_first_and_do_not_pass_the_last() -> None:
    nights = backtest.nights_between(date(2024, 5, 1), date(2024, 5, 6), 2)
    assert nights == [date(2024, 5, 1), date(2024, 5, 3), date(2024, 5, 5)]


@pytest.fixture(scope="module")
def command(trained: Any, tiny_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments for the tiny lake, with likes known at once and its last two warm titles released on May 5."""
    root = tmp_path_factory.mktemp("machine") / "lake"
    shutil.copytree(trained.settings.lake.root, root)
    rows = DeltaTable(root / "training_examples").to_pyarrow_table()
    features = DeltaTable(root / "title_features").to_pyarrow_table()
    later = [
        date(2024, 5, 5) if title in (114, 115) else date(2024, 1, 1) for title in features["title_id"].to_pylist()
    ]
    column = features.schema.get_field_index("release_date")
    for name, table, by in (
        ("training_examples", rows.append_column("known_ds", rows["event_time"].cast(pa.date32())), ["split"]),
        ("title_features", features.set_column(column, "release_date", pa.array(later, pa.date32())), None),
    ):
        shutil.rmtree(root / name)
        write_deltalake(str(root / name), table, partition_by=by)
    small = ["--set", f"lake.root={root}", "--set", "training.epochs=1", "--set", "training.warm_start_epochs=1"]
    return [*tiny_command, *small, "--from", "2024-05-03"]


def test_a_replay_from_end_to_end(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["--to", "2024-05-05", "--models", "popularity", "als_ridge", "--warm-start", "--out", str(out)]
    assert backtest.main([*command, *arguments]) == 0
    nights = pd.read_csv(out / "nights.csv")
    assert set(nights["night"]) == {"2024-05-03", "2024-05-04", "2024-05-05"}
    assert set(nights["model"]) == {"marquee", "popularity", "als_ridge"}
    figures = pd.read_csv(out / "backtest.csv")
    all_users = figures[(figures["dimension"] == "all") & (figures["metric"] == "recall")].set_index("model")
    # On each of three nights all 48 users like one more of about four remaining titles of their taste.
    assert all_users["count_users"].tolist() == [48, 48, 48]
    assert all_users.loc["marquee", "mean"] > all_users.loc["popularity", "mean"]
    assert "0" in set(figures[figures["dimension"] == "title_age_days"]["segment"])
    about = json.loads((out / "backtest.json").read_text())
    assert (about["nights"], about["horizon_days"], about["warm_start"]) == (3, 1, True)
    assert 0 <= about["low"] <= about["cold_to_warm"] <= about["high"]
    assert about["reference"] == "older"
    assert (out / "recall.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "recall@2 by age at the like, and by likes known on the night" in shown
    assert "cold to warm:" in shown.splitlines()[-1]
    kept = mlflow.search_runs(experiment_names=["marquee"], filter_string="run_name = 'backtest'")
    assert len(kept) == 1


def test_impossible_replay_ends_with_one_clear_line(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path)]
    assert backtest.main([*command, "--to", "2024-05-03", "--models", "oracle", *out]) == 1
    assert "no baseline 'oracle'; there are popularity" in capsys.readouterr().err
    # There are no likes after the last of these.
    assert backtest.main([*command, "--from", "2024-05-06", "--to", "2024-05-08", *out]) == 1
    assert "no night from 2024-05-06 to 2024-05-08 has likes before and after it" in capsys.readouterr().err
    for wrong in (["--to", "2024-05-01"], ["--to", "2024-05-04", "--step-days", "0"]):
        with pytest.raises(SystemExit) as stopped:
            backtest.main([*command, *wrong, *out])
        assert stopped.value.code == 2
