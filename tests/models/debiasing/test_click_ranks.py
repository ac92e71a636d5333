"""Rows of click_ranks by day."""

from tests.fixtures.click_ranks import ranks_of


def test_rows_after_a_day_are_left_out() -> None:
    ranks = ranks_of((1, True, 1, 5, 1), (2, True, 1, 5, 1), days=[3, 4])
    assert ranks.until(3.0).title_ids.tolist() == [1]
