"""Lists by exact search or by an index: the best allowed titles, and never fewer than possible."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from serving.search import planner
from serving.search.planner import Policy, SearchPlan

NONE = np.empty(0, dtype=np.int64)
ALWAYS_SEARCH = Policy(exact_max_titles=0, overfetch=1.5, exact_price=1000.0)
NEVER_SEARCH = Policy(exact_max_titles=10**9, overfetch=1.5, exact_price=1.0)


@dataclass
class Numbers:
    """Candidates with vectors of one dimension; the index never finds the `hidden` ones."""

    values: np.ndarray
    hidden: frozenset[int] = frozenset()  # rows that the index never finds
    fetched: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    def score(self, queries: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        return queries * self.values[rows].astype(np.float32)

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        self.fetched.append(count)
        rows = np.full((len(queries), count), -1, dtype=np.int64)
        scores = np.full(rows.shape, -np.inf, dtype=np.float32)
        for number, (query,) in enumerate(queries):
            order = [n for n in np.argsort(-query * self.values, kind="stable") if n not in self.hidden][:count]
            rows[number, : len(order)] = order
            scores[number, : len(order)] = query * self.values[order]
        return rows, scores


def ask(candidates: Numbers, allowed: list[int] | None, excluded: list[int], count: int, policy: Policy) -> list[int]:
    """One list for the query 1."""
    rows = None if allowed is None else np.array(allowed, dtype=np.int64)
    query = np.ones((1, 1), dtype=np.float32)
    return (
        planner.best_titles(candidates, query, rows, [np.array(excluded, dtype=np.int64)], count, policy)
        .rows[0]
        .tolist()
    )


@pytest.mark.parametrize("policy", [ALWAYS_SEARCH, NEVER_SEARCH])
def test_best_come_first_without_excluded_titles(policy: Policy) -> None:
    candidates = Numbers(np.array([5, 9, 7, 1, 8, 3]))
    assert ask(candidates, None, [], 3, policy) == [1, 4, 2]
    assert ask(candidates, None, [4], 3, policy) == [1, 2, 0]
    assert ask(candidates, [0, 3, 4, 5], [4], 2, policy) == [0, 5]
    assert ask(candidates, [0, 3], [3], 3, policy) == [0, -1, -1]
    assert ask(candidates, [], [], 2, policy) == [-1, -1]


@pytest.mark.parametrize("policy", [ALWAYS_SEARCH, NEVER_SEARCH])
def test_of_equal_scores_the_lower_row_comes_first(policy: Policy) -> None:
    candidates = Numbers(np.array([2, 7, 7, 1, 7, 2]))
    assert ask(candidates, None, [], 5, policy) == [1, 2, 4, 0, 5]
    assert ask(candidates, None, [2], 2, policy) == [1, 4]


def test_each_query_has_its_own_exclusions_and_scores() -> None:
    candidates = Numbers(np.array([5, 9, 7, 1]))
    queries = np.array([[1], [-1], [2]], dtype=np.float32)
    lists = planner.best_titles(candidates, queries, None, [np.array([1]), NONE, np.array([0, 1, 2])], 2, NEVER_SEARCH)
    assert lists.rows.tolist() == [[2, 0], [3, 0], [3, -1]]
    assert lists.scores.tolist() == [[7, 5], [-1, -5], [2, -np.inf]]


def test_exact_lists_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    candidates = Numbers(random.integers(0, 20, 500))  # many ties
    allowed = np.sort(random.choice(500, 300, replace=False))
    excluded = [random.choice(500, 40) for _ in range(4)]
    queries = np.array([[1], [-1], [2], [0]], dtype=np.float32)
    whole = planner.best_titles(candidates, queries, allowed, excluded, 30, NEVER_SEARCH)
    monkeypatch.setattr(planner, "_MAX_NUMBERS", 140)  # 35 titles at a time
    parts = planner.best_titles(candidates, queries, allowed, excluded, 30, NEVER_SEARCH)
    assert parts.rows.tolist() == whole.rows.tolist()
    for number, (query,) in enumerate(queries):
        remaining = [n for n in allowed.tolist() if n not in set(excluded[number].tolist())]
        expected = sorted(remaining, key=lambda n: (-query * candidates.values[n], n))[:30]
        assert whole.rows[number].tolist() == expected


def test_more_is_fetched_where_too_few_pass_the_filter() -> None:
    # Only the 10 worst of 1000 are allowed: 2 · 1000 / 10 · 1.5 = 300 fetched hold none of them, 1200 hold all.
    candidates = Numbers(np.arange(1000)[::-1])
    assert ask(candidates, list(range(990, 1000)), [], 2, ALWAYS_SEARCH) == [990, 991]
    assert candidates.fetched == [300, 1200]


def test_titles_that_the_index_never_finds_are_scored_in_the_end() -> None:
    candidates = Numbers(np.arange(1000)[::-1], hidden=frozenset(range(990, 999)))
    policy = Policy(exact_max_titles=0, overfetch=1.5, exact_price=100.0)
    # 300 fetched, then 1200 would cost more than scoring the ten.
    assert ask(candidates, list(range(990, 1000)), [], 2, policy) == [990, 991]
    assert candidates.fetched == [300]


def test_only_short_lists_are_searched_again() -> None:
    candidates = Numbers(np.arange(1000)[::-1])
    allowed = np.concatenate([np.arange(10), np.arange(990, 1000)])
    # The second query excludes the ten best allowed titles. With 5 blocked titles per query in the median,
    # (2 + 5) · 1000 / 20 · 1.5 = 525 are fetched, which do not reach the other ten.
    lists = planner.best_titles(
        candidates, np.ones((2, 1), np.float32), allowed, [NONE, np.arange(10)], 2, ALWAYS_SEARCH
    )
    assert lists.rows.tolist() == [[0, 1], [990, 991]]
    assert candidates.fetched == [525, 2100]


@pytest.mark.parametrize(
    ("allowed", "needed", "expected"),
    [
        (20_000, 20, SearchPlan("exact", 0)),  # few enough
        (20_001, 20, SearchPlan("search", 1500)),  # 20 · 1.5 · 50
        (1_000_000, 20, SearchPlan("search", 20)),  # nothing to filter
        (500_000, 400_000, SearchPlan("exact", 0)),  # 1.2 million fetched would cost more
        (1_000_000, 1_000_000, SearchPlan("exact", 0)),
    ],
)
def test_plan_depends_on_the_number_of_allowed_titles(allowed: int, needed: int, expected: SearchPlan) -> None:
    assert planner.choose_plan(allowed, 1_000_000, needed, Policy(20_000, 1.5, 1.0)) == expected
