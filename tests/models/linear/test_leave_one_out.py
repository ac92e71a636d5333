"""Predictions of all titles at once, each as by a ridge solved without it."""

import numpy as np
import pytest
from scipy import sparse

from models.data.content import Content
from models.linear import leave_one_out
from models.linear.content_kernel import features, fit_kernel_ridge, select
from models.studies import metadata_fields

RANDOM = np.random.default_rng(4)
PLOTS = RANDOM.normal(size=(14, 5)).astype(np.float32)
GENRES = sparse.csr_matrix((RANDOM.random((14, 6)) < 0.4).astype(np.float32))
HAS_PLOT = np.arange(14) != 3
CONTENT = Content(
    {"plot": PLOTS * HAS_PLOT[:, None], "genres": GENRES, "year": PLOTS[:, :2] ** 2},
    {"plot": HAS_PLOT, "genres": np.diff(GENRES.indptr) > 0, "year": np.ones(14, dtype=np.bool_)},
    {"plot": 2.0, "genres": 1.0},
)


@pytest.mark.parametrize("alone_share", [0.0, 0.4])
@pytest.mark.parametrize("left_out", [(), ("plot",), ("genres", "release")])
def test_predictions_are_those_of_ridges_without_each_title(left_out: tuple[str, ...], alone_share: float) -> None:
    rows = features(CONTENT)
    known = np.array([0, 2, 3, 5, 6, 8, 9, 11, 13])
    targets, noise = RANDOM.normal(size=(9, 4)), RANDOM.uniform(0.1, 0.5, 9)
    fitted = leave_one_out.fit_leave_one_out(select(rows, known), targets, noise, 1.3, alone_share)
    without_fields = metadata_fields.leave_out(select(rows, known), CONTENT, left_out)
    predicted = fitted.predict(without_fields)
    for n in range(9):
        others = np.delete(np.arange(9), n)
        slow = fit_kernel_ridge(select(rows, known[others]), targets[others], noise[others], 1.3, alone_share)
        np.testing.assert_allclose(predicted[n], slow.predict(select(without_fields, np.array([n])))[0], rtol=1e-9)


def test_predictions_from_all_content_need_no_kernel() -> None:
    rows, targets, noise = features(CONTENT), RANDOM.normal(size=(14, 4)), RANDOM.uniform(0.1, 0.5, 14)
    fitted = leave_one_out.fit_leave_one_out(rows, targets, noise, 1.3)
    np.testing.assert_allclose(fitted.left_out(), fitted.predict(rows), rtol=1e-9)
