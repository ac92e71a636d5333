"""What a person is told of the lake."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from jobs import catalog, clean_events, describe


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
    clean_events.run(spark, settings, [date(2024, 5, 1), date(2024, 5, 3)])

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


def test_empty_lake_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main(["--set", f"lake.root={tmp_path}"]) == 1
    assert "run python -m jobs.backfill first" in capsys.readouterr().err
