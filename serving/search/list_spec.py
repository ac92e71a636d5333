"""The list that a caller wants: its length, the titles it may hold, and the dial; checked against one bundle."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from conf.settings import Serving
from indexing.bundle.bundle import Bundle
from indexing.errors import RequestError
from lake.arrays import Ids
from serving.search.availability import Availability

_NO_IDS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class ListSpec:
    """A list of `count` titles at one setting of dial and freshness."""

    allowed: Ids | None  # rows that may be recommended, in order; None for all candidates
    unknown: Ids  # ids among the requested candidates that the bundle lacks
    count: int
    dial: float
    freshness: float


class ListSpecReader:
    """Reads a caller's arguments for one bundle; all methods raise RequestError for a value that makes no sense."""

    def __init__(self, opened: Bundle, availability: Availability, options: Serving) -> None:
        self._bundle = opened
        self._availability = availability
        self._default_count = options.titles
        self._max_count = options.max_titles

    def read(
        self,
        country: str | None,
        providers: Iterable[str] | None,
        candidates: Iterable[int] | None,
        k: int | None,
        dial: float | str = 0.0,
        freshness: float = 0.0,
    ) -> ListSpec:
        """The list for a caller's arguments; see `Retriever.recommend`."""
        value, count = self.dial_value(dial), self.count(k)
        return ListSpec(*self._allowed(country, providers, candidates), count, value, freshness)

    def dial_value(self, dial: float | str) -> float:
        """The number behind a named setting of the dial, or a number clipped to the dial's range."""
        known = self._bundle.manifest.dial
        if isinstance(dial, str):
            if dial not in known.settings:
                raise RequestError("dial", f"no setting {dial!r}; there are {', '.join(known.settings)}, and numbers")
            return known.settings[dial]
        if not np.isfinite(dial):
            raise RequestError("dial", f"expected a finite number, not {dial}")
        return float(np.clip(dial, known.minimum, known.maximum))

    def count(self, k: int | None) -> int:
        """Titles in a list: `k`, or the default for None."""
        count = self._default_count if k is None else k
        if not 1 <= count <= self._max_count:
            raise RequestError("k", f"expected 1 to {self._max_count} titles, not {count}")
        return count

    def _allowed(
        self, country: str | None, providers: Iterable[str] | None, candidates: Iterable[int] | None
    ) -> tuple[Ids | None, Ids]:
        """Rows that may be recommended, in order, None for all candidates; and ids that the bundle lacks."""
        if providers is not None and country is None:
            raise RequestError("providers", "expected a country too: offers differ from one country to another")
        allowed = None if country is None else self._availability.rows(country, providers)
        if candidates is None:
            return allowed, _NO_IDS
        ids = parse_title_ids("candidates", candidates)
        rows = self._bundle.rows(ids)
        chosen = np.unique(rows[(rows >= 0) & (rows < self._bundle.count_candidates)])
        if allowed is not None:
            chosen = np.intersect1d(chosen, allowed, assume_unique=True)
        return chosen, ids[rows < 0]


def parse_title_ids(field: str, values: Iterable[int]) -> Ids:
    """An argument's title ids as an array; raises RequestError that names the field."""
    try:
        return np.array(values if isinstance(values, np.ndarray) else list(values), dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        raise RequestError(field, "expected ids of titles, whole numbers") from None
