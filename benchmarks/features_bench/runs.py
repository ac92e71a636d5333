"""Measured runs of `benchmarks.features`, each in its own process."""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyspark
from pyspark.sql import SparkSession

from benchmarks.features_bench import generated_events
from benchmarks.harness.meter import Meter
from benchmarks.harness.nights import LAKES, by_turns
from benchmarks.harness.processes import answer_job
from conf.loader import load_settings
from conf.settings import Settings, with_changes
from jobs import backfill, interactions, title_stats, training_examples, user_histories
from jobs.staging import feed_loads
from jobs.store import built_days, catalog, change_rows, tables
from jobs.store.session import spark_session
from jobs.store.tables import Table

EXAMPLE_TABLES = (interactions.TABLE, title_stats.TABLE, user_histories.TABLE, training_examples.TABLE)
_STAGING = tuple(job.table.name for job in catalog.STAGING_JOBS)
# Parts of the command lines of executors, and of the worker that starts them.
_EXECUTORS = ("CoarseGrainedExecutorBackend", "deploy.worker")


@dataclass(frozen=True)
class NextNights:
    """Build a small and a large lake by backfill, then time the derived jobs of the following nights in both.

    Both lakes end with the same day and have the same feeds, so each night brings both the same files. The lakes take
    turns to go first; the session is warm.
    """

    conf: str
    overrides: Sequence[str]
    feeds: str
    out: str
    first_day: str
    days_small: int
    days_large: int
    warmups: int
    repeats: int

    def run(self) -> dict[str, Any]:
        loaded = load_settings(self.conf, self.overrides)
        feeds = {"feeds.root": self.feeds, "feeds.posters_dir": f"{self.feeds}/posters"}
        lakes = {name: with_changes(loaded, {**feeds, "lake.root": f"{self.out}/{name}"}) for name in LAKES}
        first_night = date.fromisoformat(self.first_day) + timedelta(days=self.days_large)
        nights: dict[str, list[dict[str, Any]]] = {name: [] for name in LAKES}
        with spark_session(loaded, "benchmark next night") as spark:
            with Meter() as building:
                for name, days in (("small", self.days_small), ("large", self.days_large)):
                    past = [first_night - timedelta(days=number) for number in range(days, 0, -1)]
                    backfill.run(spark, lakes[name], past)
            for number in range(self.warmups + self.repeats):
                for name in by_turns(number):
                    nights[name].append(_night(spark, lakes[name], first_night + timedelta(days=number)))
        timed = [first_night + timedelta(days=self.warmups + number) for number in range(self.repeats)]
        checkpoint_days = change_rows.CHECKPOINT_DAYS
        return {
            "build": building.answer(),
            "nights": [night.isoformat() for night in timed],
            "checkpoints": [night.isoformat() for night in change_rows.checkpoints(timed, checkpoint_days)],
            **{name: costs[self.warmups :] for name, costs in nights.items()},
        }


def _night(spark: SparkSession, settings: Settings, day: date) -> dict[str, Any]:
    """Cost of each derived job for `day`, and its rows for that day; staging the day first is not counted."""
    backfill.run(spark, settings, [day], only=_STAGING)
    jobs = {}
    for job in catalog.DERIVED_JOBS:
        with Meter() as cost:
            backfill.run(spark, settings, [day], only=[job.table.name])
        jobs[job.table.name] = {**cost.answer(), "rows": built_days.read(settings, job.table)[day].count_rows}
    return jobs


@dataclass(frozen=True)
class MakeEvents:
    """Make a lake with events for about `interactions` interactions; nothing of it is measured."""

    conf: str
    overrides: Sequence[str]
    out: str
    interactions: int
    days: int

    def run(self) -> dict[str, Any]:
        settings = _examples_settings(load_settings(self.conf, self.overrides), self.out)
        first = settings.simulate.first_day
        with spark_session(settings, "benchmark events") as spark:
            return {"events": generated_events.load(spark, settings, self.interactions, first, self.days)}


@dataclass(frozen=True)
class BuildExamples:
    """Build the examples of all days and the tables they are made from, with executors in their own processes.

    Spark's local cluster runs its master and worker in the driver, which adds a constant to the driver's memory. The
    worker's folder lies in Spark's own folder, wherever the lake is.
    """

    conf: str
    overrides: Sequence[str]
    out: str
    days: int
    driver_memory: str
    executor_memory_mib: int

    def run(self) -> dict[str, Any]:
        loaded = _examples_settings(load_settings(self.conf, self.overrides), self.out)
        master = f"local-cluster[1,{len(os.sched_getaffinity(0))},{self.executor_memory_mib}]"
        collections = Path(self.out) / "driver-collections.log"
        conf = {
            "spark.driver.memory": self.driver_memory,
            # extraJavaOptions are already set by conf/spark-defaults.conf.
            "spark.driver.defaultJavaOptions": f'"-Xlog:gc:file={collections}"',
            "spark.executor.memory": f"{self.executor_memory_mib}m",
            "spark.local.dir": f"{self.out}/scratch",
        }
        settings = with_changes(loaded, {"spark.master": master, "spark.conf": {**loaded.spark.conf, **conf}})
        days = [settings.simulate.first_day + timedelta(days=number) for number in range(self.days)]
        size_bytes, limits = feed_loads.size_bytes(settings, "events"), settings.backfill
        runs = len(backfill.chunks(days, size_bytes, limits.max_chunk_bytes, limits.max_chunk_days))
        with spark_session(settings, "benchmark examples") as spark:
            jobs = {table.name: _build(spark, settings, table, days) for table in EXAMPLE_TABLES}
            application = spark.sparkContext.applicationId
            jvm: Any = spark._jvm
            jvm.System.gc()
        _remove_worker_folder(application)
        used = heap_after_collections(collections.read_text())
        heap = {"heap_peak_mib": max(used), "heap_at_end_mib": used[-1]}
        return {"master": master, "runs": runs, "jobs": jobs, **heap}


def _examples_settings(settings: Settings, out: str) -> Settings:
    return with_changes(settings, {"lake.root": f"{out}/lake"})


def _build(spark: SparkSession, settings: Settings, table: Table, days: Sequence[date]) -> dict[str, Any]:
    with Meter(apart=_EXECUTORS) as cost:
        backfill.run(spark, settings, days, only=[table.name])
    return {**cost.answer(), "rows": tables.read(spark, settings, table).count()}


def heap_after_collections(log: str) -> list[int]:
    """MiB in use after each garbage collection of a JVM: `Pause Young (Normal) ... 600M->150M(1024M) 9.1ms`."""
    return [int(after) for after in re.findall(r"Pause .*\d+M->(\d+)M\(", log)]


def _remove_worker_folder(application: str) -> None:
    """Remove the executors' output; after a failure it stays, for debugging."""
    folder = Path(os.environ.get("SPARK_HOME", Path(pyspark.__file__).parent)) / "work"
    shutil.rmtree(folder / application, ignore_errors=True)
    with suppress(OSError):  # not empty: other runs use it
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(answer_job((NextNights, MakeEvents, BuildExamples), sys.argv[1:]))
