"""Popularity, by hand."""

import numpy as np
import pytest
from scipy import sparse

from lake.arrays import NO_TITLE
from models.baselines.popularity import Popularity, RecentPopularity
from models.data.content import Content
from models.recommender import recommend

# likes of four titles: 1, 3, 2, 0
LIKED = sparse.csr_matrix(np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]], dtype=np.float32))
CONTENT = Content({}, {})


def test_all_users_are_recommended_the_most_liked_titles() -> None:
    model = Popularity()
    model.fit(LIKED, CONTENT)
    histories = sparse.csr_matrix(np.array([[0, 0, 0, 0], [0, 1, 0, 0]]))
    # the second user knows title 1
    assert recommend(model, histories, 4).tolist() == [[1, 2, 0, 3], [2, 0, 3, NO_TITLE]]
    assert model.similar_titles(1, 2).tolist() == [2, 0]


def test_stored_zeros_are_no_likes() -> None:
    likes = LIKED.copy()
    likes.data[likes.indices == 2] = 0
    model = Popularity()
    model.fit(likes, CONTENT)
    assert model.score(likes[:1]).tolist() == [[1, 3, 0, 0]]


def test_recent_popularity_counts_recent_likes_alone() -> None:
    model = RecentPopularity(np.array([4, 0, 1, 2]))
    model.fit(LIKED, CONTENT)
    assert recommend(model, sparse.csr_matrix((1, 4)), 4).tolist() == [[0, 3, 2, 1]]
    assert model.similar_titles(0, 2).tolist() == [3, 2]


def test_recent_counts_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="recent_counts are of 3 titles and positives of 4"):
        RecentPopularity(np.array([4, 0, 1])).fit(LIKED, CONTENT)
