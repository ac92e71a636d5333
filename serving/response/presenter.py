"""From rows and scores to an answer that a person can read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexing.bundle.bundle import Bundle
from lake.arrays import NO_TITLE, Floats, Ids
from serving.response.reasons import Reasons, Weighed
from serving.response.response import Answer, Basis, Item, Why

_SHOWN = ("title_id", "title", "object_type", "release_date", "release_year")


@dataclass(frozen=True)
class Listed:
    """What was found: `rows` and `scores` [titles], best first, and how."""

    basis: Basis
    rows: Ids
    scores: Floats
    plan: Literal["exact", "search"]
    dial: float | None


class Presenter:
    """Names what a bundle knows by row."""

    def __init__(self, opened: Bundle, reasons: Reasons) -> None:
        self._bundle = opened
        self._reasons = reasons
        # As NumPy has them, of which a few rows cost a tenth of what they cost of an Arrow table.
        self._facts = [_column(opened.titles[name]) for name in _SHOWN]

    def explain(self, rows: Ids, weighed: Weighed) -> list[Why | None]:
        """Why each of `rows` is recommended."""
        return self._reasons.explain(rows, weighed)

    def answer(
        self, listed: Listed, unknown: Ids, count: int, reasons: Sequence[Why | None] = (), note: str | None = None
    ) -> Answer:
        """`reasons` are those of each title, or none at all; a list shorter than `count` says so."""
        notes = [note] if note else []
        if len(listed.rows) < count:
            notes.append(f"no more than {len(listed.rows)} titles may be recommended here")
        return Answer(
            bundle_version=self._bundle.version,
            model_version=self._bundle.manifest.model.version,
            basis=listed.basis,
            note="; ".join(notes) or None,
            dial=listed.dial,
            plan=listed.plan,
            unknown_title_ids=tuple(sorted(set(unknown.tolist()))),
            items=self._items(listed, reasons or [None] * len(listed.rows)),
        )

    def _items(self, listed: Listed, reasons: Sequence[Why | None]) -> tuple[Item, ...]:
        facts = [column[listed.rows].tolist() for column in self._facts]
        as_of = self._bundle.manifest.as_of
        items = []
        for place, (*own, score, why) in enumerate(zip(*facts, listed.scores.tolist(), reasons, strict=True)):
            title_id, title, object_type, released, year = own
            is_later = released > as_of if released else year is not None and year > as_of.year
            items.append(Item(place + 1, title_id, title, object_type, released, year, is_later, score, why))
        return tuple(items)


def _column(values: pa.ChunkedArray) -> NDArray[Any]:
    """Values that `tolist` gives as Python has them, None where there is none."""
    if pa.types.is_integer(values.type) and values.null_count:  # NumPy has no integer that is none
        return np.array(values.to_pylist(), dtype=object)
    return values.to_numpy()


def found(rows: Ids, scores: Floats) -> tuple[Ids, Floats]:
    """A list without its padding."""
    return rows[rows != NO_TITLE], scores[rows != NO_TITLE]
