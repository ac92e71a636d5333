"""Measure the derived tables: one more night in a small and a large lake, and building millions of examples.

Makes its own feeds and events, before any measurement starts, in --work (default: a temporary folder, removed at the
end), and prints one JSON line per figure, then all as a table on standard error. --only selects among two parts:

  next-day   lakes of --days-small and --days-large simulated days that end with the same day, with as many users and
             titles on each. Their history is built by one backfill over all days, so it has fewer files and commits
             than one built night by night. Then both lakes, which take turns in one warm session, get the same new
             nights: the day is staged, and each job of jobs.store.catalog.DERIVED_JOBS is run and timed by itself, as
             jobs.backfill runs it, with its planning and ledgers. Staging (see benchmarks.lake) and the starts of
             Spark and of processes are not timed. A night's time is the sum over its jobs. Ratios are those of the
             medians. On a checkpoint day (see jobs.store.change_rows) every title and user gets a row; a figure lists
             the timed nights that were such days. Users have a longer history in the large lake, up to
             histories.max_titles: that is part of the ratio.
  examples   interactions, title_stats, user_histories and training_examples over 28 days at once, for each of
             --interactions, from events that Spark generates into stg_events: 20 interactions per user, titles by
             Zipf's law, a few late. Chunks are those of a backfill at 20 feed bytes per event: a single one even at
             ten million. Each size runs in a new process, so its first job includes the warm-up of the JVM. Executors
             are processes of their own (Spark's local cluster), which is slower than local[*]. The driver's memory is
             the peak of resident memory of Python and its JVM, without executors, over the four jobs: it must not grow
             with users or events. The JVM takes what --driver-memory allows before it collects garbage, however few
             the rows. So a second figure shows what is really needed: the largest part of that heap still in use after
             a garbage collection.

Wall time includes waiting for other programs; processor time beside it shows how far they slowed a run. The exit code
is 0 even where a target is missed; the table says so.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.features_bench.runs import EXAMPLE_TABLES, BuildExamples, MakeEvents, NextNights
from benchmarks.harness.feeds import make_feeds
from benchmarks.harness.nights import LAKES, add_nights
from benchmarks.harness.processes import run_apart
from benchmarks.harness.report import Report, emptied, reporting
from conf.settings import Settings, with_changes
from jobs import command, interactions, training_examples
from jobs.errors import JobError

PARTS = ("next-day", "examples")
_DRIVER_PEAK = "driver's peak memory"
_DRIVER_HEAP = "driver's heap left by a collection, peak"


def measure_next_day(report: Report, settings: Settings, arguments: Namespace, work: Path) -> None:
    """Measure part `next-day`."""
    days = arguments.days_large + arguments.warmups + arguments.repeats
    same_titles = with_changes(settings, {"simulate.releases_per_day": 0.0})
    feeds = make_feeds(same_titles, work / "feeds-nights", arguments.events_per_day * days, days)
    lakes = work / "lakes-nights"
    with emptied(lakes):
        answer = run_apart(
            NextNights(
                *(arguments.conf, arguments.overrides, str(feeds.root), str(lakes), feeds.days[0]),
                *(arguments.days_small, arguments.days_large, arguments.warmups, arguments.repeats),
            ),
            arguments.limit,
        )
    _add_nights(report, arguments, answer)
    lines = {"lines_per_day": feeds.lines // days, "lines": feeds.lines}
    report.add("staging and building both lakes' history", answer["build"]["seconds"], "s", **lines)


def _add_nights(report: Report, arguments: Namespace, answer: Mapping[str, Any]) -> None:
    lake_days = {"small": arguments.days_small, "large": arguments.days_large}
    checkpoints = answer["checkpoints"]
    report.add("timed nights", len(answer["nights"]), "nights", days=answer["nights"])
    report.add("timed nights that are checkpoint days", len(checkpoints), "nights", days=checkpoints)
    names = list(answer["small"][0])
    for name in names:
        for lake in LAKES:
            rows = [night[name]["rows"] for night in answer[lake]]
            report.add(f"rows of {name} for the last night", rows[-1], "rows", lake_days=lake_days[lake])
        costs = {lake: [night[name]["seconds"] for night in answer[lake]] for lake in LAKES}
        add_nights(report, f"one more night of {name}", "time", costs, lake_days)
    load = round(answer["large"][-1][names[-1]]["load"], 1)
    # Only wall time has a target; processor time shows how far other programs changed a ratio.
    for key, measure, target in (("seconds", "time", arguments.max_day_ratio), ("processor_s", "processor time", None)):
        sums = {lake: [sum(job[key] for job in night.values()) for night in answer[lake]] for lake in LAKES}
        add_nights(report, "one more night of all", measure, sums, lake_days, target, load_at_end=load)


def measure_examples(report: Report, arguments: Namespace, work: Path) -> None:
    """Measure part `examples`."""
    driver = {}
    for wanted in sorted(arguments.interactions):
        out = work / f"examples-{wanted}"
        with emptied(out):
            made = run_apart(
                MakeEvents(arguments.conf, arguments.overrides, str(out), wanted, arguments.days), arguments.limit
            )
            answer = run_apart(
                BuildExamples(
                    *(arguments.conf, arguments.overrides, str(out), arguments.days),
                    *(arguments.driver_memory, arguments.executor_memory_mib),
                ),
                arguments.limit,
            )
        driver[wanted] = _add_examples(report, arguments, wanted, made["events"], answer)
    low, high = min(driver), max(driver)
    if low < high:
        for name, target in ((_DRIVER_PEAK, arguments.max_driver_ratio), (_DRIVER_HEAP, None)):
            mib = [driver[low][name], driver[high][name]]
            title = f"{name}, most interactions over fewest"
            report.add(title, mib[1] / mib[0], "ratio", target, wanted=[low, high], mib=mib)


def _add_examples(
    report: Report, arguments: Namespace, wanted: int, events: int, answer: Mapping[str, Any]
) -> dict[str, float]:
    """Add the figures of one size; returns those of the driver's memory by name."""
    jobs = answer["jobs"]
    examples = jobs[training_examples.TABLE.name]["rows"]
    context = {"wanted": wanted, "days": arguments.days}
    report.add("events", events, "rows", **context)
    report.add("interactions", jobs[interactions.TABLE.name]["rows"], "rows", **context)
    report.add("examples", examples, "rows", **context)
    seconds = {table.name: round(jobs[table.name]["seconds"], 3) for table in EXAMPLE_TABLES}
    together = sum(seconds.values())
    how = {**context, "master": answer["master"], "spark_runs": answer["runs"]}
    for name, taken in seconds.items():
        processor_s, load = round(jobs[name]["processor_s"], 1), round(jobs[name]["load"], 1)
        report.add(f"time of {name}", taken, "s", processor_s=processor_s, load_at_end=load, **how)
    alone = seconds[training_examples.TABLE.name]
    report.add("examples a second, training_examples alone", examples / alone, "1/s", seconds=alone, **how)
    report.add("examples a second, all four jobs", examples / together, "1/s", seconds=round(together, 3), **how)
    peaks = [round(jobs[name]["peak_mib"], 1) for name in seconds]
    memory = {"heap_limit": arguments.driver_memory, **context}
    report.add(_DRIVER_PEAK, max(peaks), "MiB", job_by_job=peaks, **memory)
    report.add(_DRIVER_HEAP, answer["heap_peak_mib"], "MiB", at_end=answer["heap_at_end_mib"], **memory)
    peaks_apart = [round(jobs[name]["peak_apart_mib"], 1) for name in seconds]
    heap_limit = f"{arguments.executor_memory_mib}m"
    report.add(
        "executor's peak memory", max(peaks_apart), "MiB", job_by_job=peaks_apart, heap_limit=heap_limit, **context
    )
    return {_DRIVER_PEAK: max(peaks), _DRIVER_HEAP: answer["heap_peak_mib"]}


