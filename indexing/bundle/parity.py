"""Parity of a bundle with training: golden users, made-up histories, must get the training graph's lists from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexing.ann import pybind_search
from indexing.ann.tuning import overlap
from indexing.bundle.bundle import Bundle
from indexing.bundle.bundle_files import GOLDEN
from indexing.bundle.coordinates import query_vectors
from indexing.bundle.manifest import Parity, Tolerance, Vectors
from indexing.errors import BundleError
from indexing.query_tower import query_export
from indexing.query_tower.numpy_tower import NumpyTower
from lake.arrays import NO_TITLE, Floats, Ids
from models.data.padded_histories import PaddedHistories

# Most that training and bundle may differ in a score, in standard deviations of a user's scores: rounding is below it.
MAX_SCORE_DIFFERENCE = 0.001
COUNT = 20  # length of the lists that are compared
_BATCH_USERS = 64

_UNSEEN_COUNTRY = "??"  # code of no country


@dataclass(frozen=True)
class Served:
    """The loaded parts of a bundle that answer queries."""

    layout: Vectors
    title_ids: Ids  # [titles]
    countries: Mapping[str, int]
    vectors: Floats  # [candidates, vector_dim]
    query_tower: Any  # SavedModel
    numpy_tower: NumpyTower | None
    retrieval: Any
    searcher: Any  # of scann_ops_pybind
    reorder: int
    leaves_to_search: int

    @classmethod
    def of(cls, bundle: Bundle) -> "Served":
        form = bundle.manifest.forms.pybind
        return cls(
            layout=bundle.manifest.vectors,
            title_ids=bundle.title_ids,
            countries=bundle.countries,
            vectors=bundle.vectors[: bundle.count_candidates],
            query_tower=bundle.query_tower,
            numpy_tower=bundle.numpy_tower,
            retrieval=bundle.retrieval,
            searcher=bundle.searcher,
            reorder=form.reorder,
            leaves_to_search=form.leaves_to_search,
        )


@dataclass(frozen=True)
class ParityCases:
    """Histories of golden users, with the lists they must get; titles of the history are not recommended."""

    histories: PaddedHistories  # rows of the bundle + 1
    spreads: Floats  # [users], standard deviation of the candidates' scores
    rows: Mapping[str, Ids]  # by setting of the dial: [users, COUNT], best first; NO_TITLE pads
    scores: Mapping[str, Floats]  # [users, COUNT] by setting, of the training graph; 0 pads

    def save(self, folder: Path) -> None:
        arrays: dict[str, Any] = {"spreads": self.spreads}
        arrays |= {f"histories.{name}": values for name, values in vars(self.histories).items()}
        arrays |= {f"rows.{name}": values for name, values in self.rows.items()}
        arrays |= {f"scores.{name}": values for name, values in self.scores.items()}
        np.savez(folder / GOLDEN, **arrays)

    @classmethod
    def load(cls, folder: Path) -> "ParityCases":
        with np.load(folder / GOLDEN, allow_pickle=False) as stored:
            parts = {
                kind: {name.removeprefix(kind): stored[name] for name in stored if name.startswith(kind)}
                for kind in ("histories.", "rows.", "scores.")
            }
            histories = PaddedHistories(**parts["histories."])
            return cls(histories, stored["spreads"], parts["rows."], parts["scores."])


def exact_rows(scores: Floats, histories: PaddedHistories) -> Ids:
    """[users, COUNT]: rows of the best `scores` [users, candidates], without those of the history; NO_TITLE pads."""
    scores = scores.copy()
    users, columns = np.nonzero((histories.rows > 0) & (histories.rows <= scores.shape[1]))
    scores[users, histories.rows[users, columns] - 1] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :COUNT]
    rows = np.where(np.isneginf(np.take_along_axis(scores, best, axis=1)), NO_TITLE, best)
    return np.pad(rows, ((0, 0), (0, COUNT - rows.shape[1])), constant_values=NO_TITLE)


def make_cases(
    histories: PaddedHistories, queries: Floats, vectors: Floats, popularity: Floats, settings: Mapping[str, float]
) -> ParityCases:
    """Cases by exact search with `queries` [users, dim] and title `vectors` [candidates, dim] of the training graph."""
    rows: dict[str, list[Ids]] = {name: [] for name in settings}
    scores: dict[str, list[Floats]] = {name: [] for name in settings}
    spreads = []
    for start, part in zip(range(0, len(histories), _BATCH_USERS), histories.batches(_BATCH_USERS), strict=True):
        plain = queries[start : start + _BATCH_USERS] @ vectors.T
        spreads.append(plain.std(axis=1))
        for name, dial in settings.items():
            dial_scores = plain + np.float32(dial) * popularity
            best = exact_rows(dial_scores, part)
            rows[name].append(best)
            scores[name].append(np.where(best >= 0, np.take_along_axis(dial_scores, best, axis=1), 0))
    return ParityCases(
        histories,
        np.concatenate(spreads),
        {name: np.concatenate(parts) for name, parts in rows.items()},
        {name: np.concatenate(parts) for name, parts in scores.items()},
    )


def replay(cases: ParityCases, served: Served, settings: Mapping[str, float]) -> Parity:
    """Compare both exported towers, with the vectors, and both searchers with the training graph's lists."""
    embeddings = [query_export.embed(served.query_tower, cases.histories)]
    if served.numpy_tower is not None:
        parts = cases.histories.batches(_BATCH_USERS)
        embeddings.append(np.concatenate([served.numpy_tower(part) for part in parts]))
    spreads = np.where(cases.spreads > 0, cases.spreads, 1)[:, None]
    overlaps, differences = [], []
    for name, dial in settings.items():
        rows = cases.rows[name]
        for of_tower in embeddings:
            scores = np.einsum("ukw,uw->uk", served.vectors[rows], query_vectors(served.layout, of_tower, dial))
            differences.append(np.abs(np.where(rows >= 0, scores - cases.scores[name], 0) / spreads).max())
        overlaps.append(overlap(rows, _by_searcher(served, cases.histories, embeddings[-1], dial)))
        overlaps.append(overlap(rows, _by_retrieval(served, cases.histories, dial)))
    return Parity(max_score_difference=float(max(differences)), min_top_20_overlap=min(overlaps))


