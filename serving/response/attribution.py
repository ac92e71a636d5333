"""What each title of a history weighs for a recommendation: by how much the score would fall without it.

The query is asked for again without one title at a time. That is exact for one title left out, but no decomposition:
titles that are much alike stand in for one another, so that the parts need not add up to the score. Of a long history
only the titles are left out whose vectors have the largest inner product with a recommended one.
"""

import numpy as np
from numpy.typing import NDArray

from indexing.bundle.bundle import Bundle
from lake.arrays import Floats, Ids
from serving.response.reasons import Weighed
from serving.user_history import KnownHistory, pad


def leave_one_out(opened: Bundle, known: KnownHistory, country: int, rows: Ids, most: int) -> Weighed:
    """For the recommended `rows`; `country` is the query tower's id, `most` how many titles are left out at most."""
    answers = opened.embeddings[rows]
    places = _nearest(opened.embeddings, known, answers, most)
    parts = [known, *[known.only(np.arange(len(known.rows)) != place) for place in places]]
    queries = ask(opened, parts, [country] * len(parts))
    return Weighed(known.rows[places], (queries[0] - queries[1:]) @ answers.T)


def _nearest(embeddings: Floats, known: KnownHistory, answers: Floats, most: int) -> NDArray[np.int64]:
    """Places in the history of titles that speak for something, those nearest to an answer where they are too many."""
    places = np.flatnonzero(known.weights > 0)
    if len(places) > most:
        likeness = (embeddings[known.rows[places]] @ answers.T).max(axis=1)
        places = places[np.sort(np.argsort(-likeness, kind="stable")[:most])]
    return places


def likeness(opened: Bundle, seeds: Ids, rows: Ids, directions: Floats) -> Weighed:
    """Parts of the mean cosine of `rows` with the titles `seeds`, whose `directions` [seeds, dim] are of length 1."""
    own = opened.embeddings[rows]
    cosines = directions @ (own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)).T
    return Weighed(seeds, cosines / len(seeds))


def ask(opened: Bundle, histories: list[KnownHistory], countries: list[int]) -> Floats:
    """[people, dim]: the query tower's queries, of the newest titles of each history that the model was made for."""
    longest = opened.manifest.history_length
    return opened.embed(pad([own.newest(longest) for own in histories], countries))
