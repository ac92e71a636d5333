"""What content says of new titles, and of those that few people liked."""

from dataclasses import replace
from typing import Any

import numpy as np

from models.blend.two_tower import TwoTower
from models.linear import cold_ridge
from models.linear.content_kernel import features, select
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


def test_a_column_is_believed_as_far_as_content_can_tell_it(trained: Any) -> None:
    rows = content_rows(trained)
    plots = trained.inputs.catalogue.content.blocks["plot"]
    side = np.asarray(plots)[:, :1]  # of which plots tell; of the other column they tell nothing, of the third, all
    every = np.hstack([side + 1, RANDOM.normal(size=(18, 1)), 3 + 0 * side]).astype(np.float32)
    counts = np.array([1] * 16 + [0, 0])
    known, fitted = cold_ridge.fit(every, counts, rows, replace(trained.model.card.cold, noise=1.0))
    said = fitted.predict_new(select(rows, np.array([16, 17])))
    found = cold_ridge.predict_new(fitted, select(rows, np.array([16, 17])))
    told = fitted.left_out()
    for column in range(2):
        y, x = (values[:, column] - fitted.mean[column] for values in (every[known].astype(np.float64), told))
        slope = min(max(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0], 0), 2)
        expected = fitted.mean[column] + slope * (said[:, column] - fitted.mean[column])
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-6)
    np.testing.assert_allclose(found[:, 2], 3)
    # A single known title says of nothing how far to believe it.
    _, single = cold_ridge.fit(every, np.eye(1, 18, 4, dtype=np.int64)[0], rows, trained.model.card.cold)
    np.testing.assert_allclose(cold_ridge.predict_new(single, select(rows, np.array([16]))), every[4:5], rtol=1e-5)


def test_only_the_most_liked_titles_are_used_where_there_are_many(trained: Any) -> None:
    vectors = trained.model.learnt_vectors(trained.inputs.catalogue)
    counts = np.array([5, 9, 0, 7, 7, *[1] * 13])
    for ridge, limit in ((trained.model.card.cold, 3), (replace(trained.model.card.cold, max_titles=3), None)):
        known, fitted = cold_ridge.fit(vectors, counts, content_rows(trained), ridge, limit)
        assert known.tolist() == [1, 3, 4]
        np.testing.assert_array_equal(fitted.targets, vectors[[1, 3, 4]])


def test_of_liked_titles_content_speaks_as_if_nobody_had_liked_them(trained: Any) -> None:
    """Of those that the ridge goes by without them, of the others as of new ones."""
    vectors, rows = RANDOM.normal(size=(18, 3)).astype(np.float32), content_rows(trained)
    counts = np.array([0, 4, 3, 2, 1, 1, *[0] * 12])
    known, fitted = cold_ridge.fit(vectors, counts, rows, trained.model.card.cold, 3)
    found = cold_ridge.predict_liked(known, fitted, np.array([1, 2, 3, 4, 5]), rows)
    np.testing.assert_allclose(found[:3], fitted.left_out(), rtol=1e-5)
    np.testing.assert_allclose(found[3:], fitted.predict_new(select(rows, np.array([4, 5]))), rtol=1e-5)


def test_content_counts_as_so_many_likes_and_lengths_stay() -> None:
    own, said = np.array([[2.0, 0.0]] * 3, np.float32), np.array([[0.0, 2.0]] * 3, np.float32)
    found = cold_ridge.blend_with_prior(own, said, np.array([1, 2, 20_000]), 2.0)
    expected = [[1 / 5**0.5 * 2, 2 / 5**0.5 * 2], [2**0.5, 2**0.5], [2, 0]]  # 1 to 2, 2 to 2, hardly
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(
        cold_ridge.blend_with_prior(np.zeros((1, 2), np.float32), said[:1], np.array([1]), 2.0), 0
    )


def test_titles_of_few_likes_are_turned_on_both_sides_and_new_ones_are_not(trained: Any) -> None:
    catalogue, counts = trained.inputs.catalogue, counts_of(trained)
    plain, turned = with_prior(trained.model, 0.0), with_prior(trained.model, 3.0)
    learnt, found = plain.title_vectors(catalogue), turned.title_vectors(catalogue)
    np.testing.assert_array_equal(learnt[:16], plain.learnt_vectors(catalogue)[:16])
    np.testing.assert_array_equal(turned.learnt_vectors(catalogue), plain.learnt_vectors(catalogue))
    np.testing.assert_array_equal(found[16:], learnt[16:])
    lengths = np.linalg.norm(learnt, axis=1), np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    known, fitted = cold_ridge.fit(learnt, counts, content_rows(trained), plain.card.cold)
    said = cold_ridge.predict_liked(known, fitted, np.arange(16), content_rows(trained))
    np.testing.assert_allclose(
        found[:16], cold_ridge.blend_with_prior(learnt[:16], said, counts[:16], 3.0), rtol=1e-3, atol=1e-5
    )
    sides = [own.query_tower(catalogue)._tower_table.numpy()[1:] for own in (plain, turned)]
    assert np.abs(sides[1][:16] - sides[0][:16]).max() > 0.01
    np.testing.assert_allclose(np.linalg.norm(sides[1][:16], axis=1), 1, rtol=1e-5)


def test_a_single_title_has_no_others_to_be_left_out_for(trained: Any) -> None:
    own = trained.model._titles
    alone = replace(own, **{name: getattr(own, name)[:1] for name in vars(own)})
    model = with_prior(TwoTower(alone, trained.model._query, trained.model.card), 3.0)
    place = trained.inputs.catalogue.rows(alone.title_ids)
    found = model.title_vectors(trained.inputs.catalogue)
    np.testing.assert_array_equal(found[place], alone.vectors)
    assert np.isfinite(found).all()
