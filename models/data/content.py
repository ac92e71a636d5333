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

    A title that lacks what a block is made of has a row of zeros there, and `present` [titles] by block says so.
    `weights` say how much a block counts beside the others, where they are not all to count alike.
    """

    blocks: Mapping[str, Block]
    present: Mapping[str, NDArray[np.bool_]]
    weights: Mapping[str, float] = field(default_factory=dict)  # 1 where a block is not named

    def only(self, weights: Mapping[str, float]) -> "Content":
        """The blocks that `weights` name, counting as they say. Raises KeyError for one that is not there."""
        blocks = {name: self.blocks[name] for name in weights}
        return Content(blocks, {name: self.present[name] for name in weights}, weights)

    def take(self, positions: NDArray[np.int64]) -> "Content":
        """The titles at `positions`, in that order."""
        blocks = {name: block[positions] for name, block in self.blocks.items()}
        return Content(blocks, {name: own[positions] for name, own in self.present.items()}, self.weights)

    @property
    def count_titles(self) -> int:
        return next(iter(self.present.values())).shape[0]
