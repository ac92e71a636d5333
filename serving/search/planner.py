"""Filtered top-k search: exact search over a small set of allowed titles, the index for a large one.

The index has no filters: its best titles include some that must not be recommended. The planner therefore fetches more
than a list needs, in proportion to the share of titles that pass the filter. Where too few of them pass it fetches more
again, and in the end scores all allowed titles. So no list is shorter than it can be, and scores are exact either way.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lake.arrays import NO_TITLE, Floats, Ids
from models.recommender import top_titles

Rows = NDArray[np.int64]  # of candidates, in order, none twice

_MAX_NUMBERS = 2**22  # scores at a time where all are computed: 16 MB
# Price of scoring a title exactly, where fetching one from the index costs 1: scoring is one dense matrix product.
EXACT_PRICE = 0.15
OVERFETCH = 1.5  # times as many titles are fetched as should be needed, so that enough pass the filter
_REFETCH = 4  # growth of a fetch of which too few titles passed


class Candidates(Protocol):
    """The searched titles, by row: all of the bundle that may be recommended at all."""

    def __len__(self) -> int:
        """Number of candidates."""

    def score(self, queries: Floats, rows: Ids | slice) -> Floats:
        """Exact scores [queries, rows] of `rows` for `queries` [queries, vector_dim]."""

    def search(self, queries: Floats, count: int) -> tuple[Ids, Floats]:
        """Approximately the best rows [queries, count], best first, padded with NO_TITLE, and their exact scores."""


@dataclass(frozen=True)
class Policy:
    """Limits for the choice between exact search and the index: serving.exact_max_titles, OVERFETCH, EXACT_PRICE."""

    exact_max_titles: int
    overfetch: float
    exact_price: float


@dataclass(frozen=True)
class SearchPlan:
    """Exact search scores all allowed titles; index search takes `fetch` titles from the index."""

    kind: Literal["exact", "search"]
    fetch: int


@dataclass(frozen=True)
class RankedLists:
    """Lists [queries, count], best first; a shorter list is padded with rows NO_TITLE and scores of minus infinity."""

    rows: Ids
    scores: Floats
    plan: SearchPlan  # the last one tried


def choose_plan(count_allowed: int, count_candidates: int, needed: int, policy: Policy) -> SearchPlan:
    """Choose exact search where few titles are allowed, or where it costs less than the index.

    `needed` titles are wanted of the `count_allowed` that may be recommended, of `count_candidates` in the index.
    Fetching a title costs 1, scoring one `exact_price`.
    """
    if count_allowed <= max(policy.exact_max_titles, needed):
        return SearchPlan("exact", 0)
    filtering = 1.0 if count_allowed == count_candidates else policy.overfetch
    return _search_if_cheaper(
        int(np.ceil(filtering * needed * count_candidates / count_allowed)), count_allowed, policy
    )


def _search_if_cheaper(fetch: int, count_allowed: int, policy: Policy) -> SearchPlan:
    if fetch >= policy.exact_price * count_allowed:
        return SearchPlan("exact", 0)
    return SearchPlan("search", fetch)


def best_titles(
    candidates: Candidates,
    queries: Floats,
    allowed: Rows | None,
    excluded: Sequence[Rows],
    count: int,
    policy: Policy,
) -> RankedLists:
    """The `count` best titles for each of `queries` [queries, vector_dim]; ties go to the lower row.

    `allowed` are the rows that may be recommended, None for all candidates. `excluded` [queries] are rows that one
    query's list must not hold; they need not be candidates. A list is shorter than `count` only where no more titles
    may be recommended.
    """
    count_candidates = len(candidates)
    count_allowed = count_candidates if allowed is None else len(allowed)
    blocked = [_among(rows, allowed, count_candidates) for rows in excluded]
    possible = np.array([min(count, count_allowed - len(rows)) for rows in blocked], dtype=np.int64)
    # Blocked titles are seldom all among a query's best, so the median is enough; short lists are searched again.
    typical_blocked = int(statistics.median(map(len, blocked))) if blocked else 0
    plan = choose_plan(count_allowed, count_candidates, count + typical_blocked, policy)
    rows, scores = _find(plan, candidates, queries, allowed, blocked, count)
    while plan.kind == "search":
        short = np.flatnonzero((rows >= 0).sum(axis=1) < possible)
        if not len(short):
            break
        plan = _search_if_cheaper(_REFETCH * plan.fetch, count_allowed, policy)
        blocked_short = [blocked[n] for n in short]
        rows[short], scores[short] = _find(plan, candidates, queries[short], allowed, blocked_short, count)
    return RankedLists(rows, scores, plan)


def _among(rows: Rows, allowed: Rows | None, count_candidates: int) -> Ids:
    """The `rows` that are allowed candidates."""
    candidate_rows = rows[(rows >= 0) & (rows < count_candidates)]
    return candidate_rows if allowed is None else candidate_rows[_is_in(candidate_rows, allowed)]


def _is_in(rows: Ids, ordered: Rows) -> NDArray[np.bool_]:
    """Membership of `rows` in `ordered`, in the shape of `rows`."""
    if not len(ordered):
        return np.zeros(rows.shape, dtype=np.bool_)
    return ordered[np.minimum(ordered.searchsorted(rows), len(ordered) - 1)] == rows


def _find(
    plan: SearchPlan, candidates: Candidates, queries: Floats, allowed: Rows | None, excluded: Sequence[Ids], count: int
) -> tuple[Ids, Floats]:
    """Rows and scores [queries, count] by `plan`."""
    if plan.kind == "exact":
        return _exact(candidates, queries, allowed, excluded, count)
    return _search(candidates, queries, allowed, excluded, count, plan.fetch)


def _exact(
    candidates: Candidates, queries: Floats, allowed: Rows | None, excluded: Sequence[Ids], count: int
) -> tuple[Ids, Floats]:
    """Score every allowed title, a chunk at a time."""
    count_allowed = len(candidates) if allowed is None else len(allowed)
    rows = np.full((len(queries), count), NO_TITLE, dtype=np.int64)
    scores = np.full((len(queries), count), -np.inf, dtype=np.float32)
    step = max(_MAX_NUMBERS // max(len(queries), 1), count, 1)
    for start in range(0, count_allowed, step):
        part = slice(start, min(start + step, count_allowed))
        chunk_rows = np.arange(part.start, part.stop) if allowed is None else allowed[part]
        chunk_scores = candidates.score(queries, part if allowed is None else chunk_rows)
        for query, blocked in enumerate(excluded):
            chunk_scores[query, np.searchsorted(chunk_rows, blocked[_is_in(blocked, chunk_rows)])] = -np.inf
        top = top_titles(chunk_scores, min(count, len(chunk_rows)))
        is_title = top != NO_TITLE
        rows = np.hstack([rows, np.where(is_title, chunk_rows[top], NO_TITLE)])
        scores = np.hstack([scores, np.where(is_title, take_columns(chunk_scores, top), -np.inf)])
        rows, scores = _first(rows, scores, count)
    return rows, scores


def _search(
    candidates: Candidates, queries: Floats, allowed: Rows | None, excluded: Sequence[Ids], count: int, fetch: int
) -> tuple[Ids, Floats]:
    """Take `fetch` titles from the index and drop those that may not be recommended."""
    rows, scores = candidates.search(queries, fetch)
    passes = rows >= 0
    if allowed is not None:
        passes &= _is_in(rows, allowed)
    for query, blocked in enumerate(excluded):
        passes[query] &= ~_is_in(rows[query], blocked)
    # The titles that pass, in the order of the index.
    order = np.argsort(~passes, axis=1, kind="stable")[:, :count]
    passes = take_columns(passes, order)
    passing_rows = np.where(passes, take_columns(rows, order), NO_TITLE)
    return _first(passing_rows, np.where(passes, take_columns(scores, order), np.float32(-np.inf)), count)


def _first(rows: Ids, scores: Floats, count: int) -> tuple[Ids, Floats]:
    """The `count` best of each list, ties to the lower row; shorter lists are padded."""
    order = np.lexsort((rows, -scores), axis=1)[:, :count]
    if order.shape[1] == count:
        return take_columns(rows, order), take_columns(scores, order)
    first_rows = np.full((len(rows), count), NO_TITLE, dtype=np.int64)
    first_scores = np.full((len(rows), count), -np.inf, dtype=np.float32)
    first_rows[:, : order.shape[1]] = take_columns(rows, order)
    first_scores[:, : order.shape[1]] = take_columns(scores, order)
    return first_rows, first_scores


def take_columns(values: NDArray[Any], columns: Ids) -> NDArray[Any]:
    """Take `columns` [queries, count] of each row of `values`; on short lists faster than `np.take_along_axis`."""
    return values[np.arange(len(values))[:, None], columns]
