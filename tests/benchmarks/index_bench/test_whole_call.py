"""Histories for an enlarged bundle."""

import numpy as np

from benchmarks.index_bench.whole_call import Copies


def test_each_title_stands_for_any_of_its_copies() -> None:
    rows = np.array([0, 1, 2, 3, 1, 1, 3])
    copies = Copies(rows)
    requested = np.array([1, 3, 0, 2, 1])
    random = np.random.default_rng(1)
    drawn = [copies.draw(requested, random) for _ in range(100)]
    assert all((rows[sample] == requested).all() for sample in drawn)
    assert [set(column) for column in np.transpose(drawn).tolist()] == [{1, 4, 5}, {3, 6}, {0}, {2}, {1, 4, 5}]
