"""Candidates by score and by cosine: products worked out by hand, and lists of an index against exact search."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from indexing.bundle.bundle import Bundle
from serving.search import candidates
from serving.search.candidates import ByCosine, ByScore

TITLES = np.array([[3, 4], [0, 2], [1, 0], [9, 9]], dtype=np.float32)


@pytest.fixture
def opened() -> Any:
    """A bundle of three candidates; the fourth title left the guide."""
    return SimpleNamespace(count_candidates=3, vectors=TITLES, embeddings=TITLES)


def test_score_is_the_inner_product(opened: Any) -> None:
    queries = np.array([[1, 1], [2, -1]], dtype=np.float32)
    by_score = ByScore(opened)
    assert len(by_score) == 3
    assert by_score.score(queries, slice(0, 3)).tolist() == [[7, 2, 1], [2, -2, 2]]
    # Gathered rows come in the given order, repeats included.
    assert by_score.score(queries, np.array([2, 0, 2])).tolist() == [[1, 7, 1], [2, 2, 2]]


def test_gathered_rows_are_multiplied_in_parts(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_BATCH_ROWS", 2)
    query = np.array([[1, 1]], dtype=np.float32)
    assert ByScore(opened).score(query, np.array([2, 1, 0, 0, 1])).tolist() == [[1, 2, 7, 7, 2]]


def test_similarity_is_the_cosine(opened: Any) -> None:
    by_cosine = ByCosine(opened, refetch=2.0)
    query = np.array([[1, 0]], dtype=np.float32)
    # Lengths are 5, 2 and 1.
    assert by_cosine.lengths.tolist() == [5, 2, 1]
    assert by_cosine.score(query, slice(0, 3)) == pytest.approx(np.array([[0.6, 0, 1]]))
    assert by_cosine.score(query, np.array([2, 0])) == pytest.approx(np.array([[1, 0.6]]))


def test_no_length_is_zero() -> None:
    assert candidates.lengths(np.zeros((2, 3), dtype=np.float32)) == pytest.approx([1e-12, 1e-12])


def test_index_finds_the_best_scores(small_bundle: Bundle) -> None:
    by_score = ByScore(small_bundle)
    queries = np.random.default_rng(4).normal(size=(5, small_bundle.vectors.shape[1])).astype(np.float32)
    exact = by_score.score(queries, slice(0, len(by_score)))
    rows, scores = by_score.search(queries, 10)
    assert rows.tolist() == np.argsort(-exact, axis=1)[:, :10].tolist()
    assert scores == pytest.approx(-np.sort(-exact, axis=1)[:, :10], abs=1e-4)


def test_index_finds_the_largest_cosines(small_bundle: Bundle) -> None:
    # Every candidate is fetched, since the longest vectors are not those of the largest cosines.
    by_cosine = ByCosine(small_bundle, refetch=1000.0)
    seeds = np.asarray(small_bundle.embeddings[:3])
    directions = seeds / np.linalg.norm(seeds, axis=1, keepdims=True)
    exact = by_cosine.score(directions, slice(0, len(by_cosine)))
    rows, cosines = by_cosine.search(directions, 10)
    assert rows.tolist() == np.argsort(-exact, axis=1)[:, :10].tolist()
    # A title is most like itself.
    assert rows[:, 0].tolist() == [0, 1, 2]
    assert cosines[:, 0] == pytest.approx([1, 1, 1], abs=1e-5)


def test_list_longer_than_the_corpus_holds_all_candidates(small_bundle: Bundle) -> None:
    query = np.ones((1, small_bundle.vectors.shape[1]), dtype=np.float32)
    rows, _ = candidates.search_index(small_bundle, query, 10_000)
    assert sorted(rows[0].tolist()) == list(range(small_bundle.count_candidates))
