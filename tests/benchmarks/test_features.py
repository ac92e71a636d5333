"""Both parts run whole at a tiny size; what is made of answers is checked on answers written by hand.

Part `next-day` stages events and builds interactions. Its other tables have no rows here: their jobs only enter their
days as built, since a run of all twelve jobs in two lakes takes minutes and other tests run each of them.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from datetime import date
from io import StringIO
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from benchmarks import features
from benchmarks.features_bench import generated_events, runs
from benchmarks.features_bench.runs import BuildExamples, MakeEvents, heap_after_collections
from benchmarks.harness.nights import add_nights
from benchmarks.harness.processes import run_apart
from benchmarks.harness.report import Report
from conf.settings import Settings
from jobs import interactions
from jobs.store import built_days, catalog
from jobs.store.built_days import Built
from jobs.store.catalog import AsOfJob, DailyJob, DerivedJob
from tests.fixtures.literal_tables import WriteTable

# A few rows are not worth compiling for.
_JAVA = "-Duser.timezone=UTC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
_SMALL = [
    *("--set", "spark.conf.spark.sql.shuffle.partitions=2"),
    *("--set", "spark.conf.spark.sql.codegen.wholeStage=false"),
    *("--set", "spark.conf.spark.sql.codegen.factoryMode=NO_CODEGEN"),
    *("--set", f"spark.conf.spark.driver.extraJavaOptions={_JAVA}"),
    *("--set", f"spark.conf.spark.executor.extraJavaOptions={_JAVA}"),
    *("--set", "simulate.users=100", "--set", "simulate.titles=60"),
    *("--days-small", "2", "--days-large", "3", "--events-per-day", "300", "--warmups", "0", "--repeats", "1"),
    *("--interactions", "300", "--days", "2", "--executor-memory-mib", "1024"),
]
DERIVED = [job.table.name for job in catalog.DERIVED_JOBS]
EXAMPLES = ["interactions", "title_stats", "user_histories", "training_examples"]
Figures = list[dict[str, Any]]


def figures_of(printed: str) -> Figures:
    return [json.loads(line) for line in printed.splitlines()]


def figure(figures: Figures, name: str, **context: Any) -> dict[str, Any]:
    """The one figure of this name and context."""
    found = [entry for entry in figures if entry["figure"] == name and context.items() <= entry.items()]
    assert len(found) == 1, (name, context, found)
    return found[0]


def without_rows(job: DerivedJob | AsOfJob, write_table: WriteTable) -> DerivedJob | AsOfJob:
    """The job, planned as ever, with a run that only enters its days as built, into a table without rows."""
    module = sys.modules[job.run.__module__]

    def enter(spark: SparkSession, settings: Settings, days: date | Sequence[date]) -> None:
        write_table(settings, job.table)
        inputs = module.inputs(settings) if isinstance(job, DerivedJob) else {}
        built = {ds: Built(0, 0, inputs.get(ds, "")) for ds in ([days] if isinstance(days, date) else days)}
        built_days.enter(spark, settings, job.table, built)

    return replace(job, run=enter)


@pytest.fixture(scope="module")
def measured(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, write_table: WriteTable
) -> tuple[Figures, dict[str, int]]:
    """The figures of one whole command, and how many rows the lake of part `examples` held, read without Spark.

    Part `examples` takes a process with executors of its own; the rest runs here, on the tests' Spark.
    """
    held: dict[str, int] = {}

    def run_and_count(job: Any, limit_s: float) -> dict[str, Any]:
        if not isinstance(job, BuildExamples):
            return job.run()
        answer = run_apart(job, limit_s)
        for table in ("stg_events", "interactions", "training_examples"):
            held[table] = DeltaTable(f"{job.out}/lake/{table}").to_pyarrow_table().num_rows
        return answer

    work, printed = tmp_path_factory.mktemp("features"), StringIO()
    staging = [job for job in catalog.STAGING_JOBS if isinstance(job, DailyJob)]
    derived = [
        job if job.table is interactions.TABLE else without_rows(job, write_table) for job in catalog.DERIVED_JOBS
    ]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(catalog, "STAGING_JOBS", staging)
        patch.setattr(catalog, "DERIVED_JOBS", derived)
        patch.setattr(features, "run_apart", run_and_count)
        patch.setattr(runs, "spark_session", lambda *_: nullcontext(spark))
        assert features.main([*_SMALL, "--work", str(work)]) == 0
    assert [path.name for path in work.iterdir()] == ["feeds-nights"]  # no lake stays
    return figures_of(printed.getvalue()), held


@pytest.mark.parametrize("name", DERIVED)
def test_every_derived_job_is_timed_in_both_lakes(measured: tuple[Figures, dict[str, int]], name: str) -> None:
    figures, _ = measured
    small, large = (
        figure(figures, f"one more night of {name}, median time", lake_days=days)["night_by_night"] for days in (2, 3)
    )
    assert len(small) == len(large) == 1
    ratio = figure(figures, f"one more night of {name}, time, large lake over small")["value"]
    assert ratio == pytest.approx(median(large) / median(small), abs=1e-4)


def test_a_night_is_the_sum_of_its_jobs(measured: tuple[Figures, dict[str, int]]) -> None:
    figures, _ = measured
    nights = {}
    for days in (2, 3):
        jobs = [figure(figures, f"one more night of {name}, median time", lake_days=days)["value"] for name in DERIVED]
        nights[days] = figure(figures, "one more night of all, median time", lake_days=days)["value"]
        assert nights[days] == pytest.approx(sum(jobs), abs=0.01)
    ratio = figure(figures, "one more night of all, time, large lake over small")
    assert ratio["value"] == pytest.approx(nights[3] / nights[2], abs=1e-4)
    assert ratio["target_at_most"] == 1.3
    assert ratio["verdict"] == ("met" if ratio["value"] <= 1.3 else "missed")


def test_nights_follow_the_history_and_checkpoint_days_are_named(measured: tuple[Figures, dict[str, int]]) -> None:
    figures, _ = measured
    # Three days from 1 May, and then one night. The checkpoint day nearest to it is 9 May.
    assert figure(figures, "timed nights")["days"] == ["2024-05-04"]
    assert figure(figures, "timed nights that are checkpoint days")["days"] == []


def test_both_lakes_take_in_the_same_night(measured: tuple[Figures, dict[str, int]]) -> None:
    figures, _ = measured
    small, large = (
        figure(figures, "rows of interactions for the last night", lake_days=days)["value"] for days in (2, 3)
    )
    assert small > 0
    # A copy of an event whose first is from the day that the small lake lacks.
    assert small - large in (0, 1)


def test_counts_are_those_of_the_tables(measured: tuple[Figures, dict[str, int]]) -> None:
    figures, held = measured
    assert figure(figures, "events")["value"] == held["stg_events"] == 330
    assert figure(figures, "interactions")["value"] == held["interactions"]
    assert figure(figures, "examples")["value"] == held["training_examples"]
    # 270 of the events weigh something in the mean; some meet on one user, title and day.
    assert 200 < held["interactions"] <= 330
    assert 0 < held["training_examples"] < held["interactions"]


def test_throughput_is_examples_over_seconds(measured: tuple[Figures, dict[str, int]]) -> None:
    figures, held = measured
    seconds = {name: figure(figures, f"time of {name}")["value"] for name in EXAMPLES}
    alone = figure(figures, "examples a second, training_examples alone")["value"]
    assert alone == pytest.approx(held["training_examples"] / seconds["training_examples"], abs=1e-3)
    together = figure(figures, "examples a second, all four jobs")["value"]
    assert together == pytest.approx(held["training_examples"] / sum(seconds.values()), abs=1e-3)


def test_driver_and_executor_are_counted_apart(measured: tuple[Figures, dict[str, int]]) -> None:
    figures, _ = measured
    assert figure(figures, "time of interactions")["master"].startswith("local-cluster[1,")
    driver = figure(figures, "driver's peak memory")["value"]
    executor = figure(figures, "executor's peak memory")["value"]
    # Both are JVMs with Spark in them; the driver's has at most 1024 MiB of heap.
    assert driver > 200
    assert executor > 200
    assert 0 < figure(figures, "driver's heap left by a collection, peak")["value"] <= 1024


def test_the_driver_of_most_interactions_is_compared_with_that_of_fewest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers = {10: ([600.0, 500.0, 550.0, 400.0], 100), 1000: ([600.0, 750.0, 640.0, 700.0], 150)}
    wanted = 0

    def answer(job: MakeEvents | BuildExamples, _: float) -> dict[str, Any]:
        nonlocal wanted
        if isinstance(job, MakeEvents):
            wanted = job.interactions
            return {"events": 11 * wanted // 10}
        peaks, heap = answers[wanted]
        cost = {"seconds": 2.0, "processor_s": 1.0, "load": 0.5, "peak_apart_mib": 900.0, "rows": wanted}
        jobs = {name: {**cost, "peak_mib": peak} for name, peak in zip(EXAMPLES, peaks, strict=True)}
        return {"master": "m", "runs": 1, "jobs": jobs, "heap_peak_mib": heap, "heap_at_end_mib": 90}

    monkeypatch.setattr(features, "run_apart", answer)
    options = Namespace(conf="", overrides=[], interactions=[1000, 10], days=28, driver_memory="1g", limit=1.0)
    options.executor_memory_mib, options.max_driver_ratio = 4096, 1.2
    features.measure_examples(Report("features"), options, tmp_path)

    figures = figures_of(capsys.readouterr().out)
    # 750 over 600 MiB, and 150 over 100.
    ratio = figure(figures, "driver's peak memory, most interactions over fewest")
    assert (ratio["value"], ratio["mib"], ratio["verdict"]) == (1.25, [600.0, 750.0], "missed")
    ratio = figure(figures, "driver's heap left by a collection, peak, most interactions over fewest")
    assert (ratio["value"], ratio["mib"]) == (1.5, [100, 150])
    # 1000 examples in one job of 2 s, and in four.
    assert figure(figures, "examples a second, training_examples alone", wanted=1000)["value"] == 500
    assert figure(figures, "examples a second, all four jobs", wanted=1000)["value"] == 125


def test_a_ratio_is_that_of_the_medians(capsys: pytest.CaptureFixture[str]) -> None:
    costs = {"small": [4.0, 1.0, 2.0], "large": [4.0, 3.0, 5.0]}
    add_nights(Report("b"), "a night", "time", costs, {"small": 10, "large": 100}, 1.3)

    figures = figures_of(capsys.readouterr().out)
    assert figure(figures, "a night, median time", lake_days=10)["value"] == 2
    assert figure(figures, "a night, median time", lake_days=100)["value"] == 4
    ratio = figure(figures, "a night, time, large lake over small")
    assert (ratio["value"], ratio["night_by_night"], ratio["verdict"]) == (2.0, [1.0, 3.0, 2.5], "missed")
    assert ratio["median_of_those"] == 2.5


def test_generated_events_are_what_is_said_of_them(spark: SparkSession) -> None:
    events = generated_events.generate(spark, 20_000, date(2024, 5, 1), 10).toPandas()

    assert len(events) == 22_000
    assert events["event_id"].nunique() == 22_000
    assert events["user_id"].nunique() == 1000
    per_title = events["title_id"].value_counts()
    assert sorted(per_title.nlargest(2).index) == [1, 2]
    # log(2) / log(20001) of all events.
    assert per_title.idxmax() == 1
    assert per_title[1] == pytest.approx(22_000 * 0.07, rel=0.1)
    assert (events["event_type"] == "impression").sum() == pytest.approx(2000, rel=0.1)
    for column in ("ds", "feed_date"):
        assert (events[column].min(), events[column].max()) == (date(2024, 5, 1), date(2024, 5, 10))
    delays = (events["feed_date"] - events["ds"]).map(attrgetter("days")).value_counts()
    assert sorted(delays.index) == [0, 1, 2, 3]
    assert delays[1] + delays[2] + delays[3] == pytest.approx(22_000 * 0.02, rel=0.3)


def test_what_collections_leave_is_read_from_the_log() -> None:
    log = """[0.012s][info][gc] Using G1
[1.871s][info][gc] GC(4) Pause Young (Concurrent Start) (Metadata GC Threshold) 87M->21M(252M) 8.114ms
[1.871s][info][gc] GC(5) Concurrent Mark Cycle
[1.902s][info][gc] GC(5) Pause Remark 25M->24M(252M) 9.003ms
[9.100s][info][gc] GC(6) Pause Full (System.gc()) 600M->150M(1024M) 30.114ms
"""
    assert heap_after_collections(log) == [21, 24, 150]
