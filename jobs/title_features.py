"""title_features: one row per title_id: the features that models read of a title, as of the newest night.

Reads stg_titles, vocabularies, title_stats and the poster files in `feeds.posters_dir`; writes title_features,
text_encoder_terms where an encoder is fitted, and rejected_rows. A plot or poster is encoded again only when it or its
encoder changed. A title without a plot or poster has a null embedding: zeros would look like a value. A poster that
can't be used goes to rejected_rows, feed `posters`, with the reason.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial, reduce
from operator import or_

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DateType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from conf.settings import Settings
from jobs import command, stg_titles, title_stats, vocabularies
from jobs.errors import JobError
from jobs.features import encoder_inputs, text_encoder_terms, title_encoding
from jobs.features.encoders.errors import EncoderError
from jobs.staging import feed_staging
from jobs.staging.feed_staging import FeedSpec
from jobs.store import built_days, change_rows, tables
from jobs.store.disk_cache import kept_on_disk
from jobs.store.tables import Table
from lake.vocabulary_ids import PADDING_ID, UNKNOWN_ID

log = logging.getLogger("marquee")

_IDS = ArrayType(IntegerType(), True)
KINDS = ("plot", "poster")
ENCODED = ("title", *KINDS)
_EMBEDDING = ArrayType(FloatType(), True)
OBJECT_TYPE_IDS = {"movie": 2, "show": 3}
POSTERS = FeedSpec("posters", ())


def _embedding_fields(kind: str, hashed: str) -> tuple[StructField, ...]:
    return (
        StructField(f"{kind}_embedding", _EMBEDDING, True, {"comment": "of length 1; null where there is none"}),
        StructField(f"{kind}_problem", StringType(), True, {"comment": f"why a {kind} has no embedding"}),
        StructField(f"{kind}_encoder", StringType(), True, {"comment": "version of what made the embedding"}),
        StructField(f"{kind}_hash", StringType(), True, {"comment": f"SHA-256 of {hashed}"}),
        StructField(f"{kind}_ds", DateType(), True, {"comment": f"night on which the {kind} was encoded"}),
    )


TABLE = Table(
    name="title_features",
    grain="one row per title_id",
    schema=StructType(
        [
            StructField("title_id", LongType(), False, {"comment": "key"}),
            StructField("title_index", IntegerType(), False, {"comment": "its id in vocabularies, kind title"}),
            StructField("is_listed", BooleanType(), False, {"comment": "whether the catalogue still has it"}),
            StructField("object_type_id", IntegerType(), False, {"comment": "1 unknown, 2 movie, 3 show"}),
            StructField("language_id", IntegerType(), False, {"comment": "1 where not known"}),
            StructField("genre_ids", _IDS, False, {"comment": "padded with 0; 1 stands for all unknown ones"}),
            StructField("theme_ids", _IDS, False, {"comment": "likewise"}),
            StructField("cast_ids", _IDS, False, {"comment": "likewise, in order of billing; persons"}),
            StructField("director_ids", _IDS, False, {"comment": "likewise; persons"}),
            StructField("release_date", DateType(), True, {"comment": "may lie ahead"}),
            StructField("release_year", IntegerType(), True),
            StructField("has_title", BooleanType(), False, {"comment": "whether it is to be encoded by itself"}),
            *_embedding_fields("title", "title and encoder"),
            StructField("has_plot", BooleanType(), False, {"comment": "whether there is a text to encode"}),
            *_embedding_fields("plot", "text and encoder"),
            StructField("has_poster", BooleanType(), False, {"comment": "whether a poster file is named"}),
            *_embedding_fields("poster", "the file's name, size, time of change, and encoder"),
            StructField("count_positives_28d", LongType(), False, {"comment": "as of updated_ds and since"}),
            StructField("count_positives_ever", LongType(), False, {"comment": "likewise"}),
            StructField("content_hash", StringType(), False, {"comment": "SHA-256 of all but the counts"}),
            StructField("updated_ds", DateType(), False, {"comment": "night of the last change"}),
        ]
    ),
    primary_key=("title_id",),
    stats_columns=("title_id",),
    checks={
        f"{kind}_embedding_or_problem": f"IF(has_{kind}, ({kind}_embedding IS NULL) = ({kind}_problem IS NOT NULL), "
        f"{kind}_embedding IS NULL AND {kind}_problem IS NULL)"
        for kind in ENCODED
    },
    is_derived=True,
)

_COUNTS = ("count_positives_28d", "count_positives_ever")
_CONTENT = TABLE.schema.fieldNames()[:-4]
# Column of stg_titles, kind of its tokens, column here.
_LISTS = (
    ("genres", "genre", "genre_ids"),
    ("themes", "theme", "theme_ids"),
    ("cast", "person", "cast_ids"),
    ("directors", "person", "director_ids"),
)
# Ids of a title that are kept, by column, in the order of the feed; shorter lists are padded to this length.
MAX_IDS = {"genre_ids": 8, "theme_ids": 16, "cast_ids": 16, "director_ids": 4}


def with_ids(titles: DataFrame, vocabulary: DataFrame) -> DataFrame:
    """`titles` with `title_index`, `language_id` and a padded id list per kind."""
    lists = [F.transform(column, partial(_mention, kind, name)) for column, kind, name in _LISTS]
    single = F.array(
        _mention("title", "title_index", F.col("title_id").cast("string")),
        _mention("language", "language_id", F.col("original_language")),
    )
    mentions = titles.select("title_id", F.posexplode(F.concat(*lists, single)).alias("order", "mention"))
    mentions = mentions.select("title_id", "order", "mention.*")
    known = mentions.join(vocabulary.select("kind", "token", "id"), on=["kind", "token"], how="left")
    id_of = F.coalesce("id", F.lit(UNKNOWN_ID))
    in_order = F.sort_array(F.collect_list(F.struct("order", id_of.alias("id"))))
    per_list = known.groupBy("title_id", "name").agg(F.array_distinct(in_order["id"]).alias("ids"))
    per_title = per_list.groupBy("title_id").agg(
        F.map_from_entries(F.collect_list(F.struct("name", "ids"))).alias("ids")
    )
    columns = {name: _padded(F.col("ids")[name], MAX_IDS[name]) for _, _, name in _LISTS}
    first = {name: F.get(F.col("ids")[name], F.lit(0)) for name in ("title_index", "language_id")}
    return titles.join(per_title, on="title_id").withColumns({**columns, **first}).drop("ids")


def _mention(kind: str, name: str, token: Column) -> Column:
    return F.struct(F.lit(kind).alias("kind"), F.lit(name).alias("name"), token.alias("token"))


def _padded(ids: Column, length: int) -> Column:
    padding = F.array_repeat(F.lit(PADDING_ID), length)
    return F.slice(F.concat(F.coalesce(ids, F.array().cast(_IDS)), padding), 1, length).cast(_IDS)


def with_embeddings(titles: DataFrame, kind: str, embedded: DataFrame, version: str) -> DataFrame:
    """`titles` with the columns of a kind of content; `embedded` comes from `title_encoding.encode_changed`."""
    columns = {name: f"{kind}_{name}" for name in title_encoding.RESULT}
    joined = titles.join(embedded.withColumnsRenamed(columns), on="title_id", how="left")
    is_present = F.col(f"{kind}_hash").isNotNull()
    return joined.withColumns({f"has_{kind}": is_present, f"{kind}_encoder": F.when(is_present, F.lit(version))})


def without_embeddings(titles: DataFrame, kind: str) -> DataFrame:
    """`titles` with the columns of a kind that is not encoded, all null."""
    nothing = {field.name: F.lit(None).cast(field.dataType) for field in _embedding_fields(kind, "")}
    return titles.withColumns({f"has_{kind}": F.lit(False), **nothing})


def build_features(titles: DataFrame, stats: DataFrame) -> DataFrame:
    """Rows of the table without `updated_ds`, from titles that have ids and embeddings; `stats` as of one day."""
    overall = stats.where(F.col("country") == title_stats.ALL_COUNTRIES)
    joined = titles.join(overall.select("title_id", *_COUNTS), on="title_id", how="left")
    object_type_id = F.lit(UNKNOWN_ID)
    for object_type, type_id in OBJECT_TYPE_IDS.items():
        object_type_id = F.when(F.col("object_type") == object_type, type_id).otherwise(object_type_id)
    rows = joined.withColumns(
        {
            "is_listed": F.col("removed_ds").isNull(),
            "object_type_id": object_type_id,
            **{name: F.coalesce(name, F.lit(0)) for name in _COUNTS},
        }
    )
    # The hash of a plot or poster stands for its embedding.
    hashed = [F.col(name) for name in _CONTENT if not name.endswith("_embedding")]
    content_hash = F.sha2(F.to_json(F.struct(*hashed)), 256).alias("content_hash")
    return rows.select(*_CONTENT, *_COUNTS, content_hash)


def unusable_posters(features: DataFrame, titles: DataFrame, ds: date) -> DataFrame:
    """Posters that were read on `ds` and can't be used, as rejected lines."""
    unusable = features.where(F.col("poster_problem").isNotNull() & (F.col("poster_ds") == F.lit(ds)))
    return unusable.join(titles.select("title_id", "poster"), on="title_id").select(
        F.lit(ds).alias("feed_date"),
        F.concat(F.lit("posters/"), "poster").alias("file"),
        F.col("poster_problem").alias("reason"),
        F.to_json(F.struct("title_id", "poster")).alias("line"),
    )


