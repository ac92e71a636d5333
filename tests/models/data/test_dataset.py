"""Batches of a pinned table: every row once, in the order of the seed, and threads that end."""

import gc
import itertools
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import WriterProperties, write_deltalake
from pyarrow import parquet as pq

from lake.delta_files import DeltaFiles, open_version
from lake.errors import LakeError
from models.data.dataset import BatchReader, Rows, Shuffle, clear_errors
from models.errors import ModelError
from models.towers.legacy_keras import tf

ROWS_PER_GROUP = 10


def examples(first: int, count: int, split: str = "train", length: int = 3) -> pa.Table:
    """Rows numbered from `first`; every column holds the number."""
    numbers = np.arange(first, first + count)
    return pa.table(
        {
            "title_id": pa.array(numbers, pa.int64()),
            "country": [f"Ö{number}" for number in numbers],
            "weight": pa.array(numbers / 2, pa.float32()),
            "history_title_ids": pa.array([[number] * length for number in numbers], pa.list_(pa.int64())),
            "split": [split] * count,
        }
    )


def write(location: Path, table: pa.Table, mode: str = "append") -> None:
    groups = WriterProperties(max_row_group_size=ROWS_PER_GROUP)
    write_deltalake(str(location), table, mode=mode, partition_by=["split"], writer_properties=groups)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DeltaFiles:
    """Rows 0 to 94, in ten row groups of three files, and others of another split."""
    location = tmp_path_factory.mktemp("lake") / "training_examples"
    write(location, examples(0, 40))
    write(location, pa.concat_tables([examples(40, 50), examples(500, 20, split="test")]))
    write(location, examples(90, 5))
    return open_version(str(location), 2, "train")


def reader(
    files: DeltaFiles, batch_size: int = 16, seed: int = 1, buffer_rows: int = 30, **options: Any
) -> BatchReader:
    columns = ["title_id", "country", "weight", "history_title_ids"]
    return BatchReader(
        files, **{"columns": columns, "batch_size": batch_size, "shuffle": Shuffle(seed, buffer_rows), **options}
    )


def order(batches: Iterator[Rows]) -> list[int]:
    return [number for batch in batches for number in batch["title_id"].tolist()]


def reader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if type(thread).__name__ == "WorkerThread"]


def wait_till_no_reader_threads() -> None:
    """TensorFlow drops a generator in another thread, so threads end a little later."""
    gc.collect()
    for _ in range(100):
        if not reader_threads():
            return
        time.sleep(0.1)


@pytest.mark.parametrize("shuffle", [None, Shuffle(1, 1), Shuffle(1, 30), Shuffle(1, 1000)])
@pytest.mark.parametrize("batch_size", [1, 7, 16, 95, 200])
def test_an_epoch_has_every_row_once_and_full_batches(
    files: DeltaFiles, shuffle: Shuffle | None, batch_size: int
) -> None:
    batches = list(reader(files, batch_size, shuffle=shuffle).batches(epoch=0))

    assert sorted(order(iter(batches))) == list(range(95))
    full, rest = divmod(95, batch_size)
    assert [len(batch["title_id"]) for batch in batches] == [batch_size] * full + [rest] * (rest > 0)


def test_a_remainder_is_dropped_on_demand(files: DeltaFiles) -> None:
    batches = list(reader(files, 16, drop_remainder=True).batches(epoch=0))

    assert [len(batch["title_id"]) for batch in batches] == [16] * 5


def test_columns_of_a_row_stay_together(files: DeltaFiles) -> None:
    for batch in reader(files).batches(epoch=0):
        numbers = batch["title_id"]
        assert batch["country"].tolist() == [f"Ö{number}".encode() for number in numbers]
        np.testing.assert_array_equal(batch["weight"], numbers.astype(np.float32) / 2)
        np.testing.assert_array_equal(batch["history_title_ids"], np.stack([numbers] * 3, axis=1))


def test_the_order_depends_on_seed_and_epoch_alone(files: DeltaFiles) -> None:
    first = order(reader(files, seed=1).batches(epoch=0))

    assert [order(reader(files, seed=1).batches(epoch=0)) for _ in range(5)] == [first] * 5
    assert order(reader(files, seed=2).batches(epoch=0)) != first
    assert order(reader(files, seed=1).batches(epoch=1)) != first
    # Petastorm itself takes seed 0 as no seed.
    assert order(reader(files, seed=0).batches(epoch=0)) == order(reader(files, seed=0).batches(epoch=0))


