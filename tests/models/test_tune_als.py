"""The search for ALS's parameters: positives that are hidden to measure with."""

import numpy as np
from scipy import sparse

from models.tune_als import hide


def test_hidden_and_remaining_positives_are_the_whole() -> None:
    liked = sparse.csr_matrix((np.random.default_rng(1).random((40, 50)) < 0.3).astype(np.float32))
    left, hidden = hide(liked, 0.25, seed=3)
    assert (left + hidden != liked).nnz == 0
    assert left.multiply(hidden).nnz == 0
    # About 600 entries: a quarter, within four standard deviations.
    assert abs(hidden.nnz / liked.nnz - 0.25) < 4 * np.sqrt(0.25 * 0.75 / liked.nnz)
    again = hide(liked, 0.25, seed=3)[1]
    assert (again != hidden).nnz == 0
