"""How things stood is read from the newest row since the last checkpoint day."""

from datetime import date, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.store import change_rows
from tests import arrow_frames

# Checkpoint days count from 1970-01-01; with 28 of them, 2024-04-11 and 2024-05-09 are two that follow each other.
CHECKPOINT, NEXT_CHECKPOINT = date(2024, 4, 11), date(2024, 5, 9)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """`a` changed twice and stands on both checkpoint days; `b` came in between."""
    found = [
        ("a", CHECKPOINT, 1),
        ("a", date(2024, 4, 20), 2),
        ("b", date(2024, 5, 1), 7),
        ("a", NEXT_CHECKPOINT, 2),
        ("b", NEXT_CHECKPOINT, 7),
        ("a", date(2024, 5, 20), 3),
    ]
    return arrow_frames.frame(spark, "key string, ds date, value int", found)


def test_days_built_when_the_checkpoint_was_a_setting_keep_their_hash() -> None:
    # The JSON of the section `change_rows` of the settings, as it was hashed then.
    assert change_rows.hashed_constants() == '{"checkpoint_days":28}'


def collect(frame: DataFrame) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in frame.collect()}


def test_checkpoint_days_are_as_far_apart_as_said() -> None:
    days = [date(2024, 4, 1) + timedelta(days=n) for n in range(60)]
    assert change_rows.checkpoints(days, 28) == [CHECKPOINT, NEXT_CHECKPOINT]
    assert change_rows.checkpoints(days, 1) == days


@pytest.mark.parametrize(
    ("ds", "expected"),
    [
        (date(2024, 4, 19), {("a", CHECKPOINT, 1)}),
        (date(2024, 4, 20), {("a", date(2024, 4, 20), 2)}),
        (date(2024, 5, 8), {("a", date(2024, 4, 20), 2), ("b", date(2024, 5, 1), 7)}),
        (NEXT_CHECKPOINT, {("a", NEXT_CHECKPOINT, 2), ("b", NEXT_CHECKPOINT, 7)}),
        (date(2024, 5, 30), {("a", date(2024, 5, 20), 3), ("b", NEXT_CHECKPOINT, 7)}),
    ],
)
def test_newest_row_by_a_day_says_how_things_stood(rows: DataFrame, ds: date, expected: set[tuple[Any, ...]]) -> None:
    assert collect(change_rows.as_of(rows, ("key",), ds, 28)) == expected


def test_each_pair_gets_how_things_stood_on_its_own_day(spark: SparkSession, rows: DataFrame) -> None:
    asked = [("a", date(2024, 4, 19)), ("a", date(2024, 5, 8)), ("b", date(2024, 4, 30)), ("b", date(2024, 5, 30))]
    pairs = arrow_frames.frame(spark, "key string, as_of_ds date", asked)
    found = change_rows.as_of_each(rows, pairs, ("key",), 28).select("key", "as_of_ds", "value")
    # On April 30 there was no b yet.
    assert collect(found) == {
        ("a", date(2024, 4, 19), 1),
        ("a", date(2024, 5, 8), 2),
        ("b", date(2024, 5, 30), 7),
    }


def test_rows_that_no_day_needs_are_not_read(rows: DataFrame) -> None:
    needed = rows.where(change_rows.ranges_to_read([date(2024, 5, 2), date(2024, 4, 18)], 28))
    # From the checkpoint day up to May 2.
    assert collect(needed.select("ds")) == {(CHECKPOINT,), (date(2024, 4, 20),), (date(2024, 5, 1),)}
    assert collect(rows.where(change_rows.ranges_to_read([], 28))) == set()


def test_more_ranges_than_spark_compiles_become_one(rows: DataFrame) -> None:
    days = [date(2020, 1, 1) + timedelta(days=29 * n) for n in range(30)]
    last = date(2024, 6, 30)  # its checkpoint day is 2024-06-06, after all rows
    assert collect(rows.where(change_rows.ranges_to_read([*days, last], 28))) == set()
    more = [date(2022, 8, 1) + timedelta(days=29 * n) for n in range(10)]
    assert rows.where(change_rows.ranges_to_read([*days, *more, last], 28)).count() == 6
