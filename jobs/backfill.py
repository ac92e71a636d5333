"""Backfill: run the jobs for a range of days, in order of dependency, in parallel where they are independent.

Reads the raw feeds; writes the tables named by --only, or all. Days are taken in chunks of `backfill.max_chunk_days`
and `backfill.max_chunk_bytes`, one Spark run each: thousands of nearly empty days are a few runs. A chunk is written
whole or not at all, so a backfill that was killed is run again, and with --skip-complete goes on where it was: it
leaves out days whose files and other inputs have not changed since they were built.

Where a day changes the rows of later days, those are built again too. Tables without days of their own, such as
title_features, are built as of the newest day of the lake.

At the end it prints the lines of each feed and where they went, counted in the tables.
"""

import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.util import inheritable_thread_target
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table as RichTable

from conf.errors import ActionableError
from conf.settings import Settings
from jobs import command, interactions
from jobs.errors import JobError
from jobs.staging import feed_loads, feeds, rejected_rows
from jobs.staging.feeds import FeedFile
from jobs.store import built_days, catalog, tables
from jobs.store.catalog import AsOfJob, DailyJob, SnapshotJob
from jobs.store.session import spark_session

log = logging.getLogger("marquee")


def chunks(days: Sequence[date], size_bytes: Mapping[date, int], max_bytes: int, max_days: int) -> list[list[date]]:
    """`days` in runs of at most `max_days` and `max_bytes` of feed files; a day that is larger is a run of its own."""
    result: list[list[date]] = []
    chunk_bytes = 0
    for day in days:
        fits = result and len(result[-1]) < max_days and chunk_bytes + size_bytes.get(day, 0) <= max_bytes
        if fits:
            result[-1].append(day)
            chunk_bytes += size_bytes.get(day, 0)
        else:
            result.append([day])
            chunk_bytes = size_bytes.get(day, 0)
    return result


def incomplete_days(settings: Settings, feed: str, days: Sequence[date], files: Sequence[FeedFile]) -> list[date]:
    """The days that were never loaded, or whose files have changed since their load."""
    fingerprints = feed_loads.fingerprints(settings, feed)
    by_day = feeds.by_day(files, days)
    return [day for day, day_files in by_day.items() if fingerprints.get(day) != feeds.fingerprint(day_files)]


def run(
    spark: SparkSession, settings: Settings, days: Sequence[date], only: Sequence[str] = (), skip_complete: bool = False
) -> None:
    """Run the jobs of the tables `only` (all where empty) over `days`.

    A staging job that fails stops neither the others nor, for a refused day, the chunks after it; then JobError is
    raised with the first failure, and no derived table is built from incomplete feeds.
    """
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        _run_staging(spark, settings, days, only, skip_complete, progress)
        _run_derived(spark, settings, days, only, skip_complete, progress)


def _run_staging(
    spark: SparkSession,
    settings: Settings,
    days: Sequence[date],
    only: Sequence[str],
    skip_complete: bool,
    progress: Progress,
) -> None:
    jobs = [job for job in catalog.STAGING_JOBS if not only or job.table.name in only]
    if not jobs:
        return
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = []
        for job in jobs:
            report = _Report(progress, progress.add_task(job.table.name, total=None))
            run_job = inheritable_thread_target(spark)(_run_job)
            futures.append(pool.submit(run_job, spark, settings, job, days, skip_complete, report))
        failures = [failure for future in futures for failure in future.result()]
    if failures:
        more = f" ({len(failures) - 1} more runs failed; see above)" if len(failures) > 1 else ""
        raise JobError(f"{failures[0]}{more}")


def _run_derived(
    spark: SparkSession,
    settings: Settings,
    days: Sequence[date],
    only: Sequence[str],
    skip_complete: bool,
    progress: Progress,
) -> None:
    """Run the jobs of derived tables one after the other, since each reads what the one before it wrote."""
    for job in catalog.DERIVED_JOBS:
        if only and job.table.name not in only:
            continue
        report = _Report(progress, progress.add_task(job.table.name, total=None))
        if isinstance(job, AsOfJob):
            newest = max(built_days.read(settings, interactions.TABLE), default=days[-1])
            steps = [partial(job.run, spark, settings, newest)]
        else:
            days_to_build = job.plan(settings, days, skip_complete)
            log.info("%s: %d days to build", job.table.name, len(days_to_build))
            size_bytes, limits = feed_loads.size_bytes(settings, "events"), settings.backfill
            parts = chunks(days_to_build, size_bytes, limits.max_chunk_bytes, limits.max_chunk_days)
            steps = [partial(job.run, spark, settings, part) for part in parts]
        report.show(0, len(steps))
        for done, step in enumerate(steps, start=1):
            step()
            report.show(done, len(steps))


@dataclass(frozen=True)
class _Report:
    """One line of the progress display."""

    progress: Progress
    task: TaskID

    def show(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)


@dataclass(frozen=True)
class _Step:
    """One Spark run of a job."""

    name: str
    work: Callable[[], None]


def _run_job(
    spark: SparkSession,
    settings: Settings,
    job: DailyJob | SnapshotJob,
    days: Sequence[date],
    skip_complete: bool,
    report: _Report,
) -> list[ActionableError]:
    """Run one job over `days`, step by step; returns the failures, which are logged too."""
    failures = []
    try:
        steps = _steps(spark, settings, job, days, skip_complete)
    except ActionableError as error:
        return [error]
    report.show(0, len(steps))
    for done, step in enumerate(steps, start=1):
        try:
            step.work()
        except ActionableError as error:
            log.error("%s: %s", step.name, error)
            failures.append(error)
        report.show(done, len(steps))
    return failures


