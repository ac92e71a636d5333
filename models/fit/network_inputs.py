"""Network inputs from rows of the training tables: titles by row of the model's table, countries by id."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lake.vocabulary_ids import FIRST_ID
from models.data.dataset import BatchReader
from models.towers.legacy_keras import tf

USER_COLUMNS = ("history_title_ids", "history_weights", "history_ages_days", "country")


class InputMaker:
    """Turns a reader's batches into the networks' inputs. Titles without a row in the model become padding."""

    def __init__(self, title_ids: NDArray[np.int64], countries: Sequence[str]) -> None:
        """`title_ids` [titles] in the order of the model's rows; `countries` have ids from FIRST_ID on."""
        rows = tf.range(1, len(title_ids) + 1, dtype=tf.int64)
        known_titles = tf.lookup.KeyValueTensorInitializer(tf.constant(title_ids, tf.int64), rows)
        self._rows = tf.lookup.StaticHashTable(known_titles, default_value=0)
        ids = tf.range(FIRST_ID, FIRST_ID + len(countries), dtype=tf.int64)
        known = tf.lookup.KeyValueTensorInitializer(tf.constant(list(countries), tf.string), ids)
        self._countries = tf.lookup.StaticHashTable(known, default_value=1)

    def dataset(self, reader: BatchReader, epoch: int) -> tf.data.Dataset:
        """One pass over `reader`, whose columns are USER_COLUMNS."""
        return reader.dataset(epoch).map(self.inputs, num_parallel_calls=1).prefetch(2)

    def inputs(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """A batch of the network's inputs."""
        return {
            "rows": self.rows(batch["history_title_ids"]),
            "weights": batch["history_weights"],
            "ages_days": batch["history_ages_days"],
            "country": self._countries.lookup(batch["country"]),
        }

    def rows(self, title_ids: tf.Tensor) -> tf.Tensor:
        """int64, of the shape of `title_ids`; 0 where the model has no such title."""
        return self._rows.lookup(title_ids)
