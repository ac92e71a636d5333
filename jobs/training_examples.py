"""training_examples: one row per positive interaction, with all that was known just before it and nothing later.

Reads interactions, user_histories and title_stats, writes training_examples. What was known at the moment of a
positive: every interaction that was known by the end of the day before it happened, and those of its own day that ended
before it began and were not late. Titles are raw ids: a vocabulary that grows changes no example. Lists are padded to
one length for Petastorm.

Not an example: a title that the known history already has as a positive (a re-watch counts once).

`split` says what a row is for. By date, it goes by the day from which the row is known, counted back from the newest
day: as nights pass, rows go from test to validation to train, and nothing else of them changes. `held_out` are rows
that would be in train, of titles that `examples.held_out_titles_share` keeps out; no history has those titles.
"""

import math
import sys
from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DateType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from conf.settings import Examples, Settings
from jobs import command, interactions, title_stats, user_histories
from jobs.features import history_entries
from jobs.staging import erasures
from jobs.store import built_days, change_rows, tables
from jobs.store.tables import Table

SPLITS = ("train", "validation", "test", "held_out")

HISTORY_FIELDS = (
    StructField("history_title_ids", ArrayType(LongType()), False, {"comment": "the latest first; padded with -1"}),
    StructField("history_weights", ArrayType(FloatType()), False, {"comment": "padded with 0"}),
    StructField("history_ages_days", ArrayType(FloatType()), False, {"comment": "before the moment; padded with 0"}),
    StructField("history_length", IntegerType(), False, {"comment": "titles in the lists"}),
)

# Readers take row groups, so that files matter little to training; they bound what a task writes.
MAX_ROWS_PER_FILE = 2_000_000

TABLE = Table(
    name="training_examples",
    grain="one row per positive interaction",
    schema=StructType(
        [
            StructField("user_id", StringType(), False, {"comment": "pseudonymous"}),
            StructField("title_id", LongType(), False, {"comment": "the positive"}),
            StructField("ds", DateType(), False, {"comment": "UTC day it happened"}),
            StructField("known_ds", DateType(), False, {"comment": "day from which it is known"}),
            StructField("event_time", TimestampType(), False, {"comment": "the moment: its first event of the day"}),
            StructField("country", StringType(), False, {"comment": "of the user at the moment"}),
            StructField("sampling_probability", FloatType(), False, {"comment": "title's share of earlier positives"}),
            *HISTORY_FIELDS,
            StructField("split", StringType(), False, {"comment": ", ".join(SPLITS)}),
        ]
    ),
    primary_key=("user_id", "title_id", "ds", "known_ds"),
    stats_columns=("known_ds",),
    partition_by=("split",),
    checks={
        "split_is_known": "split IN ('" + "', '".join(SPLITS) + "')",
        "sampling_probability_is_share": "sampling_probability > 0 AND sampling_probability <= 1",
    },
    person_column="user_id",
    is_for_training=True,
    is_derived=True,
)


def is_held_out(title_id: Column, share: float, seed: int) -> Column:
    """Whether a title is kept out of training: the same titles for the same seed, whatever else the catalogue has."""
    return F.pmod(F.xxhash64(title_id, F.lit(seed)), F.lit(1_000_000)) < F.lit(round(share * 1_000_000))


def with_histories(positives: DataFrame, states: DataFrame, own_day: DataFrame) -> DataFrame:
    """`positives` (interactions with `as_of_ds`) with `entries`, the whole known history before each, in no order.

    `states` are `user_id, as_of_ds, entries` of user_histories; `own_day` are interactions known on the day they
    happened.
    """
    same_day = own_day.groupBy("user_id", "ds").agg(
        F.collect_list(history_entries.interaction_entry()).alias("same_day_entries")
    )
    joined = positives.join(states.select("user_id", "as_of_ds", "entries"), on=["user_id", "as_of_ds"], how="left")
    joined = joined.join(same_day, on=["user_id", "ds"], how="left")
    # The day's weight of a title is known when the last of its events has happened.
    earlier_today = F.filter(
        F.coalesce("same_day_entries", history_entries.no_entries()),
        lambda entry: entry["event_time"] < F.col("first_event_time"),
    )
    merged = history_entries.merge(F.coalesce("entries", history_entries.no_entries()), F.col("earlier_today"))
    return joined.withColumn("earlier_today", earlier_today).withColumn("entries", merged)


def with_sampling_probability(positives: DataFrame, counts: DataFrame, totals: DataFrame) -> DataFrame:
    """`positives` with the title's share of all positives known by `as_of_ds`, one added to each title's count.

    `counts` are `title_id, as_of_ds, count_positives_ever`; `totals` are `as_of_ds, count_positives, count_titles`. A
    title without positives counts as one more title, so the shares of a day's known titles and of one new title add
    up to 1: the estimate of Q in the correction of Yi et al. 2019, section 3, with Laplace's rule of succession.
    """
    joined = positives.join(
        counts.select("title_id", "as_of_ds", "count_positives_ever"), ["title_id", "as_of_ds"], "left"
    )
    joined = joined.join(F.broadcast(totals), on="as_of_ds", how="left")
    own = F.coalesce("count_positives_ever", F.lit(0)) + 1
    every = F.coalesce("count_positives", F.lit(0)) + F.coalesce("count_titles", F.lit(0)) + 1
    return joined.withColumn("sampling_probability", (own / every).cast("float"))


