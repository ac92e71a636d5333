"""stg_events: one row per event_id, in the partition of its UTC day. Source: the raw feed `events`.

Reads <feeds.root>/events/event_date=<ds>/*.jsonl[.gz]; writes stg_events, rejected_rows and feed_loads of that feed
day. A late event goes to the partition of the day it happened, under the feed day that delivered it.

Of several copies of an event the one of the earliest feed day is kept; within a feed day the one with the earliest
event_time, then the one whose line sorts first. The others go to rejected_rows. Copies are looked for in the partitions
of the days on which the incoming events happened, and of the `staging.copy_window_days` around their feed day.
"""

import sys
from argparse import Namespace
from collections.abc import Collection, Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DateType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from conf.settings import Settings, Staging
from jobs import command
from jobs.staging import erasures, feed_staging, feeds
from jobs.staging.feed_staging import FeedSpec
from jobs.staging.parsing import COUNTRY, TITLE_ID, Field, other
from jobs.store import tables
from jobs.store.disk_cache import kept_on_disk
from jobs.store.session import spark_session
from jobs.store.tables import Table

EVENT_TYPES = ("impression", "detail_view", "clickout", "watchlist_add", "seen", "like", "dislike", "rating")
# An event before this date or more days after its feed day has a wrong clock and is refused.
MIN_EVENT_DATE = date(1990, 1, 1)
MAX_DAYS_AHEAD = 1
_RFC_3339 = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$"

TABLE = Table(
    name="stg_events",
    grain="one row per event_id",
    schema=StructType(
        [
            StructField("event_id", StringType(), False, {"comment": "key"}),
            StructField("user_id", StringType(), False, {"comment": "pseudonymous"}),
            StructField("title_id", LongType(), False, {"comment": "may be a title that the catalogue lacks"}),
            StructField("event_type", StringType(), False, {"comment": ", ".join(EVENT_TYPES)}),
            StructField("event_time", TimestampType(), False, {"comment": "when it happened"}),
            StructField("country", StringType(), False, {"comment": "ISO 3166-1 alpha-2"}),
            StructField("provider_id", StringType(), True, {"comment": "where a clickout led"}),
            StructField("rating", DoubleType(), True, {"comment": "of event_type rating"}),
            StructField("surface", StringType(), True, {"comment": "the page or row it happened on"}),
            StructField("variant", StringType(), True, {"comment": "experiment variant"}),
            StructField("recommender_version", StringType(), True, {"comment": "what recommended the title"}),
            StructField("rank", IntegerType(), True, {"comment": "position it was shown at, 1 is first"}),
            StructField("ds", DateType(), False, {"comment": "UTC date of event_time"}),
            StructField("feed_date", DateType(), False, {"comment": "feed day it was delivered on: known from then"}),
        ]
    ),
    primary_key=("event_id",),
    stats_columns=("title_id", "event_time"),
    partition_by=("ds", "feed_date"),
    checks={
        "event_type_is_known": "event_type IN ('" + "', '".join(EVENT_TYPES) + "')",
        "ds_is_day_of_event_time": "ds = CAST(event_time AS DATE)",
        "country_is_code": "country RLIKE '^[A-Z]{2}$'",
        "title_id_from_0": "title_id >= 0",
        "rank_from_1": "rank IS NULL OR rank >= 1",
        "rating_has_value": "event_type <> 'rating' OR rating IS NOT NULL",
    },
    user_column="user_id",
)


def parse_time(text: Column) -> Column:
    """A timestamp of an RFC 3339 time with its offset; null for anything else."""
    return F.when(text.rlike(_RFC_3339), F.try_to_timestamp(F.upper(text)))


def feed_spec(settings: Staging) -> FeedSpec:
    """The fields of the raw feed and what they must hold."""
    low, high = settings.min_rating, settings.max_rating

    def is_in_time(event_time: Column) -> Column:
        return F.to_date(event_time).between(F.lit(MIN_EVENT_DATE), F.date_add("feed_date", MAX_DAYS_AHEAD))

    text = "a text"
    return FeedSpec(
        "events",
        (
            Field("event_id", "string", "an id", is_required=True),
            Field("user_id", "string", "an id", is_required=True),
            TITLE_ID,
            Field(
                *("event_type", "string", f"one of {', '.join(EVENT_TYPES)}"),
                is_required=True,
                is_valid=lambda v: v.isin(*EVENT_TYPES),
            ),
            Field(
                "event_time",
                "string",
                f"an RFC 3339 time from {MIN_EVENT_DATE} to {MAX_DAYS_AHEAD} days after its feed day",
                is_required=True,
                convert=parse_time,
                is_valid=is_in_time,
            ),
            COUNTRY,
            Field("provider_id", "string", text),
            Field(
                *("rating", "double", f"a number from {low} to {high}"),
                is_valid=lambda v: v.between(low, high),
                required_if=other("event_type") == "rating",
            ),
            Field("surface", "string", text),
            Field("variant", "string", text),
            Field("recommender_version", "string", text),
            Field("rank", "int", "an integer from 1", is_valid=lambda v: v >= 1),
        ),
        user_column="user_id",
    )


