"""Arrays of a pinned lake: titles and users by position, positives once each, content that says what is absent."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from models.data import lake_tables
from lake.errors import LakeError
from models.errors import ModelError
from models.data.lake_tables import Catalogue

IDS = pa.list_(pa.int32())
VECTOR = pa.list_(pa.float32())
BLOCKS = dict.fromkeys(
    ("genres", "genre_pairs", "people", "credits", "lead", "fame", "month", "weekday", "year", "plot"), 1.0
)

# Title 30 came first into the vocabulary, then 10, then 20; genre 2 is drama, 3 is comedy, 1 is one that is unknown.
TITLES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "title_id": (pa.int64(), [10, 20, 30]),
    "title_index": (pa.int32(), [3, 4, 2]),
    "is_listed": (pa.bool_(), [True, False, True]),
    "object_type_id": (pa.int32(), [2, 3, 1]),
    "language_id": (pa.int32(), [1, 2, 2]),
    "genre_ids": (IDS, [[2, 3, 0], [1, 0, 0], [3, 0, 0]]),
    "theme_ids": (IDS, [[0], [0], [0]]),
    "cast_ids": (IDS, [[5, 6], [0, 0], [6, 0]]),
    "director_ids": (IDS, [[6], [0], [0]]),
    "release_date": (pa.date32(), [date(1970, 1, 11), None, None]),
    "release_year": (pa.int32(), [1970, 1971, None]),
    "title_embedding": (VECTOR, [None, None, None]),
    "plot_embedding": (VECTOR, [[0.6, 0.8], None, [1.0, 0.0]]),
    "poster_embedding": (VECTOR, [None, None, None]),
    "count_positives_ever": (pa.int64(), [2, 0, 0]),
}
# u2 met title 20 twice, once in a later year; 99 is in no catalogue.
NOON = datetime(1970, 1, 2, 12, tzinfo=UTC)
EXAMPLES = [
    ("u2", 20, NOON.replace(year=1971), "US", "train"),
    ("u2", 20, NOON, "FR", "train"),
    ("u1", 30, NOON, "DE", "train"),
    ("u2", 10, NOON.replace(hour=18), "GB", "train"),
    ("u1", 99, NOON, "DE", "train"),
    ("u3", 10, NOON, "DE", "test"),
]


def write(root: Path, name: str, columns: Mapping[str, tuple[pa.DataType, list[Any]]], by: list[str] | None) -> None:
    rows = pa.table({column: pa.array(values, type_) for column, (type_, values) in columns.items()})
    write_deltalake(str(root / name), rows, partition_by=by)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    write(folder, "title_features", TITLES, None)
    words = {"kind": ["genre", "genre", "person"], "token": ["comedy", "drama", "someone"]}
    tokens = {name: (pa.string(), values) for name, values in words.items()} | {"id": (pa.int32(), [3, 2, 5])}
    write(folder, "vocabularies", tokens, None)
    types = {
        "user_id": pa.string(),
        "title_id": pa.int64(),
        "event_time": pa.timestamp("us", "UTC"),
        "country": pa.string(),
        "split": pa.string(),
    }
    examples = {name: (type_, [row[n] for row in EXAMPLES]) for n, (name, type_) in enumerate(types.items())}
    write(folder, "training_examples", examples, ["split"])
    # u1 met titles 20, without liking it, and 99, which is in no catalogue; 0 is padding.
    met = {"history_title_ids": (pa.list_(pa.int64()), [[20, 99, 0]])}
    write(folder, "training_users", {"user_id": (pa.string(), ["u1"]), **met}, None)
    return folder


@pytest.fixture(scope="module")
def catalogue(root: Path) -> Catalogue:
    return lake_tables.read_catalogue(str(root), lake_tables.pin(str(root)), BLOCKS)


def test_titles_stand_in_the_order_of_their_index(catalogue: Catalogue) -> None:
    assert catalogue.title_ids.tolist() == [30, 10, 20]
    assert catalogue.is_listed.tolist() == [True, True, False]
    assert catalogue.object_types == [None, "movie", "show"]
    assert catalogue.positions(np.array([10, 99, 30, 20, 5])).tolist() == [1, -1, 0, 2, -1]


def test_genres_are_named_and_unknown_ones_say_nothing(catalogue: Catalogue) -> None:
    assert catalogue.genre_names == ["drama", "comedy"]
    assert catalogue.genres.toarray().tolist() == [[0, 1], [1, 1], [0, 0]]
    assert catalogue.content.present["genres"].tolist() == [True, True, False]


def test_release_is_the_date_or_the_middle_of_the_year(catalogue: Catalogue) -> None:
    # 1971-07-01 is 365 + 181 days after 1970-01-01.
    assert np.array_equal(catalogue.release_days, [np.nan, 10, 546], equal_nan=True)


def test_a_person_in_two_roles_counts_once(catalogue: Catalogue) -> None:
    people = catalogue.content.blocks["people"].toarray()
    # Person 6, since person 5 is in one title only.
    assert people.tolist() == [[1], [1], [0]]
    assert catalogue.content.present["people"].tolist() == [True, True, False]


def test_pairs_of_genres_are_those_that_a_title_has_both_of(catalogue: Catalogue) -> None:
    pairs = catalogue.content.blocks["genre_pairs"].toarray()
    # Ids 1, 2 and 3 with padding are columns of which drama is 0 and comedy 1: 30 is a comedy, 10 is both.
    width = int(np.sqrt(pairs.shape[1]))
    assert np.flatnonzero(pairs[0]).tolist() == [width + 1]
    assert np.flatnonzero(pairs[1]).tolist() == [0, 1, width + 1]
    assert not pairs[2].any()


def test_credits_tell_parts_apart_and_are_of_length_one(catalogue: Catalogue) -> None:
    credits = catalogue.content.blocks["credits"].toarray()
    # Person 6 plays in 30 and in 10 and directs one of them; nobody else has one part in two titles.
    assert credits.tolist() == [[1], [1], [0]]


def test_credits_are_of_length_one() -> None:
    columns = {"cast_ids": [[2, 3], [2, 3], [3, 0]], "director_ids": [[4], [0], [4]]}
    rows = pa.table({name: pa.array(ids, IDS) for name, ids in columns.items()})
    credits = lake_tables.content_blocks(rows, {"credits": 1.0}).blocks["credits"].toarray()
    assert (credits**2).sum(axis=1) == pytest.approx(1)
    assert credits[0] == pytest.approx(3**-0.5)
    assert credits[1] == pytest.approx([0.5**0.5, 0.5**0.5, 0])


def test_month_is_that_of_the_release(catalogue: Catalogue) -> None:
    assert np.argwhere(catalogue.content.blocks["month"]).tolist() == [[1, 0]]
    assert catalogue.content.present["month"].tolist() == [False, True, False]


def test_lead_is_the_first_of_the_cast(catalogue: Catalogue) -> None:
    # 30 is led by person 6 and 10 by person 5: each leads one title.
    assert catalogue.content.blocks["lead"].shape == (3, 0)
    rows = pa.table({"cast_ids": pa.array([[5, 6], [5, 7], [6, 5]], IDS)})
    assert lake_tables.content_blocks(rows, {"lead": 1.0}).blocks["lead"].toarray().tolist() == [[1], [1], [0]]


def test_fame_is_how_many_parts_people_have(catalogue: Catalogue) -> None:
    # Person 6 is in the cast of two titles and directs one, person 5 is in one: three parts and one. 30 is played by 6;
    # 10 by 5, who leads it, and 6, and 6 directs it; 20 names nobody. 30 has one genre, 10 two, 20 none that is known.
    counts = np.array([[3, 3, 0, 3], [4, 3, 3, 1], [0, 0, 0, 0]])
    expected = np.column_stack([np.log1p(counts), [1, 2, 0]])
    expected = (expected - expected.mean(axis=0)) / expected.std(axis=0)
    assert catalogue.content.blocks["fame"] == pytest.approx(expected, abs=1e-6)
    assert catalogue.content.present["fame"].all()


def test_weekday_is_that_of_the_release(catalogue: Catalogue) -> None:
    # The 11th of January 1970 was a Sunday.
    assert np.argwhere(catalogue.content.blocks["weekday"]).tolist() == [[1, 6]]


def test_taken_titles_keep_what_is_known_of_them(catalogue: Catalogue) -> None:
    # Titles 30, 10, 20 stand in this order.
    taken = catalogue.take(np.array([2, 0]))
    assert taken.title_ids.tolist() == [20, 30]
    assert taken.is_listed.tolist() == [False, True]
    assert taken.object_types == ["show", None]
    assert taken.genres.toarray().tolist() == catalogue.genres.toarray()[[2, 0]].tolist()
    assert np.allclose(taken.content.blocks["plot"], [[0, 0], [1, 0]])
    assert taken.content.present["plot"].tolist() == [False, True]
    assert taken.positions(np.array([10, 30])).tolist() == [-1, 1]


def test_absent_embeddings_are_rows_of_zeros_that_say_so(catalogue: Catalogue) -> None:
    plots = catalogue.content.blocks["plot"]
    assert np.allclose(plots, [[1, 0], [0.6, 0.8], [0, 0]])
    assert catalogue.content.present["plot"].tolist() == [True, True, False]


def test_catalogue_without_any_embedding_of_a_kind_has_an_empty_block(root: Path) -> None:
    posters = lake_tables.read_catalogue(str(root), lake_tables.pin(str(root)), {"poster": 1.0}).content
    assert posters.blocks["poster"].shape == (3, 0)
    assert not posters.present["poster"].any()


def test_years_near_each_other_are_alike_and_far_ones_not(catalogue: Catalogue) -> None:
    none, first, second = catalogue.content.blocks["year"]
    assert not none.any()
    assert catalogue.content.present["year"].tolist() == [False, True, True]
    # A year at the middle of a bin is wholly in it, and by exp(-1/2) in those a decade away.
    assert sorted(first)[-3:] == pytest.approx([np.exp(-0.5), np.exp(-0.5), 1])
    assert np.linalg.norm(first - second) < 0.2


def test_a_positive_is_the_first_of_a_user_and_title(root: Path, catalogue: Catalogue) -> None:
    train = lake_tables.read_positives(str(root), lake_tables.pin(str(root)), "train", catalogue)
    assert train.user_ids == ["u1", "u2"]
    # Positions: 30 is 0, 10 is 1, 20 is 2.
    assert train.liked.toarray().tolist() == [[1, 0, 0], [0, 1, 1]]
    assert train.days.tolist() == [1.5, 1.75, 1.5]
    # u2's last positive is the one of the evening.
    assert train.countries == ["DE", "GB"]


def test_recent_positives_are_those_of_the_last_days(root: Path, catalogue: Catalogue) -> None:
    train = lake_tables.read_positives(str(root), lake_tables.pin(str(root)), "train", catalogue)
    assert lake_tables.recent_counts(train, 1).tolist() == [1, 1, 1]
    later = replace(train, days=train.days + np.array([0, 30, 0]))
    assert lake_tables.recent_counts(later, 28).tolist() == [0, 1, 0]


def test_split_without_rows_has_no_users(root: Path, catalogue: Catalogue) -> None:
    found = lake_tables.read_positives(str(root), lake_tables.pin(str(root)), "validation", catalogue)
    assert found.user_ids == []
    assert found.liked.shape == (0, 3)


def test_histories_are_those_of_the_users_asked_for(root: Path, catalogue: Catalogue) -> None:
    train = lake_tables.read_positives(str(root), lake_tables.pin(str(root)), "train", catalogue)
    found = train.days_of(["u3", "u2", "u1"])
    assert found.toarray().tolist() == [[0, 0, 0], [0, 1.75, 1.5], [1.5, 0, 0]]
    assert found.has_sorted_indices


def test_met_is_what_was_liked_or_stands_in_a_history(root: Path, catalogue: Catalogue) -> None:
    is_seen = lake_tables.seen_titles(str(root), lake_tables.pin(str(root)), catalogue)
    assert dict(zip(catalogue.title_ids.tolist(), is_seen.tolist(), strict=True)) == {10: True, 20: True, 30: False}


def test_unknown_block_is_named(root: Path) -> None:
    with pytest.raises(ModelError, match="no block 'smell'; there are genres, themes"):
        lake_tables.read_catalogue(str(root), lake_tables.pin(str(root)), {"smell": 1.0})


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="title_features"):
        lake_tables.pin(str(tmp_path))
