"""True tastes of simulated users, and evaluation sets made of them.

Enjoyment is the simulation's formula without noise: a weighted sum of the inner product of the user's and the title's
taste, and the title's quality. It does not depend on clicks or impressions.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import NO_TITLE, Doubles
from models.data.catalogue import Catalogue
from models.data.positives import Positives
from models.errors import ModelError
from models.evaluation.evaluation_set import EvaluationSet
from models.recommender import top_titles

BEST = 20
TASTE, GEMS, RELEASES = "taste", "gems", "releases"
_TOP_SHARE = 0.1
_BATCH_USERS = 256


@dataclass(frozen=True)
class Tastes:
    """Users of a simulation and what they enjoy; titles are in catalogue order."""

    user_ids: Sequence[str]
    countries: Sequence[str]
    is_niche: NDArray[np.bool_]  # [users]
    is_sampled: NDArray[np.bool_]  # [users]; the others are here for the gems that suit them best
    of_users: Doubles  # [users, dims], weighted by the formula
    of_titles: Doubles  # [titles, dims]
    quality: Doubles  # [titles], weighted by the formula, NaN where the simulation lacks the title
    gems: sparse.csr_matrix  # [users, titles], 1 for the best users of each gem

    def enjoyment(self, users: slice) -> Doubles:
        """[users, titles], NaN for titles that the simulation lacks."""
        return self.of_users[users] @ self.of_titles.T + self.quality


def read_tastes(folder: Path, catalogue: Catalogue, max_users: int | None = None, seed: int = 0) -> Tastes:
    """Read the tastes in the folder truth/ of a simulation, of `max_users` users by chance where there are more.

    Users whom a gem suits best are few, and are all there beside those. Raises ModelError for a folder that is not one,
    or whose titles are not in the catalogue.
    """
    try:
        formula = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["enjoyment"]
        users, titles, gems = (pq.read_table(folder / f"{name}.parquet") for name in ("users", "titles", "gems"))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ModelError(f"{folder}: expected the truth of jobs.sources.simulate; {error}") from error
    rows = catalogue.rows(titles["title_id"].to_numpy())
    if not (rows >= 0).any():
        raise ModelError(f"{folder}: none of its {len(rows)} titles is in the lake's catalogue")
    is_sampled = np.ones(len(users), dtype=np.bool_)
    if max_users is not None and len(users) > max_users:
        is_sampled = np.isin(np.arange(len(users)), np.random.default_rng(seed).permutation(len(users))[:max_users])
        with_gem = set(chain.from_iterable(gems["best_users"].to_pylist()))
        has_gem = np.array([user in with_gem for user in users["user_id"].to_pylist()])
        users, is_sampled = users.filter(pa.array(is_sampled | has_gem)), is_sampled[is_sampled | has_gem]
    tastes = _matrix(titles["taste"])
    of_titles, quality = np.zeros((len(catalogue), tastes.shape[1])), np.full(len(catalogue), np.nan)
    of_titles[rows[rows >= 0]] = tastes[rows >= 0]
    quality[rows[rows >= 0]] = formula["quality"] * titles["quality"].to_numpy()[rows >= 0]
    user_ids = users["user_id"].to_pylist()
    return Tastes(
        user_ids,
        users["country"].to_pylist(),
        users["is_niche"].to_numpy(),
        is_sampled,
        formula["affinity"] * _matrix(users["taste"]),
        of_titles,
        quality,
        _gems(gems, user_ids, catalogue),
    )


def evaluation_sets(tastes: Tastes, train: Positives, catalogue: Catalogue) -> dict[str, EvaluationSet]:
    """The evaluation sets by name: TASTE, GEMS and RELEASES; empty ones are left out."""
    days = train.days_of(tastes.user_ids)
    is_simulated = catalogue.is_listed & ~np.isnan(tastes.quality)
    moment = np.floor(train.days.max()) + 1
    has_likes = np.bincount(train.liked.indices, minlength=len(catalogue)) > 0
    released = is_simulated & ~has_likes & (catalogue.release_days >= moment)
    best, of_releases = [], []
    for start in range(0, len(tastes.user_ids), _BATCH_USERS):
        users = slice(start, start + _BATCH_USERS)
        enjoyment = tastes.enjoyment(users)
        is_open = is_simulated & ~(days[users].toarray() > 0)  # [users, titles]
        sampled = tastes.is_sampled[users, None]
        best.append(sparse.csr_matrix(_is_among_best(np.where(is_open & sampled, enjoyment, -np.inf), BEST)))
        least = np.quantile(enjoyment[:, is_simulated], 1 - _TOP_SHARE, axis=1)[:, None]
        of_releases.append(sparse.csr_matrix((enjoyment >= least) & released & sampled))
    is_liked = sparse.csr_matrix((np.ones(days.nnz), days.indices, days.indptr), shape=days.shape)
    gems = tastes.gems.multiply(sparse.csr_matrix(is_simulated.astype(np.float64)))
    relevant_and_candidates = {
        TASTE: (sparse.vstack(best, "csr"), is_simulated),
        GEMS: ((gems - gems.multiply(is_liked)).tocsr(), is_simulated),
        RELEASES: (sparse.vstack(of_releases, "csr"), released),
    }
    for relevant, _ in relevant_and_candidates.values():
        relevant.eliminate_zeros()
    return {
        name: _evaluation_set(name, tastes, relevant.astype(np.float32), days, moment, candidates, catalogue)
        for name, (relevant, candidates) in relevant_and_candidates.items()
        if relevant.nnz
    }


def users_of(evaluation_set: EvaluationSet, users: NDArray[np.int64]) -> EvaluationSet:
    """The evaluation set restricted to some users, by row."""
    chosen = users.tolist()

    def entries_of(values: NDArray[Any], rows: sparse.csr_matrix) -> NDArray[Any]:
        return np.concatenate([values[rows.indptr[n] : rows.indptr[n + 1]] for n in chosen])

    return replace(
        evaluation_set,
        user_ids=[evaluation_set.user_ids[n] for n in chosen],
        countries=[evaluation_set.countries[n] for n in chosen],
        histories=evaluation_set.histories[users],
        history_ages_days=entries_of(evaluation_set.history_ages_days, evaluation_set.histories),
        relevant=evaluation_set.relevant[users],
        ignored=evaluation_set.ignored[users],
        ages_days=entries_of(evaluation_set.ages_days, evaluation_set.relevant),
        history_weights=None
        if evaluation_set.history_weights is None
        else entries_of(evaluation_set.history_weights, evaluation_set.histories),
    )


def _evaluation_set(
    name: str,
    tastes: Tastes,
    relevant: sparse.csr_matrix,
    days: sparse.csr_matrix,
    moment: float,
    candidates: NDArray[np.bool_],
    catalogue: Catalogue,
) -> EvaluationSet:
    users = np.flatnonzero(np.diff(relevant.indptr))
    history_days, relevant = days[users], relevant[users]
    relevant.sum_duplicates()  # sorts indices, too
    ones = np.ones(history_days.nnz, np.float32)
    histories = sparse.csr_matrix((ones, history_days.indices, history_days.indptr), shape=history_days.shape)
    return EvaluationSet(
        name=name,
        user_ids=[tastes.user_ids[n] for n in users.tolist()],
        countries=[tastes.countries[n] for n in users.tolist()],
        histories=histories,
        history_ages_days=moment - history_days.data,
        relevant=relevant,
        ignored=sparse.csr_matrix(relevant.shape, dtype=np.float32),
        ages_days=moment - catalogue.release_days[relevant.indices],
        candidates=candidates,
    )


def _is_among_best(scores: Doubles, count: int) -> NDArray[np.bool_]:
    """[rows, columns]: True for the `count` highest finite scores of each row; of equal scores the first."""
    lists = top_titles(scores, count)
    is_best = np.zeros(scores.shape, dtype=np.bool_)
    users, _ = np.nonzero(lists != NO_TITLE)
    is_best[users, lists[lists != NO_TITLE]] = True
    return is_best


def _gems(gems: pa.Table, user_ids: Sequence[str], catalogue: Catalogue) -> sparse.csr_matrix:
    row_of = {user: n for n, user in enumerate(user_ids)}
    rows = catalogue.rows(gems["title_id"].to_numpy())
    pairs = [
        (row_of[user], row)
        for row, users in zip(rows.tolist(), gems["best_users"].to_pylist(), strict=True)
        for user in users
        if row >= 0 and user in row_of
    ]
    users, titles = zip(*pairs, strict=True) if pairs else ((), ())
    return sparse.csr_matrix((np.ones(len(pairs)), (users, titles)), shape=(len(user_ids), len(catalogue)))


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.array(column.to_pylist(), dtype=np.float64)
