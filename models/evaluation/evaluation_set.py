"""Evaluation sets: held-out positives, the histories before them, and the candidates.

An evaluation set is a split of the lake's training examples (`of_split`) or pairs of a CSV file (`of_files`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue
from models.data.model_tables import SPLITS
from models.data.positives import Positives, read_history_weights, read_positives
from models.errors import ModelError


@dataclass(frozen=True)
class EvaluationSet:
    """Users with held-out positives, and what was known of them at the moment of the query.

    Row n of the matrices is user n; every user has a positive. `ages_days` is in the order of relevant.indices.
    The moment is that of a user's first held-out positive, or, for pairs of a file, the end of the last training day.
    """

    name: str
    user_ids: Sequence[str]
    countries: Sequence[str | None]  # [users]
    histories: sparse.csr_matrix  # [users, titles], known before
    history_ages_days: NDArray[np.float64]  # in the order of histories.indices, at the moment of the query
    relevant: sparse.csr_matrix  # [users, titles], the held-out positives
    ignored: sparse.csr_matrix  # [users, titles], not recommended: seen without liking, or ignored pairs
    ages_days: NDArray[np.float64]  # [positives], of the title at the moment of the query; NaN where unknown
    candidates: NDArray[np.bool_]  # [titles] that may be recommended
    history_weights: NDArray[np.float32] | None = None  # in the order of histories.indices; None: 1 each

    @property
    def weighted_histories(self) -> sparse.csr_matrix:
        """[users, titles]: histories with the weight of each title, as queries have them in serving."""
        if self.history_weights is None:
            return self.histories
        indices, indptr = self.histories.indices, self.histories.indptr
        return sparse.csr_matrix((self.history_weights, indices, indptr), shape=self.histories.shape)

    def among(self, titles: NDArray[np.bool_]) -> "EvaluationSet":
        """The same evaluation set with candidates restricted to `titles` [titles]."""
        return replace(self, candidates=self.candidates & titles)


def of_split(snapshot: LakeSnapshot, split: str, catalogue: Catalogue) -> EvaluationSet:
    """The positives of a split; histories are the splits before it, candidates are all titles in the catalogue now.

    Positives of titles in the user's history are left out, since these are not recommended, and so are positives of
    titles that left the catalogue. Raises ModelError where no positive is left.
    """
    held_out = read_positives(snapshot, split, catalogue)
    before = [read_positives(snapshot, name, catalogue) for name in _splits_before(split)]
    days = before[0].days_of(held_out.user_ids)
    for later in before[1:]:
        days = days.maximum(later.days_of(held_out.user_ids))
    histories = _ones(days)
    relevant, kept = without_known(held_out.liked, histories, catalogue.is_listed)
    if not relevant.nnz:
        raise ModelError(f"split {split!r} has no positives to measure against; see examples.split")
    users = np.flatnonzero(np.diff(relevant.indptr)).tolist()
    moments = _first_days(held_out)[users]
    released = catalogue.release_days[held_out.liked.indices[kept]]
    user_ids = [held_out.user_ids[n] for n in users]
    weights = read_history_weights(snapshot, user_ids, catalogue)
    return EvaluationSet(
        name=split,
        user_ids=user_ids,
        countries=[held_out.countries[n] for n in users],
        histories=histories[users],
        history_ages_days=_ages(days[users], moments),
        relevant=relevant[users],
        ignored=_disliked(weights),
        ages_days=held_out.days[kept] - released,
        candidates=catalogue.is_listed,
        history_weights=_weights_of(weights, histories[users]),
    )


def of_files(
    pairs_file: Path,
    candidates: Path | None,
    ignored: Path | None,
    snapshot: LakeSnapshot,
    train: Positives,
    catalogue: Catalogue,
) -> EvaluationSet:
    """The pairs of a CSV file with columns user_id and title_id, gzipped or not; histories are the training split.

    `candidates` is a CSV file with a column title_id, `ignored` one of pairs. Raises ModelError for a file without
    these columns, or with a title that the catalogue lacks.
    """
    pairs = _read(pairs_file, "user_id", "title_id")
    user_ids = sorted(pairs["user_id"].unique())
    relevant = _matrix(pairs, user_ids, catalogue, pairs_file)
    ignored_pairs = _read(ignored, "user_id", "title_id") if ignored else pairs.iloc[:0]
    days = train.days_of(user_ids)
    moments = np.full(len(user_ids), np.floor(train.days.max(initial=0)) + 1)
    country_of = dict(zip(train.user_ids, train.countries, strict=True))
    histories, weights = _ones(days), read_history_weights(snapshot, user_ids, catalogue)
    is_candidate = np.ones(len(catalogue), dtype=np.bool_)
    if candidates:
        is_candidate[:] = False
        is_candidate[_rows_of(_read(candidates, "title_id")["title_id"].to_numpy(), catalogue, candidates)] = True
    return EvaluationSet(
        name=pairs_file.name.removesuffix(".gz").removesuffix(".csv"),
        user_ids=user_ids,
        countries=[country_of.get(user) for user in user_ids],
        histories=histories,
        history_ages_days=_ages(days, moments),
        relevant=relevant,
        ignored=_matrix(ignored_pairs, user_ids, catalogue, ignored or pairs_file) + _disliked(weights),
        ages_days=np.full(relevant.nnz, np.nan),
        candidates=is_candidate,
        history_weights=_weights_of(weights, histories),
    )


def _ones(days: sparse.csr_matrix) -> sparse.csr_matrix:
    """1 where a history has a title, in the order of `days`."""
    return sparse.csr_matrix((np.ones(days.nnz, dtype=np.float32), days.indices, days.indptr), shape=days.shape)


def _disliked(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """[users, titles]: 1 where `weights` [users, titles] has an entry of 0 or less: a title seen without liking."""
    users = _rows(weights)
    kept = weights.data <= 0
    ones = np.ones(kept.sum(), dtype=np.float32)
    return sparse.csr_matrix((ones, (users[kept], weights.indices[kept])), shape=weights.shape)


def _weights_of(weights: sparse.csr_matrix, histories: sparse.csr_matrix) -> NDArray[np.float32]:
    """[entries of `histories`]: their entries of `weights`; 1 for titles liked after these were written."""
    history_weights = np.asarray(weights[_rows(histories), histories.indices], dtype=np.float32).ravel()
    return np.where(history_weights > 0, history_weights, np.float32(1))


def _ages(days: sparse.csr_matrix, moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """[entries]: days from each of `days` [users, titles] to the user's moment in `moments` [users]."""
    return np.repeat(moments, np.diff(days.indptr)) - days.data


