"""User histories as callers give them."""

import numpy as np
import pytest

from indexing.errors import RequestError
from serving.user_history import UserHistory


def test_bare_ids_are_likes_of_today_in_their_order() -> None:
    history = UserHistory.from_entries([30, 10, np.int64(20)])
    assert history.title_ids.tolist() == [30, 10, 20]
    assert history.weights.tolist() == [1, 1, 1]
    assert history.ages_days.tolist() == [0, 0, 0]


def test_entries_are_ordered_by_age_and_of_a_title_twice_the_newest_counts() -> None:
    history = UserHistory.from_entries([(1, 0.5, 9.0), (2, -1.0, 3.0), (1, 0.75, 2.0), 3])
    assert history.title_ids.tolist() == [3, 1, 2]
    assert history.weights.tolist() == [1, 0.75, -1]
    assert history.ages_days.tolist() == [0, 2, 3]


def test_no_history_is_one_without_entries() -> None:
    assert len(UserHistory.from_entries([])) == 0


def test_numbers_must_be_finite() -> None:
    with pytest.raises(RequestError, match="history: expected weights and ages in days that are finite numbers"):
        UserHistory.from_entries([(1, float("nan"), 0.0)])
