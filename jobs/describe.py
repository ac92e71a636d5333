"""Describe the lake: each table with its grain, rows, days, size, version and last write.

Reads the Delta logs of the tables in <lake.root>, without Spark; writes nothing. Rows and size are those of a table's
newest version, without the files kept for older ones. Below the tables it prints how many titles have a plot or poster,
and how many of these have an embedding.

With --neighbours it prints the titles nearest to the named ones instead, by plot and by poster.
"""

import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from rich.table import Table as RichTable

from conf.settings import Settings
from jobs import command
from jobs.features import title_content
from jobs.store import built_days, catalog, tables
from jobs.store.tables import AnyTable, Table
from lake import delta_log

_DAY = "ds"


@dataclass(frozen=True)
class Description:
    """The newest version of a table; `first_day` and `last_day` are empty for a table without days."""

    name: str
    grain: str
    rows: int
    size_bytes: int
    count_days: int
    first_day: str
    last_day: str
    version: int
    written_at: datetime


def describe(settings: Settings, known: Iterable[AnyTable]) -> list[Description]:
    """Descriptions of those of the `known` tables that the lake has."""
    descriptions = []
    for table in known:
        location = tables.location(settings, table)
        if delta_log.exists(location):
            descriptions.append(_describe(settings, table, delta_log.load(location)))
    return descriptions


def _describe(settings: Settings, table: AnyTable, delta: DeltaTable) -> Description:
    """Days are partitions of staging tables, rows of the ledger for derived tables, a column of the gate's tables."""
    files = pa.table(delta.get_add_actions(flatten=True))
    if f"partition.{_DAY}" in files.column_names:
        table_days = pc.unique(files[f"partition.{_DAY}"]).to_pylist()
    elif isinstance(table, Table):
        table_days = list(built_days.read(settings, table))
    else:
        table_days = pc.unique(delta_log.read(delta, [_DAY])[_DAY]).to_pylist()
    days = sorted(str(day) for day in table_days if day is not None)
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


def print_coverage(kinds: Sequence[title_content.Coverage]) -> None:
    """Print how many titles have a plot or poster, and how many of these an embedding."""
    shown = RichTable(title=f"Content of {kinds[0].titles:,} titles")
    for heading in ("", "titles", "share", "with an embedding", "without"):
        shown.add_column(heading, justify="left" if heading in ("", "without") else "right")
    for part in kinds:
        share = part.present / max(part.titles, 1)
        why = ", ".join(f"{count:,}: {problem}" for problem, count in sorted(part.problems.items())) or "0"
        shown.add_row(part.kind, f"{part.present:,}", f"{share:.1%}", f"{part.embedded:,}", why)
    command.console().print(shown)


def print_neighbours(settings: Settings, names: Sequence[str], count: int) -> None:
    """Show the titles nearest to each named one. Raises UnknownTitleError for a name that no title has."""
    titles = title_content.EncodedTitles(settings)
    for match in [titles.names.find(name) for name in names]:  # all of them, before anything is shown
        if match.note:
            print(match.note)
        shown = RichTable(title=f"Nearest to {titles.names.label(match.row)}")
        columns = []
        for embedding in title_content.EMBEDDINGS:
            shown.add_column(f"by {embedding.removesuffix('_embedding')}")
            near = titles.neighbours(match.row, embedding, count)
            columns.append(["it has none"] if near is None else [f"{n.similarity:.2f}  {n.title}" for n in near])
        for row in zip_longest(*columns, fillvalue=""):
            shown.add_row(*row)
        command.console().print(shown)


def work(settings: Settings, arguments: Namespace) -> int:
    """Describe the lake; returns exit code 1 where it has no table."""
    if arguments.neighbours:
        print_neighbours(settings, arguments.neighbours, arguments.count)
        return 0
    descriptions = describe(settings, (*catalog.TABLES, *catalog.NIGHT_TABLES))
    if not descriptions:
        print(f"no tables in {settings.lake.root}; run python -m jobs.backfill first", file=sys.stderr)
        return 1
    print_descriptions(descriptions, settings.lake.root)
    content = title_content.coverage(settings)
    if content:
        print_coverage(content)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__)
    parser.add_argument(
        "--neighbours", nargs="+", default=[], metavar="TITLE", help="print the titles nearest to these"
    )
    parser.add_argument("--count", type=int, default=8, metavar="N", help="how many neighbours (default 8)")
    return command.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
