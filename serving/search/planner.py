"""The best titles for queries among those that may be recommended: all scored where they are few, else the index.

An index knows nothing of filters: asked for the best of everything, it gives some that must not be recommended. So more
are fetched than are wanted, by how many of all pass; where too few passed, more again, and in the end all that may be
recommended are scored. So no list is shorter than it can be, and scores are exact either way.
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
# How many more than expected are fetched, so that enough pass a filter.
OVERFETCH = 1.5
_REFETCH = 4  # by how much more is fetched where too few passed


class Candidates(Protocol):
    """What is searched: all titles that may ever be recommended, by row."""

    def __len__(self) -> int:
        """How many they are."""

    def score(self, queries: Floats, rows: Ids | slice) -> Floats:
        """[queries, rows]: what `rows` are worth for each of `queries` [queries, width]."""

    def search(self, queries: Floats, count: int) -> tuple[Ids, Floats]:
        """Rows [queries, count], nearly the best, best first, NO_TITLE for no more, and what they are worth exactly."""


@dataclass(frozen=True)
class Policy:
    """When the index is asked; see the settings of `serving`, which these are."""

    exact_max_titles: int
    overfetch: float
    exact_price: float


@dataclass(frozen=True)
class SearchPlan:
    """How lists are made: all that may be recommended are scored, or `fetch` titles are taken from the index."""

    kind: Literal["exact", "search"]
    fetch: int


@dataclass(frozen=True)
class RankedLists:
    """Lists [queries, count], best first; where a list has no more, rows are NO_TITLE and scores minus infinity."""

    rows: Ids
    scores: Floats
    plan: SearchPlan  # the last one tried


def choose_plan(count_allowed: int, count_candidates: int, needed: int, policy: Policy) -> SearchPlan:
    """How to find `needed` of the `count_allowed` titles that may be recommended, of `count_candidates` in the index.

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
    """Lists of the `count` best for `queries` [queries, width], of equal scores the lower row first.

    `allowed` are the rows that may be recommended, None for all candidates; `excluded` [queries] are those that may
    not be in the list of one query, and may be of no candidates. A list is shorter than `count` only where no more may
    be recommended.
    """
    everything = len(candidates)
    count_allowed = everything if allowed is None else len(allowed)
    blocked = [_among(own, allowed, everything) for own in excluded]
    possible = np.array([min(count, count_allowed - len(own)) for own in blocked], dtype=np.int64)
    # What is blocked for one query seldom is all among its best: who gets too few is asked for again.
    usual = int(statistics.median(map(len, blocked))) if blocked else 0
    plan = choose_plan(count_allowed, everything, count + usual, policy)
    rows, scores = _find(plan, candidates, queries, allowed, blocked, count)
    while plan.kind == "search":
        short = np.flatnonzero((rows >= 0).sum(axis=1) < possible)
        if not len(short):
            break
        plan = _search_if_cheaper(_REFETCH * plan.fetch, count_allowed, policy)
        asked = [blocked[n] for n in short]
        rows[short], scores[short] = _find(plan, candidates, queries[short], allowed, asked, count)
    return RankedLists(rows, scores, plan)


def _among(rows: Rows, allowed: Rows | None, count_candidates: int) -> Ids:
    """Those of `rows` that could be recommended at all."""
    own = rows[(rows >= 0) & (rows < count_candidates)]
    return own if allowed is None else own[_is_in(own, allowed)]


def _is_in(rows: Ids, ordered: Rows) -> NDArray[np.bool_]:
    """Of the shape of `rows`: whether they stand in `ordered`."""
    if not len(ordered):
        return np.zeros(rows.shape, dtype=np.bool_)
    return ordered[np.minimum(ordered.searchsorted(rows), len(ordered) - 1)] == rows


def _find(
    plan: SearchPlan, candidates: Candidates, queries: Floats, allowed: Rows | None, excluded: Sequence[Ids], count: int
) -> tuple[Ids, Floats]:
    """Rows and scores [queries, count] as `plan` has it."""
    if plan.kind == "exact":
        return _exact(candidates, queries, allowed, excluded, count)
    return _search(candidates, queries, allowed, excluded, count, plan.fetch)


def _exact(
    candidates: Candidates, queries: Floats, allowed: Rows | None, excluded: Sequence[Ids], count: int
) -> tuple[Ids, Floats]:
    """Every allowed title is scored, some at a time."""
    count_allowed = len(candidates) if allowed is None else len(allowed)
    rows = np.full((len(queries), count), NO_TITLE, dtype=np.int64)
    scores = np.full((len(queries), count), -np.inf, dtype=np.float32)
    step = max(_MAX_NUMBERS // max(len(queries), 1), count, 1)
    for start in range(0, count_allowed, step):
        part = slice(start, min(start + step, count_allowed))
        own = np.arange(part.start, part.stop) if allowed is None else allowed[part]
        found = candidates.score(queries, part if allowed is None else own)
        for place, blocked in enumerate(excluded):
            found[place, np.searchsorted(own, blocked[_is_in(blocked, own)])] = -np.inf
        best_here = top_titles(found, min(count, len(own)))
        is_found = best_here != NO_TITLE
        rows = np.hstack([rows, np.where(is_found, own[best_here], NO_TITLE)])
        scores = np.hstack([scores, np.where(is_found, taken(found, best_here), -np.inf)])
        rows, scores = _first(rows, scores, count)
    return rows, scores


def _search(
    candidates: Candidates, queries: Floats, allowed: Rows | None, excluded: Sequence[Ids], count: int, fetch: int
) -> tuple[Ids, Floats]:
    """What the index gives, without what may not be recommended."""
    rows, scores = candidates.search(queries, fetch)
    is_good = rows >= 0
    if allowed is not None:
        is_good &= _is_in(rows, allowed)
    for place, blocked in enumerate(excluded):
        is_good[place] &= ~_is_in(rows[place], blocked)
    # The first that are good, in the order of the index.
    order = np.argsort(~is_good, axis=1, kind="stable")[:, :count]
    is_good = taken(is_good, order)
    found = np.where(is_good, taken(rows, order), NO_TITLE)
    return _first(found, np.where(is_good, taken(scores, order), np.float32(-np.inf)), count)


def _first(rows: Ids, scores: Floats, count: int) -> tuple[Ids, Floats]:
    """The `count` best of lists, of equal scores the lower row first; shorter lists are padded."""
    order = np.lexsort((rows, -scores), axis=1)[:, :count]
    if order.shape[1] == count:
        return taken(rows, order), taken(scores, order)
    first_rows = np.full((len(rows), count), NO_TITLE, dtype=np.int64)
    first_scores = np.full((len(rows), count), -np.inf, dtype=np.float32)
    first_rows[:, : order.shape[1]] = taken(rows, order)
    first_scores[:, : order.shape[1]] = taken(scores, order)
    return first_rows, first_scores


def taken(values: NDArray[Any], places: Ids) -> NDArray[Any]:
    """[queries, count] of `values` [queries, width]: `np.take_along_axis`, for a quarter of its time on short lists."""
    return values[np.arange(len(values))[:, None], places]
