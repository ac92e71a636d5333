"""Maintenance: small files are merged, old ones go, and what a registered model or a kept bundle names stays."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from pyspark.sql import SparkSession

from conf.settings import Settings, with_changes
from indexing.bundle import bundle_files
from indexing.errors import BundleError
from jobs import maintain, stg_titles
from jobs.staging import feed_loads
from jobs.store import tables
from jobs.store.pinned_by_models import TAG_PREFIX, pinned_versions
from lake import delta_log
from models.gating import gate_results

NAME = stg_titles.TABLE.name


@pytest.fixture
def catalogue(settings: Settings, stage_titles: Callable[..., None]) -> Settings:
    """stg_titles with three catalogues, in versions 0, 1 and 2 one after the other; nothing is kept without need."""
    for day, title in enumerate(("Heat", "Heat (director's cut)", "Heat (remastered)"), start=1):
        stage_titles(date(2024, 5, day), {"title_id": 1, "title": title})
    return with_changes(settings, {"maintain.retention_hours": 0})


@pytest.fixture
def titles_of(catalogue: Settings, read_rows: Callable[..., list[tuple[Any, ...]]]) -> Callable[[int], list[str]]:
    """The titles in a version of the catalogue, as far as its files are there."""
    return lambda version: [title for (title,) in read_rows(catalogue, stg_titles.TABLE, "title", version=version)]


def data_files(settings: Settings) -> int:
    return len(list(Path(tables.location(settings, stg_titles.TABLE)).glob("*.parquet")))


def test_files_of_old_versions_go(
    spark: SparkSession, catalogue: Settings, titles_of: Callable[[int], list[str]]
) -> None:
    assert data_files(catalogue) == 3
    done = {entry.table: entry for entry in maintain.run(spark, catalogue, datetime.now(UTC))}
    assert (done[NAME].files_removed, done[NAME].retention_hours, done[NAME].pinned_version) == (2, 0, None)
    assert data_files(catalogue) == 1
    assert titles_of(tables.version(catalogue, stg_titles.TABLE)) == ["Heat (remastered)"]


def test_version_of_a_registered_model_stays_readable(
    spark: SparkSession, catalogue: Settings, titles_of: Callable[[int], list[str]]
) -> None:
    client = MlflowClient(tracking_uri=catalogue.mlflow.tracking_uri, registry_uri=catalogue.mlflow.tracking_uri)
    client.create_registered_model("marquee")
    for version in (2, 1):
        client.create_model_version("marquee", source="none", tags={f"{TAG_PREFIX}{NAME}": str(version)})
    assert pinned_versions(catalogue.mlflow.tracking_uri) == {NAME: 1}

    done = {entry.table: entry for entry in maintain.run(spark, catalogue, datetime.now(UTC))}

    assert done[NAME].pinned_version == 1
    assert titles_of(1) == ["Heat (director's cut)"]


def put_manifest(settings: Settings, version: str, built_from: object, trained_on: object) -> None:
    folder = Path(settings.bundles.root) / version
    folder.mkdir(parents=True)
    said = {"delta_versions": built_from, "model": {"delta_versions": trained_on}}
    (folder / bundle_files.MANIFEST).write_text(json.dumps(said))


def test_versions_that_kept_bundles_name_stay_readable(
    spark: SparkSession,
    catalogue: Settings,
    titles_of: Callable[[int], list[str]],
    write_table: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_table(catalogue, feed_loads.TABLE)
    put_manifest(catalogue, "20240503T000000Z-m2", {NAME: 2, "feed_loads": 99}, {})
    put_manifest(catalogue, "20240502T000000Z-m1", {NAME: 1}, {})
    done = {entry.table: entry for entry in maintain.run(spark, catalogue, datetime.now(UTC))}
    assert done[NAME].pinned_version == 1
    assert titles_of(1) == ["Heat (director's cut)"]
    # A version that this lake never had keeps nothing, and stops nothing.
    assert done["feed_loads"].retention_hours == 0
    assert "feed_loads has no version 99: the model or bundle that pins it belongs to another lake" in caplog.text


def test_oldest_of_what_models_and_bundles_name_counts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintain, "pinned_versions", lambda _: {NAME: 4, "training_examples": 9})
    assert maintain.oldest_pinned_versions(settings) == {NAME: 4, "training_examples": 9}
    put_manifest(settings, "20240503T000000Z-m2", {NAME: 3, "stg_offers": 5}, {"training_examples": 8})
    put_manifest(settings, "20240504T000000Z-m3", {NAME: 6, "stg_offers": 6}, {"training_examples": 10})
    assert maintain.oldest_pinned_versions(settings) == {NAME: 3, "stg_offers": 5, "training_examples": 8}
    shutil.rmtree(Path(settings.bundles.root) / "20240503T000000Z-m2")  # gone with the bundle
    assert maintain.oldest_pinned_versions(settings) == {NAME: 4, "stg_offers": 6, "training_examples": 9}


def test_manifest_that_does_not_say_stops_maintenance(settings: Settings) -> None:
    put_manifest(settings, "20240503T000000Z-m2", None, {})
    with pytest.raises(BundleError, match=r"m2/manifest\.json: expected the Delta versions that it was built from"):
        maintain.oldest_pinned_versions(settings)


def test_tables_of_the_gate_are_merged_too(spark: SparkSession, settings: Settings) -> None:
    settings = with_changes(settings, {"maintain.retention_hours": 0})
    for day in (13, 14):
        verdict = gate_results.decide(date(2024, 5, day), "marquee@2", "marquee@1", [])
        gate_results.write(settings.lake.root, verdict)
    [done] = maintain.run(spark, settings, datetime.now(UTC))
    assert (done.table, done.files_merged, done.files_removed) == ("gate_results", 2, 2)
    # What wrote it without Spark reads and writes it as before.
    gate_results.write(settings.lake.root, gate_results.decide(date(2024, 5, 15), "marquee@3", "marquee@1", []))
    newest = gate_results.newest(settings.lake.root, "marquee@2")
    assert newest is not None
    assert newest.ds == date(2024, 5, 14)
    assert [verdict.model for verdict in gate_results.read(settings.lake.root, date(2024, 5, 15))] == ["marquee@3"]


def test_small_files_are_merged_and_rows_stay(
    spark: SparkSession, settings: Settings, read_rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    # Each load leaves one small file in the same partition.
    for day in (date(2024, 5, 1), date(2024, 5, 2)):
        feed_loads.replace(spark, settings, "events", [day], [("events", day, 1, 9, "f", 1, 1, 0, 0, 0, [])])
    [done] = maintain.run(spark, settings, datetime.now(UTC))
    assert (done.table, done.files_merged) == (feed_loads.TABLE.name, 2)
    assert len(delta_log.load(tables.location(settings, feed_loads.TABLE)).file_uris()) == 1
    assert read_rows(settings, feed_loads.TABLE, "ds", "count_loaded") == [(date(2024, 5, 1), 1), (date(2024, 5, 2), 1)]


def test_retention_reaches_back_to_the_pinned_version() -> None:
    now = datetime(2024, 5, 10, 12, tzinfo=UTC)
    assert maintain.retention_hours(168, None, now) == 168
    # 10 days and half an hour: 240.5 hours, rounded up, and one more.
    assert maintain.retention_hours(168, datetime(2024, 4, 30, 11, 30, tzinfo=UTC), now) == 242
    assert maintain.retention_hours(168, datetime(2024, 5, 10, 11, tzinfo=UTC), now) == 168


def test_nothing_is_pinned_before_the_first_tracked_run(tmp_path: Path) -> None:
    assert pinned_versions(f"sqlite:///{tmp_path}/none.db") == {}
    assert list(tmp_path.iterdir()) == []
