"""Blocks of content: one matrix per kind of metadata in title_features."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from lake.vocabulary_ids import FIRST_ID, PADDING_ID, UNKNOWN_ID
from models.data.content import Block, Content
from models.errors import ModelError

_YEARS = (1900, 2041)


def content_blocks(rows: pa.Table, weights: Mapping[str, float]) -> Content:
    """The blocks of title_features that `weights` name.

    Multi-hot:

      genres, themes, language, cast, directors
      genre_pairs     pairs of the title's genres, a genre with itself among them
      people          cast and directors, as one kind of id
      credits         cast and directors, as two kinds; each title's row has length 1
      lead            the first of the cast
      month, weekday  of the release date

    Numbers: fame (credits of the title's people in the catalogue), and the release year in bins of 10, 5 or 3 years
    (year, year_5, year_3). Embeddings: title, plot, poster.

    Cast and directors of a single title are left out, except in fame, since they connect no titles.
    Raises ModelError for a name that is no block.
    """
    makers = {
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
    unknown = [name for name in weights if name not in makers]
    if unknown:
        raise ModelError(f"content.blocks: no block {unknown[0]!r}; there are {', '.join(makers)}")
    built = {name: makers[name]() for name in weights}
    blocks = {name: block for name, (block, _) in built.items()}
    return Content(blocks, {name: present for name, (_, present) in built.items()}, weights)


def multi_hot(column: pa.ChunkedArray, first_id: int, width: int) -> sparse.csr_matrix:
    """[rows, width]: 1 in column n where a row has id n + `first_id`; padding and ids beyond are left out."""
    ids = column.combine_chunks()
    if pa.types.is_list(ids.type):
        counts, values = np.diff(ids.offsets.to_numpy()), ids.flatten().to_numpy()
    else:
        counts, values = np.ones(len(ids), dtype=np.int64), ids.to_numpy()
    rows, columns = np.repeat(np.arange(len(ids)), counts), values - first_id
    kept = (values != PADDING_ID) & (columns >= 0) & (columns < width)
    ones = np.ones(kept.sum(), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, (rows[kept], columns[kept])), shape=(len(ids), width))
    matrix.data[:] = 1  # an id twice in a list counts once
    return matrix


def _id_block(rows: pa.Table, *columns: str) -> tuple[Block, NDArray[np.bool_]]:
    """Multi-hot over the ids of all `columns` together, without unknown ids."""
    width = max((_largest(rows[column]) for column in columns), default=0) + 1
    summed = sum(multi_hot(rows[column], 0, width) for column in columns)
    ids = sparse.csr_matrix(summed)[:, FIRST_ID:]
    ids.data[:] = 1
    return ids, np.diff(ids.indptr) > 0


def _shared(ids: sparse.csr_matrix) -> tuple[sparse.csr_matrix, NDArray[np.bool_]]:
    """The columns of multi-hot `ids` that two or more titles have, and a mask of the titles with any id [titles]."""
    return ids[:, np.bincount(ids.indices, minlength=ids.shape[1]) > 1], np.diff(ids.indptr) > 0


def _largest(column: pa.ChunkedArray) -> int:
    ids = column.combine_chunks()
    values = ids.flatten() if pa.types.is_list(ids.type) else ids
    return max(int(values.to_numpy().max(initial=0)), UNKNOWN_ID)


def _pair_block(ids: sparse.csr_matrix) -> tuple[Block, NDArray[np.bool_]]:
    """Multi-hot over pairs of the ids that a title has, an id with itself among them."""
    width = ids.shape[1]
    counts = np.diff(ids.indptr)
    title_rows = np.repeat(np.arange(ids.shape[0]), counts)
    # Each entry beside each of its title's entries.
    firsts = np.repeat(ids.indices, counts[title_rows])
    tiled = [np.tile(ids[n].indices, counts[n]) for n in range(ids.shape[0])]
    seconds = np.concatenate([np.empty(0, dtype=np.int64), *tiled])
    kept = firsts <= seconds
    entries = (np.repeat(title_rows, counts[title_rows])[kept], firsts[kept].astype(np.int64) * width + seconds[kept])
    ones = np.ones(kept.sum(), dtype=np.float32)
    return sparse.csr_matrix((ones, entries), shape=(ids.shape[0], width * width)), counts > 0


def _credits_block(rows: pa.Table) -> tuple[Block, NDArray[np.bool_]]:
    """Cast and directors as columns side by side, each row of length 1: a name weighs more where few are named."""
    ids = sparse.hstack([_id_block(rows, "cast_ids")[0], _id_block(rows, "director_ids")[0]], format="csr")
    both, present = _shared(ids)
    counts = np.diff(both.indptr)
    both.data /= np.repeat(np.sqrt(counts), counts)
    return both.astype(np.float32), present


def _lead_ids(rows: pa.Table) -> sparse.csr_matrix:
    """One-hot over the first of the cast."""
    first = pa.chunked_array([pc.list_element(rows["cast_ids"].combine_chunks(), 0)])
    return multi_hot(first, 0, _largest(first) + 1)[:, FIRST_ID:]


def _fame_block(rows: pa.Table) -> tuple[Block, NDArray[np.bool_]]:
    """[titles, 5]: how well known a title's cast and directors are, by credits in the catalogue instead of likes.

    ln(1 + credits) of the cast together, of its member with the most, of the directors and of the lead, and the number
    of genres; each at mean 0 and standard deviation 1. A title that names no people has 0 credits: where only known
    titles name them, this gives their popularity away, which `models.ablation` measures.
    """
    id_columns = ("cast_ids", "director_ids")
    width = max(_largest(rows[column]) for column in id_columns) + 1
    cast, directors = (multi_hot(rows[column], 0, width)[:, FIRST_ID:] for column in id_columns)
    lead = _lead_ids(rows)
    count_credits = np.asarray((cast + directors).sum(axis=0)).ravel()
    most = (cast @ sparse.diags(count_credits)).max(axis=1).toarray().ravel()
    genres = np.asarray(_id_block(rows, "genre_ids")[0].sum(axis=1)).ravel()
    lead_credits = lead @ count_credits[: lead.shape[1]]
    counts = np.column_stack([cast @ count_credits, most, directors @ count_credits, lead_credits])
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
    """[titles, bins]: nearness of the release year to the centre of each bin.

    As one number, the year would make the oldest and the newest titles the most unlike; in bins of ten years, titles
    two decades apart are as unlike as titles eight decades apart.
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
