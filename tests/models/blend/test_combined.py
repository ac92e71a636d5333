"""Several models as one inner product: exact with enough dimensions, otherwise with the least possible loss."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from models.blend import combined
from models.blend.combined import Combined, Part, combine

USERS, TITLES = 40, 25


def parts(seed: int = 1) -> dict[str, Part]:
    """A part of vectors and a part linear in a sparse history; their scores differ a thousandfold."""
    random = np.random.default_rng(seed)
    queries = random.normal(size=(USERS, 4)).astype(np.float32)
    vectors = (random.normal(size=(TITLES, 4)) + 3).astype(np.float32)
    histories = (random.random((USERS, 6)) < 0.5).astype(np.float32)
    histories[:, 0] = 1  # no history is empty
    linear = (1000 * random.normal(size=(TITLES, 6))).astype(np.float32)
    return {"towers": Part(queries, vectors, 1.0), "ease": Part(sparse.csr_matrix(histories), linear, 0.5)}


def expected_scores(blended: dict[str, Part]) -> np.ndarray:
    """[users, titles]: each user's scores of each part at mean 0 and standard deviation 1, weighted and added up."""
    total = np.zeros((USERS, TITLES))
    for part in blended.values():
        queries = part.queries.toarray() if sparse.issparse(part.queries) else part.queries
        scores = queries.astype(np.float64) @ part.vectors.T.astype(np.float64)
        scores -= scores.mean(axis=1, keepdims=True)
        total += part.weight * scores / scores.std(axis=1, keepdims=True)
    return total


def usual_scores() -> np.ndarray:
    """[titles]: scores for cold users, which no part has."""
    return 5 + np.random.default_rng(7).exponential(size=TITLES)


def projected(combined: Combined, blended: dict[str, Part]) -> np.ndarray:
    """[users, titles] of the query tower: each part's query in the common space, of length 1, weighted and summed."""
    queries: Any = 0
    for name, part in blended.items():
        query = np.asarray(part.queries @ combined.projections[name])
        queries = queries + part.weight * query / np.linalg.norm(query, axis=1, keepdims=True)
    np.testing.assert_allclose(combined.queries(blended), queries, rtol=1e-5)
    return queries @ combined.vectors.T


@pytest.mark.parametrize("dims", [11, 50])
def test_with_enough_dimensions_scores_are_the_sum_of_the_parts(dims: int) -> None:
    blended = parts()
    combined = combine(blended, dims, 1, usual_scores())
    assert combined.vectors.shape == (TITLES, 11)
    np.testing.assert_allclose(projected(combined, blended), expected_scores(blended), atol=1e-3)


@pytest.mark.parametrize("batch_users", [7, 1000])
def test_scaled_queries_give_each_user_the_weight_as_standard_deviation(
    batch_users: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(combined, "_BATCH_USERS", batch_users)
    for part in parts().values():
        queries = part.scaled_queries()
        assert sparse.issparse(queries) == sparse.issparse(part.queries)
        scores = np.asarray(queries @ part.centred().T)
        np.testing.assert_allclose(scores.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(scores.std(axis=1), part.weight, rtol=1e-5)
        # Otherwise they are the scores of the part, in their order and at their distances.
        plain = np.asarray(part.queries @ part.vectors.T)
        assert min(np.corrcoef(*rows)[0, 1] for rows in zip(scores, plain, strict=True)) > 0.9999


def test_each_dimension_is_of_mean_square_one() -> None:
    combined = combine(parts(), 6, 1, usual_scores())
    gram = combined.vectors.T @ combined.vectors / TITLES
    np.testing.assert_allclose(gram, np.eye(6), atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3, 6])
def test_with_fewer_dimensions_the_loss_is_the_least_possible(dims: int) -> None:
    blended = parts()
    combined = combine(blended, dims, 1, usual_scores())
    assert combined.vectors.shape == (TITLES, dims)
    scores = expected_scores(blended)
    basis = combined.vectors / np.sqrt(TITLES)
    lost = np.linalg.norm(scores - scores @ basis @ basis.T)
    # The least loss of a matrix of this rank, less one dimension that is taken: Eckart and Young 1936.
    taken = usual_scores() - usual_scores().mean()
    rest = scores - np.outer(scores @ taken, taken) / (taken @ taken)
    least = np.sqrt(np.sum(np.linalg.svd(rest, compute_uv=False)[dims - 1 :] ** 2))
    assert lost == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("dims", [2, 4, 50])
def test_scores_of_cold_users_are_always_exact(dims: int) -> None:
    usual = usual_scores()
    combined = combine(parts(), dims, 1, usual)
    assert np.linalg.norm(combined.cold_user_query) == pytest.approx(1)
    expected = (usual - usual.mean()) / usual.std()
    np.testing.assert_allclose(combined.vectors @ combined.cold_user_query, expected, atol=1e-4)


@pytest.mark.parametrize("dims", [4, 50])
def test_equal_scores_for_cold_users_take_no_dimension(dims: int) -> None:
    combined = combine(parts(), dims, 1, np.full(TITLES, 0.1))
    assert not combined.cold_user_query.any()
    assert combined.vectors.shape == (TITLES, min(dims, 10))
    assert (combined.vectors**2).mean(axis=0) == pytest.approx(1, abs=1e-3)


def test_the_main_directions_are_the_same_for_the_same_seed() -> None:
    first, second = (combine(parts(), 3, 4, usual_scores()).vectors for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_part_with_equal_scores_adds_nothing() -> None:
    blended = parts()
    flat = Part(blended["towers"].queries, np.ones((TITLES, 4), np.float32), 5.0)
    assert not (flat.scaled_queries() @ flat.centred().T).any()
    combined = combine({"ease": blended["ease"], "flat": flat}, 6, 1, np.ones(TITLES))
    alone = projected(combine({"ease": blended["ease"]}, 6, 1, np.ones(TITLES)), {"ease": blended["ease"]})
    np.testing.assert_allclose(projected(combined, {"ease": blended["ease"]}), alone, atol=1e-2)
    np.testing.assert_allclose(combined.projections["flat"], 0, atol=1e-3)
