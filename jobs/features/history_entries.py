"""User histories as lists of entries, one per title: collect, merge, cut and pad them.

An entry is (event_time, title_id, weight, is_opinion, country, opinion_time): the time of the last interaction, and the
weight of the last opinion, or, without an opinion, of the strongest event.
"""

from collections.abc import Callable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from lake.arrays import NO_TITLE

# Time and title come first: entries are sorted by their fields in order.
ENTRY = StructType(
    [
        StructField("event_time", TimestampType(), True),
        StructField("title_id", LongType(), True),
        StructField("weight", FloatType(), True),
        StructField("is_opinion", BooleanType(), True),
        StructField("country", StringType(), True),
        # Of the opinion that gave the weight: an older one that becomes known later must not replace it.
        StructField("opinion_time", TimestampType(), True),
    ]
)
ENTRIES = ArrayType(ENTRY, True)

# The columns that `pad` makes, for the tables that have them.
PADDED_FIELDS = (
    StructField("history_title_ids", ArrayType(LongType()), False, {"comment": "the latest first; padded with -1"}),
    StructField("history_weights", ArrayType(FloatType()), False, {"comment": "padded with 0"}),
    StructField("history_ages_days", ArrayType(FloatType()), False, {"comment": "before the moment; padded with 0"}),
    StructField("history_length", IntegerType(), False, {"comment": "titles in the lists"}),
)


def no_entries() -> Column:
    return F.array().cast(ENTRIES)


def interaction_entry() -> Column:
    """The entry of one row of `interactions`."""
    opinion_time = F.when(F.col("is_opinion"), F.col("last_event_time")).alias("opinion_time")
    values = (F.col("last_event_time").alias("event_time"), "title_id", "weight", "is_opinion", "country", opinion_time)
    return F.struct(*values).cast(ENTRY)


def collect_entries(interactions: DataFrame, keys: tuple[str, ...]) -> DataFrame:
    """One row per `keys`: the `entries` of its interactions, one per title, in no order, and `count_interactions`."""
    when = F.struct("last_event_time", "ds")
    per_title = interactions.groupBy(*keys, "title_id").agg(
        F.max("last_event_time").alias("event_time"),
        F.max(F.when(F.col("is_opinion"), F.col("last_event_time"))).alias("opinion_time"),
        F.coalesce(F.max_by("weight", F.when(F.col("is_opinion"), when)), F.max("weight")).alias("weight"),
        F.bool_or("is_opinion").alias("is_opinion"),
        F.max_by("country", when).alias("country"),
        F.count("*").alias("count"),
    )
    values = ("event_time", "title_id", "weight", "is_opinion", "country", "opinion_time")
    return per_title.groupBy(*keys).agg(
        F.collect_list(F.struct(*values).cast(ENTRY)).alias("entries"),
        F.sum("count").cast("int").alias("count_interactions"),
    )


def merge(older: Column, newer: Column) -> Column:
    """The entries of both lists, one per title, in no order.

    Neither list holds a title twice. Of two opinions on a title the later stays, whichever list holds it: an event may
    become known late.
    """
    return _let(
        F.transform(newer, lambda entry: entry["title_id"]),
        lambda titles: F.concat(
            F.filter(older, lambda entry: ~F.array_contains(titles, entry["title_id"])),
            _let(
                F.filter(older, lambda entry: F.array_contains(titles, entry["title_id"])),
                lambda known: F.transform(
                    newer, lambda entry: _merge_entry(_of_title(known, entry["title_id"]), entry)
                ),
            ),
        ),
    )


def latest(entries: Column, count: int) -> Column:
    """The last `count` entries, the latest first."""
    return F.slice(F.sort_array(entries, asc=False), 1, count)


def _merge_entry(known: Column, entry: Column) -> Column:
    """`known` and `entry`, of one title, as one entry; `known` may be null."""
    is_known_later = known["event_time"] > entry["event_time"]
    is_known_newer = known["opinion_time"] > entry["opinion_time"]
    by_time = F.when(is_known_newer, known["weight"]).otherwise(entry["weight"])
    weight = (
        F.when(known["is_opinion"] & entry["is_opinion"], by_time)
        .when(known["is_opinion"], known["weight"])
        .when(entry["is_opinion"], entry["weight"])
        .otherwise(F.greatest(known["weight"], entry["weight"]))
    )
    both = F.struct(
        F.greatest(known["event_time"], entry["event_time"]).alias("event_time"),
        entry["title_id"].alias("title_id"),
        weight.alias("weight"),
        (known["is_opinion"] | entry["is_opinion"]).alias("is_opinion"),
        F.when(is_known_later, known["country"]).otherwise(entry["country"]).alias("country"),
        F.greatest(known["opinion_time"], entry["opinion_time"]).alias("opinion_time"),
    ).cast(ENTRY)
    return F.when(known.isNull(), entry).otherwise(both)


def _of_title(entries: Column, title_id: Column) -> Column:
    return F.get(F.filter(entries, lambda entry: entry["title_id"] == title_id), F.lit(0))


def _let(value: Column, body: Callable[[Column], Column]) -> Column:
    """`body(value)` with `value` computed once, however often `body` uses it: Spark's SQL has no LET."""
    return F.get(F.transform(F.array(value), body), F.lit(0))


def pad(entries: Column, moment: Column, length: int) -> dict[str, Column]:
    """The values of PADDED_FIELDS from `entries` (the latest first), each list `length` long.

    Ids are padded with NO_TITLE, the other lists with 0. Ages are days before `moment`.
    """
    seconds = F.unix_micros(moment)

    def padded(value: Callable[[Column], Column], filler: Column) -> Column:
        cut = F.transform(F.slice(entries, 1, length), value)
        return F.slice(F.concat(cut, F.array_repeat(filler, length)), 1, length)

    def age_days(entry: Column) -> Column:
        return ((seconds - F.unix_micros(entry["event_time"])) / 86_400e6).cast("float")

    zero = F.lit(0.0).cast("float")
    return {
        "history_title_ids": padded(lambda entry: entry["title_id"], F.lit(NO_TITLE).cast("long")),
        "history_weights": padded(lambda entry: entry["weight"], zero),
        "history_ages_days": padded(age_days, zero),
        "history_length": F.least(F.size(entries), F.lit(length)).cast("int"),
    }
