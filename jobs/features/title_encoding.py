"""Run a text or poster encoder over titles on Spark's workers: in batches, each worker loading the encoder once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Protocol

import numpy as np
import pandas as pd
from PIL import Image
from pyarrow.fs import FileSystem
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.settings import Posters, Text
from jobs.features.encoders.errors import PosterError
from jobs.features.encoders.posters import DescriptorEncoder, decode_poster
from jobs.features.encoders.tfidf import TfidfEncoder

# Encoders use fewer pixels; decoded posters of full size would fill the memory.
_MAX_SIDE = 640
_IMAGES_AT_ONCE = 32
_NOTHING_SEEN = "the encoder saw nothing in it"
_NO_WORD = "no word of it is known"
NO_SUCH_FILE = "no file of this name in feeds.posters_dir"

# Columns of an encoded plot or poster: the hash of its input, the embedding or the problem, and the night.
RESULT = ("hash", "embedding", "problem", "ds")
_ENCODED = "title_id long, embedding array<float>, problem string"

# Texts or posters that a network encodes at a time: it fits into a worker's memory, and a larger one is hardly faster.
BATCH_SIZE = 32
# The side, in pixels, that the networks of tf_keras.applications are trained with.
IMAGE_SIZE = 224
# A poster of more pixels is refused before it is decoded: a small file can be a very large image.
MAX_POSTER_PIXELS = 25_000_000
# A file of more bytes is not read: it is hardly a poster, and would fill a worker's memory.
MAX_POSTER_BYTES = 10_000_000


class Encoder(Protocol):
    """The interface of encoders: rows of length one, or all zero where nothing was recognised."""

    @property
    def version(self) -> str: ...

    def encode(self, items: list) -> np.ndarray: ...  # type: ignore[type-arg]  # [items, dim] float32


class Source(Protocol):
    """A description of an encoder, small enough to be sent to a worker, which then calls `load`."""

    def load(self) -> Encoder: ...


@dataclass(frozen=True)
class Ready:
    """An encoder that is sent as it is."""

    encoder: TfidfEncoder | DescriptorEncoder

    def load(self) -> Encoder:
        return self.encoder


@dataclass(frozen=True)
class SentenceFolder:
    """A sentence encoder whose weights lie in a folder that every worker has."""

    folder: str
    max_tokens: int
    batch_size: int

    def load(self) -> Encoder:
        return _load_sentence(self)


@dataclass(frozen=True)
class KerasWeights:
    """A network of tf_keras.applications with weights in a file that every worker has."""

    application: str
    weights_file: str
    image_size: int
    batch_size: int

    def load(self) -> Encoder:
        return _load_keras(self)


# TensorFlow is imported only for the encoders that need it: it takes seconds, and most runs do without.
@lru_cache(maxsize=1)
def _load_sentence(source: SentenceFolder) -> Encoder:
    from jobs.features.encoders.sentence import SentenceEncoder

    return SentenceEncoder(source.folder, source.max_tokens, source.batch_size)


@lru_cache(maxsize=1)
def _load_keras(source: KerasWeights) -> Encoder:
    from jobs.features.encoders.keras_poster import KerasPosterEncoder

    return KerasPosterEncoder(source.application, source.weights_file, source.image_size, source.batch_size)


def text_source(options: Text, fitted: TfidfEncoder | None) -> Source:
    """The text encoder of the settings; `fitted` comes from `text_encoder_terms` where the settings name TF-IDF."""
    if options.encoder == "sentence":
        return SentenceFolder(str(options.folder), options.max_tokens, BATCH_SIZE)
    return Ready(
        fitted or TfidfEncoder("tfidf-unfitted", (), np.zeros(0, np.float32), np.zeros((0, options.dims), np.float32))
    )


def poster_source(options: Posters) -> Source:
    """The poster encoder of the settings."""
    if options.encoder == "keras":
        size = {"image_size": IMAGE_SIZE, "batch_size": BATCH_SIZE}
        return KerasWeights(options.application, str(options.weights_file), **size)
    return Ready(DescriptorEncoder())


def encode_changed(
    items: DataFrame, known: DataFrame, kind: str, encode: Callable[[DataFrame], DataFrame], ds: date
) -> DataFrame:
    """`title_id` and RESULT of each of `items`: from `known` where the hash is unchanged, else from `encode`.

    `items` have `title_id, hash` and the inputs of `encode`; `known` is title_features, with columns that begin with
    `kind`; `encode` returns `title_id, embedding, problem`.
    """
    old = known.select("title_id", *[F.col(f"{kind}_{name}").alias(f"old_{name}") for name in RESULT])
    joined = items.join(old, on="title_id", how="left")
    is_same = F.col("hash").eqNullSafe(F.col("old_hash"))
    kept = joined.where(is_same).select("title_id", *[F.col(f"old_{name}").alias(name) for name in RESULT])
    changed = joined.where(~is_same).select(*items.columns)
    new = changed.select("title_id", "hash").join(encode(changed), on="title_id").withColumn("ds", F.lit(ds))
    return kept.unionByName(new)


def encode_texts(texts: DataFrame, source: Source) -> DataFrame:
    """`title_id, embedding, problem` of `title_id, text`: one of the last two is null."""

    def encode(batches: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        encoder = source.load()
        for batch in batches:
            vectors = encoder.encode(batch["text"].tolist())
            embeddings = _or_null(vectors)
            problems = [None if embedding is not None else _NO_WORD for embedding in embeddings]
            yield pd.DataFrame({"title_id": batch["title_id"], "embedding": embeddings, "problem": problems})

    return _spread(texts.select("title_id", "text")).mapInPandas(encode, _ENCODED)


def encode_posters(posters: DataFrame, source: Source, max_bytes: int, max_pixels: int) -> DataFrame:
    """`title_id, embedding, problem` of `title_id, uri, size_bytes`: one of the last two is null."""

    def encode(batches: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        encoder = source.load()
        for batch in batches:
            for start in range(0, len(batch), _IMAGES_AT_ONCE):
                part = batch.iloc[start : start + _IMAGES_AT_ONCE]
                images = [_read(row.uri, row.size_bytes, max_bytes, max_pixels) for row in part.itertuples()]
                good = [image for image in images if not isinstance(image, str)]
                vectors = iter(_or_null(encoder.encode(good)))
                embeddings = [None if isinstance(image, str) else next(vectors) for image in images]
                problems = [image if isinstance(image, str) else _NOTHING_SEEN for image in images]
                yield pd.DataFrame(
                    {
                        "title_id": part["title_id"].to_numpy(),
                        "embedding": embeddings,
                        "problem": [p if e is None else None for p, e in zip(problems, embeddings, strict=True)],
                    }
                )

    return _spread(posters.select("title_id", "uri", "size_bytes")).mapInPandas(encode, _ENCODED)


def _spread(rows: DataFrame) -> DataFrame:
    """`rows` spread over all cores, however few files they come from, in a fixed order."""
    cores = rows.sparkSession.sparkContext.defaultParallelism
    return rows.repartition(cores, "title_id").sortWithinPartitions("title_id")


def _or_null(vectors: np.ndarray) -> list[np.ndarray | None]:
    return [vector if vector.any() else None for vector in vectors]


def _read(uri: str | None, size_bytes: float, max_bytes: int, max_pixels: int) -> np.ndarray | str:
    """The pixels of a poster, or the reason why there are none."""
    if uri is None:
        return NO_SUCH_FILE
    if size_bytes > max_bytes:
        return f"{size_bytes:.0f} bytes, the limit is {max_bytes}"
    filesystem, path = FileSystem.from_uri(uri)
    try:
        with filesystem.open_input_file(path) as stream:
            pixels = decode_poster(stream.read(), path, max_bytes, max_pixels)
    except (PosterError, OSError) as error:
        return str(error)
    image = Image.fromarray(pixels)
    image.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return np.asarray(image)
