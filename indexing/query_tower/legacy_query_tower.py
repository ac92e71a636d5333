"""The query tower of bundles without query_tower.npz, in NumPy: parameters are read from the loaded SavedModel.

Bundles built before that file was written keep them in private attributes of the SavedModel, under the names below.
"""

from typing import Any

import numpy as np

from indexing.query_tower.numpy_tower import NumpyTower

# Attribute of the SavedModel by field of NumpyTower.
_ATTRIBUTES = {
    "tower_table": "_tower_table",
    "factor_table": "_factor_table",
    "attention_table": "_by_title",
    "tower_projection": "_tower_projection",
    "factor_projection": "_factor_projection",
    "system": "_system",
    "cold_user_query": "_nobody",
}


def numpy_tower(saved_model: Any) -> NumpyTower | None:
    """The tower of a loaded SavedModel, whose tables are not copied; None for a model of another form."""
    module: Any = getattr(saved_model, "_query_tower", None)
    if not hasattr(module, "_nobody"):
        return None

    def values(attribute: str) -> Any:
        # `numpy()` of a variable would copy it, and a table is as long as the catalogue.
        return np.asarray(getattr(module, attribute).value())

    return NumpyTower(
        **{field: values(attribute) for field, attribute in _ATTRIBUTES.items()},
        linear_table=values("_linear_table") if hasattr(module, "_linear_table") else None,
        tower={name: weight.numpy() for name, weight in module._weights.items()},
        numbers={name: np.float32(number.numpy()) for name, number in module.numbers.items()},
        order=saved_model._order.numpy(),
        divisors=saved_model._divisors.numpy(),
    )
