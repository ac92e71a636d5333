"""Check that the feeds of a day are complete: exit code 0 where they are, 1 with the missing ones.

Reads the names of the files in <feeds.root>/events/event_date=DATE, titles/ and offers/, without Spark; writes nothing.
Offers are not expected from a guide that has neither a folder of them nor any in the lake's stg_offers. Files that
changed less than `airflow.feeds_settled_seconds` ago may still be written and count as missing.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from pyarrow import fs

from conf import command_line
from conf.settings import Settings
from jobs import command
from jobs.errors import JobError
from lake import delta_log, uris

_DAY, _SUFFIXES = "event_date=", (".jsonl", ".jsonl.gz")


def missing(settings: Settings, ds: date, settled: timedelta, now: datetime) -> list[str]:
    """The reasons why feeds of `ds` are not complete; empty where they are.

    Consents are optional: without new ones a night runs with those of the lake.
    """
    root = settings.feeds.root
    folders = [f"events/event_date={ds}", "titles", *(["offers"] if has_offers(settings) else [])]
    return [reason for folder in folders if (reason := _reason(root, folder, settled, now))]


def has_offers(settings: Settings) -> bool:
    """True where the guide has offers: in the feeds, or loaded into the lake before."""
    folders = [entry.base_name for entry in _list(settings.feeds.root, fs.FileType.Directory)]
    stored = f"{settings.lake.root}/stg_offers"
    return "offers" in folders or (delta_log.exists(stored) and delta_log.count_rows(stored) > 0)


def _reason(root: str, folder: str, settled: timedelta, now: datetime) -> str | None:
    files = [file for file in _list(f"{root}/{folder}") if file.base_name.endswith(_SUFFIXES)]
    if not files:
        return f"expected {root}/{folder}/*.jsonl[.gz], found none"
    age = now - max(file.mtime for file in files)
    return f"{root}/{folder} changed {age.total_seconds():.0f} seconds ago" if age < settled else None


def _list(location: str, kind: fs.FileType = fs.FileType.File) -> list[fs.FileInfo]:
    """The entries of a kind in a folder; empty where there is no such folder."""
    filesystem, path = uris.filesystem(location)
    entries = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return [file for file in entries if file.type == kind]


def newest_day(root: str) -> date:
    """The last day of the events feed. Raises JobError where it has none."""
    folders = [entry.base_name for entry in _list(f"{root}/events", fs.FileType.Directory)]
    days = [date.fromisoformat(name.removeprefix(_DAY)) for name in folders if name.startswith(_DAY)]
    if not days:
        raise JobError(f"no events: expected {root}/events/event_date=DATE/*.jsonl[.gz]")
    return max(days)


def work(settings: Settings, arguments: Namespace) -> None:
    if arguments.newest:
        print(newest_day(settings.feeds.root))
        return
    settled = timedelta(seconds=settings.airflow.feeds_settled_seconds)
    reasons = missing(settings, arguments.ds, settled, datetime.now(UTC))
    if reasons:
        raise JobError(f"feeds for ds={arguments.ds} are not complete: {'; '.join(reasons)}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--ds", type=command.day, metavar="DATE", help="the day whose feeds are needed")
    choice.add_argument("--newest", action="store_true", help="print the last day of the events instead")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
