"""Users' queries in a bundle's terms: title rows instead of ids, and their embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from indexing.bundle.bundle import Bundle
from lake.arrays import Floats, Ids
from models.data.padded_histories import PaddedHistories
from serving.user_history import UserQuery


@dataclass(frozen=True)
class IndexedHistory:
    """The titles of a history that a bundle holds, by row, the newest first."""

    rows: Ids
    weights: Floats
    ages_days: Floats

    @cached_property
    def liked(self) -> "IndexedHistory":
        """Entries with a weight above 0."""
        return self.only(self.weights > 0)

    def only(self, kept: NDArray[np.bool_]) -> "IndexedHistory":
        return IndexedHistory(self.rows[kept], self.weights[kept], self.ages_days[kept])

    def newest(self, count: int) -> "IndexedHistory":
        return IndexedHistory(self.rows[:count], self.weights[:count], self.ages_days[:count])


@dataclass(frozen=True)
class IndexedQuery:
    """A user's query by rows of one bundle."""

    history: IndexedHistory
    country: int  # the query tower's id
    excluded: Ids  # rows in order, those of the history included
    unknown: Ids  # title ids of the history that the bundle lacks

    @property
    def has_likes(self) -> bool:
        """True where the history holds a title with a weight above 0."""
        return len(self.history.liked.rows) > 0


def look_up(opened: Bundle, query: UserQuery) -> IndexedQuery:
    """Translate a query's title ids and country to a bundle's rows and country id."""
    history = query.history
    rows = opened.rows(history.title_ids)
    is_known = rows >= 0
    excluded = np.sort(rows[is_known])
    if query.excluded is not None and len(query.excluded):
        excluded_rows = opened.rows(query.excluded)
        excluded = np.union1d(excluded, excluded_rows[excluded_rows >= 0])
    return IndexedQuery(
        IndexedHistory(rows[is_known], history.weights[is_known], history.ages_days[is_known]),
        _country_id(opened, query.country),
        excluded,
        history.title_ids[~is_known],
    )


def embed(opened: Bundle, histories: Sequence[IndexedHistory], countries: Sequence[int]) -> Floats:
    """[users, dim]: query embeddings, from as many of each history's newest titles as the model was made for."""
    longest = opened.manifest.history_length
    return opened.embed(pad([history.newest(longest) for history in histories], countries))


def pad(histories: Sequence[IndexedHistory], countries: Sequence[int]) -> PaddedHistories:
    """Pad histories to the longest one, to at least one column, for the query tower."""
    length = max([1, *[len(history.rows) for history in histories]])
    shape = (len(histories), length)
    rows = np.zeros(shape, dtype=np.int64)
    weights, ages = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for user, history in enumerate(histories):
        count = len(history.rows)
        rows[user, :count] = history.rows + 1
        weights[user, :count] = history.weights
        ages[user, :count] = history.ages_days
    return PaddedHistories(rows, weights, ages, np.array(countries, dtype=np.int64))


def _country_id(opened: Bundle, country: str | None) -> int:
    """The query tower's id of a country: 0 for none given, 1 for one that is not in the training data."""
    return 0 if country is None else opened.countries.get(country, 1)
