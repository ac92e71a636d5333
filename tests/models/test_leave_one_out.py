"""Titles predicted from all others at once: as if each had been left out and the ridge been solved anew."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from models import leave_one_out, metadata_fields
from models.baselines.content_kernel import features, fit_kernel_ridge, select
from models.content import Content

RANDOM = np.random.default_rng(4)
PLOTS = RANDOM.normal(size=(14, 5)).astype(np.float32)
GENRES = sparse.csr_matrix((RANDOM.random((14, 6)) < 0.4).astype(np.float32))
HAS_PLOT = np.arange(14) != 3
CONTENT = Content(
    {"plot": PLOTS * HAS_PLOT[:, None], "genres": GENRES, "year": PLOTS[:, :2] ** 2},
    {"plot": HAS_PLOT, "genres": np.diff(GENRES.indptr) > 0, "year": np.ones(14, dtype=np.bool_)},
    {"plot": 2.0, "genres": 1.0},
)


@pytest.mark.parametrize("left_out", [(), ("plot",), ("genres", "release")])
def test_as_if_the_ridge_were_solved_without_each_title(left_out: tuple[str, ...]) -> None:
    rows = features(CONTENT)
    known = np.array([0, 2, 3, 5, 6, 8, 9, 11, 13])
    targets, noise = RANDOM.normal(size=(9, 4)), RANDOM.uniform(0.1, 0.5, 9)
    fitted = leave_one_out.fit_leave_one_out(select(rows, known), targets, noise, 1.3)
    asked = metadata_fields.leave_out(select(rows, known), CONTENT, left_out)
    found = fitted.predict(asked)
    for n in range(9):
        others = np.delete(np.arange(9), n)
        slow = fit_kernel_ridge(select(rows, known[others]), targets[others], noise[others], 1.3)
        np.testing.assert_allclose(found[n], slow.predict(select(asked, np.array([n])))[0], rtol=1e-9)


def test_the_ridge_is_that_of_the_model(trained: Any) -> None:
    catalogue, model = trained.inputs.catalogue, trained.model
    vectors = model.title_vectors(catalogue).astype(float)
    counts = np.bincount(trained.inputs.train.liked.indices, minlength=len(catalogue))
    rows, ridge = features(catalogue.content.only(model.card.content_blocks)), model.card.cold
    known, fitted = leave_one_out.of_model(vectors, counts, rows, ridge, 1000)
    assert known.tolist() == list(range(16))
    predicted = fitted.predict_new(select(rows, np.array([16, 17])))
    np.testing.assert_allclose(ridge.scale * predicted, vectors[16:], rtol=1e-4, atol=1e-5)


def test_only_the_most_liked_titles_are_used_where_there_are_many(trained: Any) -> None:
    catalogue, model = trained.inputs.catalogue, trained.model
    vectors = model.title_vectors(catalogue).astype(float)
    counts = np.array([5, 9, 0, 7, 7, *[1] * 13])
    rows = features(catalogue.content.only(model.card.content_blocks))
    known, fitted = leave_one_out.of_model(vectors, counts, rows, model.card.cold, 3)
    assert known.tolist() == [1, 3, 4]
    np.testing.assert_array_equal(fitted.targets, vectors[[1, 3, 4]])
