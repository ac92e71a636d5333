"""The query tower in NumPy: the same computation on the same parameters, for serving.

Histories are short, so a TensorFlow graph spends most of its time on launching a hundred small operations. The parity
check holds both forms to the training graph: a change of models/towers/query_module.py that is not made here too
lets no bundle be built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.linalg import lapack

from indexing.bundle.bundle_files import BALANCE, QUERY_TOWER_ARRAYS
from lake.arrays import Floats, Ids
from models.data.padded_histories import PaddedHistories

_LEAST_SQUARE = np.float32(1e-12)  # lower bound of squared lengths in divisions, as in models/towers/layers.py
_MASKED = np.float32(1e4)  # subtracted from the attention logit of a title that must not count
_ONE = np.float32(1)


@dataclass(frozen=True)
class NumpyTower:
    """Histories to embeddings [users, dim]. Parameters as `QueryModule.arrays` describes them; row 0 of tables pads."""

    tower_table: Floats
    linear_table: Floats | None  # None where the linear part has no weight
    factor_table: Floats
    attention_table: Floats
    tower: Mapping[str, Floats]
    tower_projection: Floats
    factor_projection: Floats
    system: Floats
    cold_user_query: Floats
    numbers: Mapping[str, np.float32]
    order: Ids  # [dim], the model's dimension behind each of the bundle's
    divisors: Floats  # [dim], in the bundle's order

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The tower of a bundle's folder; None where the bundle has no query_tower.npz."""
        path = folder / QUERY_TOWER_ARRAYS
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as stored, np.load(folder / BALANCE, allow_pickle=False) as balance:
            return cls(
                tower_table=stored["tables.tower"],
                linear_table=stored.get("tables.linear"),
                factor_table=stored["tables.factors"],
                attention_table=stored["tables.attention"],
                tower=_under("tower.", stored),
                tower_projection=stored["tower_projection"],
                factor_projection=stored["factor_projection"],
                system=stored["system"],
                cold_user_query=stored["cold_user_query"],
                numbers={name: np.float32(number) for name, number in _under("numbers.", stored).items()},
                order=balance["order"],
                divisors=balance["factors"],
            )

    def __call__(self, histories: PaddedHistories) -> Floats:
        """[users, dim], in the bundle's dimensions."""
        rows, numbers = histories.rows, self.numbers
        liked = ((rows > 0) & (histories.weights >= numbers["positive_min_weight"])).astype(np.float32)
        recency = self._recency(histories, liked) if numbers["half_life"] else None
        queries = numbers["towers"] * _unit(self._pooled(histories, recency) @ self.tower_projection)
        if recency is not None:
            liked *= recency
        if self.linear_table is not None:
            queries += numbers["linear"] * _unit(_weighted(liked, self.linear_table[rows]))
        if self.factor_table.shape[1]:
            queries += numbers["als"] * _unit(self._folded_in(rows, liked) @ self.factor_projection)
        if popularity := numbers.get("popularity"):  # bundles of earlier versions have none
            queries += popularity * self.cold_user_query
        queries[~((rows > 0) & (histories.weights > 0)).any(axis=1)] = self.cold_user_query
        return queries[:, self.order] / self.divisors

    def _pooled(self, histories: PaddedHistories, recency: Floats | None) -> Floats:
        """[users, dim of the towers]: `towers.query_vectors`."""
        weights, tower = histories.weights, self.tower
        counts = ((histories.rows > 0) & (weights > 0)).astype(np.float32)
        logits = self.attention_table[histories.rows] + tower["of_age"] * np.log1p(np.maximum(histories.ages_days, 0))
        logits += tower["of_weight"] * (weights - _ONE) - (_ONE - counts) * _MASKED
        attention = np.exp(logits - logits.max(axis=1, keepdims=True)) * counts
        if recency is not None:
            attention *= recency
        attention /= np.maximum(attention.sum(axis=1, keepdims=True), _LEAST_SQUARE)
        # Attention at length 1: 1 / Σ a² is the effective number of titles.
        pooled = _weighted(_unit(attention), self.tower_table[histories.rows])
        known = np.minimum(histories.countries, len(tower["countries"]) - 1)
        return _unit(pooled + tower["everybody"] + tower["countries"][known])

    def _recency(self, histories: PaddedHistories, liked: Floats) -> Floats:
        """[users, length]: `QueryModule._recency`."""
        columns = np.arange(1, liked.shape[1] + 1)
        last = np.where(histories.rows > 0, columns, 0).max(axis=1, keepdims=True)
        ages = np.where(columns <= last, histories.ages_days, np.float32(np.inf))
        before = np.cumsum(liked, axis=1) - liked
        newer = np.stack([count[np.searchsorted(age, age)] for count, age in zip(before, ages, strict=True)])
        floor = self.numbers["floor"]
        return floor + (_ONE - floor) * np.exp2(-newer / self.numbers["half_life"])

    def _folded_in(self, rows: Ids, liked: Floats) -> Floats:
        """[users, factors]: `QueryModule._folded_in`."""
        alpha = self.numbers["alpha"]
        factors = self.factor_table[rows]
        liked_factors = factors * liked[:, :, None]
        systems = self.system + (alpha - _ONE) * np.matmul(factors.transpose(0, 2, 1), liked_factors)
        sums = alpha * liked_factors.sum(axis=1)
        # Systems are positive definite: Cholesky costs half of what a general solver does.
        return np.stack([lapack.sposv(system, right)[1] for system, right in zip(systems, sums, strict=True)])


def _under(prefix: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): stored[name] for name in stored if name.startswith(prefix)}


def _unit(vectors: Floats) -> Floats:
    """Vectors scaled to length 1; zeros stay zeros."""
    return vectors / np.sqrt(np.maximum(np.vecdot(vectors, vectors), _LEAST_SQUARE))[..., None]


def _weighted(weights: Floats, rows: Floats) -> Floats:
    """[users, dim]: Σ of `weights` [users, length] times `rows` [users, length, dim]."""
    return np.matmul(weights[:, None, :], rows)[:, 0]
