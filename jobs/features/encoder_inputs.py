"""Texts and poster files of titles, as the encoders of plots, titles and posters get them."""

import logging

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Text, TextField
from jobs.features import text_encoder_terms
from jobs.store.session import hadoop_path
from lake.uris import HADOOP_S3, S3

log = logging.getLogger("marquee")


def text_of(options: Text) -> Column:
    """The text to encode of a row of stg_titles; null where it is blank, or lacks a plot that the settings ask for."""
    sentences = F.concat_ws(". ", *[_sentence(field) for field in options.fields])
    text = F.substring(sentences, 1, text_encoder_terms.MAX_CHARS)
    is_there = F.trim(text) != ""
    if "plot" in options.fields:
        is_there &= F.trim(F.coalesce("plot", F.lit(""))) != ""
    return F.when(is_there, text)


def _sentence(field: TextField) -> Column:
    """The words of one field; null where the title lacks it."""
    match field:
        case "title" | "plot":
            words = F.trim(field)
        case "title_and_year":
            year = F.concat(F.lit(" ("), "release_year", F.lit(")"))
            words = F.concat(_sentence("title"), F.coalesce(year, F.lit("")))
        case "directed_by":
            words = F.concat(F.lit("Directed by "), _sentence("directors"))
        case "starring":
            words = F.concat(F.lit("Starring "), _sentence("cast"))
        case _:
            words = F.concat_ws(", ", field)
    return F.nullif(words, F.lit(""))


def poster_files(spark: SparkSession, folder: str) -> DataFrame:
    """`poster, uri, size_bytes, changed_at` of the files in a folder; no rows where there is no such folder."""
    schema = "poster string, uri string, size_bytes long, changed_at timestamp"
    filesystem, path = hadoop_path(spark, folder)
    if not filesystem.exists(path):
        log.warning("feeds.posters_dir: no folder %s; no title has a poster", folder)
        return spark.createDataFrame([], schema)
    # File contents are not read, since no column of them is selected.
    files = spark.read.format("binaryFile").load(folder)
    uri = F.regexp_replace("path", "^(file:)/+", "file:///")
    return files.select(
        F.element_at(F.split("path", "/"), -1).alias("poster"),
        F.regexp_replace(uri, f"^{HADOOP_S3}", S3).alias("uri"),
        F.col("length").alias("size_bytes"),
        F.col("modificationTime").alias("changed_at"),
    )


def texts_to_encode(titles: DataFrame, text: Column, version: str) -> DataFrame:
    """`title_id, hash, text` of the titles that have a text."""
    texts = titles.select("title_id", text.alias("text")).where("text IS NOT NULL")
    return texts.withColumn("hash", F.sha2(F.concat_ws("\n", F.lit(version), "text"), 256))


def posters_to_encode(titles: DataFrame, files: DataFrame, version: str) -> DataFrame:
    """`title_id, hash, uri, size_bytes` of the titles that name a poster; the last two null where no file has the name.

    `files` are of `poster_files`.
    """
    named = titles.where("poster IS NOT NULL").select("title_id", "poster").join(files, on="poster", how="left")
    parts = ("poster", "size_bytes", F.unix_micros("changed_at"), F.lit(version))
    return named.select("title_id", F.sha2(F.to_json(F.struct(*parts)), 256).alias("hash"), "uri", "size_bytes")
