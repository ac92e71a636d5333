"""The log of a Delta table, and rows of small tables, read by delta-rs: milliseconds where Spark would start a job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow import fs

from lake.errors import LakeError
from lake.uris import with_s3


@dataclass(frozen=True)
class LoggedCommit:
    """One entry of the log; `mark` is the writer's `userMetadata`."""

    version: int
    operation: str
    mark: str | None
    metrics: Mapping[str, str]
    timestamp_ms: int


def exists(location: str) -> bool:
    """True where the table has a commit."""
    return DeltaTable.is_deltatable(with_s3(location))


def load(location: str, version: int | None = None) -> DeltaTable:
    """A version of a table, by default the newest. Raises LakeError where it can't be read."""
    try:
        return DeltaTable(with_s3(location), version=version)
    except (DeltaError, OSError) as error:
        expected = "the newest version" if version is None else f"version {version}"
        reason = " ".join(str(error).split())
        raise LakeError(f"{location}: {expected} can't be read as a Delta table: {reason}") from error


def read(
    table: DeltaTable, columns: Sequence[str] | None = None, filters: Sequence[tuple[str, str, Any]] | None = None
) -> pa.Table:
    """The rows of a loaded version that fulfil `filters`, in memory."""
    # Not through delta-rs's own filesystem: there Arrow's threads call into Python to close a file, which aborts a
    # process that happens to be ending.
    filesystem, root = fs.FileSystem.from_uri(table.table_uri)
    return table.to_pyarrow_table(
        columns=None if columns is None else list(columns),
        filters=None if filters is None else list(filters),
        filesystem=fs.SubTreeFileSystem(root, filesystem),
    )


def version(location: str) -> int:
    """The newest version."""
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
