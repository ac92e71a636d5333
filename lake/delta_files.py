"""The Parquet files of one version of a Delta table, as its log names them: read by delta-rs, without a JVM."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from pyarrow import compute as pc
from pyarrow import fs
from pyarrow import parquet as pq

from lake import delta_log, uris
from lake.errors import LakeError, named


@dataclass(frozen=True)
class DeltaFiles:
    """The files of one version; each exists and is Parquet."""

    table: str  # its location and version, for messages
    schema: pa.Schema  # of the rows in the files: without the columns that the table is partitioned by
    filesystem: fs.FileSystem
    footers: Mapping[str, pq.FileMetaData]  # by path on the filesystem, in the order of paths

    @property
    def row_groups(self) -> list[int]:
        """Rows of every row group, file after file."""
        return [
            footer.row_group(group).num_rows
            for footer in self.footers.values()
            for group in range(footer.num_row_groups)
        ]

    def schema_of(self, columns: Sequence[str]) -> pa.Schema:
        """The fields of some columns, in that order; raises LakeError where the table or a file lacks one."""
        if unknown := [column for column in columns if column not in self.schema.names]:
            raise LakeError(f"{self.table}: no columns {unknown} in its files; they have {self.schema.names}")
        for path, footer in self.footers.items():
            if missing_columns := sorted(set(columns) - set(footer.schema.to_arrow_schema().names)):
                raise LakeError(f"{self.table}: {path} is older than columns {missing_columns}: build the table anew")
        return pa.schema([self.schema.field(column) for column in columns])


def splits(location: str, version: int) -> list[str]:
    """The splits that have rows, of a table partitioned by split."""
    return _splits(f"{location} version {version}", delta_log.load(location, version))


def open_version(location: str, version: int, split: str | None = None) -> DeltaFiles:
    """The files of version `version` of a table; only those of a split, for a table partitioned by split.

    Raises LakeError where the version or the split doesn't exist, a file is missing or no Parquet, or rows can't be
    read from the files alone: deletion vectors, column mapping.
    """
    table = delta_log.load(location, version)
    name = f"{location} version {version}"
    _refuse_deletion_vectors_and_mapping(name, table)
    partitioned_by = table.metadata().partition_columns
    filesystem, root = uris.filesystem(location)
    paths = sorted(_resolve(name, root, path) for path in _logged_paths(name, table, split))
    schema = pa.schema(table.schema().to_arrow())
    in_files = pa.schema([field for field in schema if field.name not in partitioned_by])
    return DeltaFiles(name, in_files, filesystem, _footers(filesystem, paths))


def read_table(location: str, version: int, columns: Sequence[str], split: str | None = None) -> pa.Table:
    """Columns of a whole small table, or of its rows of one split, always in the same order for a version.

    Raises LakeError where `open_version` does, and where a column is missing.
    """
    files = open_version(location, version, split)
    schema = files.schema_of(columns)
    tables = [schema.empty_table()]
    for path, footer in files.footers.items():
        with named(path), files.filesystem.open_input_file(path) as file:
            # Writers differ in the units of timestamps and the names of list elements.
            rows = pq.ParquetFile(file, metadata=footer).read(columns=schema.names)
            tables.append(rows.select(schema.names).cast(schema))
    return pa.concat_tables(tables)


def _refuse_deletion_vectors_and_mapping(name: str, table: DeltaTable) -> None:
    if "deletionVectors" in (table.protocol().reader_features or []):
        raise LakeError(
            f"{name}: has deletion vectors, so that its files hold deleted rows too; set delta.enableDeletionVectors"
            " to false, then ALTER TABLE ... DROP FEATURE deletionVectors"
        )
    mode = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mode != "none":
        raise LakeError(
            f"{name}: has column mapping (mode {mode!r}), so that its files name columns otherwise; build the table"
            " anew without delta.columnMapping.mode"
        )


def _logged_paths(name: str, table: DeltaTable, split: str | None) -> list[str]:
    added = pa.table(table.get_add_actions(flatten=True))
    if split is None:
        return added["path"].to_pylist()
    if split not in (present := _splits(name, table)):
        raise LakeError(f"{name}: no rows of split {split!r}; found {present}")
    return added.filter(pc.field("partition.split") == split)["path"].to_pylist()


def _splits(name: str, table: DeltaTable) -> list[str]:
    if "split" not in (partitioned_by := table.metadata().partition_columns):
        raise LakeError(f"{name}: expected a table partitioned by 'split', found partitions by {partitioned_by}")
    return sorted({partition["split"] for partition in table.partitions()})


def _resolve(name: str, root: str, logged: str) -> str:
    """A path of the log, which is percent-encoded, on the filesystem."""
    if logged.startswith("/") or "://" in logged:
        raise LakeError(f"{name}: {logged} lies outside of the table, as a shallow clone's files do: copy the table")
    return f"{root}/{unquote(logged)}"


def _footers(filesystem: fs.FileSystem, paths: Sequence[str]) -> dict[str, pq.FileMetaData]:
    def read_footer(path: str) -> pq.FileMetaData:
        with named(path), filesystem.open_input_file(path) as file:
            return pq.read_metadata(file)

    # Threads, because object storage takes its time to answer.
    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(read_footer, paths), strict=True))
