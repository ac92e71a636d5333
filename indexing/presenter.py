"""From rows and scores to an answer that a person can read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from indexing.answers import Answer, Basis, Item, Why
from indexing.bundle import Bundle
from indexing.reasons import Reasons, Weighed
from models.recommender import NO_TITLE

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

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
        self._facts = opened.titles.select(_SHOWN).combine_chunks()

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
            unknown_title_ids=tuple(np.unique(unknown).tolist()),
            items=self._items(listed, reasons or [None] * len(listed.rows)),
        )

    def _items(self, listed: Listed, reasons: Sequence[Why | None]) -> tuple[Item, ...]:
        facts = self._facts.take(listed.rows).to_pylist()
        as_of = self._bundle.manifest.as_of
        items = []
        for place, (own, score, why) in enumerate(zip(facts, listed.scores.tolist(), reasons, strict=True)):
            released, year = own["release_date"], own["release_year"]
            is_later = released > as_of if released else year is not None and year > as_of.year
            items.append(Item(rank=place + 1, **own, is_unreleased=is_later, score=score, why=why))
        return tuple(items)


def found(rows: Ids, scores: Floats) -> tuple[Ids, Floats]:
    """A list without its padding."""
    return rows[rows != NO_TITLE], scores[rows != NO_TITLE]
