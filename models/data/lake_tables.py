"""What a run reads of the lake, as arrays: the catalogue with its content, and who liked what in which split.

Everything is of pinned Delta versions, so that a run can be done again, and named by position: title n is the n-th of
the catalogue, user n the n-th of the users.
"""

from lake.arrays import Ids
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from lake import delta_files
from models.data.content import Block, Content
from models.errors import ModelError

# What a run is made of: their versions are pinned together.
TABLES = ("title_features", "vocabularies", "training_examples", "training_users")
SPLITS = ("train", "validation", "test")

_PADDING_ID, _UNKNOWN_ID, _FIRST_ID = 0, 1, 2  # of vocabularies
_OBJECT_TYPES = {2: "movie", 3: "show"}
_EPOCH = date(1970, 1, 1)
_YEARS = (1900, 2041)
_FEATURES = (
    *("title_id", "title_index", "is_listed", "object_type_id", "language_id", "genre_ids", "theme_ids"),
    *("cast_ids", "director_ids", "release_date", "release_year"),
    *("title_embedding", "plot_embedding", "poster_embedding"),
)



@dataclass(frozen=True)
class Catalogue:
    """All titles the lake has features of, those that left the guide too, in the order in which they got their index.

    `release_days` [titles] count from 1970-01-01, NaN where not known; a year alone counts as its first of July.
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

    def positions(self, title_ids: Ids) -> Ids:
        """Where titles stand; -1 for one that the catalogue lacks."""
        if not len(self.title_ids):
            return np.full(len(title_ids), -1, dtype=np.int64)
        found = self._order[np.minimum(np.searchsorted(self._sorted, title_ids), len(self) - 1)]
        return np.where(self.title_ids[found] == title_ids, found, -1)

    def take(self, positions: Ids) -> "Catalogue":
        """The titles at `positions`, in that order."""
        return Catalogue(
            title_ids=self.title_ids[positions],
            is_listed=self.is_listed[positions],
            object_types=[self.object_types[n] for n in positions],
            genre_names=self.genre_names,
            genres=self.genres[positions],
            release_days=self.release_days[positions],
            content=self.content.take(positions),
        )

    @cached_property
    def _order(self) -> Ids:
        return np.argsort(self.title_ids, kind="stable")

    @cached_property
    def _sorted(self) -> Ids:
        return self.title_ids[self._order]


@dataclass(frozen=True)
class Positives:
    """One entry per user and title liked, in the order of users, then titles."""

    user_ids: Sequence[str]  # [users], in their order
    countries: Sequence[str]  # [users], of the last of their positives
    liked: sparse.csr_matrix  # [users, titles], 1 where liked
    days: NDArray[np.float64]  # [positives], moments in days since 1970-01-01, in the order of liked.indices

    def days_of(self, users: Sequence[str]) -> sparse.csr_matrix:
        """[users, titles]: when each of `users` liked what; nothing for one who is not among them."""
        place = {user: n for n, user in enumerate(self.user_ids)}
        rows = [n for n, user in enumerate(users) if user in place]
        columns = [place[users[n]] for n in rows]
        chosen = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(users), len(self.user_ids)))
        days = sparse.csr_matrix((self.days, self.liked.indices, self.liked.indptr), shape=self.liked.shape)
        found = sparse.csr_matrix(chosen @ days)
        found.sort_indices()
        return found


def recent_counts(positives: Positives, days: int) -> NDArray[np.int64]:
    """[titles]: how many of `positives` fall in the last `days` days of them."""
    is_recent = positives.days > positives.days.max(initial=-np.inf) - days
    return np.bincount(positives.liked.indices[is_recent], minlength=positives.liked.shape[1])


def pin(root: str, tables: Sequence[str] = TABLES) -> dict[str, int]:
    """The newest version of each of `tables`. Raises LakeError where the lake lacks one."""
    return {table: delta_files.newest_version(f"{root}/{table}") for table in tables}


def read_catalogue(root: str, versions: Mapping[str, int], blocks: Mapping[str, float]) -> Catalogue:
    """The catalogue with the content of `blocks`, their weights by name; see `content_blocks` for the names."""
    rows = delta_files.read_table(f"{root}/title_features", versions["title_features"], _FEATURES)
    rows = rows.sort_by([("title_index", "ascending"), ("title_id", "ascending")])
    names = token_names(root, versions, "genre")
    return Catalogue(
        title_ids=rows["title_id"].to_numpy(),
        is_listed=rows["is_listed"].to_numpy(),
        object_types=[_OBJECT_TYPES.get(n) for n in rows["object_type_id"].to_pylist()],
        genre_names=names,
        genres=_multi_hot(rows["genre_ids"], _FIRST_ID, len(names)),
        release_days=_release_days(rows),
        content=content_blocks(rows, blocks),
    )


def content_blocks(rows: pa.Table, weights: Mapping[str, float]) -> Content:
    """The blocks of title_features that `weights` name.

    Ids are multi-hot: genres, genre_pairs (two genres that a title has both, or its only one), themes, language, cast,
    directors, people (either), credits (each in its part, a title's all together as long as any other's), lead (the
    first of the cast), month and weekday of release. Fame is how many parts in the catalogue its people have. A year
    is in bins of 10, 5 or 3 years: year, year_5, year_3. The title, the plot and the poster are embeddings. People of a
    single title are left out, but for fame: nothing is shared with them.
    Raises ModelError for a name that is no block.
    """
    known = {
        "genres": lambda: _id_block(rows, "genre_ids"),
        "themes": lambda: _id_block(rows, "theme_ids"),
        "genre_pairs": lambda: _pair_block(_id_block(rows, "genre_ids")[0]),
        "people": lambda: _shared(_id_block(rows, "cast_ids", "director_ids")[0]),
        "cast": lambda: _shared(_id_block(rows, "cast_ids")[0]),
        "directors": lambda: _shared(_id_block(rows, "director_ids")[0]),
        "credits": lambda: _credits_block(rows),
        "lead": lambda: _shared(_lead_ids(rows)),
        "fame": lambda: _fame_block(rows),
        "language": lambda: _id_block(rows, "language_id"),
        "month": lambda: _month_block(rows),
        "weekday": lambda: _weekday_block(rows),
        "year": lambda: _year_block(rows, 10),
        "year_5": lambda: _year_block(rows, 5),
        "year_3": lambda: _year_block(rows, 3),
        "title": lambda: _embedding_block(rows["title_embedding"]),
        "plot": lambda: _embedding_block(rows["plot_embedding"]),
        "poster": lambda: _embedding_block(rows["poster_embedding"]),
    }
    unknown = [name for name in weights if name not in known]
    if unknown:
        raise ModelError(f"content.blocks: no block {unknown[0]!r}; there are {', '.join(known)}")
    made = {name: known[name]() for name in weights}
    blocks = {name: block for name, (block, _) in made.items()}
    return Content(blocks, {name: present for name, (_, present) in made.items()}, weights)


def read_positives(root: str, versions: Mapping[str, int], split: str, catalogue: Catalogue) -> Positives:
    """Who liked what in a split of training_examples; titles that the catalogue lacks are left out.

    A split without any row gives no users.
    """
    columns = ("user_id", "title_id", "event_time", "country")
    location = f"{root}/training_examples"
    if split not in delta_files.splits(location, versions["training_examples"]):
        empty = sparse.csr_matrix((0, len(catalogue)), dtype=np.float32)
        return Positives([], [], empty, np.empty(0))
    return positives_of(delta_files.read_table(location, versions["training_examples"], columns, split), catalogue)


def positives_of(rows: pa.Table, catalogue: Catalogue) -> Positives:
    """Who liked what by rows of training_examples: their `user_id`, `title_id`, `event_time` and `country`."""
    titles = catalogue.positions(rows["title_id"].to_numpy())
    rows, titles = rows.filter(pa.array(titles >= 0)), titles[titles >= 0]
    moments = rows["event_time"].cast(pa.int64()).to_numpy() / 86_400e6
    user_ids, users = np.unique(rows["user_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    # A title liked again later, after it had fallen out of the history, is one positive: the first.
    order = np.lexsort((moments, titles, users))
    users, titles, moments = users[order], titles[order], moments[order]
    is_first = np.append(True, (np.diff(users) != 0) | (np.diff(titles) != 0))[: len(users)]
    countries = rows["country"].to_numpy(zero_copy_only=False)[order]
    users, titles, moments, countries = (values[is_first] for values in (users, titles, moments, countries))
    shape = (len(user_ids), len(catalogue))
    liked = sparse.csr_matrix((np.ones(len(users), dtype=np.float32), (users, titles)), shape=shape)
    last = np.lexsort((moments, users))[np.cumsum(np.bincount(users, minlength=shape[0])) - 1]
    return Positives(user_ids.tolist(), countries[last].tolist(), liked, moments)


def history_weights(
    root: str, versions: Mapping[str, int], users: Sequence[str], catalogue: Catalogue
) -> sparse.csr_matrix:
    """[users, titles]: what titles count in the histories of `users` as of the split; an entry may be 0."""
    columns = ("user_id", "history_title_ids", "history_weights")
    rows = delta_files.read_table(f"{root}/training_users", versions["training_users"], columns)
    place = {user: n for n, user in enumerate(users)}
    owners = np.array([place.get(user, -1) for user in rows["user_id"].to_pylist()], dtype=np.int64)
    lengths = pc.list_value_length(rows["history_title_ids"]).to_numpy()
    owners = np.repeat(owners, lengths)
    titles = catalogue.positions(pc.list_flatten(rows["history_title_ids"]).to_numpy())  # padding is no title
    kept = (owners >= 0) & (titles >= 0)
    weights = pc.list_flatten(rows["history_weights"]).to_numpy()[kept].astype(np.float32)
    return sparse.csr_matrix((weights, (owners[kept], titles[kept])), shape=(len(users), len(catalogue)))


def seen_titles(root: str, versions: Mapping[str, int], catalogue: Catalogue) -> NDArray[np.bool_]:
    """[titles]: whether somebody has met it: liked it by the newest night, or has it in a history of training_users."""
    columns = ("title_id", "count_positives_ever")
    rows = delta_files.read_table(f"{root}/title_features", versions["title_features"], columns)
    liked = rows.filter(pc.greater(rows["count_positives_ever"], 0))["title_id"]
    users = delta_files.read_table(f"{root}/training_users", versions["training_users"], ("history_title_ids",))
    found = np.zeros(len(catalogue), dtype=np.bool_)
    for ids in (liked, pc.list_flatten(users["history_title_ids"])):
        titles = catalogue.positions(pc.unique(ids).to_numpy())
        found[titles[titles >= 0]] = True  # padding is no title
    return found


def token_names(root: str, versions: Mapping[str, int], kind: str) -> list[str]:
    """The tokens of a kind, the n-th being that of id n + 2."""
    rows = delta_files.read_table(f"{root}/vocabularies", versions["vocabularies"], ("kind", "token", "id"))
    ids = {row["id"]: row["token"] for row in rows.to_pylist() if row["kind"] == kind}
    return [ids[n] for n in sorted(ids)]


def _release_days(rows: pa.Table) -> NDArray[np.float64]:
    dates, years = rows["release_date"].to_pylist(), rows["release_year"].to_pylist()
    known = [day or (date(year, 7, 1) if year else None) for day, year in zip(dates, years, strict=True)]
    return np.array([np.nan if day is None else (day - _EPOCH).days for day in known], dtype=np.float64)


def _id_block(rows: pa.Table, *columns: str) -> tuple[Block, NDArray[np.bool_]]:
    """Multi-hot over the ids of all `columns` together; unknown ones say nothing."""
    width = max((_largest(rows[column]) for column in columns), default=0) + 1
    summed = sum(_multi_hot(rows[column], 0, width) for column in columns)
    ids = sparse.csr_matrix(summed)[:, _FIRST_ID:]
    ids.data[:] = 1
    return ids, np.diff(ids.indptr) > 0


def _shared(ids: sparse.csr_matrix) -> tuple[sparse.csr_matrix, NDArray[np.bool_]]:
    """Those columns of multi-hot `ids` that two titles or more have, and which titles have any column at all."""
    return ids[:, np.bincount(ids.indices, minlength=ids.shape[1]) > 1], np.diff(ids.indptr) > 0


def _multi_hot(column: pa.ChunkedArray, first_id: int, width: int) -> sparse.csr_matrix:
    """[rows, width]: 1 in column n where a row has id n + `first_id`; padding and ids beyond are left out."""
    ids = column.combine_chunks()
    if pa.types.is_list(ids.type):
        counts, values = np.diff(ids.offsets.to_numpy()), ids.flatten().to_numpy()
    else:
        counts, values = np.ones(len(ids), dtype=np.int64), ids.to_numpy()
    owners, places = np.repeat(np.arange(len(ids)), counts), values - first_id
    kept = (values != _PADDING_ID) & (places >= 0) & (places < width)
    ones = np.ones(kept.sum(), dtype=np.float32)
    found = sparse.csr_matrix((ones, (owners[kept], places[kept])), shape=(len(ids), width))
    found.data[:] = 1  # an id twice in a list counts once
    return found


def _largest(column: pa.ChunkedArray) -> int:
    ids = column.combine_chunks()
    values = ids.flatten() if pa.types.is_list(ids.type) else ids
    return max(int(values.to_numpy().max(initial=0)), _UNKNOWN_ID)


def _pair_block(ids: sparse.csr_matrix) -> tuple[Block, NDArray[np.bool_]]:
    """Multi-hot over pairs of the ids that a title has, an id with itself among them."""
    width = ids.shape[1]
    counts = np.diff(ids.indptr)
    owners = np.repeat(np.arange(ids.shape[0]), counts)
    # Each entry beside each of its title's entries.
    firsts = np.repeat(ids.indices, counts[owners])
    tiled = [np.tile(ids[n].indices, counts[n]) for n in range(ids.shape[0])]
    seconds = np.concatenate([np.empty(0, dtype=np.int64), *tiled])
    kept = firsts <= seconds
    entries = (np.repeat(owners, counts[owners])[kept], firsts[kept].astype(np.int64) * width + seconds[kept])
    ones = np.ones(kept.sum(), dtype=np.float32)
    return sparse.csr_matrix((ones, entries), shape=(ids.shape[0], width * width)), counts > 0


def _credits_block(rows: pa.Table) -> tuple[Block, NDArray[np.bool_]]:
    """Cast and directors side by side, a title's row of length 1: a name says more where few are named."""
    ids = sparse.hstack([_id_block(rows, "cast_ids")[0], _id_block(rows, "director_ids")[0]], format="csr")
    both, present = _shared(ids)
    counts = np.diff(both.indptr)
    both.data /= np.repeat(np.sqrt(counts), counts)
    return both.astype(np.float32), present


