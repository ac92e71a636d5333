"""EASE against the regressions that it solves at once."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from models.data.content import Content
from models.linear.ease import Ease

CONTENT = Content({}, {})


def _slow_weights(likes: NDArray[np.float64], regularization: float) -> NDArray[np.float64]:
    """Each title regressed by itself on all the others."""
    count = likes.shape[1]
    weights = np.zeros((count, count))
    for title in range(count):
        others = np.arange(count) != title
        x = likes[:, others]
        weights[others, title] = np.linalg.solve(x.T @ x + regularization * np.eye(count - 1), x.T @ likes[:, title])
    return weights


def _likes(users: int = 30, titles: int = 8) -> NDArray[np.float64]:
    return (np.random.default_rng(4).random((users, titles)) < np.linspace(0.1, 0.7, titles)).astype(float)


def test_every_title_is_a_ridge_regression_on_the_others() -> None:
    model = Ease(regularization=3, max_titles=8)
    model.fit(sparse.csr_matrix(_likes()), CONTENT)
    expected = _slow_weights(_likes(), 3)
    np.testing.assert_allclose(model.weights, expected, atol=1e-12)
    assert not np.diag(model.weights).any()
    np.testing.assert_allclose(model.score(sparse.csr_matrix(_likes())), _likes() @ expected, atol=1e-6)


def test_a_user_without_history_gets_the_mean_of_the_scores() -> None:
    model = Ease(regularization=3, max_titles=8)
    model.fit(sparse.csr_matrix(_likes()), CONTENT)
    expected = (_likes() @ _slow_weights(_likes(), 3)).mean(axis=0)
    np.testing.assert_allclose(model.score(sparse.csr_matrix((1, 8)))[0], expected, atol=1e-6)


def test_cold_titles_do_not_count_towards_the_limit() -> None:
    likes = np.hstack([_likes(), np.zeros((30, 4))])
    model = Ease(regularization=3, max_titles=8)
    model.fit(sparse.csr_matrix(likes), CONTENT)
    assert model.titles.tolist() == list(range(8))


def test_too_many_titles_are_refused_with_what_to_do() -> None:
    expected = "8 titles to use, but max_titles is 7: .*set most_liked_only to 7 or less, or raise max_titles"
    with pytest.raises(ValueError, match=expected):
        Ease(regularization=3, max_titles=7).fit(sparse.csr_matrix(_likes()), CONTENT)


def test_titles_left_out_score_0_and_contribute_nothing() -> None:
    # The likes of the 8 titles rise from a tenth of users to seven tenths, so the last four are liked most.
    model = Ease(regularization=3, max_titles=4, most_liked_only=4)
    model.fit(sparse.csr_matrix(_likes()), CONTENT)
    kept = Ease(regularization=3, max_titles=4)
    kept.fit(sparse.csr_matrix(_likes()[:, 4:]), CONTENT)
    scores = model.score(sparse.csr_matrix(_likes()))
    assert not scores[:, :4].any()
    np.testing.assert_allclose(scores[:, 4:], kept.score(sparse.csr_matrix(_likes()[:, 4:])), atol=1e-6)
