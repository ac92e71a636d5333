"""Larger catalogues, multiplied from the vectors of a bundle."""

import numpy as np

from conf.settings import Settings
from indexing.ann import scann_index
from indexing.bundle import bundle
from indexing.bundle.bundle import Bundle
from indexing.bundle.manifest import IndexParameters
from lake.arrays import Floats, Ids


def multiplied(source: Bundle, count: int, noise: float, seed: int) -> tuple[Floats, Ids]:
    """Vectors [count, vector_dim] of a larger catalogue, and the row of `source` that each was made from.

    The first ones are the bundle's candidates; the others are copies with noise.
    """
    random = np.random.default_rng(seed)
    originals = np.array(source.vectors[: source.count_candidates])
    rows = np.concatenate(
        [np.arange(len(originals)), random.integers(0, len(originals), max(count - len(originals), 0))]
    )[:count]
    vectors = originals[rows]
    spread = (noise * originals.std(axis=0)).astype(np.float32)
    for start in range(len(originals), count, 65_536):
        part = vectors[start : start + 65_536]
        part += spread * random.standard_normal(part.shape, dtype=np.float32)
    return vectors, rows


def index_of(vectors: Floats, queries: Floats, settings: Settings) -> IndexParameters:
    """The index parameters of a bundle with these vectors."""
    energies = np.square(vectors[:, bundle.BESIDE :].std(axis=0) * np.sqrt(np.mean(np.square(queries), axis=0)))
    added = np.cumsum(energies)
    leading = int(np.searchsorted(added, scann_index.LEADING_SHARE * added[-1])) + 1
    return scann_index.parameters(len(vectors), settings.index, bundle.BESIDE + leading)
