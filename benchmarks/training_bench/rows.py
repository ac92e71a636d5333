"""Delta tables of examples and users of a given size, made without Spark before any measurement starts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import WriterProperties, write_deltalake
from numpy.typing import NDArray

_ROWS_PER_WRITE = 200_000
_COUNTRIES = np.array(["DE", "FR", "GB", "US", "BR", "IN"])


def write_examples(
    location: Path, rows: int, title_ids: NDArray[np.int64], history_titles: int, rows_per_group: int, seed: int
) -> None:
    """Write examples of titles drawn by Zipf's law, with histories of 1 to `history_titles` titles, padded."""
    random = np.random.default_rng(seed)
    for start in range(0, rows, _ROWS_PER_WRITE):
        count = min(_ROWS_PER_WRITE, rows - start)
        table = _rows(count, title_ids, _zipf(title_ids), history_titles, random)
        properties = _groups(rows_per_group)
        write_deltalake(str(location), table, mode="append", partition_by=["split"], writer_properties=properties)


def write_users(
    location: Path, users: int, title_ids: NDArray[np.int64], history_titles: int, rows_per_group: int, seed: int
) -> None:
    """Write users with histories like those of `write_examples`."""
    columns = _rows(users, title_ids, _zipf(title_ids), history_titles, np.random.default_rng(seed))
    table = columns.select(["country", "history_title_ids", "history_weights", "history_ages_days"])
    write_deltalake(str(location), table, writer_properties=_groups(rows_per_group))


def _zipf(title_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = 1 / np.arange(1, len(title_ids) + 1)
    return np.asarray(shares / shares.sum())


def _groups(rows: int) -> WriterProperties:
    return WriterProperties(max_row_group_size=rows, compression="SNAPPY")  # as Spark writes them


def _rows(
    count: int, title_ids: NDArray[np.int64], shares: NDArray[np.float64], length: int, random: np.random.Generator
) -> pa.Table:
    # Inverting the distribution is much faster than choice() with probabilities.
    ends = np.cumsum(shares)
    drawn = np.searchsorted(ends, random.random((count, length + 1)) * ends[-1])
    is_title = np.arange(length) < random.integers(1, length + 1, size=count)[:, None]
    history = np.where(is_title, title_ids[drawn[:, :length]], 0)
    ages = np.where(is_title, np.cumsum(random.exponential(2.0, size=(count, length)), axis=1), 0)
    liked = drawn[:, length]
    columns = {
        "title_id": pa.array(title_ids[liked]),
        "country": pa.array(_COUNTRIES[random.integers(0, len(_COUNTRIES), count)]),
        "sampling_probability": pa.array(shares[liked].astype(np.float32)),
        "history_title_ids": _lists(history),
        "history_weights": _lists(is_title.astype(np.float32)),
        "history_ages_days": _lists(ages.astype(np.float32)),
        "split": pa.array(["train"] * count),
    }
    return pa.table(columns)


def _lists(values: NDArray[np.int64] | NDArray[np.float32]) -> pa.ListArray:
    """A list array with one list per row of `values` [rows, length]."""
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, values.ravel())
