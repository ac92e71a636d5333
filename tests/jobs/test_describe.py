"""The description of the lake that `jobs.describe` prints."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from jobs import describe, stg_events
from jobs.serving import recommendations
from jobs.store import catalog, tables
from models.evaluation import evaluations_table
from models.gating import gate_results
from models.gating.gate_rules import Check
from tests import arrow_frames


def test_lake_is_described_by_table(
    spark: SparkSession,
    settings: Settings,
    write_feed: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fields = {"user_id": "u1", "title_id": 1, "event_type": "like", "country": "FR"}
    for day, count in ((1, 2), (3, 1)):
        times = [f"2024-05-0{day}T12:00:0{n}Z" for n in range(count)]
        lines = [json.dumps({"event_id": time, "event_time": time, **fields}) for time in times]
        write_feed(settings, f"events/event_date=2024-05-0{day}/a.jsonl", *lines)
    stg_events.run(spark, settings, [date(2024, 5, 1), date(2024, 5, 3)])

    descriptions = describe.describe(settings, catalog.TABLES)
    events = descriptions[0]
    assert (events.name, events.grain, events.rows) == ("stg_events", "one row per event_id", 3)
    assert (events.count_days, events.first_day, events.last_day) == (2, "2024-05-01", "2024-05-03")
    assert events.version == 1
    assert events.size_bytes == sum(
        file.stat().st_size for file in Path(settings.lake.root).glob("stg_*/*/*/*.parquet")
    )
    assert [entry.name for entry in descriptions] == ["stg_events", "rejected_rows", "feed_loads"]

    arguments = ["--set", f"lake.root={settings.lake.root}"]
    assert describe.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "2024-05-03" in shown
    assert "feed and feed day that was staged" in shown


def test_tables_of_the_gate_and_lists_are_described(settings: Settings, spark: SparkSession) -> None:
    assert {table.name: table.grain for table in catalog.NIGHT_TABLES} == {
        "evaluations": "one row per night, model, model it is compared with, segment, metric and list length",
        "gate_results": "one row per night, model and check, and one for the verdict",
    }
    assert list(catalog.NIGHT_TABLES) == [evaluations_table.TABLE, gate_results.TABLE]
    check = Check(
        "segment", "popularity", "tail", "recall", 20, 0.1, 0.2, -0.1, -0.2, 0.0, 500, -0.05, False, True, "no"
    )
    for day, checks in ((13, [check]), (14, [check, replace(check, segment="head")])):
        verdict = gate_results.decide(date(2024, 5, day), "marquee@2", "marquee@1", checks)
        gate_results.write(settings.lake.root, verdict)
    tables.ensure(spark, settings, recommendations.TABLE)
    lists = [("u1", rank, rank, 0.5, False, 0.0, "b", date(2024, 5, 14)) for rank in (1, 2, 3)]
    rows = arrow_frames.frame(spark, recommendations.TABLE.schema, lists)
    tables.replace(rows, settings, recommendations.TABLE, "true")

    described = {entry.name: entry for entry in describe.describe(settings, (*catalog.TABLES, *catalog.NIGHT_TABLES))}
    assert {name: entry.rows for name, entry in described.items()} == {
        "recommendations": 3,
        "gate_results": 5,  # a check and the verdict, two checks and the verdict
    }
    gate = described["gate_results"]
    assert (gate.count_days, gate.first_day, gate.last_day) == (2, "2024-05-13", "2024-05-14")


def test_empty_lake_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main(["--set", f"lake.root={tmp_path}"]) == 1
    assert "run python -m jobs.backfill first" in capsys.readouterr().err
