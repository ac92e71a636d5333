"""Measure the lake: throughput and memory of staging, one more day in a small and a large lake, and other engines.

Simulates its own feeds, before any measurement starts, in --work (default: a temporary folder, removed at the end), and
prints one JSON line per figure, then all as a table on standard error. --only selects among three parts:

  staging    jobs.stg_events over --events simulated lines, all days in one call into a new lake, each size in a
             new process. The start of the session is reported but not part of the rate. Memory is the peak of resident
             memory of Python and the JVM together; the JVM takes what spark.driver.memory allows before it collects
             garbage. Processor time beside the wall clock shows how far other programs slowed a run.
  next-day   lakes of --days-small and --days-large days, built night by night, then the same new days staged in both,
             which take turns, in one warm session. Both lakes end with the same day, so each pair of nights reads the
             same files. The ratio is that of the medians.
  engines    the same files and rules in DuckDB and in Polars. They are comparable only if all three keep the same
             set of (event_id, ds) and reject as many lines, which is a figure of its own. What the others leave out is
             printed too; Spark's time is that of the whole job.

The exit code is 0 even where a target is missed; the table says so.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from benchmarks.harness.feeds import Feeds, make_feeds
from benchmarks.harness.nights import LAKES, add_nights
from benchmarks.harness.processes import run_apart
from benchmarks.harness.report import Report, emptied, reporting
from benchmarks.lake_bench.other_engines import ENGINES, LEAVES_OUT, Rules
from benchmarks.lake_bench.runs import NextDays, OtherStaging, SparkStaging
from conf.settings import Settings
from jobs import command, stg_events
from jobs.errors import JobError
from jobs.staging import parsing, rejected_rows

_COSTS = {"seconds": "staging time", "processor_s": "processor time", "peak_mib": "peak memory"}
PARTS = ("staging", "next-day", "engines")


@dataclass(frozen=True)
class Outcome:
    """One engine's output for a feed; `ids_hash` is equal for equal sets of (event_id, ds), in any order."""

    good: int
    rejected: int
    copies: int
    ids_hash: str


def outcome(event_files: Sequence[str], reject_files: Sequence[str]) -> Outcome:
    """Read back an engine's output. Hashes are added, since in an XOR a duplicated row would vanish."""
    hashes = "CAST(sum(CAST(hash(event_id || ' ' || CAST(CAST(ds AS DATE) AS VARCHAR)) AS HUGEINT)) AS VARCHAR)"
    with duckdb.connect() as connection:
        events = connection.execute(
            f"SELECT count(*), {hashes} FROM read_parquet($files, hive_partitioning = true)",
            {"files": list(event_files)},
        ).fetchall()[0]
        rejects = connection.execute(
            "SELECT count(*), count(*) FILTER (reason LIKE 'event_id: a copy of %') FROM read_parquet($files)",
            {"files": list(reject_files)},
        ).fetchall()[0]
    return Outcome(events[0], rejects[0], rejects[1], str(events[1]))


def _outcome_of_lake(lake: Path) -> Outcome:
    events = DeltaTable(str(lake / stg_events.TABLE.name)).file_uris()
    return outcome(events, DeltaTable(str(lake / rejected_rows.TABLE.name)).file_uris())


def _outcome_of_files(out: Path) -> Outcome:
    return outcome([str(path) for path in (out / "events").rglob("*.parquet")], [str(out / "rejected.parquet")])


def rules_of(settings: Settings) -> Rules:
    """The staging rules as plain values."""
    staging = settings.staging
    return Rules(
        event_types=stg_events.EVENT_TYPES,
        min_rating=staging.min_rating,
        max_rating=staging.max_rating,
        min_event_date=stg_events.MIN_EVENT_DATE.isoformat(),
        max_days_ahead=stg_events.MAX_DAYS_AHEAD,
        max_line_bytes=parsing.MAX_LINE_BYTES,
        partition_by=stg_events.TABLE.partition_by,
    )


def measure_staging(
    report: Report, settings: Settings, arguments: Namespace, work: Path, lines: int, with_other_engines: bool
) -> None:
    """Parts `staging` and `engines` on one feed of about `lines` lines."""
    feeds = make_feeds(settings, work / f"feeds-{lines}", lines, arguments.feed_days)
    lake = work / f"lake-{lines}"
    with emptied(lake):
        answer = run_apart(
            SparkStaging(arguments.conf, arguments.overrides, str(feeds.root), str(lake), feeds.days), arguments.limit
        )
        context: dict[str, Any] = {"engine": "spark", "lines": feeds.lines, "days": len(feeds.days)}
        context |= {"files": len(feeds.files), "master": answer["master"], "driver_memory": answer["driver_memory"]}
        _add_costs(report, feeds.lines, answer, context)
        report.add("start of the session, not in the time", answer["session_start_s"], "s", **context)
        if with_other_engines:
            spark = _outcome_of_lake(lake)
            report.add("good rows", spark.good, "rows", engine="spark", lines=feeds.lines, **_rest(spark))
            _measure_other_engines(report, settings, arguments, work, feeds, spark, answer)


