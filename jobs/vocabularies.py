"""vocabularies: one row per kind and token, with the id that models use for it.

Reads stg_titles, stg_offers and title_stats, writes vocabularies. An id never changes, so that yesterday's model reads
today's rows: new tokens get the ids after the last one, the most frequent first, then in alphabetical order. Id 0 is
padding and 1 is unknown; neither has a row. A token gets its id on the first night on which it occurs often enough.

Ids depend on the order of the nights, so a night before the newest one is refused.
"""

import logging
import sys
from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, IntegerType, LongType, StringType, StructField, StructType

from conf.settings import MinCounts, Settings
from jobs import command, stg_offers, stg_titles, title_stats
from jobs.errors import JobError
from jobs.store import built_days, change_rows, tables
from jobs.store.disk_cache import kept_on_disk
from jobs.store.tables import Table
from lake.vocabulary_ids import UNKNOWN_ID

log = logging.getLogger("marquee")

KINDS = ("genre", "theme", "person", "language", "country", "provider", "title")
# How often a token must occur to get an id; of persons it is a setting. Genres, languages, countries and providers are
# few, so that each gets one. Themes are many, and a rare one connects hardly any titles. Titles count positives, and 0
# gives an id to the whole catalogue.
MIN_COUNTS = {"genre": 1, "theme": 3, "language": 1, "country": 1, "provider": 1, "title": 0}

TABLE = Table(
    name="vocabularies",
    grain="one row per kind and token",
    schema=StructType(
        [
            StructField("kind", StringType(), False, {"comment": ", ".join(KINDS)}),
            StructField("token", StringType(), False, {"comment": "as in staging; of a title its title_id"}),
            StructField("id", IntegerType(), False, {"comment": "from 2 within its kind; 0 pads, 1 is unknown"}),
            StructField("count_at_first", LongType(), False, {"comment": "how often it occurred when it got its id"}),
            StructField("first_ds", DateType(), False, {"comment": "night on which it got its id"}),
        ]
    ),
    primary_key=("kind", "token"),
    stats_columns=("kind", "first_ds"),
    checks={
        "kind_is_known": "kind IN ('" + "', '".join(KINDS) + "')",
        "id_is_not_reserved": f"id > {UNKNOWN_ID}",
    },
)


def count_tokens(titles: DataFrame, offers: DataFrame, stats: DataFrame) -> DataFrame:
    """`kind, token, count`: how often each token occurs.

    A token of a title's metadata counts once per title, a country also once per offer and per interaction, a provider
    once per offer, a title once per positive. `stats` are title_stats as of one day.
    """

    def tokens(rows: DataFrame, kind: str, token: Column, count: Column | None = None) -> DataFrame:
        number = F.lit(1) if count is None else count
        return rows.select(F.lit(kind).alias("kind"), token.alias("token"), number.cast("long").alias("count"))

    overall = stats.where(F.col("country") == title_stats.ALL_COUNTRIES)
    titles_with_counts = titles.join(overall.select("title_id", "count_positives_ever"), on="title_id", how="left")
    counts = [
        tokens(titles, "genre", F.explode(F.array_distinct("genres"))),
        tokens(titles, "theme", F.explode(F.array_distinct("themes"))),
        tokens(titles, "person", F.explode(F.array_union("cast", "directors"))),
        tokens(titles, "language", F.col("original_language")),
        tokens(titles, "country", F.explode(F.array_distinct("production_countries"))),
        tokens(offers, "country", F.col("country")),
        tokens(
            stats.where(F.col("country") != title_stats.ALL_COUNTRIES),
            "country",
            F.col("country"),
            F.col("count_interactions_ever"),
        ),
        tokens(offers, "provider", F.col("provider_id")),
        tokens(
            titles_with_counts, "title", F.col("title_id").cast("string"), F.coalesce("count_positives_ever", F.lit(0))
        ),
    ]
    occurrences = reduce(DataFrame.unionByName, counts).where("token IS NOT NULL AND trim(token) <> ''")
    return occurrences.groupBy("kind", "token").agg(F.sum("count").alias("count"))


def give_ids(counts: DataFrame, known: DataFrame, ds: date, min_counts: MinCounts) -> DataFrame:
    """Rows for the tokens of `counts` that are not in `known` (the table) and occur often enough."""
    by_kind = MIN_COUNTS | min_counts.model_dump()
    least = F.create_map(*[F.lit(part) for kind in KINDS for part in (kind, by_kind[kind])])
    frequent = counts.where(F.col("count") >= F.element_at(least, F.col("kind")))
    new = frequent.join(known.select("kind", "token"), on=["kind", "token"], how="left_anti")
    taken = known.groupBy("kind").agg(F.max("id").alias("last_id"))
    order = Window.partitionBy("kind").orderBy(F.desc("count"), "token")
    ids = F.coalesce("last_id", F.lit(UNKNOWN_ID)) + F.row_number().over(order)
    return new.join(F.broadcast(taken), on="kind", how="left").select(
        *("kind", "token", ids.alias("id")), F.col("count").alias("count_at_first"), F.lit(ds).alias("first_ds")
    )


def run(spark: SparkSession, settings: Settings, ds: date) -> None:
    """Give ids to tokens that are new as of `ds`. Raises JobError for a night before the newest one that gave ids."""
    built = built_days.read(settings, TABLE)
    tables.ensure(spark, settings, TABLE)
    if built and ds < max(built):
        raise JobError(
            f"{TABLE.name} for ds={ds}: ids were given as of {max(built)} already, and ids follow the order of nights; "
            "nothing was changed"
        )
    for table in (stg_titles.TABLE, stg_offers.TABLE, title_stats.TABLE):
        tables.ensure(spark, settings, table)
    titles = tables.read(spark, settings, stg_titles.TABLE)
    offers = tables.read(spark, settings, stg_offers.TABLE)
    all_stats = tables.read(spark, settings, title_stats.TABLE)
    stats = change_rows.as_of(all_stats, title_stats.KEYS, ds, change_rows.CHECKPOINT_DAYS)

    def add() -> None:
        version = tables.version(settings, TABLE)
        known = tables.read_version(spark, settings, TABLE, version)
        new = give_ids(count_tokens(titles, offers, stats), known, ds, settings.vocabulary_min_counts)
        with kept_on_disk(new) as kept:
            if not kept.isEmpty():
                # A second run of a night keeps the ids that the first gave.
                of_night = known.where(F.col("first_ds") == F.lit(ds)).unionByName(kept)
                tables.replace(of_night, settings, TABLE, f"first_ds = DATE'{ds}'", expected_version=version)

    tables.retry_conflicts(TABLE, add)
    inputs = {ds: built_days.hash_inputs(TABLE, settings.vocabulary_min_counts)}
    built_days.record(tables.read(spark, settings, TABLE), settings, TABLE, inputs, day_column="first_ds")


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_snapshot_job(__doc__, TABLE.name, run, argv)


if __name__ == "__main__":
    sys.exit(main())
