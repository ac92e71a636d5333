"""Petastorm 0.13.1's batch reader on today's pyarrow and numpy.

Petastorm is dormant and written for pyarrow 14 and numpy 1. This module replaces the parts of these that Petastorm uses
and that no longer exist, and three parts of Petastorm that a seeded pass over all rows can't rely on: how it hands
out row groups, ends its threads and makes arrays. The stand-ins are put into Petastorm's own modules, where nothing
else sees them, and raise ModelError for uses that they don't cover.

`make_batch_reader` is Petastorm's own; it takes a list of paths and, as `filesystem`, ParquetFiles.
"""

import io
import queue
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import fs
from pyarrow import parquet as pq

from lake.errors import named
from models.errors import ModelError


@contextmanager
def _gone_modules() -> Iterator[None]:
    """Empty stand-ins for modules whose classes Petastorm imports, but does not use for named files."""
    gone = {"pyarrow.filesystem": "LocalFileSystem", "pyarrow.hdfs": "HadoopFileSystem"}
    for module, name in gone.items():
        sys.modules[module] = ModuleType(module)
        setattr(sys.modules[module], name, type(name, (), {}))
    try:
        yield
    finally:
        for module in gone:
            del sys.modules[module]


with _gone_modules():
    from petastorm import arrow_reader_worker, reader, unischema
    from petastorm.etl import dataset_metadata
    from petastorm.workers_pool import thread_pool
    from petastorm.workers_pool.ventilator import ConcurrentVentilator


class ParquetFiles:
    """Opens Parquet files of a pyarrow filesystem; `footers` by path are not read again with every row group."""

    def __init__(self, filesystem: fs.FileSystem, footers: Mapping[str, pq.FileMetaData]) -> None:
        self._filesystem = filesystem
        self._footers = footers

    def open(self, path: str) -> pq.ParquetFile:
        with named(path):
            return pq.ParquetFile(self._filesystem.open_input_file(path), metadata=self._footers.get(path))


class _Piece:
    """A Parquet file, or one row group of it: pyarrow's ParquetDatasetPiece, until version 14."""

    def __init__(
        self,
        path: str,
        open_file_func: Callable[[str], pq.ParquetFile],
        row_group: int | None = None,
        partition_keys: Sequence[Any] = (),
    ) -> None:
        self.path = path
        self.partition_keys = partition_keys
        self._open = open_file_func
        self._row_group = row_group

    def get_metadata(self) -> pq.FileMetaData:
        return self._open(self.path).metadata

    def read(self, columns: Sequence[str], partitions: None) -> pa.Table:
        with named(self.path):
            return self._open(self.path).read_row_group(self._row_group, columns=list(columns))


class _Dataset:
    """Named Parquet files, without partitions or summary files: pyarrow's ParquetDataset, until version 14."""

    metadata = None
    common_metadata = None
    partitions = None

    def __init__(
        self, path_or_paths: str | Sequence[str], filesystem: ParquetFiles, filters: Any = None, **_options: Any
    ) -> None:
        if isinstance(path_or_paths, str):
            raise ModelError(f"Petastorm takes a list of files here, found one path: {path_or_paths}")
        if filters is not None:
            raise ModelError("Petastorm takes no filters here: name the files that are wanted")
        self.fs = filesystem
        self.paths = path_or_paths
        self.pieces = [_Piece(path, filesystem.open) for path in path_or_paths]


def _filesystem_and_paths(
    paths: str | list[str], _hdfs_driver: str, storage_options: Any = None, filesystem: Any = None
) -> tuple[ParquetFiles, str | list[str]]:
    """The arguments unchanged; Petastorm's own function resolves URLs by pyarrow's old filesystems."""
    if not isinstance(filesystem, ParquetFiles) or storage_options is not None:
        raise ModelError(f"Petastorm takes filesystem=ParquetFiles(...) here, not HDFS or other URLs; found {paths}")
    return filesystem, paths


def _process_pool(*_args: Any, **_options: Any) -> NoReturn:
    raise ModelError("Petastorm's reader_pool_type must be 'thread' or 'dummy' here: processes lack its stand-ins")


def _ventilator(ventilate: Callable[..., None], items: list[Any], iterations: int | None, **options: Any) -> Any:
    """Petastorm's ventilator, which hands out all row groups before the first is read, without a thread of its own.

    That thread races with the end of the pass: row groups are lost when a pool looks between two of them, the dummy
    pool waits for ever, and with several workers the order is left to chance. Memory stays bounded by the queue of
    results.
    """
    if iterations is None:
        raise ModelError("Petastorm's num_epochs must be a number here: a reader that never ends can't be shut down")
    options["max_ventilation_queue_size"] = len(items) * iterations
    ventilator = ConcurrentVentilator(ventilate, items, iterations=iterations, **options)
    ventilator.start = ventilator._ventilate
    return ventilator


def _join(pool: Any) -> None:
    """Wait for the threads of a stopped pool; empty its queues, so that a thread can report a failure and end."""
    while any(worker.is_alive() for worker in pool._workers):
        for results in pool._results_queues:
            with suppress(queue.Empty):
                results.get(timeout=0.01)


def _to_numpy(table: pa.Table, _schema: Any) -> dict[str, NDArray[Any]]:
    """Columns as arrays, a list column as [rows, length], strings as bytes: as TensorFlow takes them.

    Petastorm's makes an object of each list and 'None' of a null string. This is faster and refuses nulls.
    """
    return {name: _column_to_numpy(name, table.column(name).combine_chunks()) for name in table.column_names}


def _column_to_numpy(name: str, column: pa.Array) -> NDArray[Any]:
    is_list = pa.types.is_list(column.type)
    values = column.flatten() if is_list else column
    if column.null_count or values.null_count:
        raise ModelError(f"column {name!r} has nulls: fill them where the table is made")
    if pa.types.is_string(values.type):
        values = values.cast(pa.binary())
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return array.reshape(len(column), _list_length(name, column)) if is_list else array


def _list_length(name: str, lists: pa.ListArray) -> int:
    lengths = np.unique(lists.value_lengths().to_numpy())
    if len(lengths) > 1:
        raise ModelError(f"column {name!r} has lists of {lengths[0]} to {lengths[-1]} values: pad them to one length")
    return int(lengths[0]) if len(lengths) else 0


def _install() -> None:
    """Put the stand-ins where Petastorm looks."""
    for module in (reader, arrow_reader_worker, dataset_metadata):
        module.pq = SimpleNamespace(ParquetDataset=_Dataset, ParquetDatasetPiece=_Piece)
    for module in (reader, dataset_metadata):
        module.get_filesystem_and_path_or_paths = _filesystem_and_paths
    unischema.np = SimpleNamespace(**vars(np), unicode_=np.str_, string_=np.bytes_)
    reader.ProcessPool = _process_pool
    reader.ConcurrentVentilator = _ventilator
    thread_pool.ThreadPool.join = _join
    # A worker's error is raised again where the reader is read, so the pool need not print it too.
    thread_pool.sys = SimpleNamespace(stderr=io.StringIO())
    # A worker opens each file once for itself, which nothing reads, and once more by _Piece.
    arrow_reader_worker.ParquetFile = pq.ParquetFile.close
    arrow_reader_worker.convert_arrow_table_to_numpy_dict = _to_numpy


_install()
make_batch_reader: Callable[..., Any] = reader.make_batch_reader
