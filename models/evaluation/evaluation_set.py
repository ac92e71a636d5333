"""What recommendations are measured against: held-out positives, the histories before them, and the candidates.

Either a split of the lake's training examples, or a file, where the truth lies outside of the lake.
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
    """Row n of the matrices is user n; every user has a positive. `ages_days` follows the order of relevant.indices.

    Asked is before a user's first held-out positive, or, where the truth is a file, after the last day of training.
    """

    name: str
    user_ids: Sequence[str]
    countries: Sequence[str | None]  # [users]
    histories: sparse.csr_matrix  # [users, titles], known before
    history_ages_days: NDArray[np.float64]  # in the order of histories.indices, before the moment of asking
    relevant: sparse.csr_matrix  # [users, titles], the held-out positives
    ignored: sparse.csr_matrix  # [users, titles], not recommended: met without liking, or pairs that count neither way
    ages_days: NDArray[np.float64]  # [positives], of the title at the moment; NaN where not known
    candidates: NDArray[np.bool_]  # [titles] that may be recommended
    history_weights: NDArray[np.float32] | None = None  # in the order of histories.indices; None: 1 each

    @property
    def weighted_histories(self) -> sparse.csr_matrix:
        """[users, titles]: histories with what each title counts, as models that go by it are asked when they serve."""
        if self.history_weights is None:
            return self.histories
        own = self.histories
        return sparse.csr_matrix((self.history_weights, own.indices, own.indptr), shape=own.shape)

    def among(self, titles: NDArray[np.bool_]) -> "EvaluationSet":
        """The same where none but `titles` [titles] may be recommended."""
        return replace(self, candidates=self.candidates & titles)


def of_split(snapshot: LakeSnapshot, split: str, catalogue: Catalogue) -> EvaluationSet:
    """The positives of a split; histories are the splits before it, candidates are all titles in the catalogue now.

    A positive that is in the user's history already is none, since titles of the history are not recommended; neither
    is one of a title that left the catalogue. Raises ModelError where nothing is left.
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
    asked = _first_days(held_out)[users]
    released = catalogue.release_days[held_out.liked.indices[kept]]
    user_ids = [held_out.user_ids[n] for n in users]
    weights = read_history_weights(snapshot, user_ids, catalogue)
    return EvaluationSet(
        name=split,
        user_ids=user_ids,
        countries=[held_out.countries[n] for n in users],
        histories=histories[users],
        history_ages_days=_ages(days[users], asked),
        relevant=relevant[users],
        ignored=_turned_down(weights),
        ages_days=held_out.days[kept] - released,
        candidates=catalogue.is_listed,
        history_weights=_found(weights, histories[users]),
    )


def of_files(
    truth: Path,
    candidates: Path | None,
    ignored: Path | None,
    snapshot: LakeSnapshot,
    train: Positives,
    catalogue: Catalogue,
) -> EvaluationSet:
    """The pairs of a CSV file with columns user_id and title_id, gzipped or not; histories are all of training.

    `candidates` is a CSV file with a column title_id, `ignored` one of pairs. Raises ModelError for a file without
    these columns, or with a title that the catalogue lacks.
    """
    pairs = _read(truth, "user_id", "title_id")
    user_ids = sorted(pairs["user_id"].unique())
    relevant = _matrix(pairs, user_ids, catalogue, truth)
    neither = _read(ignored, "user_id", "title_id") if ignored else pairs.iloc[:0]
    days = train.days_of(user_ids)
    asked = np.full(len(user_ids), np.floor(train.days.max(initial=0)) + 1)
    country_of = dict(zip(train.user_ids, train.countries, strict=True))
    histories, weights = _ones(days), read_history_weights(snapshot, user_ids, catalogue)
    allowed = np.ones(len(catalogue), dtype=np.bool_)
    if candidates:
        allowed[:] = False
        allowed[_positions(_read(candidates, "title_id")["title_id"].to_numpy(), catalogue, candidates)] = True
    return EvaluationSet(
        name=truth.name.removesuffix(".gz").removesuffix(".csv"),
        user_ids=user_ids,
        countries=[country_of.get(user) for user in user_ids],
        histories=histories,
        history_ages_days=_ages(days, asked),
        relevant=relevant,
        ignored=_matrix(neither, user_ids, catalogue, ignored or truth) + _turned_down(weights),
        ages_days=np.full(relevant.nnz, np.nan),
        candidates=allowed,
        history_weights=_found(weights, histories),
    )