def work(settings: Settings, arguments: Namespace) -> None:
    """Measure the parts of --only and show the table."""
    with reporting("features", ("pyspark", "delta-spark"), arguments.work) as (report, folder):
        if "next-day" in arguments.only:
            measure_next_day(report, settings, arguments, folder)
        if "examples" in arguments.only:
            measure_examples(report, arguments, folder)


def _parser() -> ArgumentParser:
    parser = command.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure (default: all)")
    parser.add_argument("--days-small", type=int, default=10)
    parser.add_argument("--days-large", type=int, default=100)
    parser.add_argument("--events-per-day", type=int, default=20_000, help="lines of the feeds of part next-day")
    parser.add_argument("--warmups", type=int, default=2, help="nights after the build that are not measured")
    parser.add_argument("--repeats", type=int, default=5, help="measured nights")
    parser.add_argument("--max-day-ratio", type=float, default=1.3, help="target of part next-day")
    parser.add_argument("--interactions", nargs="+", type=int, default=[1_000_000, 10_000_000], metavar="ROWS")
    parser.add_argument("--days", type=int, default=28, help="days over which --interactions are spread")
    parser.add_argument("--driver-memory", default="1g", metavar="SIZE", help="heap of the driver in part examples")
    parser.add_argument("--executor-memory-mib", type=int, default=4096, metavar="MIB", help="heap of its one executor")
    parser.add_argument("--max-driver-ratio", type=float, default=1.2, help="target of part examples")
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
