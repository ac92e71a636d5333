"""ScaNN by size of catalogue, tuned until it reaches the required recall, or refused."""

from collections.abc import Mapping

import numpy as np
import pytest

from conf.loader import load_settings
from conf.settings import Index, with_changes
from indexing.ann import scann_index, tuning
from indexing.ann.tuning import ExactResults, Tuned
from indexing.bundle.manifest import Form, Recall
from indexing.errors import BundleError


def options(**changes: float) -> Index:
    return with_changes(load_settings(), {f"index.{key}": value for key, value in changes.items()}).index


def test_size_decides_how_titles_are_searched() -> None:
    kinds = [scann_index.parameters(count, options(), 32).kind for count in (19_999, 20_000, 99_999, 100_000)]
    assert kinds == ["brute_force", "hashed", "hashed", "tree"]
    # Twice the square root of a million.
    million = scann_index.parameters(1_000_000, options(), 32)
    assert million.leaves == 2000
    assert (million.leading_dims, million.soar_lambda) == (32, 1.5)
    # ScaNN's hashing alone takes whole vectors.
    assert scann_index.parameters(50_000, options(), 32).leading_dims == 0


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """3,000 titles around 40 centres."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(40, 16))
    return (centres[random.integers(0, 40, 3000)] + 0.4 * random.normal(size=(3000, 16))).astype("f")


@pytest.fixture(scope="module")
def answers(vectors: np.ndarray) -> ExactResults:
    random = np.random.default_rng(1)
    queries = random.normal(size=(2, 24, 16)).astype("f")
    return tuning.exact_results(vectors, {"popular": queries[0], "gems": queries[1]}, (10, 20, 100))


@pytest.mark.parametrize("tree_from_titles", [0, 100_000])
def test_tuned_searcher_reaches_the_required_recall(
    vectors: np.ndarray, answers: ExactResults, tree_from_titles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scann_index, "BRUTE_FORCE_BELOW_TITLES", 0)
    index = scann_index.parameters(len(vectors), options(tree_from_titles=tree_from_titles), 14)
    assert index.kind == ("hashed" if tree_from_titles else "tree")
    search = scann_index.search_pybind(scann_index.compile_pybind(vectors, index, 2))
    tuned = tuning.tune(search, vectors, index, answers, {10: 0.98, 100: 0.95})
    # Measured by hand: the share of the exact best 10 among the 10 found.
    for queries in answers.queries.values():
        exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
        found_rows, _ = search(queries, 10, tuned.reorder, tuned.leaves_to_search)
        shares = [len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found_rows.tolist(), strict=True)]
        assert np.mean(shares) >= 0.98


def test_searcher_whose_recall_is_too_low_at_any_effort_is_refused(
    vectors: np.ndarray, answers: ExactResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scann_index, "BRUTE_FORCE_BELOW_TITLES", 0)
    index = scann_index.parameters(len(vectors), options(), 16)

    def finds_the_first_titles(queries: np.ndarray, count: int, _reorder: int, _leaves: int) -> tuple:
        rows = np.tile(np.arange(count), (len(queries), 1))
        return rows, np.zeros(rows.shape)

    with pytest.raises(BundleError, match=r"expected recall@10 of 0.980 at every setting of the dial, found at most 0"):
        tuning.tune(finds_the_first_titles, vectors, index, answers, {10: 0.98})


def test_recall_is_measured_by_dial_and_list_length(vectors: np.ndarray, answers: ExactResults) -> None:
    def finds_every_second(queries: np.ndarray, count: int, _reorder: int, _leaves: int) -> tuple:
        """Finds all best titles for popular, every second for gems, and nothing at the last rank."""
        order = np.argsort(-(queries @ vectors.T), axis=1)
        is_gems = np.array_equal(queries, answers.queries["gems"])
        rows = order[:, 1 : 2 * count : 2] if is_gems else order[:, :count]
        scores = np.ones(rows.shape)
        scores[:, -1] = np.nan
        return rows, scores

    recall = tuning.recalls(finds_every_second, vectors, answers, 100, 0)
    assert recall["popular"] == {10: 1.0, 20: 1.0, 100: 0.99}
    # Half of every second title belongs to the exact list.
    assert recall["gems"] == {10: 0.5, 20: 0.5, 100: 0.5}


def test_titles_that_score_alike_are_no_misses() -> None:
    twins = np.repeat(np.eye(4, dtype="f"), 50, axis=0)
    answers = tuning.exact_results(twins, {"balanced": np.array([[1, 0.5, 0, 0]], "f")}, (10, 100))

    def finds_the_other_twins(queries: np.ndarray, count: int, _reorder: int, _leaves: int) -> tuple:
        rows = np.concatenate([np.arange(49, -1, -1), np.arange(99, 49, -1)])[None, :count]
        return rows, np.ones(rows.shape)

    recall = tuning.recalls(finds_the_other_twins, twins, answers, 100, 0)
    assert recall["balanced"] == {10: 1.0, 100: 1.0}


def test_form_below_the_required_recall_is_refused_by_name() -> None:
    def form(recall: Mapping[str, Recall]) -> Form:
        return Form(leaves_to_search=0, reorder=0, recall=recall, p50_ms=1, p99_ms=1, build_seconds=1)

    good = Recall(at_10=0.98, at_100=0.95)
    tuning.refuse_low_recall("pybind", form({"gems": good}), 0.98, 0.95)
    low = Recall(at_10=0.98, at_100=0.94)
    with pytest.raises(BundleError, match=r"of the pybind form with the dial at 'gems' is 0.9800 at 10 and 0.9400"):
        tuning.refuse_low_recall("pybind", form({"popular": good, "gems": low}), 0.98, 0.95)


def test_brute_force_needs_no_tuning(vectors: np.ndarray, answers: ExactResults) -> None:
    index = scann_index.parameters(len(vectors), options(), 16)
    search = scann_index.search_tensorflow(scann_index.compile_tensorflow(vectors, index, 1))
    tuned = tuning.tune(search, vectors, index, answers, {10: 1.0})
    assert tuned == Tuned(0, 0)
    assert tuning.recalls(search, vectors, answers, 0, 0)["gems"][100] == 1.0


def test_overlap_is_of_sets_without_padding() -> None:
    # Half of the first row; all of the second, which has but one title; the third is empty.
    left, right = np.array([[1, 2], [3, -1], [-1, -1]]), np.array([[2, 5], [-1, 3], [4, 5]])
    assert tuning.overlap(left, right) == pytest.approx((0.5 + 1 + 1) / 3)