def rank_copies(events: DataFrame, known: DataFrame) -> DataFrame:
    """Events that exist more than once, ranked: `copy_rank` 1 is kept.

    `events` are incoming, `known` (event_id, feed_date) are those of other feed days that the table holds. Rows have
    the columns of `events`, `is_known`, `copy_rank` and `first_feed_date`, the feed day of the copy that is kept.
    """
    ids = events.select("event_id").unionAll(known.select("event_id"))
    copied = ids.groupBy("event_id").count().where("count > 1").select("event_id")
    incoming = events.join(copied, on="event_id", how="left_semi").withColumn("is_known", F.lit(False))
    present = known.join(copied, on="event_id", how="left_semi").withColumn("is_known", F.lit(True))
    copies = incoming.unionByName(present, allowMissingColumns=True)
    order = Window.partitionBy("event_id").orderBy("feed_date", "event_time", "line", "file")
    return copies.withColumns(
        {"copy_rank": F.row_number().over(order), "first_feed_date": F.first("feed_date").over(order)}
    )


def keep_first(events: DataFrame, copies: DataFrame) -> DataFrame:
    """`events` with one row per event_id; `copies` come from `rank_copies`."""
    single = events.join(copies.select("event_id").distinct(), on="event_id", how="left_anti")
    first = copies.where(~F.col("is_known") & (F.col("copy_rank") == 1)).select(*events.columns)
    return single.unionByName(first)


def explain_copies(copies: DataFrame) -> DataFrame:
    """Incoming copies that are not kept: `feed_date`, `file`, `reason`, `line`."""
    reason = F.concat(F.lit(f"event_id{feed_staging.COPY} an event of feed day "), F.col("first_feed_date"))
    later = copies.where(~F.col("is_known") & (F.col("copy_rank") > 1))
    return later.select("feed_date", "file", reason.alias("reason"), "line")


def run(spark: SparkSession, settings: Settings, days: Sequence[date]) -> None:
    """Stage the feed days `days`. A day without files is an empty day, unless rows were loaded from it before.

    Later feed days that are already loaded and hold copies of the events of `days` are staged again with them, so that
    the order of runs does not matter. Raises JobError for refused days, after the others were written.
    """
    tables.ensure(spark, settings, TABLE)
    later = tables.retry_conflicts(TABLE, lambda: _load(spark, settings, days))
    if later:
        run(spark, settings, [*days, *later])


def _load(spark: SparkSession, settings: Settings, days: Collection[date]) -> set[date]:
    """Load `days` once. Where loaded days must be staged again with them, returns these and writes nothing."""
    spec = feed_spec(settings.staging)
    version, erasures_version = tables.version(settings, TABLE), erasures.version(settings)
    files = feeds.list_events(spark, settings.feeds.root, sorted(days))
    with feed_staging.parsed_lines(spark, settings, spec, files) as parsed:
        counts = feed_staging.count_days(parsed, spec)
        refused = feed_staging.refused_days(settings, spec, counts)
        refused |= feed_staging.lost_days(settings, spec, days, files)
        loadable = sorted(set(days) - set(refused))
        is_loadable = F.expr(tables.is_one_of("feed_date", loadable))
        events = feed_staging.good_rows(parsed, spec).where(is_loadable).withColumn("ds", F.to_date("event_time"))
        known = _known_near(spark, settings, version, events, loadable)
        with kept_on_disk(rank_copies(events, known)) as copies:
            later = _overtaken_days(copies)
            if later - set(days):
                return later
            # A later day that is refused can't be staged again without its copies: then no day is loaded.
            if later:
                rejects = feed_staging.explain_rejects(parsed, spec).where(~is_loadable)
                feed_staging.replace_rejects(spark, settings, spec, refused, rejects)
                feed_staging.raise_refused(refused)
            duplicates = explain_copies(copies)
            counts = feed_staging.with_duplicates(counts, duplicates)
            all_rejects = feed_staging.all_rejects(parsed, spec, counts, duplicates)
            feed_staging.replace_rejects(spark, settings, spec, days, all_rejects)
            if not loadable:
                feed_staging.raise_refused(refused)
            loaded = {ds: count for ds, count in counts.items() if ds not in refused}
            where = tables.is_one_of("feed_date", loadable)
            commit = tables.replace(keep_first(events, copies), settings, TABLE, where, expected_version=version)
        feed_staging.check_rows_written(spec, loaded, commit.rows)
        if erasures.version(settings) != erasures_version:
            raise tables.ConcurrentWriteError("a user was erased while events were loaded")
        feed_staging.record_loads(spark, settings, spec, feeds.by_day(files, loadable), loaded)
    feed_staging.raise_refused(refused)
    return set()


def _overtaken_days(copies: DataFrame) -> set[date]:
    """The feed days whose loaded events are copies of events of earlier feed days."""
    overtaken = copies.where("is_known AND copy_rank > 1").select("feed_date").distinct()
    return {row["feed_date"] for row in overtaken.collect()}


def _known_near(
    spark: SparkSession, settings: Settings, version: int, events: DataFrame, days: Sequence[date]
) -> DataFrame:
    """Events of other feed days, as of `version`, among which copies of `events` may be."""
    event_days = {row["ds"] for row in events.select("ds").distinct().collect()}
    window = settings.staging.copy_window_days
    around = {day + timedelta(days=n) for day in days for n in range(-window, window + 1)}
    held = tables.read_version(spark, settings, TABLE, version)
    near = held.where(F.col("ds").isin(event_days | around)).where(f"NOT ({tables.is_one_of('feed_date', days)})")
    return near.select("event_id", "feed_date")


def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__)
    command.add_days(parser)

    def work(settings: Settings, arguments: Namespace) -> None:
        first, last = command.parse_days(parser, arguments)
        days = command.days_between(first, last)
        with spark_session(settings, TABLE.name) as spark:
            feeds.require_days(spark, settings.feeds.root, days)
            run(spark, settings, days)

    return command.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
