"""A tiny lake, written by hand."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue, read_catalogue
from models.data.model_tables import EVALUATION_TABLES

IDS = pa.list_(pa.int32())
VECTOR = pa.list_(pa.float32())
BLOCKS = dict.fromkeys(
    ("genres", "genre_pairs", "people", "credits", "lead", "fame", "month", "weekday", "year", "plot"), 1.0
)

# The vocabulary has title 30 first, then 10, then 20; genre 2 is drama, 3 is comedy, 1 is unknown.
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
# u2 has two positives on title 20, one in a later year; 99 is in no catalogue.
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
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> LakeSnapshot:
    """A lake of three titles and three users."""
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
    # u1's history has title 20, not liked, and 99, which is in no catalogue; 0 is padding.
    histories = {"history_title_ids": (pa.list_(pa.int64()), [[20, 99, 0]])}
    write(folder, "training_users", {"user_id": (pa.string(), ["u1"]), **histories}, None)
    return LakeSnapshot.pin(str(folder), EVALUATION_TABLES)


@pytest.fixture(scope="module")
def catalogue(snapshot: LakeSnapshot) -> Catalogue:
    return read_catalogue(snapshot, BLOCKS)