def test_no_shuffle_is_the_order_of_the_files(files: DeltaFiles) -> None:
    numbers = order(reader(files, shuffle=None).batches(epoch=0))

    assert numbers == order(reader(files, shuffle=None, reader_threads=3).batches(epoch=4))
    assert all(b == a + 1 for a, b in itertools.pairwise(numbers) if b % ROWS_PER_GROUP)


def test_batches_mix_rows_of_several_row_groups(files: DeltaFiles) -> None:
    """A buffer of 30 rows has three groups of ten: the chance that ten rows are of one group is 3 in 30 million."""
    batches = list(reader(files, batch_size=10, buffer_rows=30).batches(epoch=0))

    assert all(len({number // ROWS_PER_GROUP for number in batch["title_id"].tolist()}) > 1 for batch in batches[:6])


@pytest.mark.parametrize("shard_count", [2, 3, 10])
def test_shards_have_every_row_once_together(files: DeltaFiles, shard_count: int) -> None:
    shards = [reader(files, cur_shard=shard, shard_count=shard_count) for shard in range(shard_count)]
    by_shard = [order(shard.batches(epoch=3)) for shard in shards]

    assert sorted(number for shard in by_shard for number in shard) == list(range(95))
    assert [len(shard) for shard in by_shard] == [shard.count_rows for shard in shards]


def test_counts_are_those_of_the_batches(files: DeltaFiles) -> None:
    """Row groups 0 to 9 have ten rows but for one, of 5: shards of five groups have 50 and 45 rows."""
    shards = [reader(files, 16, cur_shard=shard, shard_count=2) for shard in range(2)]

    assert sorted(shard.count_rows for shard in shards) == [45, 50]
    assert [shard.count_batches for shard in shards] == [len(list(shard.batches(epoch=0))) for shard in shards]
    assert [shard.count_common_batches for shard in shards] == [2, 2]  # 45 // 16
    assert reader(files, 16, drop_remainder=True).count_batches == 5


@pytest.mark.parametrize(("cur_shard", "shard_count"), [(0, 11), (2, 2), (-1, 2), (0, 0)])
def test_a_shard_without_row_groups_is_refused(files: DeltaFiles, cur_shard: int, shard_count: int) -> None:
    with pytest.raises(ModelError, match=f"can't read shard {cur_shard} of {shard_count}: .* there are 10$"):
        reader(files, cur_shard=cur_shard, shard_count=shard_count)


def test_rows_that_a_version_no_longer_has_are_not_read(tmp_path: Path) -> None:
    write(tmp_path / "table", examples(0, 20))
    write(tmp_path / "table", examples(100, 15), mode="overwrite")

    before, after = (reader(open_version(str(tmp_path / "table"), version, "train")) for version in (0, 1))

    assert sorted(order(before.batches(epoch=0))) == list(range(20))
    assert sorted(order(after.batches(epoch=0))) == list(range(100, 115))


def test_tensors_have_the_types_that_training_takes(tmp_path: Path) -> None:
    row = {
        "country": pa.array(["Österreich"]),
        "hour": pa.array([23], pa.int32()),
        "title_id": pa.array([2**40], pa.int64()),
        "is_new": pa.array([True]),
        "weight": pa.array([0.5], pa.float32()),
        "share": pa.array([0.1], pa.float64()),
        "event_time": pa.array([datetime(1970, 1, 2, microsecond=3, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        "ds": pa.array([date(1969, 12, 31)]),
        "history_weights": pa.array([[1, 0.5]], pa.list_(pa.float32())),
    }
    write_deltalake(str(tmp_path), pa.table(row))
    files = open_version(str(tmp_path), 0)

    (batch,) = BatchReader(files, list(row), batch_size=1, shuffle=None, drop_remainder=True).dataset(epoch=0)

    assert {name: (tensor.dtype, tensor.numpy().tolist()) for name, tensor in batch.items()} == {
        "country": (tf.string, ["Österreich".encode()]),
        "hour": (tf.int32, [23]),
        "title_id": (tf.int64, [2**40]),
        "is_new": (tf.bool, [True]),
        "weight": (tf.float32, [0.5]),
        "share": (tf.float64, [0.1]),
        "event_time": (tf.int64, [86_400_000_003]),  # one day and three microseconds
        "ds": (tf.int32, [-1]),
        "history_weights": (tf.float32, [[1.0, 0.5]]),
    }


def test_moments_are_the_same_as_spark_writes_them(tmp_path: Path) -> None:
    """Spark writes INT96, which is read as nanoseconds."""
    moment = pa.table({"event_time": pa.array([-1, 1_700_000_000_000_001], pa.timestamp("us", "UTC"))})
    write_deltalake(str(tmp_path), moment)
    (path,) = open_version(str(tmp_path), 0).footers
    pq.write_table(moment, path, use_deprecated_int96_timestamps=True)

    (batch,) = BatchReader(open_version(str(tmp_path), 0), ["event_time"], batch_size=2, shuffle=None).batches(epoch=0)

    assert batch["event_time"].tolist() == [-1, 1_700_000_000_000_001]


def test_tf_data_has_the_batches_and_their_shapes(files: DeltaFiles) -> None:
    readers = {drop: reader(files, 16, drop_remainder=drop) for drop in (True, False)}

    for drop, count, rows in ((True, 5, 16), (False, 6, None)):
        dataset = readers[drop].dataset(epoch=2)
        assert order(dataset.as_numpy_iterator()) == order(readers[drop].batches(epoch=2))
        assert dataset.cardinality() == count
        assert dataset.element_spec["title_id"].shape.as_list() == [rows]
        assert dataset.element_spec["history_title_ids"].shape.as_list() == [rows, 3]


def test_threads_end_with_their_epoch(files: DeltaFiles) -> None:
    for epoch in range(3):
        assert len(order(reader(files).dataset(epoch).as_numpy_iterator())) == 95
        wait_till_no_reader_threads()
        assert reader_threads() == []


@pytest.mark.parametrize("is_tensorflow", [True, False])
def test_threads_end_when_an_epoch_is_abandoned(files: DeltaFiles, is_tensorflow: bool) -> None:
    # One buffer and no more: the reader is kept waiting.
    abandoned = reader(files, batch_size=1, buffer_rows=1, reader_threads=1)
    batches = iter(abandoned.dataset(epoch=0) if is_tensorflow else abandoned.batches(epoch=0))
    next(batches)

    del batches

    wait_till_no_reader_threads()
    assert reader_threads() == []


@pytest.mark.parametrize("is_tensorflow", [True, False])
def test_a_file_that_goes_missing_is_one_clear_line(tmp_path: Path, is_tensorflow: bool) -> None:
    write(tmp_path / "table", examples(0, 30))
    lost = reader(open_version(str(tmp_path / "table"), 0, "train"))
    (path,) = lost.files.footers
    Path(path).unlink()

    with pytest.raises(LakeError, match="the file is missing") as raised, clear_errors():
        list(lost.dataset(epoch=0) if is_tensorflow else lost.batches(epoch=0))

    assert str(raised.value).startswith(path)
    assert "\n" not in str(raised.value)


def test_other_errors_of_tensorflow_are_not_changed() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError), clear_errors():
        tf.reshape(tf.zeros(3), [2])


@pytest.mark.parametrize(
    "values",
    [pa.array([{"a": 1}]), pa.array([[[1]]]), pa.array([b"a"])],
    ids=["struct", "list of lists", "binary"],
)
def test_a_column_that_is_no_tensor_is_named(tmp_path: Path, values: pa.Array) -> None:
    write_deltalake(str(tmp_path), pa.table({"title_id": values}))

    with pytest.raises(ModelError, match=r"column 'title_id' is .*, which is no tensor"):
        BatchReader(open_version(str(tmp_path), 0), ["title_id"], batch_size=1, shuffle=None)


def test_lists_whose_length_changed_are_named(tmp_path: Path) -> None:
    write(tmp_path / "table", examples(0, 20, length=3))
    write(tmp_path / "table", examples(20, 20, length=5))

    with pytest.raises(ModelError, match="version 1: column 'history_title_ids' has lists of several lengths"):
        reader(open_version(str(tmp_path / "table"), 1, "train"))


def test_an_unknown_column_is_named(files: DeltaFiles) -> None:
    with pytest.raises(LakeError, match=r"no columns \['title'\] in its files"):
        reader(files, columns=["title"])
