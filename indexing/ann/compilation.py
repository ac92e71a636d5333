"""Both searchers of a bundle, compiled, tuned, written, and measured from what was written."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from conf.settings import Index
from indexing.ann import scann_index
from indexing.ann.runtime import load_saved_model, load_searcher, save_module, tf
from indexing.ann.scann_index import Answers, Search, Tuned
from indexing.bundle import bundle, parity
from indexing.bundle.layout import Layout
from indexing.bundle.manifest import Form, Forms, IndexParameters
from indexing.bundle.parity import Served
from indexing.bundle.query_export import Retrieval
from indexing.errors import BundleError
from lake.arrays import Floats, Ids

log = logging.getLogger("marquee")

_LISTS = (10, parity.COUNT, 100)  # lengths that recall is measured at
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Embedded:
    """What the model makes of the catalogue, and the queries of people; as the model has it, or balanced."""

    titles: Floats  # [titles, dim]
    query_tower: tf.Module
    countries: Mapping[str, int]
    queries: Floats  # [users, dim]
    queries_source: str


@dataclass(frozen=True)
class Compiled:
    """Both searchers as they were measured, and as their files answer."""

    forms: Forms
    served: Served


def compile_both(
    folder: Path,
    index: IndexParameters,
    options: Index,
    embedded: Embedded,
    title_ids: Ids,
    made: Layout,
    vectors: Floats,
) -> Compiled:
    """Write the searchers over `vectors` [candidates, width] into the bundle's folder, which has the query tower.

    Raises BundleError where they find less than `options` ask.
    """
    # What tuned a searcher can't tell how good it is: every second query is kept for measuring.
    tuning, measuring = (
        scann_index.exact_answers(vectors, made.queries(embedded.queries[start::2]), _LISTS) for start in (0, 1)
    )
    # Two lists that each have so much of the exact one have in common what is asked.
    wanted = {10: options.min_recall_at_10, parity.COUNT: (1 + options.min_overlap) / 2, 100: options.min_recall_at_100}

    def tune(form: str, search: Search) -> Tuned:
        found, seconds = _timed(lambda: scann_index.tune(search, vectors, index, tuning, wanted))
        log.info("%s form: %s, tuned in %.1f s", form, found, seconds)
        return found

    searcher, pybind_seconds = _timed(lambda: scann_index.compile_pybind(vectors, index, options.threads))
    of_pybind = tune("pybind", scann_index.search_pybind(searcher))
    (folder / bundle.SCANN).mkdir()
    searcher.serialize(str(folder / bundle.SCANN), relative_path=True)
    del searcher  # it is as large as the vectors, and so is the next one

    ops, tensorflow_seconds = _timed(lambda: scann_index.compile_tensorflow(vectors, index, options.threads))
    of_tensorflow = tune("TensorFlow", scann_index.search_tensorflow(ops))
    export = Retrieval(
        embedded.query_tower, ops, of_tensorflow, made.vectors, title_ids, len(vectors), embedded.countries
    )
    save_module(export, folder / bundle.RETRIEVAL)
    del ops, export

    served = Served(
        layout=made.vectors,
        title_ids=title_ids,
        countries=embedded.countries,
        vectors=vectors,
        query_tower=load_saved_model(folder / bundle.QUERY_TOWER),
        retrieval=load_saved_model(folder / bundle.RETRIEVAL),
        searcher=load_searcher(folder / bundle.SCANN),
        reorder=of_pybind.reorder,
        leaves_to_search=of_pybind.leaves_to_search,
    )
    pybind, tensorflow = scann_index.search_pybind(served.searcher), _search_retrieval(served.retrieval)
    forms = Forms(
        pybind=scann_index.measure(pybind, vectors, measuring, of_pybind, pybind_seconds),
        tensorflow=scann_index.measure(tensorflow, vectors, measuring, of_tensorflow, tensorflow_seconds),
        min_overlap=_overlap(pybind, tensorflow, measuring, of_pybind),
        queries=len(measuring),
        queries_source=embedded.queries_source,
    )
    _refuse(forms, options)
    return Compiled(forms, served)


def _search_retrieval(retrieval: Any) -> Search:
    """The searcher inside the SavedModel, which asks as it was tuned."""

    def search(queries: Floats, count: int, _reorder: int, _leaves: int) -> tuple[NDArray[Any], Floats]:
        rows, scores = retrieval.search(tf.constant(queries), tf.constant(count))
        return rows.numpy(), np.where(np.isneginf(scores), np.nan, scores)

    return search


def _overlap(pybind: Search, tensorflow: Search, answers: Answers, tuned: Tuned) -> float:
    """Of both forms' top 20, the mean over queries, at the worst dial."""
    found = []
    for queries in answers.queries.values():
        lists = [
            search(queries, parity.COUNT, tuned.reorder, tuned.leaves_to_search) for search in (pybind, tensorflow)
        ]
        left, right = (np.where(np.isnan(scores), -1, rows.astype(np.int64)) for rows, scores in lists)
        found.append(scann_index.overlap(left, right))
    return min(found)


def _refuse(forms: Forms, options: Index) -> None:
    named: Mapping[str, Form] = {"pybind": forms.pybind, "TensorFlow": forms.tensorflow}
    for name, form in named.items():
        scann_index.refuse_low_recall(name, form, options.min_recall_at_10, options.min_recall_at_100)
    if forms.min_overlap < options.min_overlap:
        raise BundleError(
            f"index: both forms have {forms.min_overlap:.4f} of their top {parity.COUNT} in common; expected at least "
            f"{options.min_overlap}"
        )


def _timed(work: Callable[[], _Result]) -> tuple[_Result, float]:
    started = time.monotonic()
    result = work()
    return result, time.monotonic() - started
