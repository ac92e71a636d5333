"""The part that is linear in likes: EASE, and the content of liked titles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from lake.snapshot import LakeSnapshot
from models.blend.combined import Part
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.content import Content
from models.data.model_tables import TRAINING_TABLES
from models.fit import model_assembly, training
from models.fit.inputs import Inputs, read_inputs
from models.linear import linear_part
from models.linear.cold_ridge import ColdRidge
from models.linear.content_kernel import features, fit_kernel_ridge, gaussian_kernel, noise_of_counts, select
from models.linear.ease import Ease
from tests.fixtures.query_parts import with_prior

RANDOM = np.random.default_rng(8)
PLOTS = RANDOM.normal(size=(9, 4)).astype(np.float32)
ROWS = features(Content({"plot": PLOTS}, {"plot": np.ones(9, dtype=np.bool_)}))
COUNTS = np.array([1, 4, 9, 16, 2, 3, 5, 8, 30])
RIDGE = ColdRidge(max_titles=100, noise=0.2, noise_power=0.25, length_scale=1.4, scale=1.0)


def spread(scores: np.ndarray) -> float:
    return float(scores.std(axis=1).mean())


def standardised(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)


def scores_of(part: Part) -> np.ndarray:
    """[users, titles], each user's of mean 0 and the part's standard deviation."""
    return np.asarray(part.scaled_queries() @ part.centred().T)


def test_a_title_is_predicted_by_the_ridge_of_all_others() -> None:
    weights = linear_part.content_weights(ROWS, COUNTS, RIDGE)
    assert weights.dtype == np.float32
    noise = noise_of_counts(COUNTS, RIDGE.noise, RIDGE.noise_power)
    for title in range(9):
        others = np.delete(np.arange(9), title)
        kernel = gaussian_kernel(select(ROWS, others), select(ROWS, others), 1.4) + np.diag(noise[others])
        of_title = gaussian_kernel(select(ROWS, others), select(ROWS, np.array([title])), 1.4)[:, 0]
        expected = np.linalg.solve(kernel, of_title) * (COUNTS[others] / COUNTS.mean()) ** -0.5
        np.testing.assert_allclose(weights[others, title], expected, rtol=1e-5)
        assert weights[title, title] == 0


def test_its_weights_are_those_of_the_ridge_itself() -> None:
    """For targets whose mean without the title is 0; otherwise the ridge's mean differs."""
    targets = RANDOM.normal(size=(9, 1))
    targets[0] = 0
    targets[1:] -= targets[1:].mean()
    noise = noise_of_counts(COUNTS, RIDGE.noise, RIDGE.noise_power)
    others = np.arange(1, 9)
    ridge = fit_kernel_ridge(select(ROWS, others), targets[1:], noise[1:], RIDGE.length_scale)
    weights = linear_part.content_weights(ROWS, COUNTS, RIDGE)[1:, 0] * (COUNTS[1:] / COUNTS.mean()) ** 0.5
    np.testing.assert_allclose(weights @ targets[1:], ridge.predict(select(ROWS, np.array([0])))[0], rtol=1e-4)


def test_each_matrix_counts_by_its_weight_in_any_unit() -> None:
    histories = sparse.csr_matrix((RANDOM.random((20, 9)) < 0.4).astype(np.float32))
    one, other = RANDOM.normal(size=(2, 9, 9)).astype(np.float32) * np.array([[[7]], [[0.01]]], np.float32)
    part = linear_part.linear_part(histories, [(one, 0.5), (other, 2.0)])
    expected = 0.5 * (histories @ one) / spread(histories @ one) + 2 * (histories @ other) / spread(histories @ other)
    np.testing.assert_allclose(histories @ part.vectors.T, expected, rtol=1e-4, atol=1e-5)
    assert part.weight == pytest.approx(spread(expected), rel=1e-5)
    alone = linear_part.linear_part(histories, [(one, 0.5)])
    assert alone.weight == pytest.approx(0.5)
    np.testing.assert_allclose(scores_of(alone), 0.5 * standardised(histories @ one), rtol=1e-3, atol=1e-4)


def trained_with(
    changes: dict[str, Any], trained: Any, tiny_settings: Callable[..., Any], folder: Path
) -> tuple[Inputs, TwoTower]:
    """Inputs and model of a training on the same lake, without content as a prior."""
    settings = tiny_settings(trained.lake.root, folder, **changes)
    inputs = read_inputs(settings, LakeSnapshot.pin(settings.lake.root, TRAINING_TABLES))
    model = training.train_model(settings, inputs, folder, lambda result: None)
    return inputs, with_prior(model, 0.0)


def test_a_trained_model_has_content_beside_ease(
    trained: Any, tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    """At full rank its scores are those of the towers and of the linear part, each user's brought to its weight."""
    weights = {"model.weights.als": 0.0, "model.weights.ease": 0.5, "model.weights.content": 0.4}
    inputs, model = trained_with(weights, trained, tiny_settings, tmp_path / "a")
    without = {"model.weights.als": 0.0, "model.weights.ease": 0.0, "model.weights.content": 0.0}
    _, towers = trained_with(without, trained, tiny_settings, tmp_path / "b")
    options = trained.settings.model.ease
    ease = Ease(options.regularization, 99, dropout=options.dropout, history_power=options.history_power)
    ease.fit(inputs.positives, inputs.catalogue.content)
    counts = np.bincount(inputs.positives.indices, minlength=len(inputs.warm))
    rows = select(features(inputs.catalogue.content.only(model.card.content_blocks)), inputs.warm)
    of_content = linear_part.content_weights(rows, counts, model.card.cold)
    lengths = np.sqrt(np.maximum(np.diff(inputs.positives.indptr), 1))
    shares = sparse.csr_matrix(sparse.diags(1 / lengths) @ inputs.positives)
    linear = linear_part.linear_part(shares, [(ease.weights.astype(np.float32), 0.5), (of_content, 0.4)])
    scores, of_towers = (
        CatalogueModel(one, inputs.catalogue).score(inputs.train.liked)[:, inputs.warm] for one in (model, towers)
    )
    np.testing.assert_allclose(scores, standardised(of_towers) + scores_of(linear), atol=2e-3)


@pytest.mark.parametrize("part", ["ease", "content"])
def test_a_catalogue_too_large_has_no_linear_part(
    part: str, trained: Any, tiny_settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_assembly, "_MAX_EASE_TITLES", 15)
    plain = {"model.weights.ease": 0.0, "model.weights.als": 0.0, "model.weights.content": 0.0}
    changes = {**plain, "model.cold_start.max_titles": 15, "training.epochs": 1, f"model.weights.{part}": 0.4}
    inputs, model = trained_with(changes, trained, tiny_settings, tmp_path)
    assert len(inputs.warm) == 16
    assert model._query.part_weights == {"towers": 1.0, "linear": 0.0, "als": 0.0, "popularity": 0.0}
