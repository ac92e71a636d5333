"""What is popular, for people of whom nothing is known."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.recommender import NO_TITLE

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


class Popular:
    """Candidates by how many liked them; of equal counts the lower row first."""

    def __init__(self, titles: pa.Table, count_candidates: int) -> None:
        """`titles` is a bundle's TITLES_SCHEMA."""
        counts = titles["count_positives"].to_numpy()[:count_candidates]
        self._popularity = titles["popularity"].to_numpy()[:count_candidates]
        self._order = np.argsort(-counts, kind="stable")
        self._places = np.empty(count_candidates, dtype=np.int64)
        self._places[self._order] = np.arange(count_candidates)

    def best(self, allowed: Ids | None, excluded: Sequence[Ids], count: int) -> tuple[Ids, Floats]:
        """Rows and popularity [lists, count] of the most popular among `allowed` rows (None: all), for each list
        without its own of `excluded` [lists]; NO_TITLE and minus infinity where there are no more.
        """
        order = self._order if allowed is None else self._order[np.sort(self._places[allowed])]
        rows = np.full((len(excluded), count), NO_TITLE, dtype=np.int64)
        for place, own in enumerate(excluded):
            # So many are enough, even if all that are excluded come first.
            first = order[: count + len(own)]
            kept = first[~np.isin(first, own)][:count]
            rows[place, : len(kept)] = kept
        scores = np.where(rows == NO_TITLE, np.float32(-np.inf), self._popularity[rows])
        return rows, scores
