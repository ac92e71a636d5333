"""MARec against a slow computation of its equations over the whole catalogue."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from models.baselines.marec import Marec, block_weights, cold_weights
from models.data.content import Content
from models.linear.ease import Ease


def _slow_scores(
    likes: NDArray[np.float64],
    content: Content,
    regularization: float,
    alignment: float,
    smoothing: float,
    percentile: float,
    unliked_weight: float,
) -> NDArray[np.float64]:
    """Scores of the training users by one inverse over all titles, cold ones too, as in the paper."""
    count_titles = likes.shape[1]
    counts = likes.sum(axis=0)
    warm = counts > 0
    aligned = []
    for name, block in content.blocks.items():
        dense = (block.toarray() if sparse.issparse(block) else block).astype(float)
        has = content.present[name]
        rows = np.where(has[:, None], dense - dense[has].mean(axis=0), 0)
        rows /= np.sqrt((rows[has] ** 2).sum(axis=1).mean())
        similar = np.zeros((count_titles, count_titles))
        for a in range(count_titles):
            for b in range(count_titles):
                if a != b:
                    product = np.linalg.norm(rows[a]) * np.linalg.norm(rows[b])
                    similar[a, b] = rows[a] @ rows[b] / (product + smoothing)
        aligned.append(likes @ similar)
    entries = np.stack(
        [block_scores[:, warm].ravel() for block_scores in aligned] + [np.ones(likes[:, warm].size)], axis=1
    )
    targets = likes[:, warm].ravel()
    root = np.sqrt(np.where(targets > 0, 1, unliked_weight))
    weights = np.linalg.lstsq(entries * root[:, None], targets * root)[0][:-1]
    x_tilde = sum(weight * block_scores for weight, block_scores in zip(weights, aligned, strict=True))
    p = max(np.percentile(counts, percentile), 1)
    d = np.diag([alignment / p * (p - count) if count < p else 0 for count in counts])
    gram = likes.T @ likes + likes.T @ x_tilde @ d
    inverse = np.linalg.inv(gram + regularization * np.eye(count_titles))
    unconstrained = inverse @ gram
    b = unconstrained - inverse @ np.diag(np.diag(unconstrained) / np.diag(inverse))
    assert np.abs(np.diag(b)).max() < 1e-10
    return likes @ b


# A sixth of the titles are cold: at 10 per cent only those are aligned, at 50 per cent warm ones too.
@pytest.mark.parametrize("percentile", [10.0, 50.0])
def test_scores_are_those_of_the_papers_equations(percentile: float, catalogue: Any) -> None:
    model = Marec(20, 1.5, 100, smoothing=5, cold_percentile=percentile, unliked_weight=0.3)
    model.fit(catalogue.liked, catalogue.content)
    expected = _slow_scores(catalogue.liked.toarray().astype(float), catalogue.content, 20, 1.5, 5, percentile, 0.3)
    scores = model.score(catalogue.liked)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_titles_with_enough_likes_score_as_in_ease(catalogue: Any) -> None:
    marec, ease = Marec(20, 1.5, 100), Ease(20, 100)
    for model in (marec, ease):
        model.fit(catalogue.liked, catalogue.content)
    warm = ~catalogue.is_cold
    np.testing.assert_allclose(
        marec.score(catalogue.histories)[:, warm], ease.score(catalogue.histories)[:, warm], atol=1e-6
    )


def test_alignment_scales_cold_titles(catalogue: Any) -> None:
    scores = []
    for alignment in (1.0, 3.0):
        model = Marec(20, alignment, 100)
        model.fit(catalogue.liked, catalogue.content)
        scores.append(model.score(catalogue.histories)[:, catalogue.is_cold])
    np.testing.assert_allclose(scores[1], 3 * scores[0], rtol=1e-4)


def test_weights_of_blocks_are_a_weighted_regression() -> None:
    generator = np.random.default_rng(9)
    likes = (generator.random((300, 12)) < 0.3).astype(float)
    similar = [generator.normal(size=(12, 12)).astype(np.float32), (likes.T @ likes / 300).astype(np.float32)]
    entries = np.stack([(likes @ block).ravel() for block in similar] + [np.ones(likes.size)], axis=1)
    root = np.where(likes.ravel() > 0, 1, np.sqrt(0.2))
    expected = np.linalg.lstsq(entries * root[:, None], likes.ravel() * root)[0]
    weights = block_weights(sparse.csr_matrix(likes), similar, 0.2)
    np.testing.assert_allclose(weights, expected[:2], rtol=1e-5)


def test_a_block_without_any_similarity_weighs_nothing() -> None:
    generator = np.random.default_rng(9)
    likes = (generator.random((300, 12)) < 0.3).astype(float)
    similar = [np.zeros((12, 12), dtype=np.float32), generator.normal(size=(12, 12)).astype(np.float32)]
    assert block_weights(sparse.csr_matrix(likes), similar, 0.2)[0] == pytest.approx(0, abs=1e-12)


def test_coldness_falls_from_one_to_nothing_at_the_percentile() -> None:
    # half of five titles have 4 likes or fewer: 1 - count / 4
    np.testing.assert_allclose(cold_weights(np.array([0, 1, 4, 8, 9]), 50), [1, 0.75, 0, 0, 0])
    # where most titles are cold the percentile is 0, but one like is enough at least
    np.testing.assert_allclose(cold_weights(np.array([0, 0, 0, 0, 9]), 10), [1, 1, 1, 1, 0])
