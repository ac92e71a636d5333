"""A catalogue whose answer is known: three tastes, each with titles of its own that content tells apart."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from models.content import Content

TASTES = 3
TITLES_PER_TASTE = 12
COLD_PER_TASTE = 2
USERS_OF_TASTE = (90, 50, 50)
HISTORY = 4


@dataclass(frozen=True)
class Catalogue:
    """Users mostly like warm titles of their own taste; each of `histories` [tastes, titles] holds a few of one."""

    liked: sparse.csr_matrix
    content: Content
    taste: NDArray[np.int64]  # [titles]
    is_cold: NDArray[np.bool_]  # [titles]
    histories: sparse.csr_matrix

    def others(self, taste: int) -> set[int]:
        """Titles of a taste, cold ones too, that its history lacks."""
        return set(np.flatnonzero(self.taste == taste).tolist()) - set(self.histories[taste].indices.tolist())

    def cold(self, taste: int) -> set[int]:
        return set(np.flatnonzero(self.is_cold & (self.taste == taste)).tolist())


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    generator = np.random.default_rng(11)
    # Tastes and cold titles are spread over the catalogue, so that ties in favour of the first titles are no answer.
    order = generator.permutation(TASTES * TITLES_PER_TASTE)
    taste = order % TASTES
    is_cold = order // TASTES < COLD_PER_TASTE
    user_taste = np.repeat(np.arange(TASTES), USERS_OF_TASTE)
    chance = np.where(user_taste[:, None] == taste, 0.7, 0.02) * ~is_cold
    liked = sparse.csr_matrix((generator.random(chance.shape) < chance).astype(np.float32))
    histories = np.zeros((TASTES, len(taste)), dtype=np.float32)
    for own in range(TASTES):
        histories[own, np.flatnonzero((taste == own) & ~is_cold)[:HISTORY]] = 1
    return Catalogue(liked, _content(generator, taste), taste, is_cold, sparse.csr_matrix(histories))


def _content(generator: np.random.Generator, taste: NDArray[np.int64]) -> Content:
    """Plots near their taste's, far from 0; a genre of the taste and one at random; a number near the taste's."""
    count = len(taste)
    has_plot = generator.random(count) < 0.9
    plots = 5 + 2 * np.eye(TASTES, 6)[taste] + 0.4 * generator.normal(size=(count, 6))
    genres = np.zeros((count, TASTES + 4), dtype=np.float32)
    genres[np.arange(count), taste] = 1
    genres[np.arange(count), generator.integers(TASTES, TASTES + 4, count)] = 1
    return Content(
        blocks={
            "plot": np.where(has_plot[:, None], plots, 0).astype(np.float32),
            "genres": sparse.csr_matrix(genres),
            "number": (2000 + 10 * taste + generator.normal(size=count))[:, None].astype(np.float32),
        },
        present={"plot": has_plot, "genres": np.ones(count, dtype=bool), "number": np.ones(count, dtype=bool)},
    )
