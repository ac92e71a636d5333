"""The command that measures models, on two tastes that every personal model must recognise."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from models import evaluate

# Users of even number like titles of even id, the others the odd ones; 12 and 13 are new and have no likes.
COUNT_USERS, COUNT_WARM, COUNT_TITLES = 40, 12, 14
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def write(root: Path, name: str, columns: dict[str, tuple[pa.DataType, list[Any]]], by: Sequence[str] = ()) -> None:
    rows = pa.table({column: pa.array(values, type_) for column, (type_, values) in columns.items()})
    write_deltalake(str(root / name), rows, partition_by=list(by) or None)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake in which each user's last like is in the validation split."""
    folder = tmp_path_factory.mktemp("lake")
    ids, vector = pa.list_(pa.int32()), pa.list_(pa.float32())
    titles = range(COUNT_TITLES)
    features = {
        "title_id": (pa.int64(), list(titles)),
        "title_index": (pa.int32(), [n + 2 for n in titles]),
        "is_listed": (pa.bool_(), [True] * COUNT_TITLES),
        "object_type_id": (pa.int32(), [2] * COUNT_TITLES),
        "language_id": (pa.int32(), [1] * COUNT_TITLES),
        "genre_ids": (ids, [[2 + n % 2, 0] for n in titles]),
        **{name: (ids, [[0]] * COUNT_TITLES) for name in ("theme_ids", "cast_ids", "director_ids")},
        "release_date": (pa.date32(), [None] * COUNT_TITLES),
        "release_year": (pa.int32(), [2000] * COUNT_TITLES),
        **{name: (vector, [None] * COUNT_TITLES) for name in ("title_embedding", "plot_embedding", "poster_embedding")},
    }
    write(folder, "title_features", features)
    tokens = {"kind": (pa.string(), ["genre"] * 2), "token": (pa.string(), ["even", "odd"])}
    write(folder, "vocabularies", {**tokens, "id": (pa.int32(), [2, 3])})
    generator = np.random.default_rng(5)
    rows = []
    for user in range(COUNT_USERS):
        liked = generator.permutation(np.arange(user % 2, COUNT_WARM, 2))[:5]
        for order, title in enumerate(liked.tolist()):
            split = "validation" if order == 4 else "train"
            rows.append((f"u{user:02}", title, NOON + timedelta(days=order), "FR", split))
    types = {
        "user_id": pa.string(),
        "title_id": pa.int64(),
        "event_time": pa.timestamp("us", "UTC"),
        "country": pa.string(),
        "split": pa.string(),
    }
    examples = {name: (type_, [row[n] for row in rows]) for n, (name, type_) in enumerate(types.items())}
    write(folder, "training_examples", examples, ["split"])
    # u00 has a title of the other taste in its history, with weight 0.
    histories = {"history_title_ids": (pa.list_(pa.int64()), [[0, 1]]), "history_weights": (vector, [[1.0, 0.0]])}
    write(folder, "training_users", {"user_id": (pa.string(), ["u00"]), **histories})
    return folder


def options(root: Path, *more: str) -> list[str]:
    small = ["evaluation.k=[2]", "evaluation.resamples=50", "baselines.als.factors=4", "baselines.als.alpha=2.0"]
    small += ["baselines.als.regularization=0.1", "baselines.ease.regularization=5.0"]
    return [part for value in (f"lake.root={root}", *small) for part in ("--set", value)] + list(more)


def mean_of(figures: pd.DataFrame, model: str) -> float:
    is_it = (figures["model"] == model) & (figures["metric"] == "recall") & (figures["segment"] == "all")
    return float(figures[is_it]["mean"].item())


def test_models_are_shown_side_by_side_and_their_lists_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main(options(root, "--against", "popularity", "--out", str(tmp_path / "out"))) == 0
    shown = capsys.readouterr().out
    assert "validation: 40 users, 40 positives" in shown
    assert "recall@2 per segment" in shown
    assert "genre even" in shown
    figures = pd.read_csv(tmp_path / "out" / "measured.csv")
    als = figures[(figures["model"] == "als") & (figures["metric"] == "recall") & (figures["segment"] == "all")]
    # A list of two titles of the user's taste holds the held-out one of the two remaining; popularity's by chance.
    assert als["difference_low"].item() > 0
    assert als["difference_mean"].item() == pytest.approx(als["mean"].item() - mean_of(figures, "popularity"))
    for model in ("popularity", "popularity_28d", "als", "ease", "content", "als_ridge", "ease_ridge", "marec"):
        rows = pd.read_parquet(tmp_path / "out" / f"{model}.parquet")
        assert rows["user_id"].nunique() == COUNT_USERS
        assert rows.groupby("user_id")["rank"].apply(list).tolist() == [[1, 2]] * COUNT_USERS
        if "popularity" not in model:
            # Two warm titles of the user's own taste are left, and for some models the new one of it.
            is_own = rows["title_id"] % 2 == rows["user_id"].str[1:].astype(int) % 2
            assert is_own.mean() > 0.8, model


def test_cold_titles_are_ranked_among_themselves_by_content(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [(f"u{user:02}", 12 + user % 2) for user in range(COUNT_USERS)]
    pd.DataFrame(pairs, columns=["user_id", "title_id"]).to_csv(tmp_path / "truth.csv", index=False)
    (tmp_path / "cold.csv").write_text("title_id\n12\n13\n")
    arguments = ["--truth", str(tmp_path / "truth.csv"), "--candidates", str(tmp_path / "cold.csv")]
    lists = ["--models", "als_ridge", "content", "--out", str(tmp_path)]
    assert evaluate.main(options(root, *arguments, *lists)) == 0
    assert "truth: 40 users, 40 positives" in capsys.readouterr().out
    for model in ("als_ridge", "content"):
        rows = pd.read_parquet(tmp_path / f"{model}.parquet")
        first = rows[rows["rank"] == 1].set_index("user_id")["title_id"]
        assert first.to_dict() == dict(pairs), model


def test_unknown_model_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(options(root, "--models", "oracle")) == 1
    assert "no model 'oracle'; there are popularity, popularity_28d, als" in capsys.readouterr().err


def test_lake_without_tables_ends_with_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(options(tmp_path)) == 1
    assert "title_features" in capsys.readouterr().err


def test_split_without_rows_ends_with_one_clear_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(options(root, "--split", "test")) == 1
    assert "'test' has no positives" in capsys.readouterr().err
