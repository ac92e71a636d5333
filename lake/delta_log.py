"""What a Delta table's log says, and a small table's rows, without Spark: milliseconds where it would start a job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from deltalake import DeltaTable
from pyarrow import fs


@dataclass(frozen=True)
class LoggedCommit:
    """One entry of the log; `mark` is what the writer left as `userMetadata`."""

    version: int
    operation: str
    mark: str | None
    metrics: Mapping[str, str]
    timestamp_ms: int


def _uri(location: str) -> str:
    """A location as delta-rs writes it: Hadoop says s3a where others say s3."""
    return location.replace("s3a://", "s3://", 1) if urlsplit(location).scheme == "s3a" else location


def exists(location: str) -> bool:
    """Whether a table's first commit has landed."""
    return DeltaTable.is_deltatable(_uri(location))


def load(location: str) -> DeltaTable:
    """The newest version of a table."""
    return DeltaTable(_uri(location))


def read(
    table: DeltaTable, columns: Sequence[str] | None = None, filters: Sequence[tuple[str, str, Any]] | None = None
) -> pa.Table:
    """The rows of a loaded version, or `columns` of those that fulfil `filters`, in memory."""
    # Not through delta-rs's own filesystem: there Arrow's threads call into Python to close a file, which aborts a
    # process that happens to be ending.
    filesystem, root = fs.FileSystem.from_uri(table.table_uri)
    return table.to_pyarrow_table(
        columns=None if columns is None else list(columns),
        filters=None if filters is None else list(filters),
        filesystem=fs.SubTreeFileSystem(root, filesystem),
    )


def version(location: str) -> int:
    return load(location).version()


def count_rows(location: str) -> int:
    """Rows of the newest version, by its log."""
    counts = pa.table(load(location).get_add_actions(flatten=True))["num_records"]
    return sum(counts.to_pylist())


def commits(location: str, after: int = -1) -> list[LoggedCommit]:
    """The commits after version `after`, newest first."""
    table = load(location)
    return [
        LoggedCommit(
            version=entry["version"],
            operation=entry["operation"],
            mark=entry.get("userMetadata"),
            metrics=entry.get("operationMetrics", {}),
            timestamp_ms=entry["timestamp"],
        )
        for entry in table.history(table.version() - after)
    ]
