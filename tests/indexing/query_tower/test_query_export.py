"""The SavedModel from features to titles, against the same computation in NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexing.bundle.bundle import Bundle
from lake.snapshot import LakeSnapshot
from models.data.catalogue import read_catalogue

SEEN = [1003, 1015, 1200]  # 1015 left the guide


def ask(
    bundle: Bundle, histories: list[list[int]], country: str = "", dial: float = 0, fresh: float = 0, count: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Titles and scores for histories of likes of today."""
    ids = np.array(histories, dtype=np.int64).reshape(len(histories), -1)
    ones = np.ones(len(ids), dtype="f")
    answer = bundle.retrieval(
        ids,
        np.where(ids >= 0, 1, 0).astype("f"),
        np.zeros(ids.shape, "f"),
        np.array([country] * len(ids)),
        ones * np.float32(dial),
        ones * np.float32(fresh),
        np.int32(count),
    )
    return answer["title_ids"].numpy(), answer["scores"].numpy()


@pytest.fixture(scope="module")
def oracle(small_bundle: Bundle, small_model: Any, small_lake: Path) -> Any:
    read = read_catalogue(LakeSnapshot(str(small_lake), small_bundle.manifest.delta_versions), {"genres": 1.0})
    catalogue = read.take(read.rows(small_bundle.title_ids))
    tower, vectors = small_model.query_tower(catalogue), small_model.title_vectors(catalogue)
    titles = small_bundle.titles
    popularity, freshness = titles["popularity"].to_numpy(), titles["freshness"].to_numpy()

    def answer(
        history: list[int], country: int, dial: float, fresh: float, count: int
    ) -> tuple[list[int], list[float]]:
        rows = small_bundle.rows(np.array(history, dtype=np.int64))[None, :] + 1
        query = tower(rows, np.ones(rows.shape, "f"), np.zeros(rows.shape, "f"), np.array([country])).numpy()[0]
        scores = vectors @ query + dial * popularity + fresh * freshness
        best = [row for row in np.argsort(-scores).tolist() if row < 300 and row + 1 not in rows][:count]
        return small_bundle.title_ids[best].tolist(), scores[best].tolist()

    return answer


@pytest.mark.parametrize(("dial", "fresh"), [(0, 0), (-0.4, 0), (0.3, -0.2)])
def test_answers_are_exact_and_without_titles_of_the_history(
    small_bundle: Bundle, oracle: Any, dial: float, fresh: float
) -> None:
    titles, scores = ask(small_bundle, [SEEN], "DE", dial, fresh)
    expected_titles, expected_scores = oracle(SEEN, 2, dial, fresh, 10)
    assert titles[0].tolist() == expected_titles
    assert np.allclose(scores[0], expected_scores, atol=1e-4)


def test_unknown_titles_and_padding_are_ignored(small_bundle: Bundle) -> None:
    plain, scores = ask(small_bundle, [SEEN])
    # 5 is no title, -1 is padding, at any position.
    mixed, mixed_scores = ask(small_bundle, [[5, 1003, -1, 1015, 99_999, 1200, -1]])
    assert mixed.tolist() == plain.tolist()
    assert np.allclose(mixed_scores, scores, atol=1e-5)


def test_users_of_a_batch_get_the_answers_of_single_calls(small_bundle: Bundle) -> None:
    both, _ = ask(small_bundle, [[1003, 1200], [-1, -1]])
    assert both[0].tolist() == ask(small_bundle, [[1003, 1200]])[0][0].tolist()
    assert both[1].tolist() == ask(small_bundle, [[]])[0][0].tolist()


def test_country_by_code(small_bundle: Bundle, oracle: Any) -> None:
    # France is unseen in training: id 1. No country: id 0.
    for code, number in {"US": 4, "FR": 1, "": 0}.items():
        assert ask(small_bundle, [SEEN], code)[0][0].tolist() == oracle(SEEN, number, 0, 0, 10)[0]


def test_list_longer_than_the_corpus_is_padded(small_bundle: Bundle) -> None:
    titles, scores = ask(small_bundle, [SEEN], count=305)
    # 300 candidates without the two of them that were seen.
    assert len(set(titles[0, :298].tolist())) == 298
    assert titles[0, 298:].tolist() == [-1] * 7
    assert np.isneginf(scores[0, 298:]).all()
    assert np.isfinite(scores[0, :298]).all()


def test_searcher_can_be_called_alone(small_bundle: Bundle) -> None:
    queries = np.random.default_rng(0).normal(size=(3, 14)).astype("f")
    rows, scores = small_bundle.retrieval.search(queries, np.int32(7))
    of_pybind, scores_of_pybind = small_bundle.search(queries, 7)
    assert rows.numpy().tolist() == of_pybind.tolist()
    assert np.allclose(scores, scores_of_pybind, atol=1e-4)


def test_hashed_form_answers_like_the_exact_one(other_bundle: Bundle) -> None:
    # Lists of 20 from a searcher tuned for lists of up to 100.
    queries = np.random.default_rng(0).normal(size=(20, 14)).astype("f")
    exact = np.argsort(-(queries @ other_bundle.vectors[:300].T), axis=1)[:, :20]
    for rows in (other_bundle.retrieval.search(queries, np.int32(20))[0].numpy(), other_bundle.search(queries, 20)[0]):
        shares = [len(set(a) & set(b)) / 20 for a, b in zip(exact.tolist(), rows.tolist(), strict=True)]
        assert np.mean(shares) >= 0.95
