"""title_stats: one row per title_id, country and ds: how often a title was interacted with, as of the end of `ds`.

Reads interactions and title_stats as of the day before, writes title_stats. Country '*' is all countries together. An
interaction counts from the day on which it is known. A table of change rows: a row is written on days on which a count
changed (an interaction came in, or a positive left a window), and for every title and country on a checkpoint day.
"""

import sys
from collections.abc import Sequence
from datetime import date, timedelta
from functools import reduce
from operator import or_

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, LongType, StringType, StructField, StructType

from conf.settings import Settings
from jobs import command, interactions
from jobs.store import built_days, change_rows, tables
from jobs.store.tables import Table

ALL_COUNTRIES = "*"
KEYS = ("title_id", "country")
WINDOWS = {"1d": 1, "28d": 28}  # days over which positives are counted, beside `ever`
COUNTS = ("count_interactions_ever", *[f"count_positives_{window}" for window in (*WINDOWS, "ever")])

TABLE = Table(
    name="title_stats",
    grain="one row per title_id, country and ds on which a count changed; every title on a checkpoint day",
    schema=StructType(
        [
            StructField("title_id", LongType(), False),
            StructField("country", StringType(), False, {"comment": "of the user; * is all countries together"}),
            StructField("ds", DateType(), False, {"comment": "counts are as of its end"}),
            *[StructField(name, LongType(), False) for name in COUNTS],
        ]
    ),
    primary_key=("title_id", "country", "ds"),
    stats_columns=("title_id", "ds"),
    checks={
        "windows_nest": "count_positives_1d >= 0 AND count_positives_1d <= count_positives_28d"
        " AND count_positives_28d <= count_positives_ever",
        "positives_are_interactions": "count_positives_ever <= count_interactions_ever",
    },
    is_derived=True,
)


def daily_counts(rows: DataFrame, positive_min_weight: float) -> DataFrame:
    """Interactions and positives per title, country (and all) and the day from which they are known, as `ds`."""
    is_positive = F.col("weight") >= F.lit(positive_min_weight).cast("float")
    # Each row counts for its country and for all: to add up countries afterwards would be to read `rows` again.
    countries = F.explode(F.array(F.col("country"), F.lit(ALL_COUNTRIES)))
    counted = rows.select("title_id", countries.alias("country"), F.col("known_ds").alias("ds"), "weight")
    return counted.groupBy(*KEYS, "ds").agg(
        F.count("*").alias("interactions"), F.count_if(is_positive).alias("positives")
    )


def changes(daily: DataFrame, first: date, last: date) -> DataFrame:
    """The change of each count, per key and day from `first` to `last` on which one changed.

    A positive adds to every count of positives on its day, and leaves a window of n days n days later.
    """
    steps = []
    for lag in (0, *WINDOWS.values()):
        added = {window: int(lag == 0) - int(lag == length) for window, length in WINDOWS.items()}
        amounts = {
            "count_interactions_ever": F.col("interactions") * int(lag == 0),
            **{f"count_positives_{window}": F.col("positives") * sign for window, sign in added.items()},
            "count_positives_ever": F.col("positives") * int(lag == 0),
        }
        columns = [amount.alias(name) for name, amount in amounts.items()]
        steps.append(F.struct(F.date_add("ds", lag).alias("ds"), *columns))
    moved = daily.select(*KEYS, F.explode(F.array(*steps)).alias("step")).select(*KEYS, "step.*")
    is_change = reduce(or_, [F.col(name) != 0 for name in COUNTS])
    due = moved.where(change_rows.between("ds", first, last) & is_change)
    return due.groupBy(*KEYS, "ds").agg(*[F.sum(name).alias(name) for name in COUNTS])


def build_stats(daily: DataFrame, before: DataFrame, days: Sequence[date], checkpoint_days: int) -> DataFrame:
    """Rows of the table for `days`, which are consecutive.

    `daily` (of `daily_counts`) reaches 28 days further back; `before` is the table as of the day before the first.
    """
    first, last = days[0], days[-1]
    steps = changes(daily, first, last)
    if change_rows.checkpoints(days, checkpoint_days):
        keys = before.select(*KEYS).unionByName(steps.select(*KEYS)).distinct()
        steps = change_rows.with_checkpoints(steps, keys, days, checkpoint_days).na.fill(0)
        steps = steps.groupBy(*KEYS, "ds").agg(*[F.sum(name).alias(name) for name in COUNTS])
    else:
        before = before.join(steps.select(*KEYS).distinct(), on=list(KEYS), how="left_semi")
    start = before.withColumn("ds", F.lit(first - timedelta(days=1))).select(*steps.columns)
    so_far = Window.partitionBy(*KEYS).orderBy("ds").rowsBetween(Window.unboundedPreceding, 0)
    totals = start.unionByName(steps).withColumns({name: F.sum(name).over(so_far) for name in COUNTS})
    # A checkpoint day has no row for a title without interactions by then.
    return totals.where(change_rows.between("ds", first, last) & (F.col("count_interactions_ever") > 0))


def inputs(settings: Settings) -> dict[date, str]:
    """A hash of all inputs of a day's counts, per day with interactions."""
    start = built_days.hash_inputs(TABLE, change_rows.hashed_constants(), settings.interactions.positive_min_weight)
    return built_days.chain(built_days.read(settings, interactions.TABLE), start)


def plan(settings: Settings, days: Sequence[date], skip_complete: bool) -> list[date]:
    """The days to build for a request of `days`; raises JobError where a day before them is missing."""
    return built_days.days_to_build(settings, TABLE, days, inputs(settings), skip_complete)


def run(spark: SparkSession, settings: Settings, days: Sequence[date]) -> None:
    """Build `days`, as `plan` gives them: in order and without gaps."""
    tables.ensure(spark, settings, TABLE)
    expected = inputs(settings)
    first = days[0]
    # Days before the first are read only where their positives leave a window on one of `days`.
    leaving = [first - timedelta(days=n) for n in range(1, max(WINDOWS.values()) + 1)]
    if len(days) == 1:
        leaving = [first - timedelta(days=n) for n in WINDOWS.values()]
    recent = tables.read(spark, settings, interactions.TABLE).where(tables.is_one_of("known_ds", [*leaving, *days]))
    daily = daily_counts(recent, settings.interactions.positive_min_weight)
    checkpoint_days = change_rows.CHECKPOINT_DAYS
    table = tables.read(spark, settings, TABLE)
    before = change_rows.as_of(table, KEYS, first - timedelta(days=1), checkpoint_days)
    rows = build_stats(daily, before, days, checkpoint_days)
    written = tables.replace_days(rows, settings, TABLE, "ds", days)
    built_days.record(written, settings, TABLE, {ds: expected[ds] for ds in days})


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_day_job(__doc__, TABLE.name, plan, run, argv)


if __name__ == "__main__":
    sys.exit(main())
