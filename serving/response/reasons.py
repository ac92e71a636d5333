"""Reasons for a recommended title: the history titles that contribute most, and what they share with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lake.arrays import Ids
from serving.response.attribution import Attribution
from serving.response.response import Reason, Why

_KINDS = {"genres": ("genres",), "themes": ("themes",), "people": ("directors", "cast")}


@dataclass(frozen=True)
class _TitleFacts:
    title: str
    names: dict[str, tuple[str, ...]]  # per kind of _KINDS


class Reasons:
    """Explains recommendations by the names of titles, genres, themes and people."""

    def __init__(self, titles: pa.Table, max_titles: int, max_names: int) -> None:
        """`titles` is a bundle's TITLES_SCHEMA; at most `max_titles` reasons, and `max_names` names of each kind."""
        self._ids = titles["title_id"].to_numpy()
        self._titles = titles["title"].combine_chunks()
        self._names = {name: titles[name].combine_chunks() for kind in _KINDS.values() for name in kind}
        self._max_titles = max_titles
        self._max_names = max_names

    def explain(self, rows: Ids, attribution: Attribution) -> list[Why | None]:
        """Reasons for each of the recommended `rows`; None where no title of the history contributes."""
        order = np.argsort(-attribution.contributions, axis=0, kind="stable")[: self._max_titles]
        values = np.take_along_axis(attribution.contributions, order, axis=0)
        facts = self._facts(np.unique(np.concatenate([attribution.history[order].ravel(), rows])))
        reasons: list[Why | None] = []
        for column, row in enumerate(rows.tolist()):
            contributions = [
                (int(attribution.history[entry]), float(value))
                for entry, value in zip(order[:, column], values[:, column], strict=True)
                if value > 0
            ]
            reasons.append(self._why(row, contributions, facts) if contributions else None)
        return reasons

    def _why(self, row: int, contributions: Sequence[tuple[int, float]], facts: dict[int, _TitleFacts]) -> Why:
        shared = {}
        for kind in _KINDS:
            counts: dict[str, int] = {}  # a Counter takes three times as long for so few
            for history_row, _ in contributions:
                for name in facts[history_row].names[kind]:
                    counts[name] = counts.get(name, 0) + 1
            names = [name for name in facts[row].names[kind] if name in counts]
            # Ties keep the title's order: directors come before the cast.
            names.sort(key=counts.__getitem__, reverse=True)
            shared[kind] = tuple(names[: self._max_names])
        reasons = tuple(
            Reason(int(self._ids[history_row]), facts[history_row].title, value) for history_row, value in contributions
        )
        return Why(titles=reasons, **shared)

    def _facts(self, rows: Ids) -> dict[int, _TitleFacts]:
        arrow_rows = pa.array(rows)
        titles = self._titles.take(arrow_rows).to_pylist()
        names = {name: column.take(arrow_rows).to_pylist() for name, column in self._names.items()}
        facts = {}
        for n, (row, title) in enumerate(zip(rows.tolist(), titles, strict=True)):
            # A dictionary keeps the order and one of each.
            names_of_kind = {
                kind: tuple(dict.fromkeys(word for name in columns for word in names[name][n] or ()))
                for kind, columns in _KINDS.items()
            }
            facts[row] = _TitleFacts(title, names_of_kind)
        return facts
