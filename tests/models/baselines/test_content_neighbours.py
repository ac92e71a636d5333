"""Content neighbours against a loop over pairs of titles."""

import numpy as np
from scipy import sparse

from lake.arrays import NO_TITLE
from models.baselines.content_neighbours import ContentNeighbours
from models.data.content import Content

LIKED = sparse.csr_matrix(np.eye(6, dtype=np.float32))


def _content(generator: np.random.Generator) -> Content:
    """Six titles: title 4 lacks the first block, title 5 both."""
    present = {"a": np.array([1, 1, 1, 1, 0, 0], dtype=bool), "b": np.array([1, 1, 1, 1, 1, 0], dtype=bool)}
    a, b = generator.normal(3, 1, size=(6, 4)), generator.integers(0, 2, size=(6, 5))
    return Content(
        {
            "a": np.where(present["a"][:, None], a, 0).astype(np.float32),
            "b": sparse.csr_matrix(np.where(present["b"][:, None], b, 0).astype(np.float32)),
        },
        present,
    )


def _slow_rows(content: Content) -> np.ndarray:
    rows = []
    for name, block in content.blocks.items():
        dense = (block.toarray() if sparse.issparse(block) else block).astype(float)
        has = content.present[name]
        centred = np.where(has[:, None], dense - dense[has].mean(axis=0), 0)
        rows.append(centred / np.sqrt((centred[has] ** 2).sum(axis=1).mean()))
    return np.hstack(rows)


def test_scores_are_mean_cosines_with_the_history() -> None:
    content = _content(np.random.default_rng(5))
    model = ContentNeighbours()
    model.fit(LIKED, content)
    rows = _slow_rows(content)
    histories = np.array([[1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 1]], dtype=np.float32)
    expected = np.zeros(histories.shape)
    for user, history in enumerate(histories):
        for title in range(6):
            cosines = []
            for liked in np.flatnonzero(history):
                product = np.linalg.norm(rows[title]) * np.linalg.norm(rows[liked])
                cosines.append(rows[title] @ rows[liked] / product if product else 0.0)
            expected[user, title] = np.mean(cosines)
    np.testing.assert_allclose(model.score(sparse.csr_matrix(histories)), expected, atol=1e-6)


def test_a_history_without_content_gets_the_mean_scores_of_all_users() -> None:
    model = ContentNeighbours()
    model.fit(LIKED, _content(np.random.default_rng(5)))
    histories = sparse.csr_matrix(np.array([[0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], dtype=np.float32))
    # Of the six training users the last has no content and adds 0.
    expected = model.score(LIKED[:5]).sum(axis=0) / 6
    np.testing.assert_allclose(model.score(histories), np.stack([expected, expected]), atol=1e-6)


def test_a_title_without_content_is_near_nothing() -> None:
    model = ContentNeighbours()
    model.fit(LIKED, _content(np.random.default_rng(5)))
    assert model.similar_titles(5, 2).tolist() == [NO_TITLE, NO_TITLE]
    assert sorted(model.similar_titles(0, 5).tolist()) == [NO_TITLE, 1, 2, 3, 4]