def _steps(
    spark: SparkSession, settings: Settings, job: DailyJob | SnapshotJob, days: Sequence[date], skip_complete: bool
) -> list[_Step]:
    """The Spark runs that `days` need: one per chunk, or, for a snapshot feed, one for the last day."""
    name = job.table.name
    if isinstance(job, SnapshotJob):
        return [_Step(f"{name} as of {days[-1]}", partial(job.run, spark, settings, days[-1]))]
    feeds.require_days(spark, settings.feeds.root, days)
    files = feeds.list_events(spark, settings.feeds.root, days)
    tables.ensure(spark, settings, feed_loads.TABLE)
    days_to_load = incomplete_days(settings, job.feed, days, files) if skip_complete else days
    log.info("%s: %d of %d days to load", name, len(days_to_load), len(days))
    limits = settings.backfill
    size_bytes = {
        day: sum(file.size_bytes for file in day_files) for day, day_files in feeds.by_day(files, days_to_load).items()
    }
    parts = chunks(days_to_load, size_bytes, limits.max_chunk_bytes, limits.max_chunk_days)
    return [_Step(f"{name} {part[0]} to {part[-1]}", partial(job.run, spark, settings, part)) for part in parts]


@dataclass(frozen=True)
class FeedAccount:
    """The lines of a feed over some days and where they went, counted in the tables."""

    feed: str
    lines: int
    rows: int
    rejected: int
    duplicates: int
    erased: int

    @property
    def adds_up(self) -> bool:
        return self.lines == self.rows + self.rejected + self.erased


def account(spark: SparkSession, settings: Settings, days: Sequence[date]) -> list[FeedAccount]:
    """Count the lines that came in on `days` and the rows that the tables have of them, per feed that was loaded.

    Lines are those that the loads counted; rows and rejected lines are counted anew in their tables. A snapshot feed
    is counted by its newest load within `days`.
    """
    for table in (feed_loads.TABLE, rejected_rows.TABLE):
        tables.ensure(spark, settings, table)  # without any feed neither was made
    rejects = tables.read(spark, settings, rejected_rows.TABLE).where(tables.is_one_of("ds", days))
    count_rejected = {(row["feed"], row["ds"]): row["count"] for row in rejects.groupBy("feed", "ds").count().collect()}
    accounts, days_in_account = [], set(days)
    for job in catalog.STAGING_JOBS:
        loads = {ds: load for ds, load in feed_loads.read(settings, job.feed).items() if ds in days_in_account}
        if not loads:
            continue
        rows, counted_days = tables.read(spark, settings, job.table), list(days)
        if isinstance(job, DailyJob):
            rows = rows.where(tables.is_one_of("feed_date", days))
        else:
            rows, counted_days = _listed(rows), [max(loads)]
        counted = [loads[ds] for ds in counted_days if ds in loads]
        accounts.append(
            FeedAccount(
                job.feed,
                lines=sum(load["count_lines"] for load in counted),
                rows=rows.count(),
                rejected=sum(count_rejected.get((job.feed, ds), 0) for ds in counted_days),
                duplicates=sum(load["count_duplicates"] for load in counted),
                erased=sum(load["count_erased"] for load in counted),
            )
        )
    return accounts


def _listed(rows: DataFrame) -> DataFrame:
    return rows.where("removed_ds IS NULL") if "removed_ds" in rows.columns else rows


def print_accounts(accounts: Sequence[FeedAccount], days: Sequence[date]) -> None:
    """Print where the lines went. Raises JobError where they do not add up."""
    shown = RichTable(title=f"Lines that came in, {days[0]} to {days[-1]}, and where they are")
    for heading in ("feed", "lines", "rows in the table", "in rejected_rows", "of these copies", "erased", "adds up"):
        shown.add_column(heading, justify="left" if heading in ("feed", "adds up") else "right")
    for entry in accounts:
        numbers = (entry.lines, entry.rows, entry.rejected, entry.duplicates, entry.erased)
        shown.add_row(entry.feed, *[f"{n:,}" for n in numbers], "yes" if entry.adds_up else "NO")
    command.console().print(shown)
    wrong = [entry.feed for entry in accounts if not entry.adds_up]
    if wrong:
        raise JobError(f"lines of {', '.join(wrong)} do not add up; run the days again without --skip-complete")


def _days(spark: SparkSession, settings: Settings, first: date | None, last: date | None) -> list[date]:
    """The days of the arguments; an omitted end is that of the events feed."""
    if not (first and last):
        begins, ends = feeds.first_and_last_day(spark, settings.feeds.root)
        first, last = first or begins, last or ends
    if first > last:
        raise JobError(f"no days to load: {first} lies after {last}")
    return command.days_between(first, last)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__)
    parser.add_argument("--from", dest="first", type=command.day, metavar="DATE", help="default: the feed's first day")
    parser.add_argument(
        "--to", dest="last", type=command.day, metavar="DATE", help="included; default: the feed's last"
    )
    names = [job.table.name for job in (*catalog.STAGING_JOBS, *catalog.DERIVED_JOBS)]
    parser.add_argument("--only", nargs="+", default=[], choices=names, metavar="TABLE", help=", ".join(names))
    parser.add_argument("--skip-complete", action="store_true", help="leave out days that are loaded and unchanged")

    def work(settings: Settings, arguments: Namespace) -> None:
        with spark_session(settings, "backfill") as spark:
            days = _days(spark, settings, arguments.first, arguments.last)
            run(spark, settings, days, arguments.only, arguments.skip_complete)
            print_accounts(account(spark, settings, days), days)

    return command.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
