"""Metrics: against loops written from the definitions, on lists of every kind, and against sums done by hand."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import NO_TITLE
from models.evaluation import metrics

TITLES, USERS, K_MAX = 12, 60, 6
KS = (1, 3, 6, 10)  # 10 is longer than any list
SEEDS = range(5)

Lists = list[list[int]]


def _matrix(rows: Sequence[Sequence[int]], width: int = TITLES) -> sparse.csr_matrix:
    """[rows, width] with 1 at the given columns."""
    dense = np.zeros((len(rows), width))
    for row, columns in enumerate(rows):
        dense[row, list(columns)] = 1
    return sparse.csr_matrix(dense)


def _recommended(lists: Lists, k_max: int = K_MAX) -> NDArray[np.int64]:
    """[users, k_max] as models give them."""
    return np.array([titles + [NO_TITLE] * (k_max - len(titles)) for titles in lists], dtype=np.int64)


def _random_lists(generator: np.random.Generator, longest: int) -> Lists:
    """Lists of 0 to `longest` different titles, with at least one each of 0, 1 and `longest`."""
    lengths = [0, 1, longest, *generator.integers(0, longest + 1, USERS - 3)]
    return [generator.permutation(TITLES)[:length].tolist() for length in lengths]


def _random_positives(generator: np.random.Generator, lists: Lists) -> Lists:
    """One to all titles per user; one user with one positive, one whose list is all hits, one without a hit."""
    positives = [generator.permutation(TITLES)[: generator.integers(1, TITLES + 1)].tolist() for _ in lists]
    positives[1] = [int(generator.integers(TITLES))]
    positives[2] = list(lists[2])
    long = next(row for row, titles in enumerate(lists) if row > 2 and titles)
    positives[long] = [title for title in range(TITLES) if title not in lists[long]]
    return positives


# Oracles: plain loops over one user.


def _recall(titles: list[int], positives: list[int], k: int) -> float:
    return len([title for title in titles[:k] if title in positives]) / len(positives)


def _ndcg(titles: list[int], positives: list[int], k: int) -> float:
    gain = sum(1 / math.log2(rank + 1) for rank, title in enumerate(titles[:k], start=1) if title in positives)
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(positives)) + 1))


def _reciprocal_rank(titles: list[int], positives: list[int], k: int) -> float:
    for rank, title in enumerate(titles[:k], start=1):
        if title in positives:
            return 1 / rank
    return 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _diversity(titles: list[int], content: NDArray[np.float32], k: int) -> float:
    def length(title: int) -> float:
        return math.sqrt(sum(float(x) ** 2 for x in content[title]))

    def distance(one: int, other: int) -> float:
        dot = sum(float(x) * float(y) for x, y in zip(content[one], content[other], strict=True))
        return 1 - dot / (length(one) * length(other))

    return _mean([distance(*pair) for pair in combinations([t for t in titles[:k] if length(t) > 0], 2)])


def _genre_distribution(weights: dict[int, float], genres: list[list[int]]) -> dict[int, float]:
    masses: dict[int, float] = {}
    for title, weight in weights.items():
        for genre in genres[title]:
            masses[genre] = masses.get(genre, 0.0) + weight / len(genres[title])
    total = sum(masses.values())
    return {genre: mass / total for genre, mass in masses.items()}


def _divergence(titles: list[int], history: list[int], genres: list[list[int]], k: int, alpha: float) -> float:
    p = _genre_distribution(dict.fromkeys(history, 1.0), genres)
    q = _genre_distribution({title: 1 / math.log2(rank + 2) for rank, title in enumerate(titles[:k])}, genres)
    if not p or not q:
        return math.nan
    return sum(
        share * math.log(share / ((1 - alpha) * q.get(genre, 0.0) + alpha * share)) for genre, share in p.items()
    )


def _gini(counts: list[int]) -> float:
    """Mean absolute difference over all ordered pairs of different titles, relative to twice the mean."""
    n = len(counts)
    differences = [abs(one - other) for one in counts for other in counts]
    return sum(differences) / (n * (n - 1)) / (2 * sum(counts) / n)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("metric", "oracle"),
    [(metrics.recall_at_k, _recall), (metrics.ndcg_at_k, _ndcg), (metrics.mrr_at_k, _reciprocal_rank)],
)
def test_accuracy_is_that_of_the_oracle(
    metric: Callable[..., metrics.PerUser], oracle: Callable[..., float], seed: int, k: int
) -> None:
    generator = np.random.default_rng(seed)
    lists = _random_lists(generator, K_MAX)
    positives = _random_positives(generator, lists)
    expected = [oracle(titles, relevant, k) for titles, relevant in zip(lists, positives, strict=True)]
    np.testing.assert_allclose(metric(_recommended(lists), _matrix(positives), k), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("seed", SEEDS)
def test_novelty_and_popularity_are_those_of_the_oracle(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    lists = _random_lists(generator, K_MAX)
    recommended = _recommended(lists)
    counts = generator.integers(0, 5, TITLES)  # small, so that titles tie and some have none
    information = [-math.log2((count + 1) / 9) for count in counts.tolist()]
    np.testing.assert_allclose(
        metrics.novelty_at_k(recommended, counts, 8, k),
        [_mean([information[title] for title in titles[:k]]) for titles in lists],
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        metrics.mean_popularity_at_k(recommended, counts, k),
        [_mean([float(counts[title]) for title in titles[:k]]) for titles in lists],
        rtol=1e-12,
    )


@pytest.mark.parametrize("as_block", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("seed", SEEDS)
def test_diversity_is_that_of_the_oracle(seed: int, k: int, as_block: Callable[[Any], Any]) -> None:
    generator = np.random.default_rng(seed)
    lists = _random_lists(generator, K_MAX)
    # Values of either sign; some rows are equal, opposite or without content.
    content = generator.integers(-2, 3, (TITLES, 3)).astype(np.float32)
    content[0], content[1], content[2], content[3] = (0, 0, 0), (1, 2, 0), (2, 4, 0), (-1, -2, 0)
    expected = [_diversity(titles, content, k) for titles in lists]
    diversities = metrics.diversity_at_k(_recommended(lists), as_block(content), k)
    np.testing.assert_allclose(diversities, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("as_block", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("seed", SEEDS)
def test_calibration_is_that_of_the_oracle(seed: int, k: int, as_block: Callable[[Any], Any]) -> None:
    generator = np.random.default_rng(seed)
    lists, histories = _random_lists(generator, K_MAX), _random_lists(generator, TITLES)
    genres = [generator.permutation(4)[:count].tolist() for count in generator.integers(0, 4, TITLES)]
    block = as_block(_matrix(genres, 4).toarray().astype(np.float32))
    expected = [_divergence(titles, history, genres, k, 0.01) for titles, history in zip(lists, histories, strict=True)]
    divergences = metrics.calibration_at_k(_recommended(lists), _matrix(histories), block, k)
    np.testing.assert_allclose(divergences, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("seed", SEEDS)
def test_coverage_and_gini_are_those_of_the_oracle(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    candidates = generator.permutation(np.arange(TITLES) < 9)
    lists = [[title for title in titles if candidates[title]] for titles in _random_lists(generator, K_MAX)]
    lists = [titles for titles in lists if not {7, 8} & set(titles)]  # so that candidates may stay alone
    counts = [sum(title in titles[:k] for titles in lists) for title in np.flatnonzero(candidates).tolist()]
    recommended = _recommended(lists)
    covered = len([count for count in counts if count]) / 9
    assert metrics.coverage_at_k(recommended, candidates, k) == pytest.approx(covered, abs=1e-12)
    assert metrics.gini_at_k(recommended, candidates, k) == pytest.approx(_gini(counts), abs=1e-12)


def test_accuracy_by_hand() -> None:
    recommended = np.array([[5, 2, 7, 1], [3, 4, NO_TITLE, NO_TITLE], [NO_TITLE] * 4])
    relevant = _matrix([[2, 1, 9], [4], [0, 1]])
    # 1 of 3 within 3; 1 of 1; none of 2
    np.testing.assert_allclose(metrics.recall_at_k(recommended, relevant, 3), [1 / 3, 1, 0])
    # (1/log2 3) / (1 + 1/log2 3 + 1/2) = .63093 / 2.13093 = .29608; (1/log2 3) / 1
    np.testing.assert_allclose(metrics.ndcg_at_k(recommended, relevant, 3), [0.29608, 0.63093, 0], atol=5e-6)
    # within 2: (1/log2 3) / (1 + 1/log2 3) = .63093 / 1.63093 = .38685
    np.testing.assert_allclose(metrics.ndcg_at_k(recommended, relevant, 2), [0.38685, 0.63093, 0], atol=5e-6)
    # first hits at ranks 2, 2 and nowhere; at rank 1 there are none
    np.testing.assert_array_equal(metrics.mrr_at_k(recommended, relevant, 3), [1 / 2, 1 / 2, 0])
    np.testing.assert_array_equal(metrics.mrr_at_k(recommended, relevant, 1), [0, 0, 0])


def test_k_beyond_the_lists_counts_as_k() -> None:
    recommended, relevant = np.array([[0, 1]]), _matrix([[0, 1, 2, 3]])
    np.testing.assert_array_equal(metrics.recall_at_k(recommended, relevant, 20), [0.5])
    # (1 + .63093) / (1 + .63093 + .5 + .43068) = 1.63093 / 2.56161
    np.testing.assert_allclose(metrics.ndcg_at_k(recommended, relevant, 20), [0.63668], atol=5e-6)


def test_users_without_any_recommendation_miss() -> None:
    nothing = np.empty((2, 0), dtype=np.int64)
    relevant = _matrix([[0], [1, 2]])
    for metric in (metrics.recall_at_k, metrics.ndcg_at_k, metrics.mrr_at_k):
        np.testing.assert_array_equal(metric(nothing, relevant, 5), [0, 0])
        np.testing.assert_array_equal(metric(np.full((2, 3), NO_TITLE), relevant, 5), [0, 0])


def test_no_users_have_no_values() -> None:
    no_users = np.empty((0, 5), dtype=np.int64)
    assert metrics.recall_at_k(no_users, _matrix([])[:0], 5).tolist() == []
    assert metrics.ndcg_at_k(no_users, _matrix([])[:0], 5).tolist() == []


def test_metrics_of_empty_lists_are_undefined() -> None:
    nothing, histories = np.full((2, 3), NO_TITLE), _matrix([[0], [1]])
    unknown = [np.nan, np.nan]
    np.testing.assert_array_equal(metrics.novelty_at_k(nothing, np.ones(TITLES, dtype=np.int64), 2, 3), unknown)
    np.testing.assert_array_equal(metrics.mean_popularity_at_k(nothing, np.ones(TITLES, dtype=np.int64), 3), unknown)
    np.testing.assert_array_equal(metrics.diversity_at_k(nothing, np.ones((TITLES, 2), dtype=np.float32), 3), unknown)
    np.testing.assert_array_equal(metrics.diversity_at_k(nothing, _matrix([[0]] * TITLES, 2), 3), unknown)
    np.testing.assert_array_equal(metrics.calibration_at_k(nothing, histories, np.ones((TITLES, 2)), 3), unknown)
    assert metrics.coverage_at_k(nothing, np.ones(TITLES, dtype=np.bool_), 3) == 0
    assert math.isnan(metrics.gini_at_k(nothing, np.ones(TITLES, dtype=np.bool_), 3))


def test_novelty_by_hand() -> None:
    # Of 7 users: none liked title 0, one title 1, all title 2. log2(8/1) = 3, log2(8/2) = 2, log2(8/8) = 0 bits
    counts = np.array([0, 1, 7])
    recommended = np.array([[0, 1, 2], [0, 1, NO_TITLE], [2, NO_TITLE, NO_TITLE]])
    np.testing.assert_allclose(metrics.novelty_at_k(recommended, counts, 7, 3), [5 / 3, 5 / 2, 0])
    np.testing.assert_allclose(metrics.novelty_at_k(recommended, counts, 7, 1), [3, 3, 0])
    # (0 + 1 + 7) / 3, (0 + 1) / 2, 7
    np.testing.assert_allclose(metrics.mean_popularity_at_k(recommended, counts, 3), [8 / 3, 1 / 2, 7])


def test_cold_share_by_hand() -> None:
    recommended = np.array([[0, 1, 2], [2, NO_TITLE, NO_TITLE], [NO_TITLE] * 3])
    # Titles 1 and 2 are cold: two of three, one of one, and nothing to share out.
    np.testing.assert_allclose(metrics.cold_share_at_k(recommended, np.array([5, 0, 0]), 3), [2 / 3, 1, np.nan])


def test_diversity_by_hand() -> None:
    # Titles 0 and 1 point the same way, 2 at a right angle to them, 3 against 0 and 1; 4 has no content.
    content = np.array([[1, 0], [3, 0], [0, 2], [-1, 0], [0, 0]], dtype=np.float32)
    recommended = np.array([[0, 1, 2], [0, 3, NO_TITLE], [0, 1, 4], [2, 4, NO_TITLE], [1, NO_TITLE, NO_TITLE]])
    # (0 + 1 + 1) / 3; 1 - -1; the pair 0, 1 alone; no pair of titles with content; no pair
    expected = [2 / 3, 2, 0, np.nan, np.nan]
    np.testing.assert_allclose(metrics.diversity_at_k(recommended, content, 3), expected, atol=1e-15)


def test_calibration_by_hand() -> None:
    # Title 0 has genre 0, title 1 genre 1, title 2 both, title 3 none.
    genres = _matrix([[0], [1], [0, 1], []], 2)
    histories = _matrix([[0, 1], [0, 3], [0], [3], [2]], 4)
    recommended = np.array([[2], [0], [1], [0], [3]])
    expected = [
        0,  # both are half and half
        0,  # title 3 says nothing
        -math.log(0.01),  # p = (1, 0), q = (0, 1): 1 · ln(1 / (.99 · 0 + .01 · 1))
        math.nan,  # the history has no genre
        math.nan,  # the list has none
    ]
    np.testing.assert_allclose(metrics.calibration_at_k(recommended, histories, genres, 1), expected, atol=1e-15)
    # Ranks 1 and 2 weigh 1 and .63093: q = (.61315, .38685), and p = (.5, .5). With alpha = .5 q̃ = (.55657, .44343):
    # .5 · ln(.5 / .55657) + .5 · ln(.5 / .44343) = -.05360 + .06004
    divergences = metrics.calibration_at_k(np.array([[0, 1]]), _matrix([[2]], 4), genres, 2, alpha=0.5)
    np.testing.assert_allclose(divergences, [0.00644], atol=5e-6)


def test_titles_of_many_genres_weigh_no_more() -> None:
    # p = (1/2 + 1/6, 1/6, 1/6), of titles with the genres {0} and {0, 1, 2}.
    genres = _matrix([[0], [0, 1, 2], [0], [1]], 3)
    liked, recommended = _matrix([[0, 1]], 4), np.array([[3]])
    # q = (0, 1, 0), alpha = .5: q̃ = (1/3, 7/12, 1/12); 2/3 ln 2 + 1/6 ln(2/7) + 1/6 ln 2 = .46210 - .20879 + .11552
    divergences = metrics.calibration_at_k(recommended, liked, genres, 1, alpha=0.5)
    np.testing.assert_allclose(divergences, [0.36883], atol=5e-6)


def test_coverage_and_gini_by_hand() -> None:
    candidates = np.array([True, True, True, True, False])
    # Title 0 thrice, title 1 once: 2 of 4 candidates; p = 0, 0, 1/4, 3/4: (1 · 1/4 + 3 · 3/4) / 3 = 5/6
    recommended = np.array([[0, 1], [0, NO_TITLE], [0, NO_TITLE], [NO_TITLE, NO_TITLE]])
    assert metrics.coverage_at_k(recommended, candidates, 2) == 0.5
    assert metrics.gini_at_k(recommended, candidates, 2) == pytest.approx(5 / 6)
    # One title alone.
    assert metrics.coverage_at_k(recommended, candidates, 1) == 0.25
    assert metrics.gini_at_k(recommended, candidates, 1) == pytest.approx(1)
    # Every candidate equally often; and the bound of lists of two, (4 - 2) / (4 - 1).
    assert metrics.gini_at_k(np.array([[0, 1], [2, 3]]), candidates, 2) == pytest.approx(0)
    assert metrics.gini_at_k(np.array([[0, 1], [1, 0]]), candidates, 2) == pytest.approx(2 / 3)
    assert metrics.gini_at_k(np.array([[0], [0]]), np.array([True]), 1) == 0


def test_titles_beyond_k_change_nothing() -> None:
    recommended, candidates = np.array([[0, 5, 6], [1, 0, 7]]), np.arange(TITLES) < 2
    relevant = _matrix([[5, 6], [0]])
    np.testing.assert_array_equal(metrics.recall_at_k(recommended, relevant, 1), [0, 0])
    np.testing.assert_array_equal(metrics.mean_popularity_at_k(recommended, np.arange(TITLES), 1), [0, 1])
    assert metrics.coverage_at_k(recommended, candidates, 1) == 1


@pytest.mark.parametrize(
    ("recommended", "message"),
    [
        ([[0, 1], [2, 2]], "1 rows have a title twice; the first is row 1"),
        ([[NO_TITLE, 1], [2, 3]], "1 rows have a title after -1, which only pads the end; the first is row 0"),
        ([[0, 1], [2, 4]], "expected rows of titles below 4 or -1, found 0 to 4"),
        ([[0, 1], [2, -2]], "expected rows of titles below 4 or -1, found -2 to 2"),
        ([[0.0, 1.0], [2.0, 3.0]], r"expected integers \[users, k_max\], found float64 of shape \(2, 2\)"),
        ([0, 1], r"expected integers \[users, k_max\], found int64 of shape \(2,\)"),
    ],
)
def test_lists_that_are_no_lists_of_titles_are_refused(recommended: list[Any], message: str) -> None:
    lists = np.array(recommended)
    with pytest.raises(ValueError, match=message):
        metrics.recall_at_k(lists, _matrix([[0], [1]], 4), 2)
    with pytest.raises(ValueError, match=message):
        metrics.gini_at_k(lists, np.ones(4, dtype=np.bool_), 2)


def test_users_without_positives_are_refused() -> None:
    recommended = np.array([[0], [1], [2]])
    with pytest.raises(ValueError, match="2 of 3 users have no positives, the first is row 1"):
        metrics.recall_at_k(recommended, _matrix([[0], [], []]), 1)


def test_malformed_positives_are_refused() -> None:
    recommended = np.array([[0]])
    stored_zero = sparse.csr_matrix((np.array([1.0, 0.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 4))
    pair_twice = sparse.csr_matrix((np.array([1.0, 1.0]), np.array([2, 2]), np.array([0, 2])), shape=(1, 4))
    for relevant in (stored_zero, pair_twice):
        with pytest.raises(ValueError, match="holds a pair twice, out of order or as 0"):
            metrics.ndcg_at_k(recommended, relevant, 1)


def test_wrong_sizes_are_refused() -> None:
    recommended = np.array([[0], [1]])
    with pytest.raises(ValueError, match="recommended has 2 rows and relevant 1"):
        metrics.recall_at_k(recommended, _matrix([[0]]), 1)
    with pytest.raises(ValueError, match="recommended has 2 rows and histories 3"):
        metrics.calibration_at_k(recommended, _matrix([[0], [1], [2]]), _matrix([[0]] * TITLES), 1)
    with pytest.raises(ValueError, match="k: expected 1 or more, found 0"):
        metrics.recall_at_k(recommended, _matrix([[0], [1]]), 0)
    with pytest.raises(ValueError, match="alpha: expected a number between 0 and 1, found 0"):
        metrics.calibration_at_k(recommended, _matrix([[0], [1]]), _matrix([[0]] * TITLES), 1, alpha=0)
    with pytest.raises(ValueError, match="a title has 5 positives of 4 users"):
        metrics.novelty_at_k(recommended, np.array([1, 5]), 4, 1)


def test_titles_that_are_no_candidates_are_refused() -> None:
    recommended = np.array([[0, 3], [2, 3]])
    for metric in (metrics.coverage_at_k, metrics.gini_at_k):
        with pytest.raises(ValueError, match="2 titles are no candidates, the first is 2"):
            metric(recommended, np.array([True, True, False, False]), 2)
        with pytest.raises(ValueError, match="none of 4 titles is one"):
            metric(recommended, np.zeros(4, dtype=np.bool_), 2)
