"""Content as one matrix: blocks by their weights, wide ones by their main directions."""

import numpy as np
import pytest
from scipy import sparse

from models.data import content_features
from models.data.content import Content

RANDOM = np.random.default_rng(8)
PLOTS = (RANDOM.normal(size=(12, 3)) * 5 + 40).astype(np.float32)
HAS_PLOT = np.arange(12) != 4
PEOPLE = sparse.csr_matrix((RANDOM.random((12, 9)) < 0.4).astype(np.float32))
EVERYONE = np.ones(12, dtype=np.bool_)
CONTENT = Content(
    {"plot": PLOTS * HAS_PLOT[:, None], "people": PEOPLE, "constant": np.full((12, 1), 7, np.float32)},
    {"plot": HAS_PLOT, "people": EVERYONE, "constant": EVERYONE},
    {"plot": 2.0},
)


def test_blocks_are_centred_and_count_by_their_weights() -> None:
    features = content_features.content_features(CONTENT, seed=1)
    assert features.shape == (12, 3 + 9 + 1)
    assert features.dtype == np.float32
    plots, people = features[:, :3], features[:, 3:12]
    # Of weights 2, 1 and 1; a block that is the same for all says nothing.
    assert np.square(plots[HAS_PLOT]).sum(axis=1).mean() == pytest.approx(2 / 4, rel=1e-4)
    assert np.square(people).sum(axis=1).mean() == pytest.approx(1 / 4, rel=1e-4)
    np.testing.assert_array_equal(features[:, 12], 0)
    np.testing.assert_allclose(plots[HAS_PLOT].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_array_equal(plots[4], 0)  # as at the mean


def test_a_wide_block_keeps_its_main_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_features, "_MAX_WIDTH", 4)
    pairs = sparse.csr_matrix(np.repeat(np.eye(4, dtype=np.float32), 3, axis=0) @ np.repeat(np.eye(4), 2, axis=1))
    content = Content({"people": pairs}, {"people": EVERYONE})
    features = content_features.content_features(content, seed=1)
    assert features.shape == (12, 4)
    # Titles with the same people are alike, and others are not.
    alike = np.linalg.norm(features[:, None] - features[None], axis=2)
    same = np.repeat(np.arange(4), 3)[:, None] == np.repeat(np.arange(4), 3)
    assert alike[same].max() < 1e-3 < 0.5 < alike[~same].min()
    np.testing.assert_array_equal(features, content_features.content_features(content, seed=1))
