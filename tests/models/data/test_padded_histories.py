"""Histories padded, the newest first."""

import numpy as np
from scipy import sparse

from models.data.padded_histories import pad_newest_first

# The first user liked titles 0, 2 and 3, the second none, the third title 1.
LIKED = sparse.csr_matrix(np.array([[1.0, 0, 0.5, 1], [0, 0, 0, 0], [0, -1, 0, 0]], dtype=np.float32))


def test_newest_come_first_and_the_oldest_are_cut() -> None:
    padded = pad_newest_first(LIKED, np.array([9.0, 1.0, 4.0, 2.5]), np.array([3, 0, 2]), 2)
    # Title n is row n + 1: title 2 is a day old, title 3 four, title 0 nine.
    assert padded.rows.tolist() == [[3, 4], [0, 0], [2, 0]]
    assert padded.weights.tolist() == [[0.5, 1], [0, 0], [-1, 0]]
    assert padded.ages_days.tolist() == [[1, 4], [0, 0], [2.5, 0]]
    assert padded.countries.tolist() == [3, 0, 2]


def test_without_ages_titles_keep_their_order_and_without_countries_ids_are_0() -> None:
    padded = pad_newest_first(LIKED, None, None, 4)
    assert padded.rows.tolist() == [[1, 3, 4, 0], [0, 0, 0, 0], [2, 0, 0, 0]]
    assert not padded.ages_days.any()
    assert padded.countries.tolist() == [0, 0, 0]


def test_batches_are_parts_in_order() -> None:
    padded = pad_newest_first(LIKED, None, np.array([1, 2, 3]), 4)
    parts = list(padded.batches(2))
    assert [part.countries.tolist() for part in parts] == [[1, 2], [3]]
    assert np.concatenate([part.rows for part in parts]).tolist() == padded.rows.tolist()
    assert len(padded) == 3
