"""Histories by row, as the query tower takes them."""

import numpy as np

from serving.search.indexed_query import IndexedHistory, pad


def test_padding_is_row_0_and_rows_count_from_1() -> None:
    def known(*rows: int) -> IndexedHistory:
        values = np.arange(1, len(rows) + 1, dtype=np.float32)
        return IndexedHistory(np.array(rows, dtype=np.int64), values, 10 * values)

    padded = pad([known(4, 0), known(), known(7)], [3, 0, 1])
    assert padded.rows.tolist() == [[5, 1], [0, 0], [8, 0]]
    assert padded.weights.tolist() == [[1, 2], [0, 0], [1, 0]]
    assert padded.ages_days.tolist() == [[10, 20], [0, 0], [10, 0]]
    assert padded.countries.tolist() == [3, 0, 1]
    assert pad([known()], [0]).rows.tolist() == [[0]]
