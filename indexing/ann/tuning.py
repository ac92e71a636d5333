"""Tuning of a searcher until its recall against exact search is high enough, and measuring of the result."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexing.ann.pybind_search import TUNED_COUNT
from indexing.bundle.manifest import Form, IndexParameters, Recall
from indexing.errors import BundleError
from lake.arrays import NO_TITLE, Floats, Ids

_MARGIN = 0.002  # added to the recall that is required, since it is measured on a sample
_LEAF_SHARES = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.6, 1.0)
_REORDERS = (100, 130, 170, 220, 300, 400, 550, 750, 1000, 1500, 2500, 4000)
_SLOWER_IN_A_ROW = 3  # tuning stops after more leaves were slower this often
_BATCH_QUERIES = 64
_TIE = 1e-5  # share of the scores' spread within which scores count as equal

# (queries [batch, vector_dim], count, reorder, leaves to search) -> rows and scores [batch, count]; 0 for no limit.
Search = Callable[[Floats, int, int, int], tuple[NDArray[Any], Floats]]


@dataclass(frozen=True)
class ExactResults:
    """Scores that exact search reaches, by setting of the dial."""

    queries: Mapping[str, Floats]  # [queries, vector_dim]
    kth_scores: Mapping[str, Mapping[int, Floats]]  # by length of list: [queries], score of its last title

    def __len__(self) -> int:
        return len(next(iter(self.queries.values())))


def exact_results(vectors: Floats, queries: Mapping[str, Floats], counts: Sequence[int]) -> ExactResults:
    """Search `vectors` [candidates, vector_dim] exactly, for lists of each length in `counts`, or of all candidates."""
    kth = {name: _kth_scores(vectors, of_setting, sorted(counts)) for name, of_setting in queries.items()}
    return ExactResults(queries, kth)


def _kth_scores(vectors: Floats, queries: Floats, counts: Sequence[int]) -> dict[int, Floats]:
    longest = min(counts[-1], len(vectors))
    kth: dict[int, list[Floats]] = {count: [] for count in counts}
    for start in range(0, len(queries), _BATCH_QUERIES):
        scores = queries[start : start + _BATCH_QUERIES] @ vectors.T
        best = -np.sort(np.partition(-scores, longest - 1, axis=1)[:, :longest], axis=1)
        # Tolerance for rounding: a title that ties with the last one counts as a hit.
        tie = _TIE * scores.std(axis=1)
        for count in counts:
            kth[count].append(best[:, min(count, longest) - 1] - tie)
    return {count: np.concatenate(parts) for count, parts in kth.items()}


def recalls(
    search: Search, vectors: Floats, exact: ExactResults, reorder: int, leaves: int
) -> dict[str, dict[int, float]]:
    """Mean recall by setting of the dial and length of list.

    A hit is a title whose exact score is at least that of the exact list's last one, so ties are no misses.
    """
    by_setting = {}
    for name, queries in exact.queries.items():
        kth = exact.kth_scores[name]
        longest = min(max(kth), len(vectors))
        rows, scores = search(queries, longest, reorder, leaves)
        exact_scores = np.einsum("qkw,qw->qk", vectors[rows], queries)
        # Scores of NaN mean that the searcher found no more titles; their rows mean nothing.
        exact_scores = np.where(np.isnan(scores), -np.inf, exact_scores)
        cuts = {count: min(count, longest) for count in kth}
        by_setting[name] = {
            count: float(np.mean(exact_scores[:, :cut] >= kth[count][:, None])) for count, cut in cuts.items()
        }
    return by_setting


@dataclass(frozen=True)
class Tuned:
    """Effort of a searcher's searches."""

    leaves_to_search: int
    reorder: int


