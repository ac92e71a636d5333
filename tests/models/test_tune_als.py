"""The search for ALS's parameters, over what a split holds back or what is hidden for it."""

import numpy as np
from scipy import sparse

from models.tune_als import hide


def test_what_is_hidden_and_what_is_left_are_the_whole() -> None:
    liked = sparse.csr_matrix((np.random.default_rng(1).random((40, 50)) < 0.3).astype(np.float32))
    left, hidden = hide(liked, 0.25, seed=3)
    assert (left + hidden != liked).nnz == 0
    assert left.multiply(hidden).nnz == 0
    # 600 entries or so: a quarter, give or take four standard deviations.
    assert abs(hidden.nnz / liked.nnz - 0.25) < 4 * np.sqrt(0.25 * 0.75 / liked.nnz)
    again = hide(liked, 0.25, seed=3)[1]
    assert (again != hidden).nnz == 0
