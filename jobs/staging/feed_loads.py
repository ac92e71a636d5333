"""feed_loads: one row per feed and day that was staged: its files and where their lines went. Source: staging jobs.

It distinguishes loaded days from days still to load, and empty days from missing ones. The counts add up: lines =
loaded + rejected (duplicates included) + erased.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, DateType, IntegerType, LongType, StringType, StructField, StructType

from conf.settings import Settings
from jobs.store import few_rows, tables
from jobs.store.tables import Table
from lake import delta_log, feed_days
from lake.feed_days import COUNTS

TABLE = Table(
    name=feed_days.TABLE,
    grain="one row per feed and feed day that was staged",
    schema=StructType(
        [
            StructField("feed", StringType(), False, {"comment": "events, titles, offers or consents"}),
            StructField("ds", DateType(), False, {"comment": "feed day"}),
            StructField("count_files", IntegerType(), False, {"comment": "files of the day, empty ones included"}),
            StructField("size_bytes", LongType(), False, {"comment": "of the files as stored"}),
            StructField("fingerprint", StringType(), False, {"comment": "SHA-256 of names, sizes, times of change"}),
            *[StructField(name, LongType(), False, {"comment": comment}) for name, comment in COUNTS.items()],
            StructField("unknown_fields", ArrayType(StringType(), False), False, {"comment": "kept out; first few"}),
        ]
    ),
    primary_key=("feed", "ds"),
    stats_columns=("ds",),
    partition_by=("feed",),
    checks={"adds_up": "count_lines = count_loaded + count_rejected + count_erased"},
)


def read(settings: Settings, feed: str) -> dict[date, Mapping[str, Any]]:
    """The row of each day of a feed that was loaded."""
    if not tables.exists(settings, TABLE):
        return {}
    loads = delta_log.load(tables.location(settings, TABLE))
    rows = delta_log.read(loads, filters=[("feed", "=", feed)]).to_pylist()
    return {row["ds"]: row for row in rows}


def size_bytes(settings: Settings, feed: str) -> dict[date, int]:
    """Bytes of the files of each day that was loaded."""
    return {ds: row["size_bytes"] for ds, row in read(settings, feed).items()}


def fingerprints(settings: Settings, feed: str) -> dict[date, str]:
    """Fingerprints of the files of each day that was loaded."""
    return {ds: row["fingerprint"] for ds, row in read(settings, feed).items()}


def replace(
    spark: SparkSession, settings: Settings, feed: str, days: Sequence[date], rows: Sequence[tuple[object, ...]]
) -> None:
    """Replace the rows of `days` of a feed by `rows`, whose values are in the order of the columns."""
    tables.ensure(spark, settings, TABLE)
    where = f"feed = '{feed}' AND ({tables.is_one_of('ds', days)})"

    def write() -> None:
        few_rows.replace(delta_log.load(tables.location(settings, TABLE)), TABLE, rows, where)

    tables.retry_conflicts(TABLE, write)
