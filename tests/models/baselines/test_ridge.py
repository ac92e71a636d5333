"""Predicted vectors of cold titles, by setting; vectors of warm titles stay."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from models.baselines.ridge import AlsRidge, ContentRidge, EaseRidge
from models.data.content import Content
from models.linear.als import Als
from models.linear.content_kernel import features, gaussian_kernel
from models.linear.ease import Ease
from models.recommender import recommend

# Titles 0 and 1 are warm; 2 is like 0, 3 like 1, 4 in between.
CONTENT = Content({"a": np.array([[0], [10], [0], [10], [5]], dtype=np.float32)}, {"a": np.ones(5, dtype=bool)})
VECTORS = np.array([[3.0, 0], [0, 4.0], [0, 0], [0, 0], [0, 0]])
COUNTS = np.array([5, 5, 0, 0, 0])


def _als() -> Als:
    return Als(factors=4, regularization=5, alpha=10, iterations=15, seed=1)


def test_cold_titles_get_the_vectors_of_similar_warm_ones() -> None:
    completed = ContentRidge(noise=1e-9, max_titles=5, length_scale=0.1).complete(VECTORS, COUNTS, CONTENT)
    expected = [[3, 0], [0, 4], [3, 0], [0, 4], [1.5, 2]]  # the one in between is similar to neither: the mean
    np.testing.assert_allclose(completed, expected, atol=1e-6)


def test_scale_lengthens_cold_titles_only() -> None:
    ridge = ContentRidge(noise=1e-9, max_titles=5, length_scale=0.1, cold_scale=1.2)
    expected = [[3, 0], [0, 4], [3.6, 0], [0, 4.8], [1.8, 2.4]]
    np.testing.assert_allclose(ridge.complete(VECTORS, COUNTS, CONTENT), expected, atol=1e-6)


def test_cold_titles_may_have_the_mean_length_of_warm_ones() -> None:
    ridge = ContentRidge(noise=1e-9, max_titles=5, length_scale=0.1, cold_lengths="mean_of_warm", cold_scale=2)
    # mean length 3.5, twice that is 7; (1.5, 2) has the length 2.5
    expected = [[3, 0], [0, 4], [7, 0], [0, 7], [4.2, 5.6]]
    np.testing.assert_allclose(ridge.complete(VECTORS, COUNTS, CONTENT), expected, atol=1e-6)


def test_only_the_most_liked_titles_are_learnt_from() -> None:
    ridge = ContentRidge(noise=1e-9, max_titles=1, length_scale=0.1)
    # The mean of one title is that title, which is the prediction for all others.
    completed = ridge.complete(VECTORS, np.array([5, 6, 0, 0, 0]), CONTENT)
    np.testing.assert_allclose(completed, [[3, 0], [0, 4], [0, 4], [0, 4], [0, 4]], atol=1e-6)


def test_titles_with_few_likes_have_more_noise() -> None:
    ridge = ContentRidge(noise=0.1, max_titles=5, length_scale=0.1, noise_power=1)
    completed = ridge.complete(VECTORS, np.array([1, 9, 0, 0, 0]), CONTENT)
    # mean count 5: noise 0.5 and 0.0556; of the way from the mean to the title 1 / 1.5 and 1 / 1.0556 are gone
    np.testing.assert_allclose(completed[2], [1.5 + 1.5 / 1.5, 2 - 2 / 1.5], atol=1e-6)
    np.testing.assert_allclose(completed[3], [1.5 - 1.5 / (1 + 0.5 / 9), 2 + 2 / (1 + 0.5 / 9)], atol=1e-6)


def test_warm_titles_keep_the_factors_of_als(catalogue: Any) -> None:
    als = _als()
    als.fit(catalogue.liked, catalogue.content)
    expected = als.title_vectors[~catalogue.is_cold]
    model = AlsRidge(_als(), ContentRidge(noise=0.3, max_titles=100))
    model.fit(catalogue.liked, catalogue.content)
    np.testing.assert_array_equal(model.title_vectors[~catalogue.is_cold], expected)
    np.testing.assert_allclose(
        model.score(catalogue.histories)[:, ~catalogue.is_cold],
        als.score(catalogue.histories)[:, ~catalogue.is_cold],
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_history_of_a_cold_title_is_folded_in(catalogue: Any) -> None:
    model = AlsRidge(_als(), ContentRidge(noise=0.1, max_titles=100))
    model.fit(catalogue.liked, catalogue.content)
    for taste in range(3):
        history = np.zeros((1, len(catalogue.taste)), dtype=np.float32)
        history[0, min(catalogue.cold(taste))] = 1
        titles = recommend(model, sparse.csr_matrix(history), 5)[0]
        assert set(catalogue.taste[titles]) == {taste}


def test_scores_of_a_cold_title_are_predicted_from_those_of_warm_ones(catalogue: Any) -> None:
    """EASE with ridge: the training users' scores, regressed on content title by title, give the same."""
    ease = Ease(regularization=20, max_titles=100)
    ease.fit(catalogue.liked, catalogue.content)
    model = EaseRidge(Ease(regularization=20, max_titles=100), ContentRidge(noise=0.3, max_titles=100))
    model.fit(catalogue.liked, catalogue.content)
    rows, warm = features(catalogue.content), np.flatnonzero(~catalogue.is_cold)
    kernel = gaussian_kernel(rows, rows, 1.0)
    scores = ease.score(catalogue.liked)[:, warm].astype(np.float64)
    mean = scores.mean(axis=1, keepdims=True)
    coefficients = np.linalg.solve(kernel[np.ix_(warm, warm)] + 0.3 * np.eye(len(warm)), (scores - mean).T)
    cold = np.flatnonzero(catalogue.is_cold)
    expected = mean + (kernel[np.ix_(cold, warm)] @ coefficients).T
    predicted = model.score(catalogue.liked)
    np.testing.assert_allclose(predicted[:, cold], expected, atol=1e-5)
    np.testing.assert_allclose(predicted[:, warm], scores, atol=1e-5)


def test_titles_that_ease_leaves_out_are_predicted_too(catalogue: Any) -> None:
    model = EaseRidge(Ease(20, max_titles=20, most_liked_only=20), ContentRidge(noise=0.1, max_titles=100))
    model.fit(catalogue.liked, catalogue.content)
    # 20 of 36 titles have columns of their own: none scores 0
    assert np.count_nonzero(model.score(catalogue.liked[:1])) == pytest.approx(36)
