"""Maintain the lake: merge small files (OPTIMIZE) and remove files that no kept version needs (VACUUM).

Reads and writes the files of every table in <lake.root>, those of the gate too; no row changes. Files are kept for
`maintain.retention_hours` after the last version that needed them, and as long as a pinned version needs them: one
that a registered model was trained on (MLflow registry at `mlflow.tracking_uri`), or that a bundle in <bundles.root>
was built from (its manifest). Where either can't be read, the command fails and changes nothing.
"""

import logging
import math
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from rich.table import Table as RichTable

from conf.settings import Settings
from indexing.publishing import pinned_by_bundles
from indexing.publishing.storage import open_store
from jobs import command
from jobs.store import catalog, tables
from jobs.store.pinned_by_models import pinned_versions
from jobs.store.session import spark_session
from jobs.store.tables import AnyTable
from lake import delta_log

log = logging.getLogger("marquee")


@dataclass(frozen=True)
class Maintained:
    """The result for one table."""

    table: str
    files_merged: int
    files_removed: int
    retention_hours: int
    pinned_version: int | None


def retention_hours(configured: int, pinned_at: datetime | None, now: datetime) -> int:
    """Hours for which removed files are kept.

    A pinned version needs the files that were live when it was written, so files removed since then are kept: the time
    since `pinned_at`, rounded up, where that is longer than `configured`.
    """
    if pinned_at is None:
        return configured
    return max(configured, math.ceil((now - pinned_at).total_seconds() / 3600) + 1)


def maintain_table(
    spark: SparkSession, settings: Settings, table: AnyTable, pinned_version: int | None, now: datetime
) -> Maintained:
    """OPTIMIZE, then VACUUM, one table that exists."""
    path = tables.location(settings, table)
    with tables.row_groups(spark, settings, table):
        optimized = DeltaTable.forPath(spark, path).optimize().executeCompaction().select("metrics.*").collect()[0]
    pinned_at = None if pinned_version is None else _written_at(path, pinned_version)
    if pinned_version is not None and pinned_at is None:
        log.warning(
            "%s has no version %d: the model or bundle that pins it belongs to another lake", table.name, pinned_version
        )
    hours = retention_hours(settings.maintain.retention_hours, pinned_at, now)
    removed = tables.vacuum(spark, settings, table, hours)
    log.info(
        "%s: merged %d files into %d, removed %d older than %d hours",
        *(table.name, optimized["numFilesRemoved"], optimized["numFilesAdded"], removed, hours),
    )
    return Maintained(table.name, optimized["numFilesRemoved"], removed, hours, pinned_version)


def _written_at(path: str, version: int) -> datetime | None:
    """The time at which a version was written; None where the table has no such version."""
    if version > delta_log.version(path):
        return None
    commits = [commit for commit in delta_log.commits(path, after=version - 1) if commit.version == version]
    return datetime.fromtimestamp(commits[0].timestamp_ms / 1000, tz=UTC) if commits else None


def oldest_pinned_versions(settings: Settings) -> dict[str, int]:
    """The oldest version per table that a registered model or a bundle pins.

    Raises BundleError where a bundle's manifest can't be read, and JobError where the registry can't.
    """
    by_bundles = pinned_by_bundles.oldest_versions(open_store(settings.bundles.root, settings.bundles.copies))
    by_models = pinned_versions(settings.mlflow.tracking_uri)
    pins = (by_bundles, by_models)
    return {table: min(pin[table] for pin in pins if table in pin) for table in by_bundles.keys() | by_models.keys()}


def run(spark: SparkSession, settings: Settings, now: datetime) -> list[Maintained]:
    """Maintain every table that exists."""
    pinned = oldest_pinned_versions(settings)
    known_tables: tuple[AnyTable, ...] = (*catalog.TABLES, *catalog.NIGHT_TABLES)
    present = [table for table in known_tables if tables.exists(settings, table)]
    return [maintain_table(spark, settings, table, pinned.get(table.name), now) for table in present]


def work(settings: Settings, _: Namespace) -> None:
    with spark_session(settings, "maintain") as spark:
        done = run(spark, settings, datetime.now(UTC))
    shown = RichTable("table", "files merged", "files removed", "kept for hours", "oldest pinned version")
    for entry in done:
        pinned = "" if entry.pinned_version is None else str(entry.pinned_version)
        numbers = (entry.files_merged, entry.files_removed, entry.retention_hours)
        shown.add_row(entry.table, *[f"{n:,}" for n in numbers], pinned)
    command.console().print(shown)


def main(argv: Sequence[str] | None = None) -> int:
    return command.run(command.parser(__doc__), work, argv)


if __name__ == "__main__":
    sys.exit(main())
