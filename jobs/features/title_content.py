"""Plots and posters of the lake's titles, read for `jobs.describe`: how many have an embedding, and near titles.

Reads title_features and stg_titles without Spark.
"""

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
from lake.title_names import TitleNames

EMBEDDINGS = tuple(f"{kind}_embedding" for kind in title_features.KINDS)
_COVERAGE_COLUMNS = [name for kind in title_features.KINDS for name in (f"has_{kind}", f"{kind}_problem")]


@dataclass(frozen=True)
class Coverage:
    """Numbers of titles with a plot (or poster) and with an embedding of it; `problems` counts failures by reason."""

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
    """Coverage per kind of content, over all titles of title_features; empty where the lake has no such table."""
    if not tables.exists(settings, title_features.TABLE):
        return []
    rows = _read(settings, [*_COVERAGE_COLUMNS, *EMBEDDINGS])
    return [
        Coverage(
            kind=kind,
            titles=len(rows),
            present=pc.sum(rows[f"has_{kind}"]).as_py() or 0,
            embedded=len(rows) - rows[f"{kind}_embedding"].null_count,
            problems={
                problem["values"]: problem["counts"]
                for problem in pc.value_counts(rows[f"{kind}_problem"].drop_null()).to_pylist()
            },
        )
        for kind in title_features.KINDS
    ]


class EncodedTitles:
    """The titles of a lake with their names and embeddings; `row` counts the rows of title_features."""

    def __init__(self, settings: Settings) -> None:
        """Raises JobError where the lake has no title_features."""
        if not tables.exists(settings, title_features.TABLE):
            raise JobError(f"no title_features in {settings.lake.root}; run python -m jobs.backfill first")
        self._rows = _read(settings, ["title_id", "count_positives_ever", *EMBEDDINGS])
        staged = delta_log.read(
            delta_log.load(tables.location(settings, stg_titles.TABLE)), ["title_id", "title", "release_year"]
        )
        named = {row["title_id"]: (row["title"], row["release_year"]) for row in staged.to_pylist()}
        titles = [named[title_id] for title_id in self._rows["title_id"].to_pylist()]
        counts = self._rows["count_positives_ever"].to_numpy()
        self.names = TitleNames([name for name, _ in titles], [year for _, year in titles], counts)

    def neighbours(self, row: int, embedding: str, count: int) -> list[Neighbour] | None:
        """The `count` titles whose `embedding` is nearest, by cosine; None where this title has none."""
        column = self._rows[embedding].combine_chunks()
        encoded_rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        if row not in encoded_rows:
            return None
        # Dropping nulls first: the values of a null list are not in the flat array.
        vectors = column.drop_null().values.to_numpy().reshape(len(encoded_rows), -1)  # [encoded titles, dim]
        similarity = vectors @ vectors[np.searchsorted(encoded_rows, row)]
        order = np.argsort(-similarity, kind="stable")
        nearest = [int(n) for n in order if encoded_rows[n] != row][:count]
        return [Neighbour(self.names.label(encoded_rows[n]), float(similarity[n])) for n in nearest]


def _read(settings: Settings, columns: Sequence[str]) -> pa.Table:
    return delta_log.read(delta_log.load(tables.location(settings, title_features.TABLE)), columns)
