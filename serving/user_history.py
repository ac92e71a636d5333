"""Who is asked for: a history as callers give it, and as the query tower takes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexing.errors import RequestError
from lake.arrays import Floats, Ids
from models.data.padded_histories import PaddedHistories

# A title's id, or its id, weight (1 is a like, below 0 a dislike) and age in days.
Entry: TypeAlias = int | tuple[int, float, float]


@dataclass(frozen=True)
class History:
    """One entry per title, the newest first: `title_ids`, `weights`, `ages_days` [length]."""

    title_ids: Ids
    weights: Floats
    ages_days: Floats

    def __len__(self) -> int:
        return len(self.title_ids)

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "History":
        """Entries in any order; bare ids are likes of today, the first the newest. Of a title twice the newest counts.

        Raises RequestError for a weight or an age that is no finite number.
        """
        full = [(entry, 1.0, 0.0) if isinstance(entry, int | np.integer) else entry for entry in entries]
        ids = np.array([entry[0] for entry in full], dtype=np.int64)
        numbers = np.array([entry[1:] for entry in full], dtype=np.float32).reshape(len(full), 2)
        if not np.isfinite(numbers).all():
            raise RequestError("history", "expected weights and ages in days that are finite numbers")
        order = np.argsort(numbers[:, 1], kind="stable")
        _, first = np.unique(ids[order], return_index=True)
        order = order[np.sort(first)]
        return cls(ids[order], numbers[order, 0], numbers[order, 1])


@dataclass(frozen=True)
class Person:
    """Whom a list is for. Titles `excluded`, and those of the history, are not in it."""

    history: History
    country: str | None = None
    excluded: Ids | None = None


@dataclass(frozen=True)
class KnownHistory:
    """A history's titles that a bundle knows, by row, the newest first."""

    rows: Ids
    weights: Floats
    ages_days: Floats

    @cached_property
    def liked(self) -> "KnownHistory":
        """What speaks for something: entries of a weight above 0."""
        return self.only(self.weights > 0)

    def only(self, kept: NDArray[np.bool_]) -> "KnownHistory":
        return KnownHistory(self.rows[kept], self.weights[kept], self.ages_days[kept])

    def newest(self, count: int) -> "KnownHistory":
        return KnownHistory(self.rows[:count], self.weights[:count], self.ages_days[:count])


def pad(histories: Sequence[KnownHistory], countries: Sequence[int]) -> PaddedHistories:
    """As the query tower takes them: as wide as the longest, of which there is at least a place."""
    length = max([1, *[len(own.rows) for own in histories]])
    shape = (len(histories), length)
    rows = np.zeros(shape, dtype=np.int64)
    weights, ages = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for place, own in enumerate(histories):
        count = len(own.rows)
        rows[place, :count] = own.rows + 1
        weights[place, :count] = own.weights
        ages[place, :count] = own.ages_days
    return PaddedHistories(rows, weights, ages, np.array(countries, dtype=np.int64))