def _first_days(positives: Positives) -> NDArray[np.float64]:
    """[users]: the moment of each user's first positive."""
    return np.minimum.reduceat(positives.days, positives.liked.indptr[:-1]) if len(positives.days) else np.empty(0)


def _splits_before(split: str) -> tuple[str, ...]:
    return SPLITS[: SPLITS.index(split)]


def without_known(
    liked: sparse.csr_matrix, histories: sparse.csr_matrix, is_listed: NDArray[np.bool_]
) -> tuple[sparse.csr_matrix, NDArray[np.bool_]]:
    """`liked` without titles of `histories` or titles not listed, and a mask of the entries kept."""
    users = _rows(liked)
    is_in_history = np.isin(_pair_numbers(liked), _pair_numbers(histories))
    kept = ~is_in_history & is_listed[liked.indices]
    ones = np.ones(kept.sum(), dtype=np.float32)
    return sparse.csr_matrix((ones, (users[kept], liked.indices[kept])), shape=liked.shape), kept


def _rows(matrix: sparse.csr_matrix) -> NDArray[np.int64]:
    """[entries]: the row of each."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))


def _pair_numbers(matrix: sparse.csr_matrix) -> NDArray[np.int64]:
    """[entries]: a number per pair of row and column, the same in matrices with equally many columns."""
    return _rows(matrix) * matrix.shape[1] + matrix.indices


def _matrix(pairs: pd.DataFrame, user_ids: Sequence[str], catalogue: Catalogue, file: Path) -> sparse.csr_matrix:
    """[users, titles]: 1 for `pairs` whose user is in `user_ids`, in the order of `user_ids`."""
    row_of = pd.Series(np.arange(len(user_ids)), index=list(user_ids))
    kept = pairs[pairs["user_id"].isin(row_of.index)]
    columns = _rows_of(kept["title_id"].to_numpy(), catalogue, file)
    entries = (np.ones(len(kept), dtype=np.float32), (row_of[kept["user_id"]].to_numpy(), columns))
    matrix = sparse.csr_matrix(entries, shape=(len(user_ids), len(catalogue)))
    matrix.data[:] = 1  # a repeated pair counts once
    return matrix


def _rows_of(title_ids: NDArray[np.int64], catalogue: Catalogue, file: Path) -> NDArray[np.int64]:
    rows = catalogue.rows(title_ids)
    if (rows < 0).any():
        missing = title_ids[rows < 0]
        raise ModelError(f"{file}: title {missing[0]} and {len(missing) - 1} more are not in the lake's catalogue")
    return rows


def _read(file: Path, *columns: str) -> pd.DataFrame:
    try:
        return pd.read_csv(file, usecols=list(columns), dtype={"user_id": str, "title_id": "int64"})
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: expected a CSV file with columns {', '.join(columns)}; {error}") from error
