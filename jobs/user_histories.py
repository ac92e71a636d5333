"""user_histories: one row per user_id and ds: the titles of a user's last interactions, with weights and times.

Reads interactions and user_histories as of the day before, writes user_histories. A row is as of the end of `ds`. A
table of change rows: a user has a row on days on which an interaction became known, and on every checkpoint day. Times
are stored instead of ages, which would be wrong the next day.
"""

import sys
from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DateType, IntegerType, StringType, StructField, StructType

from conf.settings import Settings
from jobs import command, interactions
from jobs.features import history_entries
from jobs.staging import erasures
from jobs.store import built_days, change_rows, tables
from jobs.store.tables import Table

KEYS = ("user_id",)

TABLE = Table(
    name="user_histories",
    grain="one row per user_id and ds on which something became known; everyone on a checkpoint day",
    schema=StructType(
        [
            StructField("user_id", StringType(), False, {"comment": "pseudonymous"}),
            StructField("ds", DateType(), False, {"comment": "as of its end"}),
            StructField("entries", history_entries.ENTRIES, False, {"comment": "one per title, the latest first, cut"}),
            StructField("count_interactions", IntegerType(), False, {"comment": "all so far, those cut too"}),
        ]
    ),
    primary_key=("user_id", "ds"),
    stats_columns=("ds",),
    checks={"has_a_title": "size(entries) > 0"},
    user_column="user_id",
    is_derived=True,
)

_STATE = StructType(
    [
        StructField("ds", DateType(), True),
        StructField("entries", history_entries.ENTRIES, True),
        StructField("count_interactions", IntegerType(), True),
    ]
)
_STATES = ArrayType(_STATE, True)


def build_histories(
    new: DataFrame, before: DataFrame, days: Sequence[date], max_titles: int, checkpoint_days: int
) -> DataFrame:
    """Rows of the table for `days`, which are consecutive.

    `new` are the interactions that became known on these days, `before` is the table as of the day before the first.
    """
    by_day = new.withColumnRenamed("known_ds", "day").withColumn("known_ds", F.col("day"))
    active = history_entries.collect_entries(by_day, ("user_id", "known_ds")).withColumnRenamed("known_ds", "ds")
    if change_rows.checkpoints(days, checkpoint_days):
        users = before.select("user_id").unionByName(active.select("user_id")).distinct()
        # Of an active user's day there are two rows then: one says what it added, and one nothing.
        per_day = change_rows.with_checkpoints(active, users, days, checkpoint_days).groupBy("user_id", "ds")
        active = per_day.agg(
            F.coalesce(F.any_value("entries", ignoreNulls=True), history_entries.no_entries()).alias("entries"),
            F.coalesce(F.max("count_interactions"), F.lit(0)).alias("count_interactions"),
        )
    steps = active.groupBy("user_id").agg(
        F.sort_array(F.collect_list(F.struct("ds", "entries", "count_interactions"))).alias("steps")
    )
    start = before.select("user_id", F.struct("ds", "entries", "count_interactions").cast(_STATE).alias("start"))
    states = steps.join(start, on="user_id", how="left").select(
        "user_id", F.explode(_walk(F.col("start"), F.col("steps"), max_titles)).alias("state")
    )
    rows = states.select("user_id", "state.*")
    # A checkpoint day has no row for a user who came after it.
    return rows.where(change_rows.between("ds", days[0], days[-1]) & (F.size("entries") > 0))


def _walk(start: Column, steps: Column, max_titles: int) -> Column:
    """The states of a history after each of `steps`, from its state at the start (null where there was none)."""
    empty = F.struct(
        F.lit(None).cast("date").alias("ds"),
        history_entries.no_entries().alias("entries"),
        F.lit(0).alias("count_interactions"),
    ).cast(_STATE)

    def after(states: Column, step: Column) -> Column:
        state = F.element_at(states, -1)
        entries = history_entries.latest(history_entries.merge(state["entries"], step["entries"]), max_titles)
        new_state = F.struct(
            step["ds"].alias("ds"),
            entries.alias("entries"),
            (state["count_interactions"] + step["count_interactions"]).cast("int").alias("count_interactions"),
        ).cast(_STATE)
        return F.concat(states, F.array(new_state)).cast(_STATES)

    states = F.aggregate(steps, F.array(F.coalesce(start, empty)).cast(_STATES), after)
    return F.slice(states, 2, F.size(steps))


def inputs(settings: Settings) -> dict[date, str]:
    """A hash of all inputs of the histories as of a day, per day with interactions."""
    start = built_days.hash_inputs(TABLE, change_rows.hashed_constants(), settings.histories)
    return built_days.chain(built_days.read(settings, interactions.TABLE), start)


def plan(settings: Settings, days: Sequence[date], skip_complete: bool) -> list[date]:
    """The days to build for a request of `days`; raises JobError where a day before them is missing."""
    return built_days.days_to_build(settings, TABLE, days, inputs(settings), skip_complete)


def run(spark: SparkSession, settings: Settings, days: Sequence[date]) -> None:
    """Build `days`, as `plan` gives them: in order and without gaps."""
    tables.ensure(spark, settings, TABLE)
    expected = inputs(settings)
    new = tables.read(spark, settings, interactions.TABLE).where(tables.is_one_of("known_ds", days))
    checkpoint_days = change_rows.CHECKPOINT_DAYS
    recent = change_rows.read_back(tables.read(spark, settings, TABLE), days[0] - timedelta(days=1), checkpoint_days)
    if not change_rows.checkpoints(days, checkpoint_days):
        recent = recent.join(new.select("user_id").distinct(), on="user_id", how="left_semi")
    before = change_rows.newest(recent, KEYS)
    rows = build_histories(new, before, days, settings.histories.max_titles, checkpoint_days)
    with erasures.none_meanwhile(settings, TABLE):
        written = tables.replace_days(rows, settings, TABLE, "ds", days)
    built_days.record(written, settings, TABLE, {ds: expected[ds] for ds in days})


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_day_job(__doc__, TABLE.name, plan, run, argv)


if __name__ == "__main__":
    sys.exit(main())
