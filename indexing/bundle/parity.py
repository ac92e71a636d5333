"""Golden users: made-up histories with the answers that the training graph gives them, which every form must repeat."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexing.ann.scann_index import overlap
from indexing.bundle.bundle import GOLDEN, Bundle, search, turned
from indexing.bundle.manifest import Parity, Tolerance, Vectors
from indexing.bundle.numpy_tower import NumpyTower
from indexing.errors import BundleError
from lake.arrays import NO_TITLE, Floats, Ids
from models.data.padded_histories import PaddedHistories

COUNT = 20  # titles of an answer
_BATCH_USERS = 64

_ANOTHER_COUNTRY = "??"


@dataclass(frozen=True)
class Served:
    """A bundle as it answers."""

    layout: Vectors
    title_ids: Ids  # [titles]
    countries: Mapping[str, int]
    vectors: Floats  # [candidates, width]
    query_tower: Any
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
            retrieval=bundle.retrieval,
            searcher=bundle.searcher,
            reorder=form.reorder,
            leaves_to_search=form.leaves_to_search,
        )


@dataclass(frozen=True)
class Golden:
    """What is asked, and what must be answered; titles of the history are not recommended."""

    histories: PaddedHistories  # titles by the bundle's rows
    spreads: Floats  # [users], standard deviation of the candidates' scores
    rows: Mapping[str, Ids]  # by setting of the dial: [users, COUNT], exact, best first; NO_TITLE pads
    scores: Mapping[str, Floats]  # likewise, of the training graph; 0 pads

    def save(self, folder: Path) -> None:
        arrays: dict[str, Any] = {"spreads": self.spreads}
        arrays |= {f"histories.{name}": values for name, values in vars(self.histories).items()}
        arrays |= {f"rows.{name}": values for name, values in self.rows.items()}
        arrays |= {f"scores.{name}": values for name, values in self.scores.items()}
        np.savez(folder / GOLDEN, **arrays)

    @classmethod
    def load(cls, folder: Path) -> "Golden":
        with np.load(folder / GOLDEN, allow_pickle=False) as stored:
            parts = {
                kind: {name.removeprefix(kind): stored[name] for name in stored if name.startswith(kind)}
                for kind in ("histories.", "rows.", "scores.")
            }
            histories = PaddedHistories(**parts["histories."])
            return cls(histories, stored["spreads"], parts["rows."], parts["scores."])


def ask(query_tower: Any, histories: PaddedHistories) -> Floats:
    """[users, dim]"""
    parts = [
        query_tower(part.rows, part.weights, part.ages_days, part.countries).numpy()
        for part in histories.batches(_BATCH_USERS)
    ]
    return np.concatenate(parts)


def exact_rows(scores: Floats, histories: PaddedHistories) -> Ids:
    """[users, COUNT]: of the best `scores` [users, candidates], without titles of the history; NO_TITLE pads."""
    scores = scores.copy()
    users, places = np.nonzero((histories.rows > 0) & (histories.rows <= scores.shape[1]))
    scores[users, histories.rows[users, places] - 1] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :COUNT]
    found = np.where(np.isneginf(np.take_along_axis(scores, best, axis=1)), NO_TITLE, best)
    return np.pad(found, ((0, 0), (0, COUNT - found.shape[1])), constant_values=NO_TITLE)


def make(
    histories: PaddedHistories, queries: Floats, vectors: Floats, popularity: Floats, settings: Mapping[str, float]
) -> Golden:
    """What training computes: from `queries` [users, dim] and title `vectors` [candidates, dim] of the model."""
    rows: dict[str, list[Ids]] = {name: [] for name in settings}
    scores: dict[str, list[Floats]] = {name: [] for name in settings}
    spreads = []
    for start, part in zip(range(0, len(histories), _BATCH_USERS), histories.batches(_BATCH_USERS), strict=True):
        plain = queries[start : start + _BATCH_USERS] @ vectors.T
        spreads.append(plain.std(axis=1))
        for name, dial in settings.items():
            turned_scores = plain + np.float32(dial) * popularity
            found = exact_rows(turned_scores, part)
            rows[name].append(found)
            scores[name].append(np.where(found >= 0, np.take_along_axis(turned_scores, found, axis=1), 0))
    return Golden(
        histories,
        np.concatenate(spreads),
        {name: np.concatenate(parts) for name, parts in rows.items()},
        {name: np.concatenate(parts) for name, parts in scores.items()},
    )


def replay(golden: Golden, served: Served, settings: Mapping[str, float]) -> Parity:
    """How far both forms of the exported tower, with the vectors and both forms of the index, are from training."""
    towers = [ask(served.query_tower, golden.histories)]
    if (numpy_tower := NumpyTower.of(served.query_tower)) is not None:
        towers.append(np.concatenate([numpy_tower(part) for part in golden.histories.batches(_BATCH_USERS)]))
    spreads = np.where(golden.spreads > 0, golden.spreads, 1)[:, None]
    overlaps, differences = [], []
    for name, dial in settings.items():
        rows = golden.rows[name]
        for embeddings in towers:
            scores = np.einsum("ukw,uw->uk", served.vectors[rows], turned(served.layout, embeddings, dial))
            differences.append(np.abs(np.where(rows >= 0, scores - golden.scores[name], 0) / spreads).max())
        overlaps.append(overlap(rows, _by_searcher(served, golden.histories, towers[-1], dial)))
        overlaps.append(overlap(rows, _by_retrieval(served, golden.histories, dial)))
    return Parity(max_score_difference=float(max(differences)), min_top_20_overlap=min(overlaps))


def _by_searcher(served: Served, histories: PaddedHistories, embeddings: Floats, dial: float) -> Ids:
    """[users, COUNT]: what the searcher finds for queries of the exported tower, without titles of the history."""
    longest = int((histories.rows > 0).sum(axis=1).max())
    count = min(COUNT + longest, len(served.vectors))
    queries = turned(served.layout, embeddings, dial)
    rows, _ = search(served.searcher, queries, count, served.reorder, served.leaves_to_search)
    found = np.full((len(rows), COUNT), NO_TITLE, dtype=np.int64)
    for user, (own, seen) in enumerate(zip(rows, histories.rows, strict=True)):
        unseen = own[~np.isin(own, seen - 1) & (own >= 0)][:COUNT]
        found[user, : len(unseen)] = unseen
    return found


def _by_retrieval(served: Served, histories: PaddedHistories, dial: float) -> Ids:
    """[users, COUNT]: what the SavedModel from features to titles gives, asked with ids as serving asks it."""
    codes = {0: "", **{number: code for code, number in served.countries.items()}}
    row_of = {int(title_id): row for row, title_id in enumerate(served.title_ids)} | {NO_TITLE: NO_TITLE}
    parts = []
    for part in histories.batches(_BATCH_USERS):
        answer = served.retrieval(
            np.where(part.rows > 0, served.title_ids[part.rows - 1], NO_TITLE),
            part.weights,
            part.ages_days,
            np.array([codes.get(int(number), _ANOTHER_COUNTRY) for number in part.countries]),
            np.full(len(part), dial, dtype=np.float32),
            np.zeros(len(part), dtype=np.float32),
            np.int32(COUNT),
        )
        parts.append([[row_of[title_id] for title_id in own] for own in answer["title_ids"].numpy().tolist()])
    return np.concatenate([np.array(part, dtype=np.int64) for part in parts])


def refuse_difference(found: Parity, allowed: Tolerance) -> None:
    """Raise BundleError where golden users are not answered as training would."""
    if found.max_score_difference > allowed.max_score_difference or found.min_top_20_overlap < allowed.min_overlap:
        raise BundleError(
            f"parity: golden users' scores differ from those of the training graph by up to "
            f"{found.max_score_difference:.3g} standard deviations, and {found.min_top_20_overlap:.4f} of their top "
            f"{COUNT} are the same; expected at most {allowed.max_score_difference} and at least "
            f"{allowed.min_overlap}"
        )
