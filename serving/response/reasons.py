"""Why a title is in a list: which titles of the history weigh most, and what they share with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lake.arrays import Floats, Ids
from serving.response.response import Reason, Why

_KINDS = {"genres": ("genres",), "themes": ("themes",), "people": ("directors", "cast")}


@dataclass(frozen=True)
class Weighed:
    """`contributions` [titles of the history, recommended titles] of titles by row, `history` [titles of it]."""

    history: Ids
    contributions: Floats


class Reasons:
    """What is known of titles by name, as far as it takes to say why."""

    def __init__(self, titles: pa.Table, most_titles: int, most_names: int) -> None:
        """`titles` is a bundle's TITLES_SCHEMA; an answer names at most so many titles, and names of each kind."""
        self._ids = titles["title_id"].to_numpy()
        self._titles = titles["title"].combine_chunks()
        self._names = {name: titles[name].combine_chunks() for kind in _KINDS.values() for name in kind}
        self._most_titles = most_titles
        self._most_names = most_names

    def titles(self, rows: Ids) -> list[str]:
        return self._titles.take(pa.array(rows)).to_pylist()

    def explain(self, rows: Ids, weighed: Weighed) -> list[Why | None]:
        """For each of the recommended `rows`; None where nothing of the history speaks for it."""
        order = np.argsort(-weighed.contributions, axis=0, kind="stable")[: self._most_titles]
        values = np.take_along_axis(weighed.contributions, order, axis=0)
        used = np.unique(np.concatenate([weighed.history[order].ravel(), rows]))
        facts = self._facts(used)
        found: list[Why | None] = []
        for place, row in enumerate(rows.tolist()):
            speaking = [
                (int(weighed.history[n]), float(value))
                for n, value in zip(order[:, place], values[:, place], strict=True)
                if value > 0
            ]
            found.append(self._why(row, speaking, facts) if speaking else None)
        return found

    def _why(self, row: int, speaking: Sequence[tuple[int, float]], facts: dict[int, "_Facts"]) -> Why:
        own = facts[row]
        shared = {}
        for kind in _KINDS:
            counts: dict[str, int] = {}  # a Counter takes three times as long for so few
            for other, _ in speaking:
                for name in facts[other].names[kind]:
                    counts[name] = counts.get(name, 0) + 1
            names = [name for name in own.names[kind] if name in counts]
            # In the title's own order where as many share them: directors come before the cast.
            names.sort(key=counts.__getitem__, reverse=True)
            shared[kind] = tuple(names[: self._most_names])
        reasons = tuple(Reason(int(self._ids[other]), facts[other].title, value) for other, value in speaking)
        return Why(titles=reasons, **shared)

    def _facts(self, rows: Ids) -> dict[int, "_Facts"]:
        places = pa.array(rows)
        names = {name: column.take(places).to_pylist() for name, column in self._names.items()}
        found = {}
        for n, (row, title) in enumerate(zip(rows.tolist(), self.titles(rows), strict=True)):
            # A dictionary keeps the order and one of each.
            of_kind = {
                kind: tuple(dict.fromkeys(word for name in columns for word in names[name][n] or ()))
                for kind, columns in _KINDS.items()
            }
            found[row] = _Facts(title, of_kind)
        return found


@dataclass(frozen=True)
class _Facts:
    title: str
    names: dict[str, tuple[str, ...]]