def _by_searcher(served: Served, histories: PaddedHistories, embeddings: Floats, dial: float) -> Ids:
    """[users, COUNT]: lists of the searcher for `embeddings` of an exported tower, without titles of the history."""
    longest = int((histories.rows > 0).sum(axis=1).max())
    count = min(COUNT + longest, len(served.vectors))
    queries = query_vectors(served.layout, embeddings, dial)
    rows, _ = pybind_search.search(served.searcher, queries, count, served.reorder, served.leaves_to_search)
    lists = np.full((len(rows), COUNT), NO_TITLE, dtype=np.int64)
    for user, (candidates, history) in enumerate(zip(rows, histories.rows, strict=True)):
        unseen = candidates[~np.isin(candidates, history - 1) & (candidates >= 0)][:COUNT]
        lists[user, : len(unseen)] = unseen
    return lists


def _by_retrieval(served: Served, histories: PaddedHistories, dial: float) -> Ids:
    """[users, COUNT]: lists of the SavedModel from features to titles, called with title ids as serving does."""
    codes = {0: "", **{number: code for code, number in served.countries.items()}}
    row_of = {int(title_id): row for row, title_id in enumerate(served.title_ids)} | {NO_TITLE: NO_TITLE}
    parts = []
    for part in histories.batches(_BATCH_USERS):
        response = served.retrieval(
            np.where(part.rows > 0, served.title_ids[part.rows - 1], NO_TITLE),
            part.weights,
            part.ages_days,
            np.array([codes.get(int(number), _UNSEEN_COUNTRY) for number in part.countries]),
            np.full(len(part), dial, dtype=np.float32),
            np.zeros(len(part), dtype=np.float32),
            np.int32(COUNT),
        )
        parts.append([[row_of[title_id] for title_id in titles] for titles in response["title_ids"].numpy().tolist()])
    return np.concatenate([np.array(part, dtype=np.int64) for part in parts])


def refuse_difference(reached: Parity, allowed: Tolerance) -> None:
    """Raise BundleError where golden users' lists or scores differ too much from training's."""
    if reached.max_score_difference > allowed.max_score_difference or reached.min_top_20_overlap < allowed.min_overlap:
        raise BundleError(
            f"parity: golden users' scores differ from those of the training graph by up to "
            f"{reached.max_score_difference:.3g} standard deviations, and {reached.min_top_20_overlap:.4f} of their "
            f"top {COUNT} are the same; expected at most {allowed.max_score_difference} and at least "
            f"{allowed.min_overlap}"
        )
