"""Compilation of both searchers of a bundle: tuned, written, and measured from the files."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from conf.settings import Index
from indexing.ann import scann_index, tuning
from indexing.ann.runtime import load_saved_model, load_searcher, save_module, tf
from indexing.ann.tuning import ExactResults, Search, Tuned
from indexing.bundle import bundle_files, coordinates, parity
from indexing.bundle.manifest import Dial, Form, Forms, IndexParameters, Vectors
from indexing.bundle.parity import Served
from indexing.errors import BundleError
from indexing.query_tower.numpy_tower import NumpyTower
from indexing.query_tower.query_export import Retrieval
from lake.arrays import NO_TITLE, Floats, Ids

log = logging.getLogger("marquee")

_LIST_LENGTHS = (10, parity.COUNT, 100)  # lengths that recall is measured at
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class SearchInputs:
    """Vectors to search, queries to tune with, and the query tower that the exported searcher embeds with."""

    layout: Vectors
    dial: Dial
    vectors: Floats  # [candidates, vector_dim]
    title_ids: Ids  # [titles]
    countries: Mapping[str, int]
    query_tower: tf.Module
    sample_queries: Floats  # [users, dim], of the query tower
    queries_source: str

    def dial_queries(self, queries: Floats) -> dict[str, Floats]:
        """[users, vector_dim] for every setting of the dial and both of its ends."""
        dials = {**self.dial.settings, "minimum": self.dial.minimum, "maximum": self.dial.maximum}
        return {name: coordinates.query_vectors(self.layout, queries, dial) for name, dial in dials.items()}


@dataclass(frozen=True)
class Compiled:
    """Both searchers as measured, and the bundle's files as loaded for answering."""

    forms: Forms
    served: Served


def required_recall(options: Index) -> dict[int, float]:
    """The recall that a searcher must reach, by length of list."""
    # Two lists with this share of the exact list each have at least `min_overlap` in common.
    overlapping = (1 + options.min_overlap) / 2
    return {10: options.min_recall_at_10, parity.COUNT: overlapping, 100: options.min_recall_at_100}


def compile_both(folder: Path, inputs: SearchInputs, index: IndexParameters, options: Index) -> Compiled:
    """Write both searchers into the bundle's folder, which has the query tower already.

    Raises BundleError where recall is below `options`.
    """
    # Tuning fits its own queries, so every second query is kept for measuring.
    tuning_results, measuring_results = (
        tuning.exact_results(inputs.vectors, inputs.dial_queries(inputs.sample_queries[start::2]), _LIST_LENGTHS)
        for start in (0, 1)
    )
    required = required_recall(options)

    def tune(form: str, search: Search) -> Tuned:
        tuned, seconds = _timed(lambda: tuning.tune(search, inputs.vectors, index, tuning_results, required))
        log.info("%s form: %s, tuned in %.1f s", form, tuned, seconds)
        return tuned

    pybind_tuned, pybind_seconds = _write_pybind(folder, inputs, index, options.threads, tune)
    tensorflow_tuned, tensorflow_seconds = _write_tensorflow(folder, inputs, index, options.threads, tune)
    served = _load(folder, inputs, pybind_tuned)
    pybind, tensorflow = scann_index.search_pybind(served.searcher), _search_retrieval(served.retrieval)
    forms = Forms(
        pybind=tuning.measure(pybind, inputs.vectors, measuring_results, pybind_tuned, pybind_seconds),
        tensorflow=tuning.measure(tensorflow, inputs.vectors, measuring_results, tensorflow_tuned, tensorflow_seconds),
        min_overlap=_overlap(pybind, tensorflow, measuring_results, pybind_tuned),
        queries=len(measuring_results),
        queries_source=inputs.queries_source,
    )
    _refuse(forms, options)
    return Compiled(forms, served)


# Each searcher is as large as the vectors: the first is freed when its writer returns, before the next one is compiled.
def _write_pybind(
    folder: Path, inputs: SearchInputs, index: IndexParameters, threads: int, tune: Callable[[str, Search], Tuned]
) -> tuple[Tuned, float]:
    """Write scann/; returns how to search it, and the seconds that compilation took."""
    searcher, seconds = _timed(lambda: scann_index.compile_pybind(inputs.vectors, index, threads))
    tuned = tune("pybind", scann_index.search_pybind(searcher))
    (folder / bundle_files.SCANN).mkdir()
    searcher.serialize(str(folder / bundle_files.SCANN), relative_path=True)
    return tuned, seconds


def _write_tensorflow(
    folder: Path, inputs: SearchInputs, index: IndexParameters, threads: int, tune: Callable[[str, Search], Tuned]
) -> tuple[Tuned, float]:
    """Write retrieval/; returns how to search it, and the seconds that compilation took."""
    searcher, seconds = _timed(lambda: scann_index.compile_tensorflow(inputs.vectors, index, threads))
    tuned = tune("TensorFlow", scann_index.search_tensorflow(searcher))
    retrieval = Retrieval(
        inputs.query_tower, searcher, tuned, inputs.layout, inputs.title_ids, len(inputs.vectors), inputs.countries
    )
    save_module(retrieval, folder / bundle_files.RETRIEVAL)
    return tuned, seconds


def _load(folder: Path, inputs: SearchInputs, tuned: Tuned) -> Served:
    return Served(
        layout=inputs.layout,
        title_ids=inputs.title_ids,
        countries=inputs.countries,
        vectors=inputs.vectors,
        query_tower=load_saved_model(folder / bundle_files.QUERY_TOWER),
        numpy_tower=NumpyTower.load(folder),
        retrieval=load_saved_model(folder / bundle_files.RETRIEVAL),
        searcher=load_searcher(folder / bundle_files.SCANN),
        reorder=tuned.reorder,
        leaves_to_search=tuned.leaves_to_search,
    )


def _search_retrieval(retrieval: Any) -> Search:
    """The searcher inside the SavedModel, which has its tuned effort built in."""

    def search(queries: Floats, count: int, _reorder: int, _leaves: int) -> tuple[NDArray[Any], Floats]:
        rows, scores = retrieval.search(tf.constant(queries), tf.constant(count))
        return rows.numpy(), np.where(np.isneginf(scores), np.nan, scores)

    return search


def _overlap(pybind: Search, tensorflow: Search, exact: ExactResults, tuned: Tuned) -> float:
    """Mean overlap of both forms' top 20 over queries, at the worst setting of the dial."""
    overlaps = []
    for queries in exact.queries.values():
        lists = [
            search(queries, parity.COUNT, tuned.reorder, tuned.leaves_to_search) for search in (pybind, tensorflow)
        ]
        left, right = (np.where(np.isnan(scores), NO_TITLE, rows.astype(np.int64)) for rows, scores in lists)
        overlaps.append(tuning.overlap(left, right))
    return min(overlaps)


def _refuse(forms: Forms, options: Index) -> None:
    named: Mapping[str, Form] = {"pybind": forms.pybind, "TensorFlow": forms.tensorflow}
    for name, form in named.items():
        tuning.refuse_low_recall(name, form, options.min_recall_at_10, options.min_recall_at_100)
    if forms.min_overlap < options.min_overlap:
        raise BundleError(
            f"index: both forms have {forms.min_overlap:.4f} of their top {parity.COUNT} in common; expected at least "
            f"{options.min_overlap}"
        )


def _timed(work: Callable[[], _Result]) -> tuple[_Result, float]:
    started = time.monotonic()
    result = work()
    return result, time.monotonic() - started
