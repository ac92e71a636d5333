"""Attribution: how much each title of a history contributes to the score of each recommended title.

The contribution is the loss of score when the title is left out of the history and the query is computed again. It is
exact for each title by itself, but contributions need not add up to the score: similar titles stand in for one
another. In a long history only the titles are left out whose embeddings have the largest inner product with a
recommended one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexing.bundle.bundle import Bundle
from lake.arrays import Floats, Ids
from serving.search.indexed_query import IndexedHistory, IndexedQuery, embed


@dataclass(frozen=True)
class Attribution:
    """`contributions` [history titles, recommended titles] of the titles in rows `history` [history titles]."""

    history: Ids
    contributions: Floats


def leave_one_out(opened: Bundle, query: IndexedQuery, rows: Ids, max_titles: int) -> Attribution:
    """Contributions to the scores of the recommended `rows`, of at most `max_titles` liked titles of the history."""
    history = query.history
    recommended = opened.embeddings[rows]
    entries = _nearest_entries(opened.embeddings, history, recommended, max_titles)
    shortened = [history.only(np.arange(len(history.rows)) != entry) for entry in entries]
    queries = embed(opened, [history, *shortened], [query.country] * (1 + len(shortened)))
    return Attribution(history.rows[entries], (queries[0] - queries[1:]) @ recommended.T)


def _nearest_entries(
    embeddings: Floats, history: IndexedHistory, recommended: Floats, max_titles: int
) -> NDArray[np.int64]:
    """Entries of the history that are liked; where they are too many, those nearest to a recommended title."""
    entries = np.flatnonzero(history.weights > 0)
    if len(entries) > max_titles:
        nearness = (embeddings[history.rows[entries]] @ recommended.T).max(axis=1)
        entries = entries[np.sort(np.argsort(-nearness, kind="stable")[:max_titles])]
    return entries


def cosine_shares(opened: Bundle, seeds: Ids, rows: Ids, directions: Floats) -> Attribution:
    """Each seed's share of the mean cosine of `rows` with the titles `seeds`.

    `directions` [seeds, dim] are the seeds' embeddings at length 1.
    """
    recommended = opened.embeddings[rows]
    lengths = np.maximum(np.linalg.norm(recommended, axis=1, keepdims=True), 1e-12)
    return Attribution(seeds, directions @ (recommended / lengths).T / len(seeds))
