"""Made-up parts of a query tower, as a model would have learnt them, and models changed in one part."""

from dataclasses import replace
from typing import Any

import numpy as np

from models.query_tower import QueryParameters, QueryTables
from models.two_tower import TwoTower

LIKE = 0.25
COUNTRIES = 4


def tables(random: np.random.Generator, titles: int, dim: int, dims: int, factors: int) -> QueryTables:
    shapes = ((titles, dim), (titles, dims), (titles, factors))
    return QueryTables(*(random.normal(size=shape).astype(np.float32) for shape in shapes))


def parameters(own: QueryTables, random: np.random.Generator, **changes: Any) -> QueryParameters:
    dim, dims, factors = own.tower.shape[1], own.linear.shape[1], own.factors.shape[1]

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    tower = {"of_vector": normal(dim), "of_age": normal(), "of_weight": normal(), "everybody": normal(dim)}
    plain = {
        "tower": tower | {"countries": normal(COUNTRIES, dim)},
        "tower_projection": normal(dim, dims),
        "factor_projection": normal(factors, dims),
        "part_weights": {"towers": 1.0, "linear": 0.5, "als": 0.25},
        "system": (own.factors.T @ own.factors + 2 * np.eye(factors)).astype(np.float32),
        "alpha": 5.0,
        "nobody": normal(dims),
        "positive_min_weight": LIKE,
    }
    return QueryParameters(**{**plain, **changes})


def with_prior(model: TwoTower, likes: float) -> TwoTower:
    """The model with content counting as so many likes; with 0 liked titles are as they were learnt."""
    cold = replace(model.card.cold, prior_likes=likes)
    return TwoTower(model._titles, model._query, replace(model.card, cold=cold))
