"""Events made by Spark itself, for lakes too large to simulate: the same ones each time, whatever the machine."""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from jobs import stg_events
from jobs.staging import feed_staging
from jobs.staging.feed_staging import DayCounts
from jobs.staging.feeds import FeedFile
from jobs.store import tables

INTERACTIONS_PER_USER = 20
TITLES = 20_000
COUNTRIES = ("DE", "FR", "US", "BR")
# Of interactions; most are positive. Impressions, which make none, come on top.
TYPE_SHARES = {
    "clickout": 0.35,
    "seen": 0.2,
    "watchlist_add": 0.15,
    "like": 0.1,
    "rating": 0.08,
    "detail_view": 0.08,
    "dislike": 0.04,
}
IMPRESSIONS_PER_INTERACTION = 0.1
LATE_SHARE = 0.02
MAX_DAYS_LATE = 3
# What a gzipped line of the simulated feeds takes; a backfill cuts its runs by it.
BYTES_PER_LINE = 20
_PARTITIONS = 16


def generate(spark: SparkSession, interactions: int, first: date, days: int) -> DataFrame:
    """Rows of `stg_events` of which about `interactions` rows of that table are made.

    Users are active alike; titles are as popular as Zipf's law has it, with exponent 1.
    """
    users = max(1, interactions // INTERACTIONS_PER_USER)
    events = spark.range(0, round(interactions * (1 + IMPRESSIONS_PER_INTERACTION)), 1, _PARTITIONS)
    user = F.floor(_uniform("user") * users)
    second = F.floor(_uniform("time") * days * 86_400)
    late = F.ceil(_uniform("days late") * MAX_DAYS_LATE).cast("int")
    drawn = events.select(
        F.concat(F.lit("event-"), "id").alias("event_id"),
        F.concat(F.lit("user-"), user).alias("user_id"),
        # A uniform share of the logarithm: title k gets log(1 + 1/k) / log(TITLES + 1) of the events.
        F.least(F.floor(F.pow(F.lit(TITLES + 1.0), _uniform("title"))), F.lit(TITLES)).alias("title_id"),
        _event_type(_uniform("type")).alias("event_type"),
        F.timestamp_seconds(F.unix_seconds(F.lit(first).cast("timestamp")) + second).alias("event_time"),
        F.element_at(F.array(*map(F.lit, COUNTRIES)), (user % len(COUNTRIES) + 1).cast("int")).alias("country"),
        F.lit(None).cast("string").alias("provider_id"),
        (F.floor(_uniform("rating") * 10) / 2 + 0.5).alias("stars"),
        F.when(_uniform("late") < LATE_SHARE, late).otherwise(0).alias("days_late"),
    )
    last = F.lit(first + timedelta(days=days - 1))
    ds = F.to_date("event_time")
    missing = {name: F.lit(None).cast("string") for name in ("surface", "variant", "recommender_version")}
    whole = drawn.withColumns(
        {
            **missing,
            "rating": F.when(F.col("event_type") == "rating", F.col("stars")),
            "rank": F.lit(None).cast("int"),
            "ds": ds,
            "feed_date": F.least(F.date_add(ds, F.col("days_late")), last),
        }
    )
    return whole.select(*stg_events.TABLE.schema.fieldNames())


def _uniform(what: str) -> Column:
    """From 0 to 1, of each event and each `what` on its own."""
    return F.pmod(F.xxhash64("id", F.lit(what)), F.lit(2**52)) / F.lit(float(2**52))


def _event_type(share: Column) -> Column:
    """The type whose share of all events `share` falls into."""
    upper, chosen = 0.0, F.when(F.lit(False), F.lit(""))
    for event_type, part in TYPE_SHARES.items():
        upper += part / (1 + IMPRESSIONS_PER_INTERACTION)
        chosen = chosen.when(share < upper, F.lit(event_type))
    return chosen.otherwise("impression")


def load(spark: SparkSession, settings: Settings, interactions: int, first: date, days: int) -> int:
    """Put the events into a lake that has none, as if staged from a feed; returns how many."""
    tables.ensure(spark, settings, stg_events.TABLE)
    tables.replace(generate(spark, interactions, first, days), settings, stg_events.TABLE, "true")
    staged = tables.read(spark, settings, stg_events.TABLE)
    lines = {row["feed_date"]: row["count"] for row in staged.groupBy("feed_date").count().collect()}
    all_days = [first + timedelta(days=number) for number in range(days)]
    files = {day: [_file(day, lines.get(day, 0))] for day in all_days}
    counts = {day: DayCounts(lines=count) for day, count in lines.items()}
    feed_staging.record_loads(spark, settings, stg_events.feed_spec(settings.staging), files, counts)
    return sum(lines.values())


def _file(day: date, lines: int) -> FeedFile:
    path = f"events/event_date={day}/generated.jsonl.gz"
    return FeedFile(path, path, day, lines * BYTES_PER_LINE, modified_at_ms=0)
