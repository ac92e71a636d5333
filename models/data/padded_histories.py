"""Histories as models take them: titles by row, the newest first, padded to one length."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class PaddedHistories:
    """Row n + 1 is the n-th title of the catalogue; 0 is padding."""

    rows: NDArray[np.int64]  # [users, length]
    weights: NDArray[np.float32]  # [users, length], 1 is a like
    ages_days: NDArray[np.float32]  # [users, length]
    countries: NDArray[np.int64]  # [users], vocabulary ids, 0 where not known

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, size: int) -> Iterator["PaddedHistories"]:
        """Parts of `size` users; the last one may be smaller."""
        for start in range(0, len(self), size):
            yield self.part(slice(start, start + size))

    def part(self, users: slice) -> "PaddedHistories":
        """The histories of `users`."""
        return PaddedHistories(self.rows[users], self.weights[users], self.ages_days[users], self.countries[users])


def pad_newest_first(
    weights: sparse.csr_matrix,
    ages_days: NDArray[np.float64] | None,
    countries: NDArray[np.int64] | None,
    length: int,
) -> PaddedHistories:
    """`weights` [users, titles] as padded histories, each cut to its newest `length` titles.

    `ages_days` follows the order of `weights.indices`; without it all titles have age 0, in the order of columns.
    """
    count_users = weights.shape[0]
    users = np.repeat(np.arange(count_users), np.diff(weights.indptr))
    ages = np.zeros(weights.nnz) if ages_days is None else ages_days
    order = np.lexsort((weights.indices, ages, users))
    columns = np.arange(weights.nnz) - weights.indptr[users]  # users are sorted already, so column n is the n-th newest
    kept = columns < length
    cells = (users[kept], columns[kept])
    entries = order[kept]
    rows = np.zeros((count_users, length), dtype=np.int64)
    padded_weights = np.zeros((count_users, length), dtype=np.float32)
    padded_ages = np.zeros((count_users, length), dtype=np.float32)
    rows[cells] = weights.indices[entries] + 1
    padded_weights[cells] = weights.data[entries]
    padded_ages[cells] = ages[entries]
    country_ids = np.zeros(count_users, dtype=np.int64) if countries is None else countries
    return PaddedHistories(rows, padded_weights, padded_ages, country_ids)
