"""click_ranks: one row per title, day it was known, kind of order and rank: how often it was shown there, and clicked.

Reads stg_events, writes click_ranks. A click is a `detail_view` with a rank. Clicks per rank of titles in random order
(`position_bias.random_variant`) measure the position bias: see models/debiasing. `ds` is the day from which
events are known, as in jobs/interactions.py.
"""

import sys
from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DateType, IntegerType, LongType, StructField, StructType

from conf.settings import Settings
from jobs import command, interactions, stg_events
from jobs.store import built_days, tables
from jobs.store.tables import Table

TABLE = Table(
    name="click_ranks",
    grain="one row per title, day it was known, kind of order and rank",
    schema=StructType(
        [
            StructField("title_id", LongType(), False, {"comment": "may be a title that the catalogue lacks"}),
            StructField("ds", DateType(), False, {"comment": "day from which the events are known"}),
            StructField("is_random", BooleanType(), False, {"comment": "shown in random order"}),
            StructField("rank", IntegerType(), False, {"comment": "place in the list, from 1"}),
            StructField("count_impressions", LongType(), False, {"comment": "times shown there"}),
            StructField("count_clicks", LongType(), False, {"comment": "times clicked there"}),
        ]
    ),
    primary_key=("title_id", "ds", "is_random", "rank"),
    stats_columns=("ds",),
    checks={"ranks_begin_at_1": "rank >= 1"},
    is_derived=True,
)


def build_click_ranks(events: DataFrame, random_variant: str) -> DataFrame:
    """Rows of the table from `stg_events` rows that have `known_ds`."""
    ranked = events.where("rank >= 1 AND event_type IN ('impression', 'detail_view')")
    is_random = F.coalesce(F.col("variant") == random_variant, F.lit(False))
    counted = ranked.groupBy("title_id", F.col("known_ds").alias("ds"), is_random.alias("is_random"), "rank").agg(
        F.count_if(F.col("event_type") == "impression").alias("count_impressions"),
        F.count_if(F.col("event_type") == "detail_view").alias("count_clicks"),
    )
    return counted.select(*TABLE.schema.fieldNames())


def inputs(settings: Settings) -> dict[date, str]:
    """A hash of the inputs of a day's rows, per loaded feed day."""
    start = built_days.hash_inputs(TABLE, settings.position_bias.random_variant)
    return interactions.inputs_of_events(settings, start)


def plan(settings: Settings, days: Sequence[date], skip_complete: bool) -> list[date]:
    """The days to build for a request of `days`; raises JobError for one whose events are not loaded."""
    return interactions.plan_of_events(settings, TABLE, inputs(settings), days, skip_complete)


def run(spark: SparkSession, settings: Settings, days: Sequence[date]) -> None:
    """Build `days`, each replaced whole."""
    tables.ensure(spark, settings, TABLE)
    expected = inputs(settings)
    events = tables.read(spark, settings, stg_events.TABLE)
    known = interactions.with_known_ds(events).where(tables.is_one_of("known_ds", days))
    rows = build_click_ranks(known, settings.position_bias.random_variant)
    written = tables.replace_days(rows, settings, TABLE, "ds", days)
    built_days.record(written, settings, TABLE, {ds: expected[ds] for ds in days}, day_column="ds")


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_day_job(__doc__, TABLE.name, plan, run, argv)


if __name__ == "__main__":
    sys.exit(main())
