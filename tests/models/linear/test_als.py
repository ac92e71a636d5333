"""Fold-in against a solve of each user's equations, and against the library `implicit`."""

from typing import Any

import implicit.cpu.als
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from models.linear import als
from models.linear.als import Als, fold_in

FACTORS, TITLES, USERS = 5, 40, 30


def _histories(generator: np.random.Generator) -> sparse.csr_matrix:
    """Histories of every length, from none to all titles."""
    chances = np.linspace(0, 1, USERS)[:, None]
    return sparse.csr_matrix((generator.random((USERS, TITLES)) < chances).astype(np.float32))


def _slow_fold_in(
    histories: NDArray[np.float64], y: NDArray[np.float64], alpha: float, regularization: float
) -> NDArray[np.float64]:
    """The weighted ridge regression as Hu et al. state it: weight alpha for a like, 1 for every other title."""
    users = np.zeros((len(histories), y.shape[1]))
    for user, likes in enumerate(histories):
        weights = np.diag(np.where(likes > 0, alpha * likes, 1))
        targets = (likes > 0).astype(float)
        users[user] = np.linalg.solve(y.T @ weights @ y + regularization * np.eye(y.shape[1]), y.T @ weights @ targets)
    return users


@pytest.mark.parametrize("max_numbers", [1, 400, 2**22])  # one user a batch, some, all
def test_fold_in_is_each_users_weighted_ridge_regression(max_numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(als, "_MAX_NUMBERS", max_numbers)
    generator = np.random.default_rng(1)
    histories, y = _histories(generator), generator.normal(size=(TITLES, FACTORS))
    folded = fold_in(histories, y, y.T @ y + 0.3 * np.eye(y.shape[1]), alpha=7.0)
    np.testing.assert_allclose(folded, _slow_fold_in(histories.toarray(), y, 7.0, 0.3), rtol=1e-9, atol=1e-12)


def test_a_history_may_weigh_its_titles() -> None:
    generator = np.random.default_rng(2)
    histories, y = _histories(generator), generator.normal(size=(TITLES, FACTORS))
    histories.data = generator.uniform(0.5, 3, len(histories.data))
    folded = fold_in(histories, y, y.T @ y + 0.3 * np.eye(y.shape[1]), alpha=7.0)
    np.testing.assert_allclose(folded, _slow_fold_in(histories.toarray(), y, 7.0, 0.3), rtol=1e-9, atol=1e-12)


def test_fold_in_gives_the_vectors_of_implicit_for_new_users(catalogue: Any) -> None:
    model = Als(factors=FACTORS, regularization=2, alpha=10, iterations=5, seed=1)
    model.fit(catalogue.liked, catalogue.content)
    reference = implicit.cpu.als.AlternatingLeastSquares(
        factors=FACTORS, regularization=2, alpha=10, dtype=np.float64, num_threads=1
    )
    reference.item_factors = model.title_vectors
    expected = reference.recalculate_user(np.arange(3), catalogue.histories)
    np.testing.assert_allclose(model.user_vectors(catalogue.histories), expected, rtol=1e-6, atol=1e-9)


def test_threads_make_no_difference(catalogue: Any) -> None:
    models = [Als(FACTORS, 2, 10, 5, seed=1, num_threads=count) for count in (1, 2, 4)]
    for model in models:
        model.fit(catalogue.liked, catalogue.content)
    for model in models[1:]:
        np.testing.assert_array_equal(model.title_vectors, models[0].title_vectors)


def test_the_seed_is_used(catalogue: Any) -> None:
    models = [Als(FACTORS, 2, 10, 1, seed=seed) for seed in (1, 2)]
    for model in models:
        model.fit(catalogue.liked, catalogue.content)
    assert not np.allclose(models[0].title_vectors, models[1].title_vectors)


def test_cold_titles_and_idle_users_change_nothing(catalogue: Any) -> None:
    warm = np.flatnonzero(~catalogue.is_cold)
    idle = sparse.csr_matrix((5, catalogue.liked.shape[1]), dtype=np.float32)
    models = [Als(FACTORS, 2, 10, 5, seed=1) for _ in range(2)]
    models[0].fit(sparse.csr_matrix(sparse.vstack([idle, catalogue.liked])), catalogue.content)
    models[1].fit(catalogue.liked[:, warm], catalogue.content)
    np.testing.assert_array_equal(models[0].title_vectors[warm], models[1].title_vectors)


def test_a_history_of_cold_titles_alone_counts_as_empty(catalogue: Any) -> None:
    model = Als(FACTORS, 2, 10, 5, seed=1)
    model.fit(catalogue.liked, catalogue.content)
    histories = np.zeros((2, len(catalogue.is_cold)), dtype=np.float32)
    histories[1] = catalogue.is_cold
    empty, cold = model.score(sparse.csr_matrix(histories))
    np.testing.assert_array_equal(cold, empty)
    assert empty.any()