def _lead_ids(rows: pa.Table) -> sparse.csr_matrix:
    """One-hot over who comes first in the cast."""
    first = pa.chunked_array([pc.list_element(rows["cast_ids"].combine_chunks(), 0)])
    return _multi_hot(first, 0, _largest(first) + 1)[:, _FIRST_ID:]


def _fame_block(rows: pa.Table) -> tuple[Block, NDArray[np.bool_]]:
    """[titles, 5]: how known a title's people are, by the parts that each has in the catalogue; nobody's likes.

    ln(1 + count) of the parts of the cast together, of the most of one of them, of the directors' and of the lead's,
    and the number of genres; each at mean 0 and standard deviation 1. A title that names nobody has nobody known: where
    only known titles name people that tells their popularity, which `models.ablation` shows.
    """
    people = ("cast_ids", "director_ids")
    width = max(_largest(rows[column]) for column in people) + 1
    cast, directors = (_multi_hot(rows[column], 0, width)[:, _FIRST_ID:] for column in people)
    lead = _lead_ids(rows)
    parts = np.asarray((cast + directors).sum(axis=0)).ravel()
    most = (cast @ sparse.diags(parts)).max(axis=1).toarray().ravel()
    genres = np.asarray(_id_block(rows, "genre_ids")[0].sum(axis=1)).ravel()
    counts = np.column_stack([cast @ parts, most, directors @ parts, lead @ parts[: lead.shape[1]]])
    block = np.column_stack([np.log1p(counts), genres]).astype(np.float64)
    block = (block - block.mean(axis=0)) / np.maximum(block.std(axis=0), 1e-9)
    return block.astype(np.float32), np.ones(len(rows), dtype=np.bool_)


