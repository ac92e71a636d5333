"""text_encoder_terms: one row per fitted text encoder and term, with the term's weight and vector.

Source: stg_titles. The default text encoder, TF-IDF with a truncated SVD, is fitted on the catalogue and stored here as
plain columns. It is fitted again when its settings change, or when the catalogue has grown by
REFIT_GROWTH: then every title is encoded again, and models have to be trained again.
"""

import logging
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import ArrayType, DateType, FloatType, LongType, StringType, StructField, StructType

from conf.settings import Settings, Text
from jobs.features.encoders import tfidf
from jobs.features.encoders.tfidf import TfidfEncoder
from jobs.store import built_days, tables
from jobs.store.tables import Table
from lake import delta_log

log = logging.getLogger("marquee")

TABLE = Table(
    name="text_encoder_terms",
    grain="one row per fitted text encoder and term",
    schema=StructType(
        [
            StructField("version", StringType(), False, {"comment": "of the encoder"}),
            StructField("settings_hash", StringType(), False, {"comment": "of the settings it was fitted with"}),
            StructField("fit_ds", DateType(), False, {"comment": "night it was fitted"}),
            StructField("count_texts", LongType(), False, {"comment": "texts there were to fit on"}),
            StructField("term", StringType(), False, {"comment": "a word, without case, accents, plural"}),
            StructField("idf", FloatType(), False, {"comment": "inverse document frequency"}),
            StructField("vector", ArrayType(FloatType()), False, {"comment": "its row of the SVD's components"}),
        ]
    ),
    primary_key=("version", "term"),
    stats_columns=("settings_hash", "fit_ds"),
)


# Characters of a text that are encoded: longer texts describe a title no better.
MAX_CHARS = 10_000
# Fewest texts that must contain a term, and the largest share that may: rarer terms connect no two texts, more common
# ones tell texts apart too little.
MIN_DOCUMENTS = 2
MAX_DOCUMENT_SHARE = 0.1
# Terms of the encoder, and texts it is fitted on: more cost memory and add nothing.
MAX_TERMS = 20_000
MAX_FIT_TEXTS = 100_000
# Growth of the catalogue after which the encoder is fitted again: rarely, since models have to be trained again then.
REFIT_GROWTH = 2.0


def settings_hash(text: Text, seed: int) -> str:
    """Hash of the settings that an encoder is fitted with."""
    fitted_with = (text.dims, MIN_DOCUMENTS, MAX_DOCUMENT_SHARE, MAX_TERMS, MAX_FIT_TEXTS)
    return built_days.hash_inputs(*fitted_with, ",".join(text.fields), MAX_CHARS, seed)


def load_or_fit(spark: SparkSession, settings: Settings, texts: DataFrame, ds: date) -> TfidfEncoder | None:
    """The stored encoder of these settings, or one fitted on `texts` (`title_id, text`) and stored.

    None where there is no text to fit on.
    """
    tables.ensure(spark, settings, TABLE)
    options = settings.title_features.text
    key = settings_hash(options, settings.seed)
    stored = delta_log.read(delta_log.load(tables.location(settings, TABLE)), filters=[("settings_hash", "=", key)])
    count = texts.count()
    if stored.num_rows:
        newest = max(zip(stored["fit_ds"].to_pylist(), stored["count_texts"].to_pylist(), strict=True))
        if count < REFIT_GROWTH * newest[1]:
            return _from_rows(stored.filter(pa.compute.equal(stored["fit_ds"], newest[0])))
    if not count:
        return None
    # Of a very large catalogue a sample, the same one each time.
    sample = texts.orderBy(F.xxhash64("title_id", F.lit(settings.seed)), "title_id").limit(MAX_FIT_TEXTS)
    encoder = tfidf.fit(
        sample.select("text").toArrow()["text"].to_pylist(),
        dim=options.dims,
        min_documents=MIN_DOCUMENTS,
        max_document_share=MAX_DOCUMENT_SHARE,
        max_terms=MAX_TERMS,
        seed=settings.seed,
    )
    log.info("text encoder %s: fitted on %d texts, %d terms", encoder.version, count, len(encoder.terms))
    _store(spark, settings, encoder, key, ds, count)
    return encoder


def _from_rows(rows: pa.Table) -> TfidfEncoder:
    ordered = rows.sort_by("term").combine_chunks()
    # Arrow orders by bytes, as Python orders by code points: the same for UTF-8.
    vectors = np.asarray(ordered["vector"].combine_chunks().values, np.float32).reshape(len(ordered), -1)
    idf = np.asarray(ordered["idf"], np.float32)
    return TfidfEncoder(ordered["version"][0].as_py(), tuple(ordered["term"].to_pylist()), idf, vectors)


def _store(
    spark: SparkSession, settings: Settings, encoder: TfidfEncoder, key: str, ds: date, count_texts: int
) -> None:
    size = len(encoder.terms)
    columns = [
        *([encoder.version] * size, [key] * size, [ds] * size, [count_texts] * size, list(encoder.terms)),
        *(encoder.idf, pa.FixedSizeListArray.from_arrays(encoder.components.ravel(), encoder.dim)),
    ]
    schema = to_arrow_schema(TABLE.schema)
    arrays = [
        (values if isinstance(values, pa.Array) else pa.array(values)).cast(field.type)
        for values, field in zip(columns, schema, strict=True)
    ]
    rows = spark.createDataFrame(pa.Table.from_arrays(arrays, schema=schema), TABLE.schema).coalesce(1)
    where = f"settings_hash = '{key}' AND fit_ds = DATE'{ds}'"
    tables.retry_conflicts(TABLE, lambda: tables.replace(rows, settings, TABLE, where))
