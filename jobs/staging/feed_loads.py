"""feed_loads: one row per feed and day that was staged: its files and where their lines went. Source: staging jobs.

It distinguishes loaded days from days still to load, and empty days from missing ones. The counts add up: lines =
loaded + rejected (duplicates included) + erased.
"""

from datetime import date
from typing import Any

from pyspark.sql.types import ArrayType, DateType, IntegerType, LongType, StringType, StructField, StructType

from conf.settings import Settings
from jobs.store import tables
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


def size_bytes(settings: Settings, feed: str) -> dict[date, int]:
    """Bytes of the files of each day that was loaded; without Spark."""
    return _per_day(settings, feed, "size_bytes")


def fingerprints(settings: Settings, feed: str) -> dict[date, str]:
    """Fingerprints of the files of each day that was loaded; without Spark."""
    return _per_day(settings, feed, "fingerprint")


def _per_day(settings: Settings, feed: str, column: str) -> dict[date, Any]:
    if not tables.exists(settings, TABLE):
        return {}
    loads = delta_log.load(tables.location(settings, TABLE))
    rows = delta_log.read(loads, ["ds", column], [("feed", "=", feed)]).to_pylist()
    return {row["ds"]: row[column] for row in rows}
