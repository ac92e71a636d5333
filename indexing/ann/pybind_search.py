"""Search with a loaded `scann_ops_pybind` searcher. Imports no ScaNN, so that bundles open without it."""

from typing import Any

import numpy as np

from lake.arrays import NO_TITLE, Floats, Ids

TUNED_COUNT = 100  # list length for which `Form.reorder` and `leaves_to_search` are tuned


def search(searcher: Any, queries: Floats, count: int, reorder: int, leaves_to_search: int) -> tuple[Ids, Floats]:
    """Rows and scores [batch, count] of the best candidates for `queries` [batch, vector_dim], best first.

    `reorder` and `leaves_to_search` are those tuned for lists of up to TUNED_COUNT. Where the searcher finds fewer,
    rows end in NO_TITLE with scores of minus infinity.
    """
    rows, scores = searcher.search_batched(
        np.ascontiguousarray(queries, dtype=np.float32),
        final_num_neighbors=count,
        pre_reorder_num_neighbors=reorder_for(reorder, count) or None,
        leaves_to_search=leaves_to_search or None,
    )
    rows, is_none = rows.astype(np.int64), np.isnan(scores)
    if is_none.any():
        return np.where(is_none, NO_TITLE, rows), np.where(is_none, -np.inf, scores)
    return rows, scores


def reorder_for(reorder: int, count: int) -> int:
    """Candidates to score exactly for lists of `count`: as tuned, and in proportion beyond TUNED_COUNT."""
    return -(-reorder * max(count, TUNED_COUNT) // TUNED_COUNT)
