"""stg_titles: one row per title_id. Source: the raw feed `titles`, the whole catalogue as of today.

Reads <feeds.root>/titles/*.jsonl[.gz]; writes stg_titles, rejected_rows and feed_loads. A title that is no longer
in the catalogue is kept, with the day it was removed, since past interactions point to it. Of several lines with one
title_id the one in the last file by name is kept, within one file the one that sorts last.
"""

import sys
from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DateType, IntegerType, LongType, StringType, StructField, StructType

from conf.settings import Settings
from jobs import command
from jobs.staging import snapshot_feeds
from jobs.staging.feed_staging import FeedSpec
from jobs.staging.parsing import TITLE_ID, Field
from jobs.store.tables import Table

# No film is older, and a year further ahead is a typing error.
_FIRST_YEAR, _LAST_YEAR = 1870, 2150
_LISTS = ("production_countries", "genres", "themes", "cast", "directors")
# Nulls are refused by the feed's fields; a list that forbids them by type can't be merged by Delta.
_TEXTS = ArrayType(StringType(), True)

TABLE = Table(
    name="stg_titles",
    grain="one row per title_id",
    schema=StructType(
        [
            StructField("title_id", LongType(), False, {"comment": "key"}),
            StructField("title", StringType(), False, {"comment": "as shown"}),
            StructField("object_type", StringType(), True, {"comment": "movie or show"}),
            StructField("release_year", IntegerType(), True, {"comment": "of the first release"}),
            StructField("release_date", DateType(), True, {"comment": "of the first release; may lie ahead"}),
            StructField("runtime_minutes", IntegerType(), True, {"comment": "of the film, or of an episode"}),
            StructField("original_language", StringType(), True, {"comment": "ISO 639-1"}),
            StructField("production_countries", _TEXTS, False, {"comment": "empty where not known"}),
            StructField("genres", _TEXTS, False, {"comment": "empty where not known"}),
            StructField("themes", _TEXTS, False, {"comment": "empty where not known"}),
            StructField("cast", _TEXTS, False, {"comment": "in order of billing; empty where not known"}),
            StructField("directors", _TEXTS, False, {"comment": "empty where not known"}),
            StructField("plot", StringType(), True, {"comment": "null where not known"}),
            StructField("poster", StringType(), True, {"comment": "file name in feeds.posters_dir"}),
            StructField("content_hash", StringType(), False, {"comment": "SHA-256 of all that the feed says"}),
            StructField("first_ds", DateType(), False, {"comment": "first day in the catalogue"}),
            StructField("updated_ds", DateType(), False, {"comment": "day of the last change"}),
            StructField("removed_ds", DateType(), True, {"comment": "day it was gone; null while it is listed"}),
        ]
    ),
    primary_key=("title_id",),
    stats_columns=("title_id",),
    checks={
        "title_id_from_0": "title_id >= 0",
        "object_type_is_known": "object_type IS NULL OR object_type IN ('movie', 'show')",
        "runtime_is_positive": "runtime_minutes IS NULL OR runtime_minutes > 0",
    },
)

_FIELDS = TABLE.schema.fieldNames()[:14]


def feed_spec() -> FeedSpec:
    """The fields of the raw feed and what they must hold."""
    years = f"from {_FIRST_YEAR} to {_LAST_YEAR}"
    return FeedSpec(
        "titles",
        (
            TITLE_ID,
            Field("title", "string", "a text", is_required=True),
            Field("object_type", "string", "movie or show", is_valid=lambda v: v.isin("movie", "show")),
            Field("release_year", "int", f"a year {years}", is_valid=lambda v: v.between(_FIRST_YEAR, _LAST_YEAR)),
            Field(
                *("release_date", "string", f"a date like 2024-05-01, {years}"),
                convert=lambda v: F.when(v.rlike(r"^\d{4}-\d{2}-\d{2}$"), v.try_cast("date")),
                is_valid=lambda v: F.year(v).between(_FIRST_YEAR, _LAST_YEAR),
            ),
            Field("runtime_minutes", "int", "a positive integer", is_valid=lambda v: v > 0),
            Field("original_language", "string", "a text"),
            *[Field(name, "array<string>", "a list of texts") for name in _LISTS],
            Field("plot", "string", "a text"),
            Field("poster", "string", "a file name without a folder", is_valid=lambda v: ~v.rlike(r"[/\\]|^\.")),
        ),
    )


def build_titles(lines: DataFrame) -> DataFrame:
    """Table rows of good lines: missing lists become empty, and a hash shows whether anything changed."""
    empty = F.array().cast("array<string>")
    titles = lines.withColumns({name: F.coalesce(name, empty) for name in _LISTS})
    content = F.to_json(F.struct(*[F.col(name) for name in _FIELDS]))
    return titles.select(*_FIELDS, F.sha2(content, 256).alias("content_hash"))


def is_changed() -> Column:
    return (F.col("t.content_hash") != F.col("s.content_hash")) | F.col("t.removed_ds").isNotNull()


def run(spark: SparkSession, settings: Settings, ds: date) -> None:
    """Merge the catalogue as of `ds`."""
    snapshot_feeds.run(spark, settings, ds, feed_spec(), TABLE, build_titles, is_changed(), copy_order=())


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_snapshot_job(__doc__, TABLE.name, run, argv)


if __name__ == "__main__":
    sys.exit(main())