def daily_totals(stats: DataFrame, first: date, last: date, checkpoint_days: int) -> DataFrame:
    """For each `as_of_ds` from `first` to `last` the positives so far and the titles that had one, over everything.

    `stats` are rows of title_stats. Those of the days between say what each day added, so that one pass is enough.
    """
    overall = stats.where(F.col("country") == title_stats.ALL_COUNTRIES)
    start = change_rows.as_of(overall, ("title_id",), first, checkpoint_days).select(
        F.lit(first).alias("as_of_ds"),
        F.col("count_positives_ever").alias("count_positives"),
        (F.col("count_positives_ever") > 0).cast("long").alias("count_titles"),
    )
    later = overall.where(change_rows.between("ds", first + timedelta(days=1), last)).select(
        F.col("ds").alias("as_of_ds"),
        F.col("count_positives_1d").alias("count_positives"),
        F.expr("count_positives_1d > 0 AND count_positives_1d = count_positives_ever")
        .cast("long")
        .alias("count_titles"),
    )
    every_day = stats.sparkSession.range(1).select(
        F.explode(F.sequence(F.lit(first), F.lit(last))).alias("as_of_ds"),
        F.lit(0).alias("count_positives"),
        F.lit(0).alias("count_titles"),
    )
    per_day = start.unionByName(later).unionByName(every_day).groupBy("as_of_ds")
    added = per_day.agg(F.sum("count_positives").alias("count_positives"), F.sum("count_titles").alias("count_titles"))
    so_far = Window.orderBy("as_of_ds").rowsBetween(Window.unboundedPreceding, 0)
    return added.withColumns({name: F.sum(name).over(so_far) for name in ("count_positives", "count_titles")})


def build_examples(positives: DataFrame, options: Examples, positive_min_weight: float, seed: int) -> DataFrame:
    """Rows of the table, but for `split`, from positives that have `entries` and `sampling_probability`."""

    def is_same_title(entry: Column) -> Column:
        return entry["title_id"] == F.col("title_id")

    least = F.lit(positive_min_weight).cast("float")
    new = positives.where(~F.exists("entries", lambda entry: is_same_title(entry) & (entry["weight"] >= least)))
    kept = F.filter(
        "entries",
        lambda entry: ~is_same_title(entry) & ~is_held_out(entry["title_id"], options.held_out_titles_share, seed),
    )
    ordered = new.withColumn("entries", history_entries.latest(kept, options.history_titles))
    moment = F.col("first_event_time")
    return ordered.select(
        *("user_id", "title_id", "ds", "known_ds", moment.alias("event_time")),
        *("country", "sampling_probability"),
        *[
            value.alias(name)
            for name, value in history_entries.pad(F.col("entries"), moment, options.history_titles).items()
        ],
    )


def validation_from(newest: date, options: Examples) -> date:
    """The first day of validation, by date."""
    return test_from(newest, options) - timedelta(days=options.validation_days)


def test_from(newest: date, options: Examples) -> date:
    """The first day of test, by date."""
    return newest + timedelta(days=1 - options.test_days)


def split_of(examples: DataFrame, newest: date, options: Examples, seed: int) -> Column:
    """The split of each of `examples`, by the rule of the settings; by last share, they must be all there are."""
    if options.split == "none":
        split = F.lit("train")
    elif options.split == "by_date":
        known = F.col("known_ds")
        split = F.when(known >= F.lit(test_from(newest, options)), "test")
        split = split.when(known >= F.lit(validation_from(newest, options)), "validation").otherwise("train")
    else:
        users = Window.partitionBy("user_id")
        count = F.count("*").over(users)
        left = count - F.row_number().over(users.orderBy("event_time", "title_id", "known_ds"))  # rows after this one
        count_test = F.floor(count * options.test_share)
        count_kept = F.floor(count * (options.test_share + options.validation_share))
        split = F.when(left < count_test, "test").when(left < count_kept, "validation").otherwise("train")
    held_out = is_held_out(F.col("title_id"), options.held_out_titles_share, seed)
    return F.when((split == "train") & held_out, "held_out").otherwise(split)


def days_to_relabel(built: Sequence[date], days: Sequence[date], options: Examples) -> list[date]:
    """The days built before that go to another split when `days` are built, by date."""
    if options.split != "by_date" or not built:
        return []
    newest = max(*built, *days)
    # Every row that was not in train as of the newest day so far, or would not be now: a few days at most.
    first = min(validation_from(max(built), options), validation_from(newest, options))
    return [ds for ds in built if ds >= first and ds not in set(days)]


