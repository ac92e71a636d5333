"""What is known of every title besides who liked it, as blocks of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Block: TypeAlias = NDArray[np.float32] | sparse.csr_matrix


@dataclass(frozen=True)
class Content:
    """Blocks [titles, width of the block] by name: plot and poster embeddings, genres, people, release year, …

    A title that lacks what a block is made of has a row of zeros there, and `present` [titles] by block says so.
    """

    blocks: Mapping[str, Block]
    present: Mapping[str, NDArray[np.bool_]]

    @property
    def count_titles(self) -> int:
        return next(iter(self.present.values())).shape[0]
