"""True tastes of simulated users, and evaluation sets made of them.

Enjoyment is the simulation's formula without noise: a weighted sum of the inner product of the user's and the title's
taste, and the title's quality. It does not depend on clicks or impressions.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from models.data.catalogue import Catalogue
from models.data.positives import Positives
from models.errors import ModelError
from models.evaluation.evaluation_set import EvaluationSet

BEST = 20
TASTE, GEMS, RELEASES = "taste", "gems", "releases"
_TOP_SHARE = 0.1


@dataclass(frozen=True)
class Tastes:
    """Users and enjoyment of a simulation; titles are in catalogue order, NaN where the simulation lacks one."""

    user_ids: Sequence[str]
    countries: Sequence[str]
    is_niche: NDArray[np.bool_]  # [users]
    enjoyment: NDArray[np.float64]  # [users, titles]
    gems: sparse.csr_matrix  # [users, titles], 1 for the best users of each gem


def read_tastes(folder: Path, catalogue: Catalogue) -> Tastes:
    """Read the tastes in the folder truth/ of a simulation.

    Raises ModelError for a folder that is not one, or whose titles are not in the catalogue.
    """
    try:
        formula = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["enjoyment"]
        users, titles, gems = (pq.read_table(folder / f"{name}.parquet") for name in ("users", "titles", "gems"))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ModelError(f"{folder}: expected the truth of jobs.sources.simulate; {error}") from error
    rows = catalogue.rows(titles["title_id"].to_numpy())
    if not (rows >= 0).any():
        raise ModelError(f"{folder}: none of its {len(rows)} titles is in the lake's catalogue")
    affinity = _matrix(users["taste"]) @ _matrix(titles["taste"]).T
    scored = formula["affinity"] * affinity + formula["quality"] * titles["quality"].to_numpy()
    enjoyment = np.full((len(users), len(catalogue)), np.nan)
    enjoyment[:, rows[rows >= 0]] = scored[:, rows >= 0]
    user_ids = users["user_id"].to_pylist()
    return Tastes(
        user_ids,
        users["country"].to_pylist(),
        users["is_niche"].to_numpy(),
        enjoyment,
        _gems(gems, user_ids, catalogue),
    )


def evaluation_sets(tastes: Tastes, train: Positives, catalogue: Catalogue) -> dict[str, EvaluationSet]:
    """The evaluation sets by name: TASTE, GEMS and RELEASES; empty ones are left out."""
    days = train.days_of(tastes.user_ids)
    liked = days.toarray() > 0
    is_simulated = catalogue.is_listed & ~np.isnan(tastes.enjoyment).any(axis=0)
    is_open = is_simulated & ~liked  # [users, titles]
    enjoyment = np.where(is_open, tastes.enjoyment, -np.inf)

    moment = np.floor(train.days.max()) + 1
    has_likes = np.bincount(train.liked.indices, minlength=len(catalogue)) > 0
    released = is_simulated & ~has_likes & (catalogue.release_days >= moment)
    least = np.quantile(tastes.enjoyment[:, is_simulated], 1 - _TOP_SHARE, axis=1)[:, None]
    relevant_and_candidates = {
        TASTE: (sparse.csr_matrix(_is_among_best(enjoyment, BEST)), is_simulated),
        GEMS: (tastes.gems.multiply(is_open).tocsr(), is_simulated),
        RELEASES: (sparse.csr_matrix((enjoyment >= least) & released), released),
    }
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
    relevant.eliminate_zeros()
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


def _is_among_best(scores: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """[rows, columns]: True for the `count` highest finite scores of each row; of equal scores the first."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    is_best = np.zeros(scores.shape, dtype=np.bool_)
    np.put_along_axis(is_best, best, True, axis=1)
    return is_best & np.isfinite(scores)


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