def inputs(settings: Settings) -> dict[date, str]:
    """Per day whose histories and counts are built a hash of all that its examples are made of."""
    counted = title_stats.inputs(settings)
    known = built_days.read(settings, title_stats.TABLE)
    remembered = built_days.read(settings, user_histories.TABLE)
    start = built_days.hash_inputs(TABLE, settings.examples, settings.interactions, settings.seed)
    return {
        ds: built_days.hash_inputs(start, counts, history)
        for ds, history in user_histories.inputs(settings).items()
        if (counts := counted[ds]) and _is_built(known, ds, counts) and _is_built(remembered, ds, history)
    }


def _is_built(days: dict[date, built_days.Built], ds: date, inputs_hash: str) -> bool:
    return ds in days and days[ds].inputs_hash == inputs_hash


def plan(settings: Settings, days: Sequence[date], skip_complete: bool) -> list[date]:
    """The days to build for a request of `days`; raises JobError where an input is missing or stale."""
    return built_days.days_to_build(settings, TABLE, days, inputs(settings), skip_complete)


def run(spark: SparkSession, settings: Settings, days: Sequence[date]) -> None:
    """Build `days`, as `plan` gives them, and move earlier ones to the split they now belong to, in one commit."""
    options, seed = settings.examples, settings.seed
    expected = inputs(settings)
    built = [ds for ds in built_days.read(settings, TABLE) if ds not in set(days)]
    tables.ensure(spark, settings, TABLE)
    new = _examples_known_on(spark, settings, days)
    table = tables.read(spark, settings, TABLE).drop("split")
    if options.split == "last_share":
        where = "true"
        rows = new.unionByName(table.where(f"NOT ({tables.is_one_of('known_ds', days)})"))
    else:
        moved = days_to_relabel(built, days, options)
        where = tables.is_one_of("known_ds", [*moved, *days])
        rows = new.unionByName(table.where(tables.is_one_of("known_ds", moved)))
    rows = rows.withColumn("split", split_of(rows, max([*built, *days]), options, seed))
    upper_bound = sum(day.count_rows for ds, day in built_days.read(settings, interactions.TABLE).items() if ds in days)
    shuffled = shuffle(rows, TABLE, math.ceil(upper_bound / MAX_ROWS_PER_FILE), seed)
    with erasures.none_meanwhile(settings, TABLE), tables.row_groups(spark, settings, TABLE):
        commit = tables.retry_conflicts(
            TABLE, lambda: tables.replace(shuffled, settings, TABLE, where, keep_layout=True)
        )
    written = tables.read_version(spark, settings, TABLE, commit.version).where(tables.is_one_of("known_ds", days))
    record = {ds: expected[ds] for ds in days}
    built_days.record(written, settings, TABLE, record, day_column="known_ds", without=["split"])


def _examples_known_on(spark: SparkSession, settings: Settings, days: Sequence[date]) -> DataFrame:
    """The examples that became known on `days`, without `split`."""
    least = settings.interactions.positive_min_weight
    checkpoint_days = settings.change_rows.checkpoint_days
    met = tables.read(spark, settings, interactions.TABLE)
    positives = met.where(tables.is_one_of("known_ds", days)).where(F.col("weight") >= F.lit(least).cast("float"))
    positives = positives.withColumn("as_of_ds", F.date_sub("ds", 1))
    happened = [row["ds"] for row in positives.select("ds").distinct().collect()]
    as_of = [ds - timedelta(days=1) for ds in happened] or [days[0] - timedelta(days=1)]
    is_needed = change_rows.ranges_to_read(as_of, checkpoint_days)

    users = positives.select("user_id", "as_of_ds").distinct()
    remembered = tables.read(spark, settings, user_histories.TABLE).where(is_needed)
    states = change_rows.as_of_each(remembered, users, user_histories.KEYS, checkpoint_days)
    own_day = met.where((F.col("known_ds") == F.col("ds")) & F.col("ds").isin(happened))
    own_day = own_day.join(users.select("user_id").distinct(), on="user_id", how="left_semi")

    stats = tables.read(spark, settings, title_stats.TABLE)
    overall = stats.where((F.col("country") == title_stats.ALL_COUNTRIES) & is_needed).drop("country")
    titles = positives.select("title_id", "as_of_ds").distinct()
    counts = change_rows.as_of_each(overall, titles, ("title_id",), checkpoint_days)
    totals = daily_totals(stats, min(as_of), max(as_of), checkpoint_days)

    known = with_sampling_probability(with_histories(positives, states, own_day), counts, totals)
    return build_examples(known, settings.examples, least, settings.seed)


def shuffle(rows: DataFrame, table: Table, count_files: int, seed: int) -> DataFrame:
    """Rows in an order that says nothing of their keys, the same each time, in `count_files` per partition."""
    placed = rows.withColumn("shuffle_order", F.xxhash64(*table.primary_key, F.lit(seed)))
    placed = placed.repartitionById(count_files, F.pmod("shuffle_order", F.lit(count_files)).cast("int"))
    # A writer of partitions sorts by them, and keeps an order that begins so.
    return placed.sortWithinPartitions(*table.partition_by, "shuffle_order").drop("shuffle_order")


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_day_job(__doc__, TABLE.name, plan, run, argv)


if __name__ == "__main__":
    sys.exit(main())
