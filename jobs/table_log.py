"""What a Delta table's log says, read by delta-rs: milliseconds where Spark would start a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from deltalake import DeltaTable


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


def version(location: str) -> int:
    return load(location).version()


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
