"""stg_consents: one row per user_id. Source: the raw feed `consents`, all consents as of today.

Reads <feeds.root>/consents/*.jsonl[.gz]; writes stg_consents, rejected_rows and feed_loads. A user who is no
longer in the feed has given no consent and is deleted. Of several lines of one user a refusal is kept over a consent.
"""

import sys
from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DateType, StringType, StructField, StructType

from conf.settings import Settings
from jobs import command
from jobs.staging import snapshot_feeds
from jobs.staging.feed_staging import FeedSpec
from jobs.staging.parsing import Field
from jobs.store.tables import Table

_SHA_256 = "^[0-9a-f]{64}$"

TABLE = Table(
    name="stg_consents",
    grain="one row per user_id",
    schema=StructType(
        [
            StructField("user_id", StringType(), False, {"comment": "pseudonymous"}),
            StructField("marketing", BooleanType(), False, {"comment": "may be in a campaign's audience"}),
            StructField("hashed_email", StringType(), True, {"comment": "SHA-256, hex"}),
            StructField("updated_ds", DateType(), False, {"comment": "day of the last change"}),
        ]
    ),
    primary_key=("user_id",),
    stats_columns=("updated_ds",),
    checks={"hashed_email_is_sha_256": f"hashed_email IS NULL OR hashed_email RLIKE '{_SHA_256}'"},
    user_column="user_id",
)


def feed_spec() -> FeedSpec:
    """The fields of the raw feed and what they must hold."""
    return FeedSpec(
        "consents",
        (
            Field("user_id", "string", "an id", is_required=True),
            Field("marketing", "boolean", "true or false", is_required=True),
            Field("hashed_email", "string", "a SHA-256 in hex", convert=F.lower, is_valid=lambda v: v.rlike(_SHA_256)),
        ),
        user_column="user_id",
    )


def build_consents(lines: DataFrame) -> DataFrame:
    return lines.select("user_id", "marketing", "hashed_email")


def is_changed() -> Column:
    same = F.col("t.marketing").eqNullSafe(F.col("s.marketing"))
    return ~(same & F.col("t.hashed_email").eqNullSafe(F.col("s.hashed_email")))


def run(spark: SparkSession, settings: Settings, ds: date) -> None:
    """Merge the consents as of `ds`."""
    refusal_first = (F.asc("marketing"),)
    snapshot_feeds.run(spark, settings, ds, feed_spec(), TABLE, build_consents, is_changed(), refusal_first)


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_snapshot_job(__doc__, TABLE.name, run, argv)


if __name__ == "__main__":
    sys.exit(main())
