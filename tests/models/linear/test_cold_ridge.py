"""Vectors predicted from content, for new titles and as a prior for titles with few likes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.blend.two_tower import TwoTower
from models.linear import cold_ridge, landmark_ridge
from models.linear.content_kernel import features, select
from models.linear.landmark_ridge import LandmarkRidge
from models.linear.leave_one_out import LeaveOneOut
from tests.fixtures.query_parts import with_prior

RANDOM = np.random.default_rng(6)


def content_rows(trained: Any) -> Any:
    return features(trained.inputs.catalogue.content.only(trained.model.card.content_blocks))


def counts_of(trained: Any) -> np.ndarray:
    return np.bincount(trained.inputs.train.liked.indices, minlength=len(trained.inputs.catalogue))


def test_the_ridge_is_that_of_the_model(trained: Any) -> None:
    catalogue, model = trained.inputs.catalogue, trained.model
    rows, ridge = content_rows(trained), model.card.cold
    known, fitted = cold_ridge.fit(model.learnt_vectors(catalogue), counts_of(trained), rows, ridge)
    assert known.tolist() == list(range(16))
    predicted = cold_ridge.predict_new(fitted, select(rows, np.array([16, 17])))
    np.testing.assert_allclose(ridge.scale * predicted, model.title_vectors(catalogue)[16:], rtol=1e-4, atol=1e-5)


def test_a_column_is_shrunk_by_the_slope_of_its_prediction(trained: Any) -> None:
    rows = content_rows(trained)
    plots = trained.inputs.catalogue.content.blocks["plot"]
    side = np.asarray(plots)[:, :1]  # plots predict this column, not the second, and all of the third
    every = np.hstack([side + 1, RANDOM.normal(size=(18, 1)), 3 + 0 * side]).astype(np.float32)
    counts = np.array([1] * 16 + [0, 0])
    known, fitted = cold_ridge.fit(every, counts, rows, replace(trained.model.card.cold, noise=1.0))
    predicted = fitted.predict_new(select(rows, np.array([16, 17])))
    shrunk = cold_ridge.predict_new(fitted, select(rows, np.array([16, 17])))
    left_out = fitted.left_out()
    for column in range(2):
        y, x = (values[:, column] - fitted.mean[column] for values in (every[known].astype(np.float64), left_out))
        slope = min(max(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0], 0), 2)
        expected = fitted.mean[column] + slope * (predicted[:, column] - fitted.mean[column])
        np.testing.assert_allclose(shrunk[:, column], expected, rtol=1e-6)
    np.testing.assert_allclose(shrunk[:, 2], 3)
    # A single known title gives no slope, so nothing is shrunk.
    _, single = cold_ridge.fit(every, np.eye(1, 18, 4, dtype=np.int64)[0], rows, trained.model.card.cold)
    np.testing.assert_allclose(cold_ridge.predict_new(single, select(rows, np.array([16]))), every[4:5], rtol=1e-5)


def test_an_exact_ridge_may_be_fitted_on_the_most_liked_titles_alone(trained: Any) -> None:
    vectors = trained.model.learnt_vectors(trained.inputs.catalogue)
    counts, ridge = np.array([5, 9, 0, 7, 7, *[1] * 13]), trained.model.card.cold
    known, fitted = cold_ridge.fit_most_liked(vectors, counts, content_rows(trained), ridge, 3)
    assert known.tolist() == [1, 3, 4]
    np.testing.assert_array_equal(fitted.targets, vectors[[1, 3, 4]])


def test_all_liked_titles_are_used_through_landmarks_where_there_are_many(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landmark_ridge, "MIN_LANDMARKS", 3)
    rows, ridge = content_rows(trained), replace(trained.model.card.cold, max_titles=11)
    side = np.asarray(trained.inputs.catalogue.content.blocks["plot"])[:, :2]  # predicted well by plots
    counts = np.array([5, 9, 0, 7, 7, *[1] * 13])
    known, fitted = cold_ridge.fit(side, counts, rows, ridge)
    assert isinstance(fitted, LandmarkRidge)
    assert known.tolist() == [0, 1, *range(3, 18)]
    assert fitted.landmarks.count == 7  # 17 titles: 17 · 7 < 11² < 17 · 8
    np.testing.assert_allclose(fitted.targets, side[known])
    exact_known, exact = cold_ridge.fit(side, counts, rows, replace(ridge, max_titles=17))
    assert isinstance(exact, LeaveOneOut)
    assert exact_known.tolist() == known.tolist()
    new = select(rows, np.array([2]))
    np.testing.assert_allclose(cold_ridge.predict_new(fitted, new), cold_ridge.predict_new(exact, new), atol=0.1)
    of_liked = [cold_ridge.predict_liked(known, ridge_, np.arange(18), rows) for ridge_ in (fitted, exact)]
    np.testing.assert_allclose(*of_liked, atol=0.3)


def test_liked_titles_are_predicted_as_if_they_had_no_likes(trained: Any) -> None:
    """Titles that the ridge is fitted on are left out of it; the others are predicted like new ones."""
    vectors, rows = RANDOM.normal(size=(18, 3)).astype(np.float32), content_rows(trained)
    counts = np.array([0, 4, 3, 2, 1, 1, *[0] * 12])
    known, fitted = cold_ridge.fit_most_liked(vectors, counts, rows, trained.model.card.cold, 3)
    predicted = cold_ridge.predict_liked(known, fitted, np.array([1, 2, 3, 4, 5]), rows)
    np.testing.assert_allclose(predicted[:3], fitted.left_out(), rtol=1e-5)
    np.testing.assert_allclose(predicted[3:], fitted.predict_new(select(rows, np.array([4, 5]))), rtol=1e-5)


def test_content_counts_as_prior_likes_and_lengths_stay() -> None:
    learnt, prior = np.array([[2.0, 0.0]] * 3, np.float32), np.array([[0.0, 2.0]] * 3, np.float32)
    blended = cold_ridge.blend_with_prior(learnt, prior, np.array([1, 2, 20_000]), 2.0)
    # Likes to prior: 1 to 2, 2 to 2, 20,000 to 2.
    expected = [[1 / 5**0.5 * 2, 2 / 5**0.5 * 2], [2**0.5, 2**0.5], [2, 0]]
    np.testing.assert_allclose(blended, expected, atol=1e-3)
    assert blended.dtype == np.float32
    np.testing.assert_array_equal(
        cold_ridge.blend_with_prior(np.zeros((1, 2), np.float32), prior[:1], np.array([1]), 2.0), 0
    )


def test_titles_with_few_likes_are_blended_in_vectors_and_in_queries(trained: Any) -> None:
    catalogue, counts = trained.inputs.catalogue, counts_of(trained)
    plain, turned = with_prior(trained.model, 0.0), with_prior(trained.model, 3.0)
    learnt, vectors = plain.title_vectors(catalogue), turned.title_vectors(catalogue)
    np.testing.assert_array_equal(learnt[:16], plain.learnt_vectors(catalogue)[:16])
    np.testing.assert_array_equal(turned.learnt_vectors(catalogue), plain.learnt_vectors(catalogue))
    np.testing.assert_array_equal(vectors[16:], learnt[16:])
    lengths = np.linalg.norm(learnt, axis=1), np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    known, fitted = cold_ridge.fit(learnt, counts, content_rows(trained), plain.card.cold)
    prior = cold_ridge.predict_liked(known, fitted, np.arange(16), content_rows(trained))
    np.testing.assert_allclose(
        vectors[:16], cold_ridge.blend_with_prior(learnt[:16], prior, counts[:16], 3.0), rtol=1e-3, atol=1e-5
    )
    sides = [model.query_tower(catalogue)._tower_table.numpy()[1:] for model in (plain, turned)]
    assert np.abs(sides[1][:16] - sides[0][:16]).max() > 0.01
    np.testing.assert_allclose(np.linalg.norm(sides[1][:16], axis=1), 1, rtol=1e-5)


def test_a_single_title_keeps_its_vector(trained: Any) -> None:
    learnt = trained.model._titles
    alone = replace(learnt, **{name: getattr(learnt, name)[:1] for name in vars(learnt)})
    model = with_prior(TwoTower(alone, trained.model._query, trained.model.card), 3.0)
    row = trained.inputs.catalogue.rows(alone.title_ids)
    vectors = model.title_vectors(trained.inputs.catalogue)
    np.testing.assert_array_equal(vectors[row], alone.vectors)
    assert np.isfinite(vectors).all()
