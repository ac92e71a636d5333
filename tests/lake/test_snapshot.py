"""A snapshot pins existing tables, and reads the pinned version after a later write."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lake.errors import LakeError
from lake.snapshot import LakeSnapshot


def write(root: Path, split: str, titles: list[int]) -> None:
    rows = pa.table({"title_id": pa.array(titles, pa.int64()), "split": [split] * len(titles)})
    write_deltalake(str(root / "examples"), rows, mode="append", partition_by=["split"])


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="title_features"):
        LakeSnapshot.pin(str(tmp_path), ["title_features"])


def test_later_writes_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, "train", [1, 2])
    snapshot = LakeSnapshot.pin(str(tmp_path), ["examples"])
    write(tmp_path, "test", [3])

    assert snapshot.version("examples") == 0
    assert snapshot.read("examples", ["title_id"])["title_id"].to_pylist() == [1, 2]
    assert snapshot.splits("examples") == ["train"]
    assert sum(snapshot.open("examples").row_groups) == 2
    newer = LakeSnapshot.pin(str(tmp_path), ["examples"])
    assert newer.read("examples", ["title_id"], split="test")["title_id"].to_pylist() == [3]
    assert newer.describe("examples") == f"{tmp_path}/examples version 1"
