"""training_examples: one row per positive interaction, with what was known just before it and nothing later.

Reads interactions, user_histories and title_stats, writes training_examples. Known before a positive are all
interactions known by the end of the day before it happened, and those of the same day that ended before it began and
were not late. Titles are raw ids, so that a growing vocabulary changes no example. Lists are padded to one length for
Petastorm.

A title that the known history already has as a positive makes no example: a re-watch counts once. No history has a
held-out title. See jobs/features/splits.py for the column `split`.
"""

import math
import sys
from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DateType,
    FloatType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from conf.settings import Examples, Settings
from jobs import command, interactions, title_stats, user_histories
from jobs.features import history_entries, splits
from jobs.staging import erasures
from jobs.store import built_days, change_rows, tables
from jobs.store.disk_cache import kept_on_disk
from jobs.store.shuffled_files import shuffle
from jobs.store.tables import Table

# Training reads row groups, so the size of files hardly matters to it; the limit bounds the rows that a task writes.
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
            *history_entries.PADDED_FIELDS,
            StructField("split", StringType(), False, {"comment": ", ".join(splits.SPLITS)}),
        ]
    ),
    primary_key=("user_id", "title_id", "ds", "known_ds"),
    stats_columns=("known_ds",),
    partition_by=("split",),
    checks={
        "split_is_known": "split IN ('" + "', '".join(splits.SPLITS) + "')",
        "sampling_probability_is_share": "sampling_probability > 0 AND sampling_probability <= 1",
    },
    user_column="user_id",
    is_for_training=True,
    is_derived=True,
)


def with_histories(positives: DataFrame, states: DataFrame, on_time: DataFrame) -> DataFrame:
    """`positives` (interactions with `as_of_ds`) with `entries`: the whole history known before each, in no order.

    `states` are `user_id, as_of_ds, entries` of user_histories; `on_time` are interactions known on the day they
    happened.
    """
    same_day = on_time.groupBy("user_id", "ds").agg(
        F.collect_list(history_entries.interaction_entry()).alias("same_day_entries")
    )
    joined = positives.join(states.select("user_id", "as_of_ds", "entries"), on=["user_id", "as_of_ds"], how="left")
    joined = joined.join(same_day, on=["user_id", "ds"], how="left")
    # A title's weight of the day is known once the last of its events has happened.
    earlier_today = F.filter(
        F.coalesce("same_day_entries", history_entries.no_entries()),
        lambda entry: entry["event_time"] < F.col("first_event_time"),
    )
    merged = history_entries.merge(F.coalesce("entries", history_entries.no_entries()), F.col("earlier_today"))
    return joined.withColumn("earlier_today", earlier_today).withColumn("entries", merged)


def with_sampling_probability(positives: DataFrame, counts: DataFrame, totals: DataFrame) -> DataFrame:
    """`positives` with the title's share of all positives known by `as_of_ds`, after adding one to each title's count.

    `counts` are `title_id, as_of_ds, count_positives_ever`; `totals` are `as_of_ds, count_positives, count_titles`. A
    title without positives counts as one more title, so the shares of a day's known titles and of one new title add
    up to 1: the estimate of Q in the correction of Yi et al. 2019, section 3, with Laplace's rule of succession.
    """
    joined = positives.join(
        counts.select("title_id", "as_of_ds", "count_positives_ever"), ["title_id", "as_of_ds"], "left"
    )
    joined = joined.join(F.broadcast(totals), on="as_of_ds", how="left")
    of_title = F.coalesce("count_positives_ever", F.lit(0)) + 1
    of_all = F.coalesce("count_positives", F.lit(0)) + F.coalesce("count_titles", F.lit(0)) + 1
    return joined.withColumn("sampling_probability", (of_title / of_all).cast("float"))


