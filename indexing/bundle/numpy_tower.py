"""The query tower in NumPy: the same computation on the same parameters, for serving.

A history is short, so that a graph spends its time on starting a hundred small operations. Golden users hold both forms
to the training graph's answers: who changes models/towers/query_module.py changes this too, or no bundle is built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from lake.arrays import Floats
from models.data.padded_histories import PaddedHistories

_LEAST_SQUARE = np.float32(1e-12)  # of a length that is divided by, as in models/towers/layers.py
_LEFT_OUT = np.float32(1e4)  # taken from the logit of a title that attention must not see
_ONE = np.float32(1)


@dataclass(frozen=True)
class NumpyTower:
    """Histories to queries, [people, dim]; fields are those of `QueryModule`, and tables have a row of padding."""

    tower_table: Floats
    linear_table: Floats | None  # None where no score goes by it
    factor_table: Floats
    by_title: Floats
    tower: Mapping[str, Floats]
    tower_projection: Floats
    factor_projection: Floats
    system: Floats
    nobody: Floats
    numbers: Mapping[str, np.float32]  # `QueryModule.numbers`
    order: NDArray[np.int64]  # the bundle's dimensions among the model's
    divisors: Floats

    @classmethod
    def of(cls, exported: Any) -> Self | None:
        """From a bundle's loaded SavedModel, whose tables are not copied; None for one that has another form."""
        module: Any = getattr(exported, "_query_tower", None)
        if not hasattr(module, "_nobody"):
            return None

        def values(name: str) -> Any:
            # `numpy()` of a variable would copy it, and a table is as long as the catalogue.
            return np.asarray(getattr(module, f"_{name}").value())

        named = ("tower_table", "factor_table", "by_title", "tower_projection", "factor_projection", "system", "nobody")
        return cls(
            **{name: values(name) for name in named},
            linear_table=values("linear_table") if hasattr(module, "_linear_table") else None,
            tower={name: weight.numpy() for name, weight in module._weights.items()},
            numbers={name: np.float32(number.numpy()) for name, number in module.numbers.items()},
            order=exported._order.numpy(),
            divisors=exported._divisors.numpy(),
        )

    def __call__(self, asked: PaddedHistories) -> Floats:
        """[people, dim], to which a bundle's embeddings are turned."""
        rows, numbers = asked.rows, self.numbers
        liked = ((rows > 0) & (asked.weights >= numbers["positive_min_weight"])).astype(np.float32)
        recency = self._recency(asked, liked) if numbers["half_life"] else None
        queries = numbers["towers"] * _unit(self._pooled(asked, recency) @ self.tower_projection)
        if recency is not None:
            liked *= recency
        if self.linear_table is not None:
            queries += numbers["linear"] * _unit(_weighted(liked, self.linear_table[rows]))
        if self.factor_table.shape[1]:
            queries += numbers["als"] * _unit(self._folded_in(rows, liked) @ self.factor_projection)
        queries[~((rows > 0) & (asked.weights > 0)).any(axis=1)] = self.nobody
        return queries[:, self.order] / self.divisors

    def _pooled(self, asked: PaddedHistories, recency: Floats | None) -> Floats:
        """[people, dim of the towers]: `towers.query_vectors`."""
        weights, own = asked.weights, self.tower
        counts = ((asked.rows > 0) & (weights > 0)).astype(np.float32)
        logits = self.by_title[asked.rows] + own["of_age"] * np.log1p(np.maximum(asked.ages_days, 0))
        logits += own["of_weight"] * (weights - _ONE) - (_ONE - counts) * _LEFT_OUT
        attention = np.exp(logits - logits.max(axis=1, keepdims=True)) * counts
        if recency is not None:
            attention *= recency
        attention /= np.maximum(attention.sum(axis=1, keepdims=True), _LEAST_SQUARE)
        # Divided by its length: 1 / Σ a² titles count as one.
        pooled = _weighted(_unit(attention), self.tower_table[asked.rows])
        known = np.minimum(asked.countries, len(own["countries"]) - 1)
        return _unit(pooled + own["everybody"] + own["countries"][known])

    def _recency(self, asked: PaddedHistories, liked: Floats) -> Floats:
        """[people, length]: `QueryModule._recency`."""
        places = np.arange(1, liked.shape[1] + 1)
        last = np.where(asked.rows > 0, places, 0).max(axis=1, keepdims=True)
        ages = np.where(places <= last, asked.ages_days, np.float32(np.inf))
        before = np.cumsum(liked, axis=1) - liked
        newer = np.stack([own[np.searchsorted(age, age)] for own, age in zip(before, ages, strict=True)])
        floor = self.numbers["floor"]
        return floor + (_ONE - floor) * np.exp2(-newer / self.numbers["half_life"])

    def _folded_in(self, rows: NDArray[np.int64], liked: Floats) -> Floats:
        """[people, factors]: `QueryModule._folded_in`."""
        alpha = self.numbers["alpha"]
        factors = self.factor_table[rows]
        own = factors * liked[:, :, None]
        systems = self.system + (alpha - _ONE) * np.matmul(factors.transpose(0, 2, 1), own)
        sums = alpha * own.sum(axis=1)
        # Positive definite, whatever the history: half of what a general system costs, and one call for each.
        return np.stack([lapack.sposv(system, own_sum)[1] for system, own_sum in zip(systems, sums, strict=True)])


def _unit(vectors: Floats) -> Floats:
    """At length 1; zeros stay zeros."""
    return vectors / np.sqrt(np.maximum(np.vecdot(vectors, vectors), _LEAST_SQUARE))[..., None]


def _weighted(weights: Floats, rows: Floats) -> Floats:
    """[people, width]: Σ of `weights` [people, length] times `rows` [people, length, width]."""
    return np.matmul(weights[:, None, :], rows)[:, 0]