def _embed(
    spark: SparkSession, settings: Settings, titles: DataFrame, known: DataFrame, ds: date
) -> Iterator[tuple[str, DataFrame, str]]:
    """For each kind of content its name, the embeddings of all titles, and the version of the encoder.

    Raises JobError for an encoder that can't be loaded.
    """
    options = settings.title_features
    plot_text = encoder_inputs.text_of(options.text)
    texts = encoder_inputs.texts_to_encode(titles, plot_text, "").select("title_id", "text")
    fitted = text_encoder_terms.load_or_fit(spark, settings, texts, ds) if options.text.encoder == "tfidf" else None
    text_source = title_encoding.text_source(options.text, fitted)
    poster_source = title_encoding.poster_source(options.posters)
    try:
        text_version, poster_version = text_source.load().version, poster_source.load().version
    except EncoderError as error:
        raise JobError(f"{TABLE.name}: {error}") from None

    encode_texts = partial(title_encoding.encode_texts, source=text_source)
    texts_by_kind = {"plot": plot_text}
    if options.text.encodes_titles:
        texts_by_kind["title"] = F.trim("title")
    for kind, text in texts_by_kind.items():
        texts = encoder_inputs.texts_to_encode(titles, text, text_version)
        yield kind, title_encoding.encode_changed(texts, known, kind, encode_texts, ds), text_version

    files = encoder_inputs.poster_files(spark, settings.feeds.posters_dir)
    posters = encoder_inputs.posters_to_encode(titles, files, poster_version)
    encode_posters = partial(
        title_encoding.encode_posters,
        source=poster_source,
        max_bytes=title_encoding.MAX_POSTER_BYTES,
        max_pixels=title_encoding.MAX_POSTER_PIXELS,
    )
    yield "poster", title_encoding.encode_changed(posters, known, "poster", encode_posters, ds), poster_version


