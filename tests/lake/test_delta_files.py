"""The files of a pinned version, and versions that are refused."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyarrow import parquet as pq

from lake import delta_log
from lake.delta_files import DeltaFiles, open_version, read_table, splits
from lake.errors import LakeError


def titles(*title_ids: int, split: str = "train") -> pa.Table:
    return pa.table({"title_id": pa.array(title_ids, pa.int64()), "split": [split] * len(title_ids)})


def title_ids(files: DeltaFiles) -> list[int]:
    """The ids in the rows of the files themselves."""
    return sorted(value for path in files.footers for value in pq.ParquetFile(path).read()["title_id"].to_pylist())


@pytest.fixture
def location(tmp_path: Path) -> str:
    return str(tmp_path / "titles")


def test_files_that_were_replaced_are_read_by_their_own_version_only(location: str) -> None:
    write_deltalake(location, titles(1, 2))
    write_deltalake(location, titles(3), mode="overwrite")

    assert title_ids(open_version(location, 0)) == [1, 2]
    assert title_ids(open_version(location, 1)) == [3]
    assert delta_log.version(location) == 1


def test_compacted_rows_do_not_double(location: str) -> None:
    write_deltalake(location, titles(1, 2))
    write_deltalake(location, titles(3), mode="append")
    DeltaTable(location).optimize.compact()

    compacted = open_version(location, delta_log.version(location))

    assert title_ids(compacted) == [1, 2, 3]
    assert len(compacted.footers) == 1
    assert len(open_version(location, 1).footers) == 2


def test_a_split_is_the_files_of_its_partition(location: str) -> None:
    odd = "ä b/c%20?#"  # the log and the folder each percent-encode it
    write_deltalake(location, pa.concat_tables([titles(1, 2), titles(3, split=odd)]), partition_by=["split"])

    assert title_ids(open_version(location, 0, "train")) == [1, 2]
    assert title_ids(open_version(location, 0, odd)) == [3]
    assert title_ids(open_version(location, 0)) == [1, 2, 3]
    assert open_version(location, 0).schema == pa.schema({"title_id": pa.int64()})


def test_a_missing_split_is_an_error_that_names_the_present_ones(location: str) -> None:
    write_deltalake(location, pa.concat_tables([titles(1), titles(2, split="test")]), partition_by=["split"])

    with pytest.raises(LakeError, match=r"version 0: no rows of split 'held_out'; found \['test', 'train'\]"):
        open_version(location, 0, "held_out")


def test_splits_are_those_that_have_rows(location: str) -> None:
    write_deltalake(location, pa.concat_tables([titles(1), titles(2, split="test")]), partition_by=["split"])
    DeltaTable(location).delete("split = 'test'")

    assert splits(location, 0) == ["test", "train"]
    assert splits(location, 1) == ["train"]


def test_a_table_without_splits_has_none(location: str) -> None:
    write_deltalake(location, titles(1))

    with pytest.raises(LakeError, match=r"expected a table partitioned by 'split', found partitions by \[\]"):
        open_version(location, 0, "train")


def test_a_uri_is_a_location(location: str) -> None:
    write_deltalake(location, titles(1, 2))

    assert title_ids(open_version(f"file://{location}", 0)) == [1, 2]


@pytest.mark.parametrize("version", [0, 7])
def test_a_missing_version_is_one_clear_line(location: str, version: int) -> None:
    if version:
        write_deltalake(location, titles(1))

    with pytest.raises(LakeError, match=f"{location}: version {version} can't be read as a Delta table") as raised:
        open_version(location, version)

    assert "\n" not in str(raised.value)


def write_log(location: str, protocol: Mapping[str, Any], configuration: Mapping[str, str]) -> None:
    """Write a table of one file, whose log has the protocol and configuration of another writer."""
    write_deltalake(location, titles(1))
    log = Path(location) / "_delta_log" / f"{0:020}.json"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    for entry in entries:
        if "protocol" in entry:
            entry["protocol"] = protocol
        if "metaData" in entry:
            entry["metaData"]["configuration"] = configuration
            schema = json.loads(entry["metaData"]["schemaString"])
            for number, field in enumerate(schema["fields"]):
                field["metadata"] = {
                    "delta.columnMapping.id": number,
                    "delta.columnMapping.physicalName": f"col-{number}",
                }
            entry["metaData"]["schemaString"] = json.dumps(schema)
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def features(*names: str) -> dict[str, Any]:
    return {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": names, "writerFeatures": names}


def test_deletion_vectors_are_refused_by_name(location: str) -> None:
    write_log(location, features("deletionVectors"), {"delta.enableDeletionVectors": "true"})

    with pytest.raises(LakeError, match=f"{location} version 0: has deletion vectors"):
        open_version(location, 0)


@pytest.mark.parametrize("mode", ["name", "id"])
@pytest.mark.parametrize("protocol", [features("columnMapping"), {"minReaderVersion": 2, "minWriterVersion": 5}])
def test_column_mapping_is_refused_by_name(location: str, mode: str, protocol: Mapping[str, Any]) -> None:
    write_log(location, protocol, {"delta.columnMapping.mode": mode})

    with pytest.raises(LakeError, match=rf"{location} version 0: has column mapping \(mode '{mode}'\)"):
        open_version(location, 0)


def test_an_unknown_feature_is_refused_by_name(location: str) -> None:
    write_log(location, features("somethingNew"), {})

    with pytest.raises(LakeError, match="'somethingNew' is not supported"):
        open_version(location, 0)


def test_files_outside_of_the_table_are_refused_by_name(location: str) -> None:
    write_deltalake(location, titles(1))
    log = Path(location) / "_delta_log" / f"{0:020}.json"
    log.write_text(log.read_text().replace('"path":"part', '"path":"file:///elsewhere/part'))

    with pytest.raises(LakeError, match=r"file:///elsewhere/part-.* lies outside of the table"):
        open_version(location, 0)


def test_a_missing_file_is_one_clear_line(location: str) -> None:
    write_deltalake(location, titles(1))
    write_deltalake(location, titles(2), mode="append")
    missing = list(open_version(location, 1).footers)[1]
    Path(missing).unlink()

    with pytest.raises(LakeError, match=f"{missing}: the file is missing") as raised:
        open_version(location, 1)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kept_bytes", [0, 3, 200])
def test_a_truncated_file_is_one_clear_line(location: str, kept_bytes: int) -> None:
    write_deltalake(location, titles(1))
    write_deltalake(location, titles(2), mode="append")
    truncated = next(iter(open_version(location, 1).footers))
    Path(truncated).write_bytes(Path(truncated).read_bytes()[:kept_bytes])

    with pytest.raises(LakeError, match=f"{truncated}: the file can't be read as Parquet") as raised:
        open_version(location, 1)

    assert "\n" not in str(raised.value)


def test_a_small_table_is_read_with_its_nulls_and_lists(location: str) -> None:
    moment = datetime(2024, 5, 1, 12, tzinfo=UTC)
    rows = pa.table(
        {
            "title_id": pa.array([1, 2], pa.int64()),
            "plot_embedding": pa.array([[0.5, -0.5], None], pa.list_(pa.float32())),
            "encoded_at": pa.array([moment, None], pa.timestamp("us", "UTC")),
        }
    )
    write_deltalake(location, rows)

    read_back = read_table(location, 0, ["plot_embedding", "encoded_at", "title_id"])

    assert read_back.to_pydict() == {
        "plot_embedding": [[0.5, -0.5], None],
        "encoded_at": [moment, None],
        "title_id": [1, 2],
    }


def test_a_small_table_has_one_order(location: str) -> None:
    for start in range(0, 40, 4):
        write_deltalake(location, titles(*range(start, start + 4)), mode="append")

    first, second = (read_table(location, 9, ["title_id"]) for _ in range(2))

    assert sorted(first["title_id"].to_pylist()) == list(range(40))
    assert first == second


def test_a_table_of_which_all_rows_were_deleted_is_read_as_empty(location: str) -> None:
    write_deltalake(location, titles(1))
    DeltaTable(location).delete()

    assert read_table(location, 1, ["title_id"]).to_pydict() == {"title_id": []}


@pytest.mark.parametrize("column", ["split", "genre"])
def test_a_column_that_the_files_lack_is_named(location: str, column: str) -> None:
    write_deltalake(location, titles(1), partition_by=["split"])

    with pytest.raises(LakeError, match=rf"no columns \['{column}'\] in its files; they have \['title_id'\]"):
        read_table(location, 0, ["title_id", column])


def test_a_file_from_before_a_column_is_named(location: str) -> None:
    write_deltalake(location, titles(1))
    write_deltalake(location, titles(2).append_column("hour", pa.array([3])), mode="append", schema_mode="merge")
    before = next(iter(open_version(location, 0).footers))

    with pytest.raises(LakeError, match=rf"{before} is older than columns \['hour'\]"):
        read_table(location, 1, ["hour"])


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(LakeError, match="hdfs://name/table: version 0 can't be read"):
        open_version("hdfs://name/table", 0)
