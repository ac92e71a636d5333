"""Segments: their users and positives; only the truth is restricted, not the lists."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from models.evaluation import segments
from models.evaluation.metrics import ndcg_at_k, recall_at_k
from models.evaluation.segments import Segment

TITLES = 6
# Users 0 to 3; pairs in the order (0, 1), (0, 2), (1, 0), (2, 2), (2, 3), (2, 5), (3, 4)
POSITIVES = [[1, 2], [0], [2, 3, 5], [4]]


def _relevant(rows: Sequence[Sequence[int]] = POSITIVES, titles: int = TITLES) -> sparse.csr_matrix:
    dense = np.zeros((len(rows), titles))
    for row, columns in enumerate(rows):
        dense[row, list(columns)] = 1
    return sparse.csr_matrix(dense)


def _pairs(made: Iterable[Segment]) -> dict[str, list[tuple[int, int]]]:
    """The pairs of user and title by segment; every user must have one."""
    pairs = {}
    for segment in made:
        rows = [(user, row.indices.tolist()) for user, row in zip(segment.users, segment.relevant, strict=True)]
        assert all(titles for _, titles in rows)
        assert segment.relevant.shape == (len(segment.users), TITLES)
        pairs[segment.name] = [(int(user), title) for user, titles in rows for title in titles]
    return pairs


def test_all_users_are_the_whole_truth() -> None:
    segment = segments.all_users(_relevant())
    assert (segment.dimension, segment.name, segment.users.tolist()) == ("all", "all", [0, 1, 2, 3])
    np.testing.assert_array_equal(segment.relevant.toarray(), _relevant().toarray())


def test_history_lengths_begin_segments() -> None:
    lengths = np.array([0, 1, 4, 5, 19, 20, 300])
    made = segments.users_by_history(_relevant([[0]] * 7), lengths, (0, 1, 5, 20))
    assert [(segment.dimension, segment.name, segment.users.tolist()) for segment in made] == [
        ("history_titles", "0", [0]),
        ("history_titles", "1-4", [1, 2]),
        ("history_titles", "5-19", [3, 4]),
        ("history_titles", "20+", [5, 6]),
    ]


def test_segments_of_users_keep_all_their_positives() -> None:
    made = segments.users_by_history(_relevant(), np.array([7, 2, 9, 3]), (0, 1, 5, 20))
    # No history has 0 or 20 titles.
    assert _pairs(made) == {"1-4": [(1, 0), (3, 4)], "5-19": [(0, 1), (0, 2), (2, 2), (2, 3), (2, 5)]}


def test_countries_are_segments_of_users() -> None:
    made = segments.users_by_country(_relevant(), ["FR", None, "DE", "FR"])
    assert _pairs(made) == {
        "DE": [(2, 2), (2, 3), (2, 5)],
        "FR": [(0, 1), (0, 2), (3, 4)],
        "unknown": [(1, 0)],
    }
    assert [segment.dimension for segment in made] == ["country"] * 3


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        # 50 of 100 are more than reached by 40, so 30 is head too: 70; with 20 it is 90, past the 80 of mid; 10 is tail
        ([40, 30, 20, 10, 0], ["head", "head", "mid", "tail", "unseen"]),
        # 50 of 100 are reached by the first, 80 by the first two; order of titles does not matter
        ([5, 15, 0, 50, 30], ["tail", "tail", "unseen", "head", "mid"]),
        # Four of equal counts: the boundary at 50 falls among them, so that all are head
        ([25, 25, 25, 25], ["head"] * 4),
        # 60 is head; the next two share the boundary of mid
        ([60, 15, 15, 10], ["head", "mid", "mid", "tail"]),
        ([0, 0], ["unseen", "unseen"]),
        ([3], ["head"]),
    ],
)
def test_popularity_groups_by_share_of_positives(counts: list[int], groups: list[str]) -> None:
    assert segments.popularity_groups(np.array(counts), 0.5, 0.8).tolist() == groups


@pytest.mark.parametrize("seed", range(5))
def test_popularity_groups_are_those_of_a_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    counts = generator.geometric(0.2, 60) - 1  # many ties and zeros
    expected = []
    for count in counts.tolist():
        before = sum(other for other in counts.tolist() if other > count) / counts.sum()
        expected.append("unseen" if count == 0 else "head" if before < 0.3 else "mid" if before < 0.7 else "tail")
    assert segments.popularity_groups(counts, 0.3, 0.7).tolist() == expected
    assert set(expected) == set(segments.POPULARITY_GROUPS)


def test_all_positives_may_be_of_one_group() -> None:
    counts = np.array([4, 2, 1, 0])
    assert segments.popularity_groups(counts, 1, 1).tolist() == ["head", "head", "head", "unseen"]
    assert segments.popularity_groups(counts, 0, 0).tolist() == ["tail", "tail", "tail", "unseen"]


def test_popularity_segments_hold_pairs() -> None:
    made = segments.positives_by_popularity(_relevant(), np.array([5, 50, 30, 0, 15, 0]), 0.5, 0.8)
    assert _pairs(made) == {
        "head": [(0, 1)],
        "mid": [(0, 2), (2, 2)],
        "tail": [(1, 0), (3, 4)],
        "unseen": [(2, 3), (2, 5)],
    }


def test_ages_are_those_of_pairs() -> None:
    # Title 2 is 0 days old for user 0 and 8 for user 2.
    ages = np.array([3.9, 0.5, 4.0, 8.0, 31.0, np.nan, -0.1])
    made = segments.positives_by_age(_relevant(), ages, (0, 1, 4, 8, 31))
    assert _pairs(made) == {
        "0": [(0, 2)],
        "1-3": [(0, 1)],
        "4-7": [(1, 0)],
        "8-30": [(2, 2)],
        "older": [(2, 3)],
        "unreleased": [(3, 4)],
        "unknown": [(2, 5)],
    }
    assert {segment.dimension for segment in made} == {"title_age_days"}


def test_ages_at_midnight_belong_to_the_day_that_begins() -> None:
    relevant = _relevant([[0, 1, 2, 3, 4, 5]])
    ages = np.array([0.0, 1.0, np.nextafter(4, 0), 30.99, 31.0, np.inf])
    assert _pairs(segments.positives_by_age(relevant, ages, (0, 1, 4, 8, 31))) == {
        "0": [(0, 0)],
        "1-3": [(0, 1), (0, 2)],
        "8-30": [(0, 3)],
        "older": [(0, 4), (0, 5)],
    }


def test_ages_of_titles_at_one_moment() -> None:
    relevant = _relevant()
    ages = np.array([0.0, 2.0, 40.0, 0.0, 2.0, 40.0])
    assert _pairs(segments.positives_by_age(relevant, ages[relevant.indices], (0, 1, 4, 8, 31))) == {
        "0": [(1, 0), (2, 3)],
        "1-3": [(0, 1), (3, 4)],
        "older": [(0, 2), (2, 2), (2, 5)],
    }


def test_known_likes_are_those_of_the_title() -> None:
    made = segments.positives_by_known_likes(_relevant(), np.array([0, 9, 1, 0, 2, 10]), (0, 1, 3, 10))
    assert [segment.dimension for segment in made] == ["known_likes"] * 4
    assert _pairs(made) == {
        "0": [(1, 0), (2, 3)],
        "1-2": [(0, 2), (2, 2), (3, 4)],
        "3-9": [(0, 1)],
        "10+": [(2, 5)],
    }


def test_any_positives_may_be_a_segment() -> None:
    is_in = np.array([False, True, False, False, True, True, False])
    [made] = segments.positives_among("new", "later", _relevant(), is_in)
    assert (made.dimension, _pairs([made])) == ("new", {"later": [(0, 2), (2, 3), (2, 5)]})
    assert segments.positives_among("new", "later", _relevant(), np.zeros(7, dtype=np.bool_)) == []
    with pytest.raises(ValueError, match=r"is_in: expected one for each of 7 positives, found 6"):
        segments.positives_among("new", "later", _relevant(), np.zeros(6, dtype=np.bool_))


@pytest.mark.parametrize("as_block", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def test_titles_of_several_genres_are_in_each(as_block: Callable[[NDArray[np.float32]], object]) -> None:
    # Title 2 has both genres, 3 none; no user likes a western.
    genres = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]], dtype=np.float32)
    made = segments.positives_by_genre(_relevant(), as_block(genres), ["drama", "comedy", "western"])
    assert _pairs(made) == {
        "drama": [(0, 2), (1, 0), (2, 2), (2, 5)],
        "comedy": [(0, 1), (0, 2), (2, 2), (3, 4)],
        "unknown": [(2, 3)],
    }


def test_object_types_are_segments_of_pairs() -> None:
    types = ["movie", "show", None, "movie", "movie", "show"]
    assert _pairs(segments.positives_by_object_type(_relevant(), types)) == {
        "movie": [(1, 0), (2, 3), (3, 4)],
        "show": [(0, 1), (2, 5)],
        "unknown": [(0, 2), (2, 2)],
    }


def test_only_the_truth_is_restricted() -> None:
    recommended = np.array([[2, 1], [3, 0], [3, 2], [0, 1]])
    movies, shows = segments.positives_by_object_type(_relevant(), ["show", "show", "movie", "show", "movie", "show"])
    assert (movies.name, movies.users.tolist()) == ("movie", [0, 2, 3])
    # User 0 likes one movie, title 2, at rank 1; user 2 the same at rank 2, since the show before it stays; user 3 one
    # that is not recommended.
    np.testing.assert_array_equal(recall_at_k(recommended[movies.users], movies.relevant, 2), [1, 1, 0])
    np.testing.assert_allclose(ndcg_at_k(recommended[movies.users], movies.relevant, 2), [1, 1 / np.log2(3), 0])
    # User 0 likes one show, user 1 one, user 2 the shows 3 and 5.
    np.testing.assert_array_equal(recall_at_k(recommended[shows.users], shows.relevant, 2), [1, 1, 1 / 2])


@pytest.mark.parametrize("seed", range(5))
def test_segments_of_a_partition_hold_every_pair_once(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(TITLES)[: generator.integers(1, TITLES + 1)].tolist() for _ in range(40)]
    relevant = _relevant(rows)
    parts = [
        segments.positives_by_popularity(relevant, generator.integers(0, 4, TITLES), 0.3, 0.6),
        segments.positives_by_age(relevant, generator.uniform(-2, 40, relevant.nnz), (0, 1, 4, 8, 31)),
        segments.users_by_history(relevant, generator.integers(0, 30, 40), (0, 1, 5, 20)),
    ]
    everything = sorted((user, title) for user, titles in enumerate(rows) for title in titles)
    for made in parts:
        assert sorted(pair for pairs in _pairs(made).values() for pair in pairs) == everything


def test_truth_without_positives_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 users have no positives"):
        segments.users_by_country(_relevant([[0], []]), ["DE", "FR"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: segments.users_by_country(t, ["DE"]), "countries: expected one for each of 4 users, found 1"),
        (
            lambda t: segments.users_by_history(t, np.zeros(5, dtype=np.int64), (0, 1)),
            "history_lengths: expected one for each of 4 users, found 5",
        ),
        (
            lambda t: segments.positives_by_age(t, np.zeros(TITLES), (0, 1)),
            "ages_days: expected one for each of 7 positives, found 6",
        ),
        (
            lambda t: segments.positives_by_popularity(t, np.zeros(4, dtype=np.int64), 0.5, 0.8),
            "count_positives: expected one for each of 6 titles, found 4",
        ),
        (
            lambda t: segments.positives_by_object_type(t, ["movie"] * 7),
            "object_types: expected one for each of 6 titles, found 7",
        ),
        (
            lambda t: segments.positives_by_genre(t, np.zeros((TITLES, 2)), ["drama"]),
            "names: expected one for each of 2 genres, found 1",
        ),
        (lambda t: segments.positives_by_genre(t, np.zeros((5, 1)), ["drama"]), "genres: expected 6 titles, found 5"),
    ],
)
def test_arrays_of_other_sizes_are_refused(make: Callable[[sparse.csr_matrix], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(_relevant())


@pytest.mark.parametrize("firsts", [(), (1, 5), (0, 5, 5), (0, 5, 4)])
def test_beginnings_that_do_not_rise_from_0_are_refused(firsts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected whole numbers that rise from 0"):
        segments.users_by_history(_relevant(), np.zeros(4, dtype=np.int64), firsts)


@pytest.mark.parametrize("shares", [(0.8, 0.5), (-0.1, 0.5), (0.5, 1.1)])
def test_shares_that_do_not_rise_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 <= head_share <= head_and_mid_share <= 1"):
        segments.popularity_groups(np.array([1, 2]), *shares)
