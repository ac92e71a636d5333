"""Tables: what is declared holds, a write replaces what it says, and of two writers none overwrites the other."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from delta.exceptions.captured import ConcurrentAppendException
from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import DateType, IntegerType, LongType, StringType, StructField, StructType

from conf.settings import Settings
from jobs.errors import JobError
from jobs.store import tables
from jobs.store.tables import Commit, ConcurrentWriteError, Table
from lake.errors import LakeError
from tests import arrow_frames

ReadRows = Callable[..., list[tuple[Any, ...]]]


def _day(day: int) -> date:
    return date(2024, 5, day)


def _table(count_type: Any = None) -> Table:
    return Table(
        name="visits",
        grain="one row per user_id and ds",
        schema=StructType(
            [
                StructField("user_id", StringType(), False, {"comment": "pseudonymous"}),
                StructField("count_visits", count_type or IntegerType(), True, {"comment": "of the day"}),
                StructField("ds", DateType(), False),
            ]
        ),
        primary_key=("user_id", "ds"),
        stats_columns=("count_visits",),
        partition_by=("ds",),
        checks={"count_is_positive": "count_visits > 0"},
        user_column="user_id",
    )


VISITS = _table()


def _visits(spark: SparkSession, *rows: tuple[str | None, int, int]) -> DataFrame:
    values = [(user, count, _day(day)) for user, count, day in rows]
    return arrow_frames.frame(spark, "user_id string, count_visits int, ds date", values)


def test_table_is_made_as_declared(spark: SparkSession, settings: Settings) -> None:
    assert tables.exists(settings, VISITS) is False
    tables.ensure(spark, settings, VISITS)
    assert tables.exists(settings, VISITS) is True
    detail = DeltaTable.forPath(spark, tables.location(settings, VISITS)).detail().collect()[0]
    assert (detail["description"], detail["partitionColumns"]) == ("one row per user_id and ds", ["ds"])
    assert detail["properties"] == {
        "marquee.primary_key": "user_id,ds",
        "delta.dataSkippingStatsColumns": "count_visits",
        "delta.logRetentionDuration": "interval 3650 days",
        "delta.constraints.count_is_positive": "count_visits > 0",
        "delta.enableDeletionVectors": "false",
    }
    schema = tables.read(spark, settings, VISITS).schema
    assert [(field.name, field.dataType.simpleString(), field.metadata.get("comment")) for field in schema] == [
        ("user_id", "string", "pseudonymous"),
        ("count_visits", "int", "of the day"),
        ("ds", "date", None),
    ]
    # What is there already is left alone.
    tables.ensure(spark, settings, VISITS)
    assert tables.version(settings, VISITS) == 0


@pytest.mark.parametrize("left", [None, ".00000000000000000000.json.1f.tmp"])
def test_log_that_a_killed_writer_left_without_a_commit_is_no_hindrance(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch, left: str | None
) -> None:
    monkeypatch.setattr(tables, "_FIRST_COMMIT_SECONDS", 0)
    log = Path(tables.location(settings, VISITS)) / "_delta_log"
    log.mkdir(parents=True)
    if left:
        (log / left).write_text("half a commit")
    tables.ensure(spark, settings, VISITS)
    assert tables.version(settings, VISITS) == 0


def test_folder_of_something_else_is_left_alone(spark: SparkSession, settings: Settings) -> None:
    theirs = Path(tables.location(settings, VISITS)) / "theirs.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(AnalysisException, match="is not a Delta table"):
        tables.ensure(spark, settings, VISITS)
    assert theirs.read_text() == "mine"


def test_table_that_declares_something_else_is_refused(spark: SparkSession, settings: Settings) -> None:
    tables.ensure(spark, settings, VISITS)
    with pytest.raises(JobError) as error:
        tables.ensure(spark, settings, _table(LongType()))
    assert str(error.value) == (
        f"{settings.lake.root}/visits: expected struct<user_id:string,count_visits:bigint,ds:date>, found "
        "struct<user_id:string,count_visits:int,ds:date>; move the table away or migrate it"
    )
    with pytest.raises(
        JobError, match=r"; remove this folder and run python -m jobs\.backfill, which builds the table"
    ):
        tables.ensure(spark, settings, replace(_table(LongType()), is_derived=True))


def test_write_replaces_exactly_what_it_names(spark: SparkSession, settings: Settings, read_rows: ReadRows) -> None:
    tables.ensure(spark, settings, VISITS)
    first = _visits(spark, ("a", 1, 1), ("b", 2, 1), ("a", 3, 2))
    assert tables.replace(first, settings, VISITS, "true") == Commit(1, 3)
    # Columns are taken by name, whatever their order, and others are left out.
    again = _visits(spark, ("a", 9, 1)).selectExpr("ds", "7 AS other", "count_visits", "user_id")
    assert tables.replace(again, settings, VISITS, "ds = DATE'2024-05-01'") == Commit(2, 1)
    after = [("a", 3, _day(2)), ("a", 9, _day(1))]
    assert read_rows(settings, VISITS) == after
    # No rows in place of no rows are no write.
    assert tables.replace(_visits(spark), settings, VISITS, "ds = DATE'2024-05-09'") == Commit(2, 0)

    outside = _visits(spark, ("a", 1, 2))
    with pytest.raises((PySparkException, Py4JJavaError), match="DELTA_REPLACE_WHERE_MISMATCH"):
        tables.replace(outside, settings, VISITS, "ds = DATE'2024-05-01'")
    for name, bad in {"count_is_positive": ("a", 0, 1), "user_id": (None, 1, 1)}.items():
        with pytest.raises((PySparkException, Py4JJavaError), match=name):
            tables.replace(_visits(spark, bad), settings, VISITS, "ds = DATE'2024-05-01'")
    assert read_rows(settings, VISITS) == after


def test_second_writer_with_the_same_expectation_is_told_and_changes_nothing(
    spark: SparkSession, settings: Settings, read_rows: ReadRows
) -> None:
    tables.ensure(spark, settings, VISITS)
    where = "ds = DATE'2024-05-01'"
    assert tables.replace(_visits(spark, ("a", 1, 1)), settings, VISITS, where, expected_version=0) == Commit(1, 1)
    with pytest.raises(ConcurrentWriteError, match="visits changed after version 0"):
        tables.replace(_visits(spark, ("b", 2, 1)), settings, VISITS, where, expected_version=0)
    assert read_rows(settings, VISITS) == [("a", 1, _day(1))]
    # It looks again, and lands.
    assert tables.replace(_visits(spark, ("b", 2, 1)), settings, VISITS, where, expected_version=1) == Commit(2, 1)
    assert read_rows(settings, VISITS) == [("b", 2, _day(1))]
    assert [tuple(row) for row in tables.read_version(spark, settings, VISITS, 1).collect()] == [("a", 1, _day(1))]


def test_work_that_loses_is_done_again_until_it_wins(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("lake.conflicts.time.sleep", waits.append)
    outcomes = iter([ConcurrentWriteError("lost"), ConcurrentAppendException("lost", "trace"), "done"])

    def work() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert tables.retry_conflicts(VISITS, work) == "done"
    # From 0.1 to 0.5 seconds, twice and four times.
    assert len(waits) == 2
    assert 0.2 <= waits[0] <= 1.0
    assert 0.4 <= waits[1] <= 2.0


def test_work_that_loses_every_time_ends_with_a_clear_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lake.conflicts.time.sleep", lambda seconds: None)
    monkeypatch.setattr(tables, "WRITE_ATTEMPTS", 3)
    attempts = []

    def work() -> None:
        attempts.append(1)
        raise ConcurrentWriteError("visits changed")

    with pytest.raises(LakeError, match="visits: another writer kept changing it through 3 attempts; run again later"):
        tables.retry_conflicts(VISITS, work)
    assert len(attempts) == 3


def test_other_errors_are_not_tried_again(settings: Settings) -> None:
    attempts = []

    def work() -> None:
        attempts.append(1)
        raise JobError("no")

    with pytest.raises(JobError, match=r"^no$"):
        tables.retry_conflicts(VISITS, work)
    assert len(attempts) == 1


def test_days_become_ranges() -> None:
    assert tables.is_one_of("ds", []) == "false"
    assert tables.is_one_of("ds", [_day(3)]) == "(ds >= DATE'2024-05-03' AND ds <= DATE'2024-05-03')"
    days = [_day(31), date(2024, 6, 1), _day(2), _day(4), _day(3), _day(2)]
    assert tables.is_one_of("feed_date", days) == (
        "(feed_date >= DATE'2024-05-02' AND feed_date <= DATE'2024-05-04')"
        " OR (feed_date >= DATE'2024-05-31' AND feed_date <= DATE'2024-06-01')"
    )
