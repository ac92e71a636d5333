"""interactions: one row per user_id, title_id, ds and known_ds: a user's events of a day with a title, as one weight.

Reads stg_events, writes interactions. `known_ds` is the day from which the row is known: the later of `ds`, the day it
happened, and the feed day that delivered it. Derived tables go by `known_ds`, so that a late event changes no day
before it was known.

The weight is that of the day's last opinion (like, dislike, rating), or, without an opinion, that of the strongest
event. A rating weighs (rating - rating_neutral) / (max_rating - rating_neutral), so a low one is a negative.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DateType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from conf.settings import Interactions, Settings
from jobs import command, stg_events
from jobs.errors import JobError
from jobs.staging import erasures, feed_loads
from jobs.store import built_days, tables
from jobs.store.tables import Table

TABLE = Table(
    name="interactions",
    grain="one row per user_id, title_id, day it happened and day it was known from",
    schema=StructType(
        [
            StructField("user_id", StringType(), False, {"comment": "pseudonymous"}),
            StructField("title_id", LongType(), False, {"comment": "may be a title that the catalogue lacks"}),
            StructField("ds", DateType(), False, {"comment": "UTC day it happened"}),
            StructField("known_ds", DateType(), False, {"comment": "day from which it is known; ds unless late"}),
            StructField("weight", FloatType(), False, {"comment": "1 is a like, below 0 a negative"}),
            StructField("is_opinion", BooleanType(), False, {"comment": "from a like, dislike or rating"}),
            StructField("first_event_time", TimestampType(), False, {"comment": "of the day's events"}),
            StructField("last_event_time", TimestampType(), False, {"comment": "of the day's events"}),
            StructField("country", StringType(), False, {"comment": "of the last event"}),
            StructField("count_events", IntegerType(), False, {"comment": "that have a weight"}),
        ]
    ),
    primary_key=("user_id", "title_id", "ds", "known_ds"),
    stats_columns=("ds", "known_ds"),
    checks={"known_after_it_happened": "known_ds >= ds", "times_in_order": "first_event_time <= last_event_time"},
    user_column="user_id",
    is_derived=True,
)

_OPINIONS = ("like", "dislike", "rating")


def event_weight(weights: Interactions, max_rating: float) -> Column:
    """The weight of an event; null for one that makes no interaction."""
    scale = max_rating - weights.rating_neutral
    weight = F.when(F.col("event_type") == "rating", (F.col("rating") - weights.rating_neutral) / scale)
    for event_type in stg_events.EVENT_TYPES:
        value = getattr(weights, event_type, 0.0)
        if value:
            weight = weight.when(F.col("event_type") == event_type, F.lit(value))
    return weight.cast("float")


def build_interactions(events: DataFrame, weights: Interactions, max_rating: float) -> DataFrame:
    """Rows of the table from `stg_events` rows that have `known_ds`."""
    weighted = events.withColumn("weight", event_weight(weights, max_rating)).where("weight IS NOT NULL")
    is_opinion = F.col("event_type").isin(*_OPINIONS)
    # Of two events of one moment the id decides, so that the order of rows does not matter.
    moment = F.struct("event_time", "event_id")
    rows = weighted.groupBy("user_id", "title_id", "ds", "known_ds").agg(
        F.max_by("weight", F.when(is_opinion, moment)).alias("opinion"),
        F.max(F.when(~is_opinion, F.col("weight"))).alias("strongest"),
        F.min("event_time").alias("first_event_time"),
        F.max("event_time").alias("last_event_time"),
        F.max_by("country", moment).alias("country"),
        F.count("*").cast("int").alias("count_events"),
    )
    return rows.withColumns(
        {"weight": F.coalesce("opinion", "strongest"), "is_opinion": F.col("opinion").isNotNull()}
    ).select(*TABLE.schema.fieldNames())


def with_known_ds(events: DataFrame) -> DataFrame:
    """`stg_events` rows with the day from which they are known.

    Where a clock is ahead, an event is dated after its feed day, and is known from that date.
    """
    return events.withColumn("known_ds", F.greatest("ds", "feed_date"))


def inputs(settings: Settings) -> dict[date, str]:
    """A hash of the inputs of a day's interactions, per loaded feed day."""
    return inputs_of_events(settings, built_days.hash_inputs(TABLE, settings.interactions, settings.staging.max_rating))


def inputs_of_events(settings: Settings, start: str) -> dict[date, str]:
    """A hash of `start` and the files of the events known from a day, per loaded feed day.

    Events known from a day were delivered on it or before, and an earlier feed day within the copy window may hold the
    copy that is kept, so the files of that window count.
    """
    fingerprints = feed_loads.fingerprints(settings, "events")
    window = settings.staging.copy_window_days + stg_events.MAX_DAYS_AHEAD
    return {
        ds: built_days.hash_inputs(
            start, *[fingerprints.get(ds - timedelta(days=n), "not loaded") for n in range(window, -1, -1)]
        )
        for ds in sorted(fingerprints)
    }


def plan(settings: Settings, days: Sequence[date], skip_complete: bool) -> list[date]:
    """The days to build for a request of `days`; raises JobError for one whose events are not loaded."""
    return plan_of_events(settings, TABLE, inputs(settings), days, skip_complete)


def plan_of_events(
    settings: Settings, table: Table, expected: Mapping[date, str], days: Sequence[date], skip_complete: bool
) -> list[date]:
    """`plan` for a table made of events alone, whose days have the inputs `expected`."""
    missing = built_days.unknown_days(days, expected)
    if missing:
        raise JobError(
            f"{table.name} for ds={missing[0]}: {stg_events.TABLE.name} has no such feed day; run python -m "
            f"jobs.stg_events --ds {missing[0]} first"
        )
    built = built_days.read(settings, table)
    is_stale = {ds for ds in days if ds not in built or built[ds].inputs_hash != expected[ds]}
    return [ds for ds in days if not skip_complete or ds in is_stale]


def run(spark: SparkSession, settings: Settings, days: Sequence[date]) -> None:
    """Build `days`, each replaced whole."""
    tables.ensure(spark, settings, TABLE)
    expected = inputs(settings)
    is_wanted = tables.is_one_of("known_ds", days)
    events = with_known_ds(tables.read(spark, settings, stg_events.TABLE)).where(is_wanted)
    rows = build_interactions(events, settings.interactions, settings.staging.max_rating)
    with erasures.none_meanwhile(settings, TABLE):
        written = tables.replace_days(rows, settings, TABLE, "known_ds", days)
    built_days.record(written, settings, TABLE, {ds: expected[ds] for ds in days}, day_column="known_ds")


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_day_job(__doc__, TABLE.name, plan, run, argv)


if __name__ == "__main__":
    sys.exit(main())
