"""training_users: one row per user_id: the padded history as of the split, for a loss over whole users.

Reads user_histories, interactions and training_examples, writes training_users. By date, a history is as of the end of
the last day of train. By last share, it ends with the moment of the user's first positive that is not in train, other
interactions of that moment included. Without a split it is whole. Users who came after the split have no row, and no
history has a held-out title.
"""

import logging
import sys
from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, StringType, StructField, StructType

from conf.settings import Settings
from jobs import command, interactions, training_examples, user_histories
from jobs.errors import JobError
from jobs.features import history_entries, splits
from jobs.staging import erasures
from jobs.store import built_days, change_rows, tables
from jobs.store.shuffled_files import shuffle
from jobs.store.tables import Table

log = logging.getLogger("marquee")

TABLE = Table(
    name="training_users",
    grain="one row per user_id that has a history as of the split",
    schema=StructType(
        [
            StructField("user_id", StringType(), False, {"comment": "pseudonymous"}),
            StructField("as_of_ds", DateType(), False, {"comment": "day the lake was built up to"}),
            StructField("country", StringType(), False, {"comment": "of the latest entry"}),
            *history_entries.PADDED_FIELDS,
        ]
    ),
    primary_key=("user_id",),
    stats_columns=("as_of_ds",),
    checks={"has_a_title": "history_length > 0"},
    user_column="user_id",
    is_for_training=True,
    is_derived=True,
)


def build_users(users: DataFrame, moment: Column, ds: date, length: int, held_out_share: float, seed: int) -> DataFrame:
    """Rows of the table from users with `entries`; ages count back from `moment`."""
    kept = F.filter("entries", lambda entry: ~splits.is_held_out(entry["title_id"], held_out_share, seed))
    cut = users.withColumn("entries", history_entries.latest(kept, length)).where(F.size("entries") > 0)
    return cut.select(
        "user_id",
        F.lit(ds).alias("as_of_ds"),
        F.get("entries", F.lit(0))["country"].alias("country"),
        *[column.alias(name) for name, column in history_entries.pad(F.col("entries"), moment, length).items()],
    )


def entries_before_cut(interacted: DataFrame, examples: DataFrame) -> DataFrame:
    """Users with their `entries` up to `cut_time`, the moment of their first positive that is not in train.

    Some users rate whole lists in one second: the part of such a list that is in train is known at the cut.
    """
    kept_back = examples.where(F.col("split").isin("validation", "test"))
    cuts = kept_back.groupBy("user_id").agg(F.min("event_time").alias("cut_time"))
    pairs = kept_back.select("user_id", "title_id", F.lit(True).alias("is_kept_back")).distinct()
    joined = interacted.join(cuts, on="user_id", how="left").join(pairs, on=["user_id", "title_id"], how="left")
    is_train_of_that_moment = (F.col("last_event_time") == F.col("cut_time")) & F.col("is_kept_back").isNull()
    is_before = F.col("cut_time").isNull() | (F.col("last_event_time") < F.col("cut_time"))
    entries = history_entries.collect_entries(joined.where(is_before | is_train_of_that_moment), ("user_id",))
    return entries.join(cuts, on="user_id", how="left")


def run(spark: SparkSession, settings: Settings, ds: date) -> None:
    """Replace the table. Raises JobError unless `ds` is the newest day of training_examples."""
    examples = built_days.read(settings, training_examples.TABLE)
    newest = max(examples, default=None)
    if newest != ds:
        raise JobError(
            f"{TABLE.name} for ds={ds}: {training_examples.TABLE.name} is built up to {newest}, and its split is that "
            "of its newest day"
        )
    inputs = built_days.hash_inputs(TABLE, examples[ds].inputs_hash)
    built = built_days.read(settings, TABLE)
    tables.ensure(spark, settings, TABLE)
    if built and max(built) == ds and built[ds].inputs_hash == inputs:
        log.info("%s: ds=%s, nothing changed", TABLE.name, ds)
        return
    options = settings.examples
    interacted = tables.read(spark, settings, interactions.TABLE).where(F.col("known_ds") <= F.lit(ds))
    if options.split == "last_share":
        users = entries_before_cut(interacted, tables.read(spark, settings, training_examples.TABLE))
        moment = F.coalesce("cut_time", F.timestamp_add("DAY", F.lit(1), F.lit(ds).cast("timestamp")))
    else:
        last = ds
        if options.split == "by_date":
            last = splits.validation_from(ds, options) - timedelta(days=1)
        histories = tables.read(spark, settings, user_histories.TABLE)
        users = change_rows.as_of(histories, user_histories.KEYS, last, change_rows.CHECKPOINT_DAYS)
        moment = F.lit(last + timedelta(days=1)).cast("timestamp")
    share, seed = options.held_out_titles_share, settings.seed
    rows = shuffle(build_users(users, moment, ds, options.user_history_titles, share, seed), TABLE, 1, seed)
    with erasures.none_meanwhile(settings, TABLE), tables.row_groups(spark, settings, TABLE):
        commit = tables.retry_conflicts(TABLE, lambda: tables.replace(rows, settings, TABLE, "true", keep_layout=True))
    written = tables.read_version(spark, settings, TABLE, commit.version)
    built_days.record(written, settings, TABLE, {ds: inputs}, day_column="as_of_ds")


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_snapshot_job(__doc__, TABLE.name, run, argv)


if __name__ == "__main__":
    sys.exit(main())
