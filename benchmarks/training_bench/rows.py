"""Delta tables of examples and users of a given size, made without Spark before any measurement starts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import WriterProperties, write_deltalake
from numpy.typing import NDArray

from lake.arrays import Doubles

_TITLES_PER_WRITE = 10_000_000  # of histories: some gigabytes of memory
_COUNTRIES = np.array(["DE", "FR", "GB", "US", "BR", "IN"])


def write_examples(
    location: Path, rows: int, title_ids: NDArray[np.int64], history_titles: int, rows_per_group: int, seed: int
) -> None:
    """Write examples of titles drawn by Zipf's law, with histories of 1 to `history_titles` titles, padded.

    A history names a title once, however often it was drawn.
    """
    for table in _tables(rows, title_ids, history_titles, seed):
        properties = _groups(rows_per_group)
        write_deltalake(str(location), table, mode="append", partition_by=["split"], writer_properties=properties)


def write_users(
    location: Path, users: int, title_ids: NDArray[np.int64], history_titles: int, rows_per_group: int, seed: int
) -> None:
    """Write users with histories like those of `write_examples`."""
    for table in _tables(users, title_ids, history_titles, seed):
        columns = table.select(["country", "history_title_ids", "history_weights", "history_ages_days"])
        write_deltalake(str(location), columns, mode="append", writer_properties=_groups(rows_per_group))


def zipf(count: int) -> Doubles:
    """[titles]: shares of positives by Zipf's law, the largest first."""
    shares = 1 / np.arange(1, count + 1)
    return np.asarray(shares / shares.sum())


def _tables(rows: int, title_ids: NDArray[np.int64], length: int, seed: int) -> Iterator[pa.Table]:
    random, shares = np.random.default_rng(seed), zipf(len(title_ids))
    rows_per_write = max(_TITLES_PER_WRITE // length, 1)
    for start in range(0, rows, rows_per_write):
        yield _rows(min(rows_per_write, rows - start), title_ids, shares, length, random)


def _groups(rows: int) -> WriterProperties:
    return WriterProperties(max_row_group_size=rows, compression="SNAPPY")  # as Spark writes them


def _rows(
    count: int, title_ids: NDArray[np.int64], shares: Doubles, length: int, random: np.random.Generator
) -> pa.Table:
    # Inverting the distribution is much faster than choice() with probabilities.
    ends = np.cumsum(shares)
    drawn = np.searchsorted(ends, random.random((count, length + 1)) * ends[-1])
    is_drawn = np.arange(length) < random.integers(1, length + 1, size=count)[:, None]
    numbers = _without_repeats(np.where(is_drawn, drawn[:, :length], -1))
    is_title = numbers >= 0
    history = np.where(is_title, title_ids[numbers], 0)
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


def _without_repeats(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """`numbers` [rows, length] with each number once per row, in the order of the first ones, then -1."""
    order = np.argsort(numbers, axis=1, kind="stable")
    in_order = np.take_along_axis(numbers, order, axis=1)
    is_repeat = np.zeros(numbers.shape, dtype=np.bool_)
    np.put_along_axis(is_repeat, order[:, 1:], in_order[:, 1:] == in_order[:, :-1], axis=1)
    single = np.where(is_repeat, -1, numbers)
    return np.take_along_axis(single, np.argsort(single < 0, axis=1, kind="stable"), axis=1)


def _lists(values: NDArray[np.int64] | NDArray[np.float32]) -> pa.ListArray:
    """A list array with one list per row of `values` [rows, length]."""
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, values.ravel())
