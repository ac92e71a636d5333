"""User histories and queries, as callers of the retriever give them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from indexing.errors import RequestError
from lake.arrays import Floats, Ids

# A title's id, or its id, weight (1 is a like, below 0 a dislike) and age in days.
Entry: TypeAlias = int | tuple[int, float, float]


@dataclass(frozen=True)
class UserHistory:
    """One entry per title, the newest first: `title_ids`, `weights`, `ages_days` [length]."""

    title_ids: Ids
    weights: Floats
    ages_days: Floats

    def __len__(self) -> int:
        return len(self.title_ids)

    @classmethod
    def from_entries(cls, entries: Sequence[Entry]) -> "UserHistory":
        """Sort entries by age and keep the newest of each title.

        Bare ids are likes of today, the first one the newest. Raises RequestError for a weight or an age that is not
        finite.
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
class UserQuery:
    """A user to recommend to. The list holds neither titles of the history nor the `excluded` ones."""

    history: UserHistory
    country: str | None = None
    excluded: Ids | None = None
