"""Command lines of jobs: arguments for days, short Spark errors, and the two usual kinds of job."""

import argparse
import logging
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import date, timedelta

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf import command_line
from conf.command_line import console, parser
from conf.settings import Settings
from jobs.errors import JobError
from jobs.store.session import spark_session

__all__ = [
    "add_days",
    "console",
    "day",
    "days_between",
    "parse_days",
    "parser",
    "run",
    "run_day_job",
    "run_snapshot_job",
]

log = logging.getLogger("marquee")


def add_days(command: argparse.ArgumentParser) -> None:
    """`--ds DATE`, or `--from DATE --to DATE` (both included)."""
    command.add_argument("--ds", type=day, metavar="DATE", help="the one day to work on")
    command.add_argument("--from", dest="first", type=day, metavar="DATE", help="first day of a range")
    command.add_argument("--to", dest="last", type=day, metavar="DATE", help="last day of a range, included")


def parse_days(command: argparse.ArgumentParser, arguments: Namespace) -> tuple[date, date]:
    """First and last day of the arguments; exits with code 2 where they make no range."""
    if arguments.ds and not (arguments.first or arguments.last):
        return arguments.ds, arguments.ds
    if arguments.ds or not (arguments.first and arguments.last):
        command.error("give either --ds DATE or both --from DATE and --to DATE")
    if arguments.first > arguments.last:
        command.error(f"--from {arguments.first} lies after --to {arguments.last}")
    return arguments.first, arguments.last


def days_between(first: date, last: date) -> list[date]:
    """Every day from `first` to `last`, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def day(text: str) -> date:
    """An ISO date, for argparse."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date like 2024-05-01") from None


def run(
    command: argparse.ArgumentParser,
    work: Callable[[Settings, Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """`command_line.run` for a job: Spark's errors too become one line."""

    def with_short_errors(settings: Settings, arguments: Namespace) -> int | None:
        try:
            return work(settings, arguments)
        except (PySparkException, Py4JJavaError) as error:
            raise JobError(_first_line(error)) from error

    return command_line.run(command, with_short_errors, argv)


def _first_line(error: PySparkException | Py4JJavaError) -> str:
    """Spark's message with its innermost cause: its traces run over hundreds of lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return " <- ".join(dict.fromkeys([lines[0] if lines else type(error).__name__, *causes[-1:]]))


def run_snapshot_job(
    doc: str | None, name: str, work: Callable[[SparkSession, Settings, date], None], argv: Sequence[str] | None
) -> int:
    """Command line of a job that reads a whole snapshot: it runs once, as of the last day of the arguments."""
    parse = parser(doc)
    add_days(parse)

    def run_last_day(settings: Settings, arguments: Namespace) -> None:
        _, last = parse_days(parse, arguments)
        with spark_session(settings, name) as spark:
            work(spark, settings, last)

    return run(parse, run_last_day, argv)


def run_day_job(
    doc: str | None,
    name: str,
    plan: Callable[[Settings, Sequence[date], bool], list[date]],
    work: Callable[[SparkSession, Settings, Sequence[date]], None],
    argv: Sequence[str] | None,
) -> int:
    """Command line of a derived table's job: `plan` gives the days to build for those requested, `work` builds them."""
    parse = parser(doc)
    add_days(parse)
    parse.add_argument("--skip-complete", action="store_true", help="leave out days that are built and not stale")

    def build(settings: Settings, arguments: Namespace) -> None:
        first, last = parse_days(parse, arguments)
        days = plan(settings, days_between(first, last), arguments.skip_complete)
        if not days:
            log.info("%s: nothing to build from %s to %s", name, first, last)
            return
        with spark_session(settings, name) as spark:
            work(spark, settings, days)

    return run(parse, build, argv)