def daily_totals(stats: DataFrame, first: date, last: date, checkpoint_days: int) -> DataFrame:
    """Positives so far and titles that had one, for each `as_of_ds` from `first` to `last`.

    `stats` are rows of title_stats: the state as of `first`, and after it what each day added.
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
    """Rows of the table without `split`, from positives that have `entries` and `sampling_probability`."""

    def is_same_title(entry: Column) -> Column:
        return entry["title_id"] == F.col("title_id")

    least = F.lit(positive_min_weight).cast("float")
    new = positives.where(~F.exists("entries", lambda entry: is_same_title(entry) & (entry["weight"] >= least)))
    kept = F.filter(
        "entries",
        lambda entry: (
            ~is_same_title(entry) & ~splits.is_held_out(entry["title_id"], options.held_out_titles_share, seed)
        ),
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


def inputs(settings: Settings) -> dict[date, str]:
    """A hash of all inputs of a day's examples, per day whose histories and counts are built."""
    stats_inputs = title_stats.inputs(settings)
    built_stats = built_days.read(settings, title_stats.TABLE)
    built_histories = built_days.read(settings, user_histories.TABLE)
    start = built_days.hash_inputs(TABLE, settings.examples, settings.interactions, settings.seed)
    return {
        ds: built_days.hash_inputs(start, stats_inputs[ds], histories_input)
        for ds, histories_input in user_histories.inputs(settings).items()
        if _is_built(built_stats, ds, stats_inputs[ds]) and _is_built(built_histories, ds, histories_input)
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
    table = tables.read(spark, settings, TABLE).drop("split")
    if options.split == "last_share":
        where, kept = "true", table.where(f"NOT ({tables.is_one_of('known_ds', days)})")
    else:
        moved = splits.days_to_relabel(built, days, options)
        where, kept = tables.is_one_of("known_ds", [*moved, *days]), table.where(tables.is_one_of("known_ds", moved))
    upper_bound = sum(day.count_rows for ds, day in built_days.read(settings, interactions.TABLE).items() if ds in days)
    with (
        erasures.none_meanwhile(settings, TABLE),
        tables.row_groups(spark, settings, TABLE),
        # Read five times: their days, the users and titles to look up, and the rows.
        kept_on_disk(_positives_known_on(spark, settings, days)) as positives,
    ):
        rows = _examples_of(positives, settings, days).unionByName(kept)
        rows = rows.withColumn("split", splits.split_of(max([*built, *days]), options, seed))
        shuffled = shuffle(rows, TABLE, math.ceil(upper_bound / MAX_ROWS_PER_FILE), seed)
        commit = tables.retry_conflicts(
            TABLE, lambda: tables.replace(shuffled, settings, TABLE, where, keep_layout=True)
        )
    written = tables.read_version(spark, settings, TABLE, commit.version).where(tables.is_one_of("known_ds", days))
    record = {ds: expected[ds] for ds in days}
    built_days.record(written, settings, TABLE, record, day_column="known_ds", without=["split"])


def _positives_known_on(spark: SparkSession, settings: Settings, days: Sequence[date]) -> DataFrame:
    """The positives that became known on `days`, with `as_of_ds`, the day before each happened."""
    known = tables.read(spark, settings, interactions.TABLE).where(tables.is_one_of("known_ds", days))
    is_positive = F.col("weight") >= F.lit(settings.interactions.positive_min_weight).cast("float")
    return known.where(is_positive).withColumn("as_of_ds", F.date_sub("ds", 1))


def _examples_of(positives: DataFrame, settings: Settings, days: Sequence[date]) -> DataFrame:
    """The examples of `positives`, which became known on `days`; without `split`."""
    spark, checkpoint_days = positives.sparkSession, change_rows.CHECKPOINT_DAYS
    event_days = [row["ds"] for row in positives.select("ds").distinct().collect()]
    as_of = [ds - timedelta(days=1) for ds in event_days] or [days[0] - timedelta(days=1)]
    is_needed = change_rows.ranges_to_read(as_of, checkpoint_days)

    users = positives.select("user_id", "as_of_ds").distinct()
    histories = tables.read(spark, settings, user_histories.TABLE).where(is_needed)
    states = change_rows.as_of_each(histories, users, user_histories.KEYS, checkpoint_days)
    interacted = tables.read(spark, settings, interactions.TABLE)
    on_time = interacted.where((F.col("known_ds") == F.col("ds")) & F.col("ds").isin(event_days))
    on_time = on_time.join(users.select("user_id").distinct(), on="user_id", how="left_semi")

    stats = tables.read(spark, settings, title_stats.TABLE)
    overall = stats.where((F.col("country") == title_stats.ALL_COUNTRIES) & is_needed).drop("country")
    titles = positives.select("title_id", "as_of_ds").distinct()
    counts = change_rows.as_of_each(overall, titles, ("title_id",), checkpoint_days)
    totals = daily_totals(stats, min(as_of), max(as_of), checkpoint_days)

    known = with_sampling_probability(with_histories(positives, states, on_time), counts, totals)
    return build_examples(known, settings.examples, settings.interactions.positive_min_weight, settings.seed)


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_day_job(__doc__, TABLE.name, plan, run, argv)


if __name__ == "__main__":
    sys.exit(main())
