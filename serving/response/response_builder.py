"""Builds a response from the rows and scores of a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexing.bundle.bundle import Bundle
from lake.arrays import NO_TITLE, Floats, Ids
from serving.response.response import Basis, Item, RetrieverResponse, Why

_SHOWN = ("title_id", "title", "object_type", "release_date", "release_year")


@dataclass(frozen=True)
class RankedTitles:
    """One list without padding: `rows` and `scores` [titles], best first, and how it was made."""

    basis: Basis
    rows: Ids
    scores: Floats
    plan: Literal["exact", "search"]
    dial: float | None


class ResponseBuilder:
    """Looks up titles of a bundle by row."""

    def __init__(self, opened: Bundle) -> None:
        self._bundle = opened
        # NumPy columns: reading a few rows costs a tenth of what it costs from an Arrow table.
        self._columns = [_column(opened.titles[name]) for name in _SHOWN]

    def build(
        self,
        ranked: RankedTitles,
        unknown: Ids,
        count: int,
        reasons: Sequence[Why | None] = (),
        note: str | None = None,
    ) -> RetrieverResponse:
        """`reasons` has one entry per title, or none at all. A note says when the list is shorter than `count`."""
        notes = [note] if note else []
        if len(ranked.rows) < count:
            notes.append(f"no more than {len(ranked.rows)} titles may be recommended here")
        return RetrieverResponse(
            bundle_version=self._bundle.version,
            model_version=self._bundle.manifest.model.version,
            basis=ranked.basis,
            note="; ".join(notes) or None,
            dial=ranked.dial,
            plan=ranked.plan,
            unknown_title_ids=tuple(sorted(set(unknown.tolist()))),
            items=self._items(ranked, reasons or [None] * len(ranked.rows)),
        )

    def _items(self, ranked: RankedTitles, reasons: Sequence[Why | None]) -> tuple[Item, ...]:
        columns = [column[ranked.rows].tolist() for column in self._columns]
        as_of = self._bundle.manifest.as_of
        items = []
        for rank, (*facts, score, why) in enumerate(zip(*columns, ranked.scores.tolist(), reasons, strict=True), 1):
            title_id, title, object_type, released, year = facts
            is_unreleased = released > as_of if released else year is not None and year > as_of.year
            items.append(Item(rank, title_id, title, object_type, released, year, is_unreleased, score, why))
        return tuple(items)


def _column(values: pa.ChunkedArray) -> NDArray[Any]:
    """An array whose `tolist` gives Python values, None for nulls."""
    if pa.types.is_integer(values.type) and values.null_count:  # NumPy integers have no null
        return np.array(values.to_pylist(), dtype=object)
    return values.to_numpy()


def without_padding(rows: Ids, scores: Floats) -> tuple[Ids, Floats]:
    """The rows and scores of one list without its padding."""
    is_title = rows != NO_TITLE
    return rows[is_title], scores[is_title]
