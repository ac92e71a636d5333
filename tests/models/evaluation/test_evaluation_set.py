"""Evaluation sets: held-out positives that can be recommended, with the histories before them."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue
from models.data.content import Content
from models.data.positives import Positives
from models.errors import ModelError
from models.evaluation import evaluation_set

NOWHERE = LakeSnapshot("", {})
IDS = np.array([10, 20, 30, 40])


@pytest.fixture
def catalogue() -> Catalogue:
    """Four titles, of which 40 left; 10 was released on day 95 and 20 on day 100."""
    return Catalogue(
        title_ids=IDS,
        is_listed=np.array([True, True, True, False]),
        object_types=["movie"] * 4,
        genre_names=["drama"],
        genres=sparse.csr_matrix(np.ones((4, 1), dtype=np.float32)),
        release_days=np.array([95, 100, np.nan, 0]),
        content=Content({}, {}),
    )


def positives(day: float = 100.5, **titles_of: list[int]) -> Positives:
    """Positives by row of the catalogue, all at noon of day 100 or at another moment."""
    users = sorted(titles_of)
    rows = [n for n, user in enumerate(users) for _ in titles_of[user]]
    columns = [title for user in users for title in sorted(titles_of[user])]
    liked = sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(len(users), len(IDS)))
    return Positives(users, ["FR"] * len(users), liked, np.full(len(rows), day))


@pytest.fixture(autouse=True)
def _weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of the first title in histories: 0.5 for u1, 0 for all others."""

    def of_users(snapshot: LakeSnapshot, users: list[str], catalogue: Catalogue) -> sparse.csr_matrix:
        weights = np.array([0.5 if user == "u1" else 0.0 for user in users], dtype=np.float32)
        rows = np.arange(len(users))
        return sparse.csr_matrix((weights, (rows, np.zeros_like(rows))), shape=(len(users), len(IDS)))

    monkeypatch.setattr(evaluation_set, "read_history_weights", of_users)


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> dict[str, Positives]:
    """Positives per split; u2 is new, u3 likes a title of the history again, u4 likes a title that left."""
    by_split = {
        "train": positives(day=90.0, u1=[0], u3=[1]),
        "validation": positives(day=98.0, u1=[2]),
        "test": positives(u1=[1], u2=[0, 2], u3=[1], u4=[3]),
    }
    monkeypatch.setattr(evaluation_set, "read_positives", lambda snapshot, split, catalogue: by_split[split])
    return by_split


def test_split_has_the_positives_that_can_be_recommended(catalogue: Catalogue, splits: dict[str, Positives]) -> None:
    truth = evaluation_set.of_split(NOWHERE, "test", catalogue)
    assert truth.user_ids == ["u1", "u2"]
    assert truth.relevant.toarray().tolist() == [[0, 1, 0, 0], [1, 0, 1, 0]]
    # The splits before test: train and validation; u2 has no history.
    assert truth.histories.toarray().tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]
    # Before the first positive of test, at noon of day 100.
    assert truth.history_ages_days.tolist() == [10.5, 2.5]
    # A like after the histories of training has its full weight.
    assert truth.weighted_histories.toarray().tolist() == [[0.5, 0, 1, 0], [0, 0, 0, 0]]
    assert truth.candidates.tolist() == [True, True, True, False]
    assert truth.ignored.toarray().tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    # Noon of day 100 less the day of release: 20 was released that day, 10 five days before, 30 has no date.
    assert np.array_equal(truth.ages_days, [0.5, 5.5, np.nan], equal_nan=True)


def test_histories_of_validation_are_of_train_alone(catalogue: Catalogue, splits: dict[str, Positives]) -> None:
    truth = evaluation_set.of_split(NOWHERE, "validation", catalogue)
    assert truth.user_ids == ["u1"]
    assert truth.histories.toarray().tolist() == [[1, 0, 0, 0]]


def test_split_without_positives_says_where_splits_are_set(catalogue: Catalogue, splits: dict[str, Positives]) -> None:
    splits["validation"] = positives(u3=[1])
    with pytest.raises(ModelError, match=r"'validation' has no positives.*examples.split"):
        evaluation_set.of_split(NOWHERE, "validation", catalogue)


def test_files_give_positives_candidates_and_ignored_pairs(catalogue: Catalogue, tmp_path: Path) -> None:
    pairs, candidates, ignored = tmp_path / "truth.csv.gz", tmp_path / "titles.csv", tmp_path / "ignored.csv"
    pairs.write_bytes(gzip.compress(b"user_id,title_id\nu9,20\nu1,30\nu1,20\nu1,20\n"))
    candidates.write_text("title_id\n20\n30\n")
    ignored.write_text("user_id,title_id\nu1,40\nother,10\n")
    truth = evaluation_set.of_files(pairs, candidates, ignored, NOWHERE, positives(u1=[0], u3=[1]), catalogue)
    assert truth.name == "truth"
    assert truth.user_ids == ["u1", "u9"]
    assert truth.countries == ["FR", None]
    assert truth.relevant.toarray().tolist() == [[0, 1, 1, 0], [0, 1, 0, 0]]
    assert truth.histories.toarray().tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert truth.weighted_histories.toarray().tolist() == [[0.5, 0, 0, 0], [0, 0, 0, 0]]
    # The end of day 100, since training's last positive is at noon of that day.
    assert truth.history_ages_days.tolist() == [0.5]
    # u9 has an interaction with the first title and no like.
    assert truth.ignored.toarray().tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    assert truth.candidates.tolist() == [False, True, True, False]


def test_all_titles_are_candidates_by_default(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("user_id,title_id\nu1,30\n")
    truth = evaluation_set.of_files(tmp_path / "truth.csv", None, None, NOWHERE, positives(u1=[0]), catalogue)
    assert truth.candidates.all()
    assert truth.ignored.nnz == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,title_id\nu1,99\n", r"title 99 and 0 more are not in the lake's catalogue"),
        ("user,title_id\nu1,10\n", r"expected a CSV file with columns user_id, title_id; .*user_id"),
        ("user_id,title_id\nu1,ten\n", r"expected a CSV file"),
    ],
)
def test_file_that_is_no_truth_is_refused(catalogue: Catalogue, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(ModelError, match=message):
        evaluation_set.of_files(tmp_path / "truth.csv", None, None, NOWHERE, positives(u1=[0]), catalogue)


def test_missing_file_is_named(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.csv"):
        evaluation_set.of_files(tmp_path / "none.csv", None, None, NOWHERE, positives(u1=[0]), catalogue)