def _add_costs(report: Report, lines: int, answer: Mapping[str, Any], context: Mapping[str, Any]) -> None:
    context = {**context, "load_at_end": round(answer["load"], 1)}
    report.add("events a second through staging", lines / answer["seconds"], "1/s", **context)
    report.add(_COSTS["seconds"], answer["seconds"], "s", **context)
    report.add(_COSTS["processor_s"], answer["processor_s"], "s", **context)
    report.add(_COSTS["peak_mib"], answer["peak_mib"], "MiB", **context)


def _measure_other_engines(
    report: Report,
    settings: Settings,
    arguments: Namespace,
    work: Path,
    feeds: Feeds,
    spark: Outcome,
    spark_answer: Mapping[str, Any],
) -> None:
    for engine in ENGINES:
        out = work / f"{engine}-{feeds.lines}"
        with emptied(out):
            answer = run_apart(OtherStaging(engine, feeds.files, str(out), asdict(rules_of(settings))), arguments.limit)
            result = _outcome_of_files(out)
        context: dict[str, Any] = {"engine": engine, "lines": feeds.lines}
        _add_costs(report, feeds.lines, answer, context)
        report.add("good rows", result.good, "rows", **context, **_rest(result))
        report.add("same rows as Spark", result == spark, "bool", **context)
        for key, name in _COSTS.items():
            report.add(f"{name}, Spark over {engine}", spark_answer[key] / answer[key], "ratio", **context)
        report.note("left out beside Spark's job", LEAVES_OUT[engine], engine=engine)


def _rest(result: Outcome) -> dict[str, Any]:
    return {"rejected": result.rejected, "copies_among_them": result.copies, "ids_hash": result.ids_hash}


def measure_next_day(report: Report, settings: Settings, arguments: Namespace, work: Path) -> None:
    """Measure part `next-day`."""
    days = arguments.days_large + arguments.warmups + arguments.repeats
    feeds = make_feeds(settings, work / "feeds-nights", arguments.events_per_day * days, days)
    lakes = work / "lakes-nights"
    with emptied(lakes):
        answer = run_apart(
            NextDays(
                *(arguments.conf, arguments.overrides, str(feeds.root), str(lakes), feeds.days[0]),
                *(arguments.days_small, arguments.days_large, arguments.warmups, arguments.repeats),
            ),
            arguments.limit,
        )
    _add_nights(report, arguments, answer, {"lines_per_day": feeds.lines // days, "repeats": arguments.repeats})
    report.add("building both lakes night by night", answer["build"]["seconds"], "s", lines=feeds.lines)


def _add_nights(report: Report, arguments: Namespace, answer: Mapping[str, Any], context: Mapping[str, Any]) -> None:
    lake_days = {"small": arguments.days_small, "large": arguments.days_large}
    # Only wall time has a target; processor time shows how far other programs changed a ratio.
    for key, name, target in (("seconds", "time", arguments.max_day_ratio), ("processor_s", "processor time", None)):
        costs = {lake: [night[key] for night in answer[lake]] for lake in LAKES}
        load = round(answer["large"][-1]["load"], 1)
        add_nights(report, "one more day", name, costs, lake_days, target, load_at_end=load, **context)


def work(settings: Settings, arguments: Namespace) -> None:
    """Measure the parts of --only and show the table."""
    with reporting("lake", ("pyspark", "delta-spark", "duckdb", "polars"), arguments.work) as (report, folder):
        if "staging" in arguments.only or "engines" in arguments.only:
            for lines in arguments.events:
                measure_staging(report, settings, arguments, folder, lines, "engines" in arguments.only)
        if "next-day" in arguments.only:
            measure_next_day(report, settings, arguments, folder)


def _parser() -> ArgumentParser:
    parser = command.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure (default: all)")
    parser.add_argument("--events", nargs="+", type=int, default=[1_000_000, 10_000_000], metavar="LINES")
    parser.add_argument("--feed-days", type=int, default=10, help="days over which --events are spread")
    parser.add_argument("--days-small", type=int, default=10)
    parser.add_argument("--days-large", type=int, default=100)
    parser.add_argument("--events-per-day", type=int, default=20_000, help="in the lakes of part next-day")
    parser.add_argument("--warmups", type=int, default=2, help="nights after the build that are not measured")
    parser.add_argument("--repeats", type=int, default=7, help="measured nights")
    parser.add_argument("--max-day-ratio", type=float, default=1.2, help="target of part next-day")
    parser.add_argument("--limit", type=float, default=7200.0, metavar="SECONDS", help="for one measured process")
    parser.add_argument("--work", metavar="FOLDER", help="keeps the feeds; lakes are removed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()

    def checked(settings: Settings, arguments: Namespace) -> None:
        if not 0 < arguments.days_small <= arguments.days_large:
            raise JobError("--days-small must be from 1 to --days-large")
        work(settings, arguments)

    return command.run(parser, checked, argv)


if __name__ == "__main__":
    sys.exit(main())