def _weekday_block(rows: pa.Table) -> tuple[Block, NDArray[np.bool_]]:
    """One-hot over the weekdays of release dates."""
    days = np.array([-1 if day is None else day.weekday() for day in rows["release_date"].to_pylist()], dtype=np.int64)
    return (np.arange(7) == days[:, None]).astype(np.float32), days >= 0


def _month_block(rows: pa.Table) -> tuple[Block, NDArray[np.bool_]]:
    """One-hot over the months of release dates."""
    months = np.array([0 if day is None else day.month for day in rows["release_date"].to_pylist()], dtype=np.int64)
    return (np.arange(1, 13) == months[:, None]).astype(np.float32), months > 0


def _year_block(rows: pa.Table, years_between_bins: int) -> tuple[Block, NDArray[np.bool_]]:
    """[titles, bins]: how near a year is to each of some years so far apart.

    One number would make the oldest and the newest titles the most unlike of all; in bins of decades, what is two
    decades apart is as unlike as what is eight.
    """
    years = np.array([np.nan if year is None else year for year in rows["release_year"].to_pylist()])
    present = ~np.isnan(years)
    centres = np.arange(*_YEARS, years_between_bins)
    distances = (np.where(present, years, 0)[:, None] - centres) / years_between_bins
    return np.where(present[:, None], np.exp(-0.5 * distances**2), 0).astype(np.float32), present


def _embedding_block(column: pa.ChunkedArray) -> tuple[Block, NDArray[np.bool_]]:
    """[titles, dims], rows of zeros for titles without an embedding."""
    vectors = column.combine_chunks()
    present = vectors.is_valid().to_numpy(zero_copy_only=False)
    # Dropping nulls first: the values of a null list may stand in the flat array.
    values = vectors.drop_null().flatten().to_numpy()
    block = np.zeros((len(vectors), len(values) // max(present.sum(), 1)), dtype=np.float32)
    block[present] = values.reshape(present.sum(), -1) if present.any() else 0
    return block, present
