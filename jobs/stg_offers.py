"""stg_offers: one row per (title_id, country, provider_id, monetization_type). Source: the raw feed `offers`.

Reads <feeds.root>/offers/*.jsonl[.gz], all offers as of today; writes stg_offers, rejected_rows and feed_loads. An
offer that is no longer in the feed is deleted.
"""

import sys
from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, LongType, StringType, StructField, StructType

from conf.settings import Settings
from jobs import command
from jobs.staging import snapshot_feeds
from jobs.staging.feed_staging import FeedSpec
from jobs.staging.parsing import COUNTRY, TITLE_ID, Field
from jobs.store.tables import Table

MONETIZATION_TYPES = ("flatrate", "free", "ads", "rent", "buy")

TABLE = Table(
    name="stg_offers",
    grain="one row per title_id, country, provider_id and monetization_type",
    schema=StructType(
        [
            StructField("title_id", LongType(), False, {"comment": "may be a title that the catalogue lacks"}),
            StructField("country", StringType(), False, {"comment": "ISO 3166-1 alpha-2"}),
            StructField("provider_id", StringType(), False, {"comment": "who offers it"}),
            StructField("monetization_type", StringType(), False, {"comment": ", ".join(MONETIZATION_TYPES)}),
            StructField("first_ds", DateType(), False, {"comment": "first day it was offered"}),
        ]
    ),
    primary_key=("title_id", "country", "provider_id", "monetization_type"),
    stats_columns=("title_id", "country"),
    checks={
        "title_id_from_0": "title_id >= 0",
        "country_is_code": "country RLIKE '^[A-Z]{2}$'",
        "monetization_type_is_known": "monetization_type IN ('" + "', '".join(MONETIZATION_TYPES) + "')",
    },
)


def feed_spec() -> FeedSpec:
    """The fields of the raw feed and what they must hold."""
    return FeedSpec(
        "offers",
        (
            TITLE_ID,
            COUNTRY,
            Field("provider_id", "string", "an id", is_required=True),
            Field(
                *("monetization_type", "string", f"one of {', '.join(MONETIZATION_TYPES)}"),
                is_required=True,
                is_valid=lambda v: v.isin(*MONETIZATION_TYPES),
            ),
        ),
    )


def build_offers(lines: DataFrame) -> DataFrame:
    """Table rows of good lines: only the key."""
    return lines.select(*TABLE.primary_key)


def run(spark: SparkSession, settings: Settings, ds: date) -> None:
    """Merge the offers as of `ds`."""
    snapshot_feeds.run(spark, settings, ds, feed_spec(), TABLE, build_offers, changed=F.lit(False), copy_order=())


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_snapshot_job(__doc__, TABLE.name, run, argv)


if __name__ == "__main__":
    sys.exit(main())
