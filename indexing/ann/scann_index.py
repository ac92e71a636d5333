"""ScaNN over the candidates in both forms: compiled by the size of the catalogue, tuned until recall is what is asked.

Source of the parameters: Guo et al. 2020, Accelerating large-scale inference with anisotropic vector quantization; Sun
et al. 2023, SOAR: improved indexing for approximate nearest neighbor search; and ScaNN's docs/algorithms.md for the
sizes. ScaNN draws its training without a seed, so that no two compiled searchers are the same: recall is the gate.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.settings import Index
from indexing.ann.runtime import scann_ops, scann_ops_pybind, tf
from indexing.bundle.bundle import TUNED_COUNT
from indexing.bundle.manifest import Form, IndexParameters, Recall
from indexing.errors import BundleError
from lake.arrays import Floats, Ids

# Recall is of a sample; tuning asks for a little more, so that other queries still find what is asked.
_MARGIN = 0.002
# Hashing and SOAR as ScaNN's docs/algorithms.md and the papers advise.
DIMS_PER_BLOCK = 2
ANISOTROPIC_THRESHOLD = 0.2
SOAR_LAMBDA = 1.5
# The share of the variance of scores that the tree and hashing look at; the dimensions of the rest cost time alone.
LEADING_SHARE = 0.995
_LEAF_SHARES = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.6, 1.0)
_REORDERS = (100, 130, 170, 220, 300, 400, 550, 750, 1000, 1500, 2500, 4000)
_WORSE_IN_A_ROW = 3  # more leaves are no longer tried once they were slower so often
_BATCH_QUERIES = 64
_TIE = 1e-5  # of the spread of scores: what differs by less is as good

# (queries [batch, width], count, reorder, leaves to search) -> rows and scores [batch, count]; 0 where there is none.
Search = Callable[[Floats, int, int, int], tuple[NDArray[Any], Floats]]


@dataclass(frozen=True)
class Answers:
    """What exact search finds for queries, by setting of the dial."""

    queries: Mapping[str, Floats]  # [queries, width]
    kth_scores: Mapping[str, Mapping[int, NDArray[np.float32]]]  # by length of list: [queries], of the last in it

    def __len__(self) -> int:
        return len(next(iter(self.queries.values())))


def parameters(count_candidates: int, options: Index, leading_dims: int) -> IndexParameters:
    """How many titles decide: brute force, then hashing alone, then a tree on top.

    Under a tree the first `leading_dims` dimensions alone may be looked at; ScaNN's hashing alone takes all.
    """
    if count_candidates < options.brute_force_below_titles:
        return IndexParameters(
            kind="brute_force",
            leaves=0,
            leading_dims=0,
            dims_per_block=0,
            anisotropic_threshold=None,
            soar_lambda=None,
        )
    has_tree = count_candidates >= options.tree_from_titles
    return IndexParameters(
        kind="tree" if has_tree else "hashed",
        leaves=round(options.leaves_per_root * count_candidates**0.5) if has_tree else 0,
        leading_dims=leading_dims if has_tree else 0,
        dims_per_block=DIMS_PER_BLOCK,
        anisotropic_threshold=ANISOTROPIC_THRESHOLD,
        soar_lambda=SOAR_LAMBDA if has_tree else None,
    )


def compile_pybind(vectors: Floats, index: IndexParameters, threads: int) -> Any:
    """The `scann_ops_pybind` searcher over `vectors` [candidates, width], with SOAR where there is a tree."""
    builder = scann_ops_pybind.builder(vectors, _default_count(vectors), "dot_product")
    return _configure(builder, index, index.soar_lambda).set_n_training_threads(threads).build()


def compile_tensorflow(vectors: Floats, index: IndexParameters, threads: int) -> Any:
    """The searcher of TensorFlow's ops, which refuse SOAR."""
    builder = scann_ops.builder(vectors, _default_count(vectors), "dot_product")
    return _configure(builder, index, None).set_n_training_threads(threads).build()


def _default_count(vectors: Floats) -> int:
    return min(TUNED_COUNT, len(vectors))


