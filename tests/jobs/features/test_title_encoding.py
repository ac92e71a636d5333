"""Only changed inputs are encoded; each row has an embedding or a problem; settings name the encoder."""

from datetime import date
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.loader import load_settings
from conf.settings import Settings, with_changes
from jobs.features import title_encoding
from jobs.features.encoders.posters import DescriptorEncoder
from jobs.features.title_encoding import KerasWeights, Ready, SentenceFolder
from tests import arrow_frames

MAY_1, MAY_2 = date(2024, 5, 1), date(2024, 5, 2)


def rows_of(frame: DataFrame) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in frame.collect())


def test_same_hash_keeps_the_embedding(spark: SparkSession) -> None:
    items = arrow_frames.frame(
        spark,
        "title_id long, hash string, text string",
        [(1, "same", "a"), (2, "new", "b"), (3, "first", "c"), (4, None, "d")],
    )
    known = arrow_frames.frame(
        spark,
        "title_id long, plot_hash string, plot_embedding array<float>, plot_problem string, plot_ds date",
        [
            (1, "same", [1.0, 0.0], None, MAY_1),
            (2, "old", [0.0, 1.0], None, MAY_1),
            (4, None, None, "too dark", MAY_1),
            (5, "left", [1.0, 1.0], None, MAY_1),
        ],
    )

    def encode(changed: DataFrame) -> DataFrame:
        text_as_number = F.array(F.ascii("text").cast("float"))
        return changed.select(
            "title_id",
            F.when(F.col("title_id") == 2, text_as_number).alias("embedding"),
            F.when(F.col("title_id") == 3, "unreadable").alias("problem"),
        )

    encoded = title_encoding.encode_changed(items, known, "plot", encode, MAY_2)
    assert encoded.columns == ["title_id", "hash", "embedding", "problem", "ds"]
    assert rows_of(encoded) == [
        (1, "same", [1.0, 0.0], None, MAY_1),
        (2, "new", [98.0], None, MAY_2),  # the code of b
        (3, "first", None, "unreadable", MAY_2),
        (4, None, None, "too dark", MAY_1),
    ]


def test_text_without_a_known_word_says_so(spark: SparkSession) -> None:
    texts = spark.createDataFrame([(1, "A whale."), (2, "A boat.")], "title_id long, text string")
    source = title_encoding.text_source(load_settings().title_features.text, None)
    assert rows_of(title_encoding.encode_texts(texts, source)) == [
        (1, None, "no word of it is known"),
        (2, None, "no word of it is known"),
    ]


def test_posters_that_are_no_files_say_so(spark: SparkSession) -> None:
    posters = spark.createDataFrame(
        [(1, None, None), (2, "file:///nowhere/a.jpg", 2000.0)], "title_id long, uri string, size_bytes double"
    )
    source = Ready(DescriptorEncoder())
    assert rows_of(title_encoding.encode_posters(posters, source, max_bytes=1000, max_pixels=100)) == [
        (1, None, "no file of this name in feeds.posters_dir"),
        (2, None, "2000 bytes, the limit is 1000"),
    ]


@pytest.fixture
def with_networks() -> Settings:
    """Settings with encoders whose weights lie in files."""
    text = {"encoder": "sentence", "folder": "/weights", "max_tokens": 64}
    posters = {"encoder": "keras", "application": "MobileNetV2", "weights_file": "/weights.h5"}
    changes: dict[str, Any] = {f"title_features.text.{name}": value for name, value in text.items()}
    changes |= {f"title_features.posters.{name}": value for name, value in posters.items()}
    return with_changes(load_settings(), changes)


def test_settings_name_the_encoder(with_networks: Settings) -> None:
    options = with_networks.title_features
    assert title_encoding.text_source(options.text, None) == SentenceFolder("/weights", 64, 32)
    assert title_encoding.poster_source(options.posters) == KerasWeights("MobileNetV2", "/weights.h5", 224, 32)
