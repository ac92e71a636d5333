"""Describe the lake for a person: each table with its grain, rows, days, size, version and last write.

Reads the Delta logs of the tables in <lake.root>, without Spark; writes nothing. Rows are those that the newest
version of a table has; size is that of their files, without those kept for older versions.
"""

import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from rich.table import Table as RichTable

from conf.settings import Settings
from jobs import catalog, command, table_log, tables
from jobs.tables import Table

_DAY_COLUMN = "partition.ds"


@dataclass(frozen=True)
class Description:
    """What a table's newest version holds; `first_day` and `last_day` where it is partitioned by day."""

    name: str
    grain: str
    rows: int
    size_bytes: int
    count_days: int
    first_day: str
    last_day: str
    version: int
    written_at: datetime


def describe(settings: Settings, known: Iterable[Table]) -> list[Description]:
    """Descriptions of those of the `known` tables that the lake has."""
    found = []
    for table in known:
        location = tables.location(settings, table)
        if table_log.exists(location):
            found.append(_describe(table, table_log.load(location)))
    return found


def _describe(table: Table, delta: DeltaTable) -> Description:
    files = pa.table(delta.get_add_actions(flatten=True))
    days = pc.unique(files[_DAY_COLUMN]).to_pylist() if _DAY_COLUMN in files.column_names else []
    days = sorted(str(day) for day in days if day is not None)
    [newest] = delta.history(1)
    return Description(
        name=table.name,
        grain=table.grain,
        rows=pc.sum(files["num_records"]).as_py() or 0,
        size_bytes=pc.sum(files["size_bytes"]).as_py() or 0,
        count_days=len(days),
        first_day=days[0] if days else "",
        last_day=days[-1] if days else "",
        version=delta.version(),
        written_at=datetime.fromtimestamp(newest["timestamp"] / 1000, tz=UTC),
    )


def print_descriptions(descriptions: Sequence[Description], root: str) -> None:
    """Show the lake as one table on standard output."""
    shown = RichTable(title=f"Lake {root}")
    shown.add_column("table", no_wrap=True)
    shown.add_column("one row per")
    for heading in ("rows", "days", "size", "version", "last write (UTC)"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for d in descriptions:
        days = f"{d.count_days:,}\n{d.first_day}\n{d.last_day}" if d.count_days else ""
        grain = d.grain.removeprefix("one row per ")
        written = f"{d.written_at:%Y-%m-%d %H:%M:%S}"
        shown.add_row(d.name, grain, f"{d.rows:,}", days, _readable_size(d.size_bytes), str(d.version), written)
    command.console().print(shown)


def _readable_size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def work(settings: Settings, _: Namespace) -> int:
    """Describe what is there; code 1 where there is no table at all."""
    descriptions = describe(settings, catalog.TABLES)
    if not descriptions:
        print(f"no tables in {settings.lake.root}; run python -m jobs.backfill first", file=sys.stderr)
        return 1
    print_descriptions(descriptions, settings.lake.root)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return command.run(command.parser(__doc__), work, argv)


if __name__ == "__main__":
    sys.exit(main())
