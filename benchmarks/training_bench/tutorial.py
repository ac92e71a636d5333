"""Retrieval as in the TFRS tutorials: rows one by one, ids as strings that a layer looks up, embeddings per row.

Source: tensorflow.org/recommenders, "Recommending movies: retrieval" and "Recommending movies: retrieval using a
sequential model", with a mean instead of the latter's GRU, so that both pipelines compute about the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from lake.snapshot import LakeSnapshot
from models.data.dataset import BatchReader
from models.towers.legacy_keras import keras, tf, tfrs


class TutorialModel(tfrs.Model):
    """A query tower over the history, a candidate tower over the title, in-batch negatives."""

    def __init__(self, title_ids: NDArray[np.int64], dim: int) -> None:
        super().__init__()
        names = [str(title_id) for title_id in title_ids]
        self.query = keras.Sequential([_lookup(names), keras.layers.Embedding(len(names) + 2, dim), _Mean()])
        self.candidate = keras.Sequential([_lookup(names), keras.layers.Embedding(len(names) + 1, dim)])
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        queries = self.query(inputs["history"])
        return self.task(queries, self.candidate(inputs["title_id"]), compute_metrics=not training)


class _Mean(keras.layers.Layer):
    """Mean over the length: [batch, dim] from [batch, length, dim]."""

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(vectors, axis=1)


def _lookup(names: Sequence[str]) -> keras.layers.Layer:
    return keras.layers.StringLookup(vocabulary=list(names), mask_token=None)


def open_examples(root: Path, settings: Settings, batch_size: int) -> BatchReader:
    """Reader of the columns that the tutorial's model takes from training_examples, in the order of the files."""
    files = LakeSnapshot.pin(str(root), ["training_examples"]).open("training_examples", "train")
    threads = settings.training.reader_threads
    return BatchReader(files, ("title_id", "history_title_ids"), batch_size, shuffle=None, reader_threads=threads)


def tutorial_dataset(examples: BatchReader, shuffle_rows: int) -> tf.data.Dataset:
    """The rows of `examples` one by one, mapped, shuffled and batched again."""
    rows = examples.dataset(0).unbatch()
    named = rows.map(
        lambda row: {
            "title_id": tf.strings.as_string(row["title_id"]),
            "history": tf.strings.as_string(row["history_title_ids"]),
        }
    )
    return named.shuffle(shuffle_rows).batch(examples.batch_size, drop_remainder=True).prefetch(1)
