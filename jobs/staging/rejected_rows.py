"""rejected_rows: one row per rejected input line or poster, with the reason. Source: every staging job."""

from collections.abc import Collection
from datetime import date

from pyspark.sql.types import BinaryType, DateType, StringType, StructField, StructType

from conf.settings import Settings
from jobs.store import tables
from jobs.store.tables import Table
from lake import delta_log

TABLE = Table(
    name="rejected_rows",
    grain="one row per rejected input line or poster",
    schema=StructType(
        [
            StructField(
                "feed", StringType(), False, {"comment": "events, titles, offers, consents, erasures, posters"}
            ),
            StructField("ds", DateType(), False, {"comment": "the feed day it was delivered for"}),
            StructField("file", StringType(), False, {"comment": "path below the feeds' root"}),
            StructField("reason", StringType(), False, {"comment": "each field that is wrong, expected and found"}),
            StructField("line", StringType(), False, {"comment": "the line; U+FFFD where it is not valid UTF-8"}),
            StructField("line_bytes", BinaryType(), True, {"comment": "the line's bytes where it is not valid UTF-8"}),
        ]
    ),
    # A producer may send the same bad line twice, and each is a row.
    primary_key=(),
    stats_columns=("ds",),
    partition_by=("feed",),
)


def has_any(settings: Settings, feed: str, days: Collection[date]) -> bool:
    """True where the table has a row of one of these feed days; without Spark."""
    rejects = delta_log.load(tables.location(settings, TABLE))
    return delta_log.read(rejects, ["ds"], [("feed", "=", feed), ("ds", "in", list(days))]).num_rows > 0
