"""Titles nearest to a title, by given similarities or by the cosine of vectors."""

import numpy as np

from lake.arrays import Doubles, Ids
from models.recommender import Scores, top_titles


def nearest_titles(similarities: Scores, row: int, count: int) -> Ids:
    """[count]: rows of the highest `similarities` [titles] to the title at `row`, without that title.

    Similarities of minus infinity are left out; where too few remain the array ends in NO_TITLE.
    """
    candidates = np.array(similarities, dtype=np.float32)
    candidates[row] = -np.inf
    return top_titles(candidates[None], count)[0]


def nearest_by_cosine(vectors: Doubles, row: int, count: int) -> Ids:
    """[count]: rows of the `vectors` [titles, dim] with the highest cosine with the one at `row`.

    A vector of zeros is near nothing, and nothing is near it.
    """
    norms = np.linalg.norm(vectors, axis=1)
    similarities = np.full(len(vectors), -np.inf)
    if norms[row] > 0:
        has_vector = norms > 0
        similarities[has_vector] = vectors[has_vector] @ vectors[row] / norms[has_vector] / norms[row]
    return nearest_titles(similarities, row, count)