def _configure(builder: Any, index: IndexParameters, soar_lambda: float | None) -> Any:
    if index.kind == "brute_force":
        return builder.score_brute_force()
    if index.kind == "tree":
        spilling = {} if soar_lambda is None else {"soar_lambda": soar_lambda, "overretrieve_factor": 2.0}
        searched = max(1, index.leaves // 20)  # a default, which every search overrides
        builder = builder.tree(index.leaves, searched, training_sample_size=250_000, **spilling)
        if 0 < index.leading_dims < builder.db.shape[1]:
            builder = builder.truncate(index.leading_dims)
    hashed = builder.score_ah(index.dims_per_block, anisotropic_quantization_threshold=index.anisotropic_threshold)
    return hashed.reorder(_REORDERS[0])


def search_pybind(searcher: Any) -> Search:
    def search(queries: Floats, count: int, reorder: int, leaves: int) -> tuple[NDArray[Any], Floats]:
        return searcher.search_batched(queries, count, reorder or None, leaves or None)

    return search


def search_tensorflow(searcher: Any) -> Search:
    def search(queries: Floats, count: int, reorder: int, leaves: int) -> tuple[NDArray[Any], Floats]:
        rows, scores = searcher.search_batched(tf.constant(queries), count, reorder or -1, leaves or -1)
        return rows.numpy(), scores.numpy()

    return search


def exact_answers(vectors: Floats, queries: Mapping[str, Floats], counts: Sequence[int]) -> Answers:
    """Search `vectors` [candidates, width] exactly, for lists of each of `counts`, which fewer candidates cut."""
    kth = {name: _kth_scores(vectors, own, sorted(counts)) for name, own in queries.items()}
    return Answers(queries, kth)


def _kth_scores(vectors: Floats, queries: Floats, counts: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    longest = min(counts[-1], len(vectors))
    found: dict[int, list[NDArray[np.float32]]] = {count: [] for count in counts}
    for start in range(0, len(queries), _BATCH_QUERIES):
        scores = queries[start : start + _BATCH_QUERIES] @ vectors.T
        best = -np.sort(np.partition(-scores, longest - 1, axis=1)[:, :longest], axis=1)
        # Tolerance for rounding: a title as good as the last one counts as found.
        tie = _TIE * scores.std(axis=1)
        for count in counts:
            found[count].append(best[:, min(count, longest) - 1] - tie)
    return {count: np.concatenate(parts) for count, parts in found.items()}


def recalls(
    search: Search, vectors: Floats, answers: Answers, reorder: int, leaves: int
) -> dict[str, dict[int, float]]:
    """By setting of the dial and length of list: the mean share of what was found that belongs to the exact list.

    A title belongs to it whose exact score is no less than that of its last one, so that ties are no misses.
    """
    found = {}
    for name, queries in answers.queries.items():
        kth = answers.kth_scores[name]
        longest = min(max(kth), len(vectors))
        rows, scores = search(queries, longest, reorder, leaves)
        exact = np.einsum("qkw,qw->qk", vectors[rows], queries)
        # Where the searcher found fewer it says so by scores that are no numbers, whatever stands in the rows.
        exact = np.where(np.isnan(scores), -np.inf, exact)
        cuts = {count: min(count, longest) for count in kth}
        found[name] = {count: float(np.mean(exact[:, :cut] >= kth[count][:, None])) for count, cut in cuts.items()}
    return found


@dataclass(frozen=True)
class Tuned:
    """How a searcher is asked from now on."""

    leaves_to_search: int
    reorder: int


def tune(
    search: Search, vectors: Floats, index: IndexParameters, answers: Answers, wanted: Mapping[int, float]
) -> Tuned:
    """The fastest way to ask that finds what is `wanted`, a recall by length of list, at every setting of the dial.

    Raises BundleError where none does.
    """
    if index.kind == "brute_force":
        return Tuned(0, 0)
    best: tuple[float, Tuned] | None = None
    worse = 0
    closest: dict[int, float] = {}
    for leaves in _leaves(index):
        reorder, closest = _least_reorder(search, vectors, answers, wanted, leaves)
        if reorder is None:
            continue
        seconds = _seconds(search, answers, reorder, leaves)
        if best is None or seconds < best[0]:
            best, worse = (seconds, Tuned(leaves, reorder)), 0
        else:
            worse += 1
        if worse == _WORSE_IN_A_ROW:
            break
    if best is None:
        asked = ", ".join(f"recall@{count} of {least:.3f}" for count, least in wanted.items())
        came = ", ".join(f"{value:.3f}" for value in closest.values())
        raise BundleError(
            f"index: expected {asked} at every setting of the dial, found at most {came}: change index.leaves_per_root"
        )
    return best[1]


def _leaves(index: IndexParameters) -> Iterator[int]:
    if index.kind == "hashed":
        return iter((0,))
    return iter(sorted({max(1, round(share * index.leaves)) for share in _LEAF_SHARES}))


def _least_reorder(
    search: Search, vectors: Floats, answers: Answers, wanted: Mapping[int, float], leaves: int
) -> tuple[int | None, dict[int, float]]:
    """The fewest candidates to score again, None where the most of them are too few; and what those find."""
    ladder = [reorder for reorder in _REORDERS if reorder < len(vectors)] or [len(vectors)]

    def lowest(reorder: int) -> dict[int, float]:
        by_setting = recalls(search, vectors, answers, reorder, leaves)
        return {count: min(of[count] for of in by_setting.values()) for count in wanted}

    def is_enough(found: Mapping[int, float]) -> bool:
        return all(found[count] >= min(1.0, least + _MARGIN) for count, least in wanted.items())

    at_most = lowest(ladder[-1])
    if not is_enough(at_most):
        return None, at_most
    low, high = 0, len(ladder) - 1  # recall grows with what is scored again
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(lowest(ladder[middle])) else (middle + 1, high)
    return ladder[high], at_most


def _seconds(search: Search, answers: Answers, reorder: int, leaves: int) -> float:
    """Of all queries once, the least of three times: the others were disturbed."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        for queries in answers.queries.values():
            search(queries, TUNED_COUNT, reorder, leaves)
        times.append(time.perf_counter() - started)
    return min(times)


def measure(search: Search, vectors: Floats, answers: Answers, tuned: Tuned, build_seconds: float) -> Form:
    """Recall by setting of the dial, and milliseconds of a query on its own."""
    found = recalls(search, vectors, answers, tuned.reorder, tuned.leaves_to_search)
    times = _times_ms(search, answers, tuned, min(TUNED_COUNT, len(vectors)))
    return Form(
        leaves_to_search=tuned.leaves_to_search,
        reorder=tuned.reorder,
        recall={name: Recall(at_10=own[10], at_100=own[100]) for name, own in found.items()},
        p50_ms=float(np.percentile(times, 50)),
        p99_ms=float(np.percentile(times, 99)),
        build_seconds=build_seconds,
    )


def _times_ms(search: Search, answers: Answers, tuned: Tuned, count: int) -> list[float]:
    times = []
    for queries in answers.queries.values():
        for n in range(len(queries)):
            started = time.perf_counter()
            search(queries[n : n + 1], count, tuned.reorder, tuned.leaves_to_search)
            times.append(1000 * (time.perf_counter() - started))
    return times


def refuse_low_recall(name: str, form: Form, at_10: float, at_100: float) -> None:
    """Raise BundleError where what was measured is less than what is asked, at any setting of the dial."""
    for setting, recall in form.recall.items():
        if recall.at_10 < at_10 or recall.at_100 < at_100:
            raise BundleError(
                f"index: recall of the {name} form with the dial at {setting!r} is {recall.at_10:.4f} at 10 and "
                f"{recall.at_100:.4f} at 100; expected at least {at_10} and {at_100}"
            )


def overlap(left: Ids, right: Ids) -> float:
    """The mean share of `left` [queries, k] that stands in the same row of `right` [queries, k]; -1 is padding."""
    pairs = [(set(a) - {-1}, set(b) - {-1}) for a, b in zip(left.tolist(), right.tolist(), strict=True)]
    return float(np.mean([len(a & b) / len(a) if a else 1.0 for a, b in pairs]))
