"""Rows of a pinned Delta version as batches of tensors: Petastorm reads the row groups, here they become tf.data.

The only module that uses Petastorm.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.delta_files import DeltaFiles
from lake.errors import LakeError
from models.data.petastorm_adapter import ParquetFiles, make_batch_reader
from models.errors import ModelError
from models.towers.legacy_keras import tf

Rows = dict[str, NDArray[Any]]  # by column: [rows], or [rows, length] of a list column

_GROUPS_AHEAD = 4  # row groups that a reader thread may have ready at least
_BATCHES_AHEAD = 4
_ROWS_AT_ONCE = 8192  # handed from Python to TensorFlow at a time: each time costs a millisecond, for any number

_TENSOR_TYPES = {
    pa.bool_(): tf.bool,
    pa.int8(): tf.int8,
    pa.int16(): tf.int16,
    pa.int32(): tf.int32,
    pa.int64(): tf.int64,
    pa.float32(): tf.float32,
    pa.float64(): tf.float64,
    pa.string(): tf.string,
    pa.date32(): tf.int32,  # days since 1970
    pa.timestamp("us", "UTC"): tf.int64,  # microseconds since 1970
    pa.timestamp("us"): tf.int64,
}


@dataclass(frozen=True)
class Shuffle:
    """A random order, the same for the same seed, epoch and count of reader threads.

    Row groups in random order fill a buffer of `buffer_rows` rows or somewhat more, from which batches are drawn until
    it is empty. Memory holds two buffers, since the next one is read meanwhile.
    """

    seed: int
    buffer_rows: int


@dataclass(frozen=True)
class BatchReader:
    """Batches of some columns, by name. An epoch is one pass over all rows; several shards share them out.

    Strings become tf.string, dates days and timestamps microseconds since 1970; a list column is [batch, length].
    """

    files: DeltaFiles
    columns: Sequence[str]
    batch_size: int
    shuffle: Shuffle | None  # None keeps the order of the files
    drop_remainder: bool = False  # drops the last rows, which fill no batch, so that every shape is static
    cur_shard: int = 0
    shard_count: int = 1
    reader_threads: int = 2

    def __post_init__(self) -> None:
        """Raises LakeError where the files lack a column, ModelError for fewer row groups than shards."""
        count_groups = len(self.files.row_groups)
        if not 0 <= self.cur_shard < self.shard_count <= count_groups:
            raise ModelError(
                f"{self.files.table}: can't read shard {self.cur_shard} of {self.shard_count}: shards count from 0, and"
                f" each needs a row group, of which there are {count_groups}"
            )
        self._signature()

    @property
    def count_rows(self) -> int:
        """Rows of an epoch of this shard."""
        return self._rows_of(self.cur_shard)

    @property
    def count_batches(self) -> int:
        """Batches of an epoch of this shard."""
        return (self.count_rows + (0 if self.drop_remainder else self.batch_size - 1)) // self.batch_size

    @property
    def count_common_batches(self) -> int:
        """Full batches that every shard has: workers that train together stop there, or the last one waits forever."""
        return min(self._rows_of(shard) for shard in range(self.shard_count)) // self.batch_size

    def dataset(self, epoch: int) -> tf.data.Dataset:
        """One pass of `batches` as tf.data, read ahead; see `clear_errors`."""
        options = tf.data.Options()
        # A strategy that shares out data would share out a shard's rows again.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        # There is nothing to tune, and the end of an epoch may wait for the tuner's thread, which sleeps for seconds.
        options.autotune.enabled = False
        batches_at_once = max(_ROWS_AT_ONCE // self.batch_size, 1)
        rows = tf.data.Dataset.from_generator(
            lambda: self._batches(epoch, batches_at_once), output_signature=self._signature()
        )
        batches = rows.rebatch(self.batch_size, drop_remainder=self.drop_remainder)
        # Declares the length of an epoch; reading fails where it differs.
        counted = batches.apply(tf.data.experimental.assert_cardinality(self.count_batches))
        return counted.with_options(options).prefetch(_BATCHES_AHEAD)

    def batches(self, epoch: int) -> Iterator[Rows]:
        """One pass, in batches that have `batch_size` rows but for the last one.

        Closing the iterator, as dropping it does, ends the reader's threads. Raises LakeError where a file can't be
        read any more, ModelError where a column has nulls or lists of several lengths.
        """
        for batch in self._batches(epoch, 1):
            if _count(batch) == self.batch_size or not self.drop_remainder:
                yield batch

    def _batches(self, epoch: int, batches_at_once: int) -> Iterator[Rows]:
        """Rows of `batches_at_once` batches at a time, in the order of batches; fewer at the end."""
        if self.shuffle is None:
            batches = _in_order(self._row_groups(None), self.batch_size)
        else:
            for_groups, for_rows = np.random.SeedSequence([self.shuffle.seed, epoch]).spawn(2)
            # Petastorm takes 0 for no seed.
            groups = self._row_groups(1 + int(for_groups.generate_state(1)[0]))
            batches = _mixed(groups, self.batch_size, self.shuffle.buffer_rows, np.random.default_rng(for_rows))
        while taken := list(islice(batches, batches_at_once)):
            yield _concatenated(list(chain.from_iterable(taken)))

    def _row_groups(self, seed: int | None) -> Iterator[Rows]:
        """Row groups of this shard: groups and their rows shuffled by `seed`, or in the order of the files for None."""
        with self.open_reader(seed) as reader:
            for group in reader:
                yield _numbers(group._asdict())

    @contextmanager
    def open_reader(self, seed: int | None) -> Iterator[Any]:
        """Petastorm's reader of this shard, in an order by `seed`, or in the order of the files for None."""
        reader = self._make_reader(seed)
        try:
            yield reader
        finally:
            reader.stop()
            reader.join()

    def _make_reader(self, seed: int | None) -> Any:
        return make_batch_reader(
            list(self.files.footers),
            filesystem=ParquetFiles(self.files.filesystem, self.files.footers),
            # These are patterns, of which Petastorm warns when they match the beginning of another column.
            schema_fields=[f"{re.escape(column)}$" for column in self.columns],
            num_epochs=1,
            shuffle_row_groups=seed is not None,
            shuffle_rows=seed is not None,
            seed=seed,
            cur_shard=self.cur_shard,
            shard_count=self.shard_count,
            workers_count=self.reader_threads,
            # The queue has two entries for a row group: its rows, and that it is done.
            results_queue_size=2 * self._groups_ahead(),
            # Makes arrays in the reader's threads, beside the thread that takes the batches.
            convert_early_to_numpy=True,
        )

    def _groups_ahead(self) -> int:
        """Row groups to have ready: a few, or those of a whole buffer, so that it fills while the last is used up."""
        buffer_rows = self.shuffle.buffer_rows if self.shuffle else 0
        groups = self.files.row_groups
        return max(_GROUPS_AHEAD * self.reader_threads, math.ceil(buffer_rows * len(groups) / sum(groups)))

    def _rows_of(self, shard: int) -> int:
        # Petastorm gives every shard_count-th row group to a shard.
        return sum(self.files.row_groups[shard :: self.shard_count])

    def _signature(self) -> dict[str, tf.TensorSpec]:
        """Specs of the columns, for any number of rows."""
        signature = {}
        for field in self.files.schema_of(self.columns):
            is_list = pa.types.is_list(field.type)
            dtype = _TENSOR_TYPES.get(field.type.value_type if is_list else field.type)
            if dtype is None:
                raise ModelError(f"{self.files.table}: column {field.name!r} is {field.type}, which is no tensor")
            shape = [None, _list_length(self.files, field.name)] if is_list else [None]
            signature[field.name] = tf.TensorSpec(shape, dtype, field.name)
        return signature


