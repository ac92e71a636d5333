"""The ridge by landmarks: the exact one where every title is a landmark, a good one where few are."""

import numpy as np
import pytest
from scipy import linalg

from models.data.content import Content
from models.linear import content_kernel, landmark_ridge
from models.linear.content_kernel import additive_kernel, features, fit_kernel_ridge, select
from models.linear.landmark_ridge import choose_landmarks, count_landmarks, fit_landmark_ridge
from models.linear.leave_one_out import fit_leave_one_out

RANDOM = np.random.default_rng(5)
COUNT = 60
POINTS = RANDOM.normal(size=(COUNT, 3)).astype(np.float32)
ROWS = features(Content({"plot": POINTS}, {"plot": np.ones(COUNT, dtype=np.bool_)}))
TARGETS = np.sin(POINTS.astype(np.float64)) @ RANDOM.normal(size=(3, 2)) + 0.1 * RANDOM.normal(size=(COUNT, 2))
NOISE = RANDOM.uniform(0.1, 0.5, COUNT)
KNOWN = np.arange(0, COUNT, 2)
NEW = np.arange(1, COUNT, 2)
LENGTH_SCALE, ALONE_SHARE = 1.3, 0.4


def by_landmarks(landmarks: np.ndarray) -> landmark_ridge.LandmarkRidge:
    known = select(ROWS, KNOWN)
    return fit_landmark_ridge(known, landmarks, TARGETS[KNOWN], NOISE[KNOWN], LENGTH_SCALE, ALONE_SHARE)


@pytest.mark.parametrize("batch_titles", [7, 1000])
def test_with_every_title_a_landmark_it_is_the_exact_ridge(batch_titles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_kernel, "_BATCH_ROWS", batch_titles)
    known, new = select(ROWS, KNOWN), select(ROWS, NEW)
    fitted = by_landmarks(np.arange(len(KNOWN)))
    exact = fit_kernel_ridge(known, TARGETS[KNOWN], NOISE[KNOWN], LENGTH_SCALE, ALONE_SHARE)
    np.testing.assert_allclose(fitted.predict_new(new), exact.predict(new), atol=1e-4)
    # The exact one leaves a title out of the mean too: one of thirty.
    left_out = fit_leave_one_out(known, TARGETS[KNOWN], NOISE[KNOWN], LENGTH_SCALE, ALONE_SHARE).left_out()
    apart = np.abs(TARGETS[KNOWN] - TARGETS[KNOWN].mean(axis=0)) / (len(KNOWN) - 1)
    assert (np.abs(fitted.left_out() - left_out) <= apart + 1e-4).all()


def test_left_out_titles_are_predicted_by_fits_without_them() -> None:
    landmarks = np.arange(0, len(KNOWN), 3)
    left_out = by_landmarks(landmarks).left_out()
    known, targets, noise = select(ROWS, KNOWN), TARGETS[KNOWN], NOISE[KNOWN]
    chosen, mean = select(known, landmarks), targets.mean(axis=0)
    kernel = additive_kernel(known, chosen, LENGTH_SCALE, ALONE_SHARE)
    between = additive_kernel(chosen, chosen, LENGTH_SCALE, ALONE_SHARE)
    for n in range(len(KNOWN)):
        others = np.delete(np.arange(len(KNOWN)), n)
        weighted = kernel[others] / noise[others, None]
        coefficients = linalg.solve(weighted.T @ kernel[others] + between, weighted.T @ (targets[others] - mean))
        np.testing.assert_allclose(left_out[n], mean + kernel[n] @ coefficients, atol=1e-4)


def test_some_landmarks_predict_nearly_as_well_as_all() -> None:
    new = select(ROWS, NEW)

    def error(fitted: landmark_ridge.LandmarkRidge) -> float:
        return float(((fitted.predict_new(new) - TARGETS[NEW]) ** 2).mean() / TARGETS[NEW].var())

    whole, half = error(by_landmarks(np.arange(len(KNOWN)))), error(by_landmarks(np.arange(0, len(KNOWN), 2)))
    assert whole < half < 1
    assert half < whole + 0.2


def test_there_are_as_many_kernels_as_in_the_largest_exact_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_ridge, "MIN_LANDMARKS", 20)
    assert [count_landmarks(count, 100) for count in (0, 1, 19, 99, 100)] == [0, 1, 19, 99, 100]
    for count in (101, 400):
        landmarks = count_landmarks(count, 100)
        assert count * landmarks <= 100**2 < count * (landmarks + 1)
    assert count_landmarks(10_000, 100) == 20


def test_landmarks_are_of_every_popularity() -> None:
    counts = np.array([5, 1, 9, 7, 3, 2, 8, 6, 4])
    assert choose_landmarks(counts, 3).tolist() == [0, 1, 2]  # 5, 1 and 9 positives
    assert choose_landmarks(counts, 9).tolist() == list(range(9))