def _ones(days: sparse.csr_matrix) -> sparse.csr_matrix:
    """1 where a history has a title, in the order of `days`."""
    return sparse.csr_matrix((np.ones(days.nnz, dtype=np.float32), days.indices, days.indptr), shape=days.shape)


def _turned_down(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """1 where somebody met a title without any liking: entries of `weights` [users, titles] that are 0 or less."""
    users = _rows(weights)
    kept = weights.data <= 0
    ones = np.ones(kept.sum(), dtype=np.float32)
    return sparse.csr_matrix((ones, (users[kept], weights.indices[kept])), shape=weights.shape)


def _found(weights: sparse.csr_matrix, histories: sparse.csr_matrix) -> NDArray[np.float32]:
    """[entries of `histories`]: their own of `weights`, 1 for a title liked since these were put down."""
    own = np.asarray(weights[_rows(histories), histories.indices], dtype=np.float32).ravel()
    return np.where(own > 0, own, np.float32(1))


def _ages(days: sparse.csr_matrix, asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """[entries]: how long before the user's moment in `asked` [users] each of `days` [users, titles] was."""
    return np.repeat(asked, np.diff(days.indptr)) - days.data


def _first_days(positives: Positives) -> NDArray[np.float64]:
    """[users]: the moment of each user's first positive."""
    return np.minimum.reduceat(positives.days, positives.liked.indptr[:-1]) if len(positives.days) else np.empty(0)


def _splits_before(split: str) -> tuple[str, ...]:
    return SPLITS[: SPLITS.index(split)]


def without_known(
    liked: sparse.csr_matrix, histories: sparse.csr_matrix, is_listed: NDArray[np.bool_]
) -> tuple[sparse.csr_matrix, NDArray[np.bool_]]:
    """`liked` without what `histories` have and titles not listed, and which of its entries stayed."""
    users = _rows(liked)
    is_known = np.isin(_pair_numbers(liked), _pair_numbers(histories))
    kept = ~is_known & is_listed[liked.indices]
    ones = np.ones(kept.sum(), dtype=np.float32)
    return sparse.csr_matrix((ones, (users[kept], liked.indices[kept])), shape=liked.shape), kept


def _rows(matrix: sparse.csr_matrix) -> NDArray[np.int64]:
    """[entries]: the row that each stands in."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))


def _pair_numbers(matrix: sparse.csr_matrix) -> NDArray[np.int64]:
    """[entries]: a number per pair of a row and a column, the same in matrices of one width."""
    return _rows(matrix) * matrix.shape[1] + matrix.indices


def _matrix(pairs: pd.DataFrame, user_ids: Sequence[str], catalogue: Catalogue, file: Path) -> sparse.csr_matrix:
    """[users, titles] of those of `pairs` whose user is among `user_ids`, in their order."""
    row_of = pd.Series(np.arange(len(user_ids)), index=list(user_ids))
    own = pairs[pairs["user_id"].isin(row_of.index)]
    columns = _positions(own["title_id"].to_numpy(), catalogue, file)
    entries = (np.ones(len(own), dtype=np.float32), (row_of[own["user_id"]].to_numpy(), columns))
    found = sparse.csr_matrix(entries, shape=(len(user_ids), len(catalogue)))
    found.data[:] = 1  # a pair that stands twice counts once
    return found


def _positions(title_ids: NDArray[np.int64], catalogue: Catalogue, file: Path) -> NDArray[np.int64]:
    found = catalogue.rows(title_ids)
    if (found < 0).any():
        missing = title_ids[found < 0]
        raise ModelError(f"{file}: title {missing[0]} and {len(missing) - 1} more are not in the lake's catalogue")
    return found


def _read(file: Path, *columns: str) -> pd.DataFrame:
    try:
        return pd.read_csv(file, usecols=list(columns), dtype={"user_id": str, "title_id": "int64"})
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: expected a CSV file with columns {', '.join(columns)}; {error}") from error