@contextmanager
def clear_errors() -> Iterator[None]:
    """Raise a reader's LakeError or ModelError as itself: tf.data raises an OpError with its text instead."""
    try:
        yield
    except tf.errors.OpError as error:
        if match := re.search(r"(LakeError|ModelError): (.*)", error.message):
            error_type = LakeError if match[1] == "LakeError" else ModelError
            raise error_type(match[2]) from error
        raise


def _list_length(files: DeltaFiles, column: str) -> int:
    """The one length of a column's lists: values per row, from the footers."""
    lengths = set()
    for footer in files.footers.values():
        leaves = [footer.schema.column(leaf).path.split(".")[0] for leaf in range(footer.num_columns)]
        groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
        leaf = leaves.index(column)
        lengths |= {group.column(leaf).num_values / group.num_rows for group in groups if group.num_rows}
    if len(lengths) != 1 or not (length := lengths.pop()).is_integer():
        raise ModelError(f"{files.table}: column {column!r} has lists of several lengths: build the table anew")
    return int(length)


def _numbers(rows: Rows) -> Rows:
    """`rows` with dates as days and timestamps as microseconds since 1970."""
    return {column: _number(values) if values.dtype.kind == "M" else values for column, values in rows.items()}


def _number(moments: NDArray[Any]) -> NDArray[Any]:
    unit, _ = np.datetime_data(moments.dtype)
    return moments.astype(np.int32) if unit == "D" else moments.astype("datetime64[us]").astype(np.int64)


