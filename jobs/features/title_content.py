"""What the lake knows of its titles' plots and posters, for a person: how many have which, and which lie near another.

Reads title_features and stg_titles without Spark.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Settings
from jobs import stg_titles, title_features
from jobs.errors import JobError
from jobs.store import tables
from lake import delta_log

EMBEDDINGS = tuple(f"{kind}_embedding" for kind in title_features.KINDS)
_COLUMNS = (
    "title_id",
    "title_index",
    "has_plot",
    "has_poster",
    "plot_problem",
    "poster_problem",
    "count_positives_ever",
)


@dataclass(frozen=True)
class Coverage:
    """How many of all titles have a plot (or poster), how many an embedding of it; why not counts by reason."""

    kind: str
    titles: int
    present: int
    embedded: int
    problems: dict[str, int]


@dataclass(frozen=True)
class Neighbour:
    """A title near another one; `similarity` is the cosine."""

    title: str
    similarity: float


def coverage(settings: Settings) -> list[Coverage]:
    """Of all titles the lake has features of, per kind of content; none where it has no features yet."""
    if not tables.exists(settings, title_features.TABLE):
        return []
    rows = _read(settings, [*_COLUMNS, *EMBEDDINGS])
    return [
        Coverage(
            kind=kind,
            titles=len(rows),
            present=pc.sum(rows[f"has_{kind}"]).as_py() or 0,
            embedded=len(rows) - rows[f"{kind}_embedding"].null_count,
            problems={
                found["values"]: found["counts"]
                for found in pc.value_counts(rows[f"{kind}_problem"].drop_null()).to_pylist()
            },
        )
        for kind in title_features.KINDS
    ]


class Catalogue:
    """The titles of a lake with their names and embeddings, to ask for neighbours."""

    def __init__(self, settings: Settings) -> None:
        if not tables.exists(settings, title_features.TABLE):
            raise JobError(f"no title_features in {settings.lake.root}; run python -m jobs.backfill first")
        self._rows = _read(settings, [*_COLUMNS, *EMBEDDINGS])
        staged = delta_log.read(
            delta_log.load(tables.location(settings, stg_titles.TABLE)), ["title_id", "title", "release_year"]
        )
        named = {row["title_id"]: (row["title"], row["release_year"]) for row in staged.to_pylist()}
        shown = [named[title_id] for title_id in self._rows["title_id"].to_pylist()]
        self._titles = [title for title, _ in shown]
        self._names = [f"{title} ({year})" if year else title for title, year in shown]

    def find(self, name: str) -> int:
        """The position of the title of this name, with or without its year; of several the one liked most.

        Raises JobError where there is none, with the names that come nearest.
        """
        wanted = name.casefold()
        found = [
            position
            for position, (title, shown) in enumerate(zip(self._titles, self._names, strict=True))
            if wanted in (title.casefold(), shown.casefold())
        ]
        if not found:
            near = difflib.get_close_matches(name, self._names, n=5, cutoff=0.4)
            raise JobError(f"no title '{name}'" + (f"; near are: {', '.join(near)}" if near else ""))
        liked = self._rows["count_positives_ever"]
        return max(found, key=lambda position: liked[position].as_py())

    def name(self, position: int) -> str:
        return self._names[position]

    def neighbours(self, position: int, embedding: str, count: int) -> list[Neighbour] | None:
        """The `count` titles whose `embedding` is nearest, by cosine; None where this title has none."""
        column = self._rows[embedding].combine_chunks()
        present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        if position not in present:
            return None
        # Dropping nulls first: the values of a null list are not in the flat array.
        vectors = column.drop_null().values.to_numpy().reshape(len(present), -1)  # [titles, dims]
        similarity = vectors @ vectors[np.searchsorted(present, position)]
        nearest = [int(n) for n in np.argsort(-similarity, kind="stable") if present[n] != position][:count]
        return [Neighbour(self._names[present[n]], float(similarity[n])) for n in nearest]


def _read(settings: Settings, columns: Sequence[str]) -> pa.Table:
    return delta_log.read(delta_log.load(tables.location(settings, title_features.TABLE)), columns)
