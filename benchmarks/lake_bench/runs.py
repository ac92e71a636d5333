"""Measured runs of `benchmarks.lake`, each in its own process, which prints one JSON line.

`python -m benchmarks.lake_bench.runs JSON`: JSON holds the fields of one of the jobs below. Modules are imported in the
jobs that need them, so that they don't count as the memory of another engine.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.harness.meter import Meter
from benchmarks.harness.nights import LAKES, by_turns
from benchmarks.harness.processes import answer_job


@dataclass(frozen=True)
class SparkStaging:
    """Stage all days of a feed at once into a new lake."""

    conf: str
    overrides: Sequence[str]
    feeds: str
    out: str
    days: Sequence[str]

    def run(self) -> dict[str, Any]:
        from conf.loader import load_settings
        from conf.settings import with_changes
        from jobs import stg_events
        from jobs.store.session import spark_session

        settings = with_changes(
            load_settings(self.conf, self.overrides), {"lake.root": self.out, "feeds.root": self.feeds}
        )
        days = [date.fromisoformat(day) for day in self.days]
        before = perf_counter()
        with spark_session(settings, "benchmark staging") as spark:
            session_start_s = perf_counter() - before
            with Meter() as cost:
                stg_events.run(spark, settings, days)
            context = {
                "master": spark.sparkContext.master,
                "driver_memory": spark.conf.get("spark.driver.memory", "default"),
            }
        return {**cost.answer(), "session_start_s": session_start_s, **context}


@dataclass(frozen=True)
class OtherStaging:
    """Stage all days of a feed with another engine, into Parquet files."""

    engine: str
    files: Sequence[str]
    out: str
    rules: Mapping[str, Any]

    def run(self) -> dict[str, Any]:
        from benchmarks.lake_bench.other_engines import ENGINES, Rules

        with Meter() as cost:
            ENGINES[self.engine]([Path(file) for file in self.files], Path(self.out), Rules(**self.rules))
        return cost.answer()


@dataclass(frozen=True)
class NextDays:
    """Build a small and a large lake night by night, then time the following nights in both, in one warm session.

    Both lakes end with the same day, so the timed nights stage the same files. The lakes take turns to go first.
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
        from conf.loader import load_settings
        from conf.settings import with_changes
        from jobs import stg_events
        from jobs.store.session import spark_session

        loaded = load_settings(self.conf, self.overrides)
        lakes = {
            name: with_changes(loaded, {"lake.root": f"{self.out}/{name}", "feeds.root": self.feeds}) for name in LAKES
        }
        costs: dict[str, list[dict[str, float]]] = {name: [] for name in lakes}
        with spark_session(loaded, "benchmark next day") as spark:

            def night(lake: str, number: int) -> dict[str, float]:
                day = date.fromisoformat(self.first_day) + timedelta(days=number)
                with Meter() as cost:
                    stg_events.run(spark, lakes[lake], [day])
                return cost.answer()

            with Meter() as building:
                for number in range(self.days_large):
                    night("large", number)
                    if number >= self.days_large - self.days_small:
                        night("small", number)
            for number in range(self.warmups + self.repeats):
                for lake in by_turns(number):
                    costs[lake].append(night(lake, self.days_large + number))
        return {"build": building.answer(), **{lake: nights[self.warmups :] for lake, nights in costs.items()}}


if __name__ == "__main__":
    sys.exit(answer_job((SparkStaging, OtherStaging, NextDays), sys.argv[1:]))
