"""Histories as callers give them, and as the query tower takes them."""

import numpy as np
import pytest

from indexing.errors import RequestError
from serving.user_history import History, KnownHistory, pad


def test_bare_ids_are_likes_of_today_in_their_order() -> None:
    history = History.of([30, 10, np.int64(20)])
    assert history.title_ids.tolist() == [30, 10, 20]
    assert history.weights.tolist() == [1, 1, 1]
    assert history.ages_days.tolist() == [0, 0, 0]


def test_entries_are_ordered_by_age_and_of_a_title_twice_the_newest_counts() -> None:
    history = History.of([(1, 0.5, 9.0), (2, -1.0, 3.0), (1, 0.75, 2.0), 3])
    assert history.title_ids.tolist() == [3, 1, 2]
    assert history.weights.tolist() == [1, 0.75, -1]
    assert history.ages_days.tolist() == [0, 2, 3]


def test_no_history_is_one_without_entries() -> None:
    assert len(History.of([])) == 0


def test_numbers_must_be_finite() -> None:
    with pytest.raises(RequestError, match="history: expected weights and ages in days that are finite numbers"):
        History.of([(1, float("nan"), 0.0)])


def test_padding_is_row_0_and_rows_count_from_1() -> None:
    def known(*rows: int) -> KnownHistory:
        values = np.arange(1, len(rows) + 1, dtype=np.float32)
        return KnownHistory(np.array(rows, dtype=np.int64), values, 10 * values)

    padded = pad([known(4, 0), known(), known(7)], [3, 0, 1])
    assert padded.rows.tolist() == [[5, 1], [0, 0], [8, 0]]
    assert padded.weights.tolist() == [[1, 2], [0, 0], [1, 0]]
    assert padded.ages_days.tolist() == [[10, 20], [0, 0], [10, 0]]
    assert padded.countries.tolist() == [3, 0, 1]
    assert pad([known()], [0]).rows.tolist() == [[0]]
