"""The catalogue of a lake as arrays: title n is row n everywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import Ids
from lake.snapshot import LakeSnapshot
from lake.vocabulary_ids import FIRST_ID
from models.data.content import Content
from models.data.content_blocks import content_blocks, multi_hot

_OBJECT_TYPES = {2: "movie", 3: "show"}
_EPOCH = date(1970, 1, 1)
_FEATURES = (
    *("title_id", "title_index", "is_listed", "object_type_id", "language_id", "genre_ids", "theme_ids"),
    *("cast_ids", "director_ids", "release_date", "release_year"),
    *("title_embedding", "plot_embedding", "poster_embedding"),
)


@dataclass(frozen=True)
class Catalogue:
    """All titles with features, also those that left the guide, in the order of `title_index`.

    `release_days` [titles] count from 1970-01-01, NaN for an unknown one; a year alone counts as its 1 July.
    """

    title_ids: Ids  # [titles]
    is_listed: NDArray[np.bool_]  # [titles]
    object_types: Sequence[str | None]  # [titles]
    genre_names: Sequence[str]
    genres: sparse.csr_matrix  # [titles, genres], 1 where it has the genre
    release_days: NDArray[np.float64]  # [titles]
    content: Content

    def __len__(self) -> int:
        return len(self.title_ids)

    def rows(self, title_ids: Ids) -> Ids:
        """Rows of titles; -1 for one that the catalogue lacks."""
        if not len(self.title_ids):
            return np.full(len(title_ids), -1, dtype=np.int64)
        rows = self._order[np.minimum(np.searchsorted(self._sorted, title_ids), len(self) - 1)]
        return np.where(self.title_ids[rows] == title_ids, rows, -1)

    def take(self, rows: Ids) -> "Catalogue":
        """The titles of `rows`, in that order."""
        return Catalogue(
            title_ids=self.title_ids[rows],
            is_listed=self.is_listed[rows],
            object_types=[self.object_types[n] for n in rows],
            genre_names=self.genre_names,
            genres=self.genres[rows],
            release_days=self.release_days[rows],
            content=self.content.take(rows),
        )

    @cached_property
    def _order(self) -> Ids:
        return np.argsort(self.title_ids, kind="stable")

    @cached_property
    def _sorted(self) -> Ids:
        return self.title_ids[self._order]


def read_catalogue(snapshot: LakeSnapshot, blocks: Mapping[str, float]) -> Catalogue:
    """The catalogue with its content; `blocks` are weights by name of a block, see `content_blocks`."""
    rows = snapshot.read("title_features", _FEATURES)
    rows = rows.sort_by([("title_index", "ascending"), ("title_id", "ascending")])
    names = read_token_names(snapshot, "genre")
    return Catalogue(
        title_ids=rows["title_id"].to_numpy(),
        is_listed=rows["is_listed"].to_numpy(),
        object_types=[_OBJECT_TYPES.get(n) for n in rows["object_type_id"].to_pylist()],
        genre_names=names,
        genres=multi_hot(rows["genre_ids"], FIRST_ID, len(names)),
        release_days=_release_days(rows),
        content=content_blocks(rows, blocks),
    )


def read_token_names(snapshot: LakeSnapshot, kind: str) -> list[str]:
    """The tokens of a kind of vocabulary; token n has id n + FIRST_ID."""
    rows = snapshot.read("vocabularies", ("kind", "token", "id"))
    ids = {row["id"]: row["token"] for row in rows.to_pylist() if row["kind"] == kind}
    return [ids[n] for n in sorted(ids)]


def _release_days(rows: pa.Table) -> NDArray[np.float64]:
    dates, years = rows["release_date"].to_pylist(), rows["release_year"].to_pylist()
    known = [day or (date(year, 7, 1) if year else None) for day, year in zip(dates, years, strict=True)]
    return np.array([np.nan if day is None else (day - _EPOCH).days for day in known], dtype=np.float64)