def run(spark: SparkSession, settings: Settings, ds: date) -> None:
    """Bring the table up to `ds`. Raises JobError for a night before the newest one, or an encoder that can't load."""
    options = settings.title_features
    built = built_days.read(settings, TABLE)
    for table in (TABLE, stg_titles.TABLE, vocabularies.TABLE, title_stats.TABLE):
        tables.ensure(spark, settings, table)
    if built and ds < max(built):
        raise JobError(f"{TABLE.name} for ds={ds}: it is as of {max(built)} already; nothing was changed")
    titles = tables.read(spark, settings, stg_titles.TABLE)
    # A fixed version: kept rows that are made of the newest one would be computed again after the merge.
    known = tables.read_version(spark, settings, TABLE, tables.version(settings, TABLE))
    stats = change_rows.as_of(
        tables.read(spark, settings, title_stats.TABLE), title_stats.KEYS, ds, change_rows.CHECKPOINT_DAYS
    )
    features = with_ids(titles, tables.read(spark, settings, vocabularies.TABLE))
    if not options.text.encodes_titles:
        features = without_embeddings(features, "title")
    for kind, embedded, version in _embed(spark, settings, titles, known, ds):
        features = with_embeddings(features, kind, embedded, version)
    # Encoded once: what follows reads the rows several times.
    with kept_on_disk(build_features(features, stats)) as rows:
        rejects = unusable_posters(rows, titles, ds)
        feed_staging.replace_rejects(spark, settings, POSTERS, [ds], None if rejects.isEmpty() else rejects)
        changed = reduce(or_, [F.col(f"t.{name}") != F.col(f"s.{name}") for name in ("content_hash", *_COUNTS)])
        tables.retry_conflicts(
            TABLE, lambda: tables.merge_snapshot(rows, settings, TABLE, ds, changed, max_removed_share=0.0)
        )
    now = tables.read(spark, settings, TABLE).withColumn("ds", F.lit(ds))
    built_days.record(now, settings, TABLE, {ds: built_days.hash_inputs(TABLE, options)})


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_snapshot_job(__doc__, TABLE.name, run, argv)


if __name__ == "__main__":
    sys.exit(main())