def tune(
    search: Search, vectors: Floats, index: IndexParameters, exact: ExactResults, required_recall: Mapping[int, float]
) -> Tuned:
    """The fastest effort that reaches `required_recall` by length of list at every setting of the dial.

    Raises BundleError where none does.
    """
    if index.kind == "brute_force":
        return Tuned(0, 0)
    best: tuple[float, Tuned] | None = None
    slower = 0
    closest: dict[int, float] = {}
    for leaves in _leaves(index):
        reorder, closest = _least_reorder(search, vectors, exact, required_recall, leaves)
        if reorder is None:
            continue
        seconds = _seconds(search, exact, reorder, leaves)
        if best is None or seconds < best[0]:
            best, slower = (seconds, Tuned(leaves, reorder)), 0
        else:
            slower += 1
        if slower == _SLOWER_IN_A_ROW:
            break
    if best is None:
        required = ", ".join(f"recall@{count} of {least:.3f}" for count, least in required_recall.items())
        reached = ", ".join(f"{value:.3f}" for value in closest.values())
        raise BundleError(
            f"index: expected {required} at every setting of the dial, found at most {reached}: "
            "change index.leaves_per_root"
        )
    return best[1]


def _leaves(index: IndexParameters) -> Iterator[int]:
    if index.kind == "hashed":
        return iter((0,))
    return iter(sorted({max(1, round(share * index.leaves)) for share in _LEAF_SHARES}))


def _least_reorder(
    search: Search, vectors: Floats, exact: ExactResults, required_recall: Mapping[int, float], leaves: int
) -> tuple[int | None, dict[int, float]]:
    """The fewest candidates to score exactly, or None where the most are too few; and the recall of the most."""
    ladder = [reorder for reorder in _REORDERS if reorder < len(vectors)] or [len(vectors)]

    def lowest(reorder: int) -> dict[int, float]:
        by_setting = recalls(search, vectors, exact, reorder, leaves)
        return {count: min(by_length[count] for by_length in by_setting.values()) for count in required_recall}

    def is_enough(reached: Mapping[int, float]) -> bool:
        return all(reached[count] >= min(1.0, least + _MARGIN) for count, least in required_recall.items())

    at_most = lowest(ladder[-1])
    if not is_enough(at_most):
        return None, at_most
    low, high = 0, len(ladder) - 1  # recall grows with the number scored exactly
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(lowest(ladder[middle])) else (middle + 1, high)
    return ladder[high], at_most


def _seconds(search: Search, exact: ExactResults, reorder: int, leaves: int) -> float:
    """Seconds for all queries; the least of three runs, since the others were disturbed."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        for queries in exact.queries.values():
            search(queries, TUNED_COUNT, reorder, leaves)
        times.append(time.perf_counter() - started)
    return min(times)


def measure(search: Search, vectors: Floats, exact: ExactResults, tuned: Tuned, build_seconds: float) -> Form:
    """Recall by setting of the dial, and milliseconds of single queries."""
    by_setting = recalls(search, vectors, exact, tuned.reorder, tuned.leaves_to_search)
    times = _times_ms(search, exact, tuned, min(TUNED_COUNT, len(vectors)))
    return Form(
        leaves_to_search=tuned.leaves_to_search,
        reorder=tuned.reorder,
        recall={name: Recall(at_10=by_length[10], at_100=by_length[100]) for name, by_length in by_setting.items()},
        p50_ms=float(np.percentile(times, 50)),
        p99_ms=float(np.percentile(times, 99)),
        build_seconds=build_seconds,
    )


def _times_ms(search: Search, exact: ExactResults, tuned: Tuned, count: int) -> list[float]:
    times = []
    for queries in exact.queries.values():
        for row in range(len(queries)):
            started = time.perf_counter()
            search(queries[row : row + 1], count, tuned.reorder, tuned.leaves_to_search)
            times.append(1000 * (time.perf_counter() - started))
    return times


def refuse_low_recall(name: str, form: Form, at_10: float, at_100: float) -> None:
    """Raise BundleError where measured recall is too low at any setting of the dial."""
    for setting, recall in form.recall.items():
        if recall.at_10 < at_10 or recall.at_100 < at_100:
            raise BundleError(
                f"index: recall of the {name} form with the dial at {setting!r} is {recall.at_10:.4f} at 10 and "
                f"{recall.at_100:.4f} at 100; expected at least {at_10} and {at_100}"
            )


def overlap(left: Ids, right: Ids) -> float:
    """Mean share of the titles of `left` [queries, k] that are in the same list of `right`; NO_TITLE pads."""
    pairs = [(set(a) - {NO_TITLE}, set(b) - {NO_TITLE}) for a, b in zip(left.tolist(), right.tolist(), strict=True)]
    return float(np.mean([len(a & b) / len(a) if a else 1.0 for a, b in pairs]))
