"""Histories to tune a bundle's searchers with, and made-up ones to test it by.

Tuning uses real histories, which are not stored. A bundle stores made-up histories only, so no user's history leaves
the lake, and an erasure need not reach a bundle.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from lake.errors import named
from lake.snapshot import LakeSnapshot
from models.data.padded_histories import PaddedHistories

_SAMPLED_ROW_GROUPS = 8
_OLDEST_DAYS = 1000.0
_WEIGHTS = np.array([1.0, 0.8, 0.6, -1.0], dtype=np.float32)
_WEIGHT_SHARES = (0.6, 0.2, 0.15, 0.05)


def made_up(
    counts: NDArray[np.int64], country_ids: NDArray[np.int64], users: int, longest: int, seed: int
) -> PaddedHistories:
    """Draw `users` histories of 0 to `longest` titles by popularity; `counts` [titles] are positives.

    The first has no title, and every eighth has no country.
    """
    random = np.random.default_rng(seed)
    longest = min(longest, len(counts))
    chance = (counts + 1) / (counts + 1).sum()
    lengths = np.floor(np.exp(random.uniform(0, np.log(longest + 1), users))).astype(int)
    lengths[0] = 0
    histories = _empty(users, longest)
    for user, length in enumerate(lengths):
        histories.rows[user, :length] = 1 + random.choice(len(counts), length, replace=False, p=chance)
        histories.weights[user, :length] = random.choice(_WEIGHTS, length, p=_WEIGHT_SHARES)
        histories.ages_days[user, :length] = np.sort(random.uniform(0, _OLDEST_DAYS, length))
    known = random.choice(country_ids, users) if len(country_ids) else np.zeros(users, dtype=np.int64)
    histories.countries[:] = np.where(np.arange(users) % 8 == 0, 0, known)
    return histories


def sample(
    snapshot: LakeSnapshot,
    rows_of: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    country_ids: Mapping[str, int],
    users: int,
    longest: int,
    seed: int,
) -> PaddedHistories:
    """Draw up to `users` rows of user_histories, from a few of its row groups.

    `rows_of` maps title ids to rows; titles at -1 are left out. Ages count from the newest event of a history.
    """
    entries = _read_entries(snapshot, users, seed)
    histories = _empty(len(entries), longest)
    for user, listed in enumerate(entries):
        rows = rows_of(np.array([entry["title_id"] for entry in listed], dtype=np.int64))
        kept = [(row, entry) for row, entry in zip(rows, listed, strict=True) if row >= 0][:longest]
        newest = listed[0]["event_time"]
        for column, (row, entry) in enumerate(kept):
            histories.rows[user, column] = row + 1
            histories.weights[user, column] = entry["weight"]
            histories.ages_days[user, column] = (newest - entry["event_time"]).total_seconds() / 86_400
        histories.countries[user] = country_ids.get(listed[0]["country"], 1)
    return histories


def _read_entries(snapshot: LakeSnapshot, users: int, seed: int) -> list[list[dict[str, Any]]]:
    random = np.random.default_rng(seed)
    files = snapshot.open("user_histories")
    schema = files.schema_of(("entries",))
    groups = [(path, group) for path, footer in files.footers.items() for group in range(footer.num_row_groups)]
    chosen = random.permutation(len(groups))[:_SAMPLED_ROW_GROUPS]
    parts = [schema.empty_table()]
    for path, group in (groups[n] for n in sorted(chosen)):
        with named(path), files.filesystem.open_input_file(path) as file:
            rows = pq.ParquetFile(file, metadata=files.footers[path]).read_row_group(group, columns=["entries"])
            parts.append(rows.cast(schema))
    rows = pa.concat_tables(parts)
    drawn = np.sort(random.permutation(len(rows))[:users])
    return [listed for listed in rows.take(drawn)["entries"].to_pylist() if listed]


def _empty(users: int, length: int) -> PaddedHistories:
    shape = (users, length)
    return PaddedHistories(
        np.zeros(shape, dtype=np.int64),
        np.zeros(shape, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
        np.zeros(users, dtype=np.int64),
    )