def _in_order(groups: Iterator[Rows], batch_size: int) -> Iterator[list[Rows]]:
    """Batches of the rows of `groups`, each in parts; the last batch has the remaining rows."""
    parts: list[Rows] = []
    missing = batch_size
    for group in groups:
        start = 0
        while start < _count(group):
            part = _slice(group, start, start + missing)
            parts.append(part)
            start += _count(part)
            missing -= _count(part)
            if not missing:
                yield parts
                parts, missing = [], batch_size
    if parts:
        yield parts


def _mixed(
    groups: Iterator[Rows], batch_size: int, buffer_rows: int, generator: np.random.Generator
) -> Iterator[list[Rows]]:
    """Batches drawn from a buffer of `groups`, each in parts; the last batch has the remaining rows.

    The rows of each group are in random order already, so a draw decides only how many rows come from each group.
    These are its next ones, copied as they lie in memory.
    """
    left: list[Rows] = []
    while taken := _take(groups, buffer_rows):
        buffer = [*left, *taken]
        ends = np.array([_count(group) for group in buffer])
        starts = np.zeros_like(ends)
        while (ends - starts).sum() >= batch_size:
            stops = starts + generator.multivariate_hypergeometric(ends - starts, batch_size)
            yield _slices(buffer, starts, stops)
            starts = stops
        left = _slices(buffer, starts, ends)
    if left:
        yield left


def _slices(groups: Sequence[Rows], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[Rows]:
    ranges = zip(groups, starts, stops, strict=True)
    return [_slice(group, start, stop) for group, start, stop in ranges if start < stop]


def _take(groups: Iterator[Rows], count: int) -> list[Rows]:
    """The next groups, until they have `count` rows together or none is left."""
    taken: list[Rows] = []
    for group in groups:
        taken.append(group)
        if sum(map(_count, taken)) >= count:
            break
    return taken


def _count(rows: Rows) -> int:
    return len(next(iter(rows.values())))


def _slice(rows: Rows, start: int, stop: int) -> Rows:
    return {column: values[start:stop] for column, values in rows.items()}


def _concatenated(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return {column: _joined([part[column] for part in parts]) for column in parts[0]}


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """`arrays` one after the other, in memory of Arrow: it is aligned, so TensorFlow need not copy it."""
    first = arrays[0]
    if first.dtype.hasobject:
        return np.concatenate(arrays)
    shape = (sum(map(len, arrays)), *first.shape[1:])
    memory = pa.allocate_buffer(math.prod(shape) * first.itemsize)
    return np.concatenate(arrays, out=np.frombuffer(memory, first.dtype).reshape(shape))
