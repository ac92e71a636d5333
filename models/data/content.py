"""Content of titles as blocks of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Block: TypeAlias = NDArray[np.float32] | sparse.csr_matrix


@dataclass(frozen=True)
class Content:
    """Blocks [titles, width of the block] by name: plot and poster embeddings, genres, people, release year, …

    `present` [titles], by block, is False for titles that lack its data; their rows of the block are zeros. `weights`
    are the relative weights of blocks.
    """

    blocks: Mapping[str, Block]
    present: Mapping[str, NDArray[np.bool_]]
    weights: Mapping[str, float] = field(default_factory=dict)  # 1 where a block is not named

    def only(self, weights: Mapping[str, float]) -> "Content":
        """The blocks that `weights` name, with these weights. Raises KeyError for a block that is missing."""
        blocks = {name: self.blocks[name] for name in weights}
        return Content(blocks, {name: self.present[name] for name in weights}, weights)

    def take(self, rows: NDArray[np.int64]) -> "Content":
        """The titles of `rows`, in that order."""
        blocks = {name: block[rows] for name, block in self.blocks.items()}
        return Content(blocks, {name: is_present[rows] for name, is_present in self.present.items()}, self.weights)

    @property
    def count_titles(self) -> int:
        return next(iter(self.present.values())).shape[0]
