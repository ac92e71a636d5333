"""Maintenance: small files are merged, old ones go, and what a registered model was trained on stays."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient
from pyspark.sql import SparkSession

from conf.settings import Settings, with_changes
from jobs import clean_events, clean_titles, feed_loads, maintain, table_log, tables
from jobs.model_inputs import TAG_PREFIX, pinned_versions

NAME = clean_titles.TABLE.name


@pytest.fixture
def catalogue(spark: SparkSession, settings: Settings, write_feed: Callable[..., Path]) -> Settings:
    """stg_titles with three catalogues, one after the other, in versions 1, 2 and 3; nothing kept without need."""
    settings = with_changes(settings, {"maintain.retention_hours": 0})
    for day, title in enumerate(("Heat", "Heat (director's cut)", "Heat (remastered)"), start=1):
        write_feed(settings, "titles/a.jsonl", f'{{"title_id":1,"title":"{title}"}}')
        clean_titles.run(spark, settings, date(2024, 5, day))
    return settings


def titles_of(spark: SparkSession, settings: Settings, version: int) -> list[str]:
    return [row["title"] for row in tables.read_version(spark, settings, clean_titles.TABLE, version).collect()]


def data_files(settings: Settings) -> int:
    return len(list(Path(tables.location(settings, clean_titles.TABLE)).glob("*.parquet")))


def test_files_of_old_versions_go(spark: SparkSession, catalogue: Settings) -> None:
    assert data_files(catalogue) == 3
    done = {entry.table: entry for entry in maintain.run(spark, catalogue, datetime.now(UTC))}
    assert (done[NAME].files_removed, done[NAME].retention_hours, done[NAME].pinned_version) == (2, 0, None)
    assert data_files(catalogue) == 1
    newest = tables.version(catalogue, clean_titles.TABLE)
    assert titles_of(spark, catalogue, newest) == ["Heat (remastered)"]


def test_version_of_a_registered_model_stays_readable(spark: SparkSession, catalogue: Settings) -> None:
    client = MlflowClient(tracking_uri=catalogue.mlflow.tracking_uri, registry_uri=catalogue.mlflow.tracking_uri)
    client.create_registered_model("marquee")
    for version in (3, 2):
        client.create_model_version("marquee", source="none", tags={f"{TAG_PREFIX}{NAME}": str(version)})
    assert pinned_versions(catalogue.mlflow.tracking_uri) == {NAME: 2}

    done = {entry.table: entry for entry in maintain.run(spark, catalogue, datetime.now(UTC))}

    assert done[NAME].pinned_version == 2
    assert titles_of(spark, catalogue, 2) == ["Heat (director's cut)"]


def test_small_files_are_merged_and_rows_stay(
    spark: SparkSession, settings: Settings, write_feed: Callable[..., Path]
) -> None:
    fields = {"user_id": "u1", "title_id": 1, "event_type": "like", "country": "FR"}
    for day in ("2024-05-01", "2024-05-02"):
        line = json.dumps({"event_id": day, "event_time": f"{day}T12:00:00Z", **fields})
        write_feed(settings, f"events/event_date={day}/a.jsonl", line)
        clean_events.run(spark, settings, [date.fromisoformat(day)])
    # Each run left one small file in the same partition.
    loads = feed_loads.TABLE.name
    [done] = [entry for entry in maintain.run(spark, settings, datetime.now(UTC)) if entry.table == loads]
    assert done.files_merged == 2
    assert len(table_log.load(tables.location(settings, feed_loads.TABLE)).file_uris()) == 1
    rows = tables.read(spark, settings, feed_loads.TABLE).select("ds", "count_loaded").collect()
    assert sorted(tuple(row) for row in rows) == [(date(2024, 5, 1), 1), (date(2024, 5, 2), 1)]


def test_retention_reaches_back_to_the_pinned_version() -> None:
    now = datetime(2024, 5, 10, 12, tzinfo=UTC)
    assert maintain.retention_hours(168, None, now) == 168
    # 10 days and half an hour: 240.5 hours, rounded up, and one more.
    assert maintain.retention_hours(168, datetime(2024, 4, 30, 11, 30, tzinfo=UTC), now) == 242
    assert maintain.retention_hours(168, datetime(2024, 5, 10, 11, tzinfo=UTC), now) == 168


def test_nothing_is_pinned_before_the_first_tracked_run(tmp_path: Path) -> None:
    assert pinned_versions(f"sqlite:///{tmp_path}/none.db") == {}
    assert list(tmp_path.iterdir()) == []
