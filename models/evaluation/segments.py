"""Segments of an evaluation set, each measured on its own: by properties of the user, or of the positive.

A segment restricts the held-out positives and leaves the recommendations unchanged. In a segment of users all positives
of its users count. In a segment of positives, pairs of a user and a title, only its pairs are relevant: recall and NDCG
divide by the user's number of those, a hit on any other positive is a miss, and users without such positives are left
out. The metrics of a segment are

    recall_at_k(recommended[segment.users], segment.relevant, k)

`relevant` [users, titles] are the held-out positives, at least one per user; otherwise ValueError is raised. Empty
segments are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import Flags
from models.data.content import Block
from models.evaluation.metrics import check_positives

UNKNOWN = "unknown"
OLDER = "older"
UNRELEASED = "unreleased"
POPULARITY_GROUPS = ("head", "mid", "tail", "unseen")
# Shares of all positives where head ends, and where mid ends: half of what is liked, and four fifths.
HEAD_SHARE = 0.5
HEAD_AND_MID_SHARE = 0.8


@dataclass(frozen=True)
class Segment:
    """Users [users of the segment], as ascending rows of the evaluation set, and their relevant titles.

    Row n of `relevant` [users of the segment, titles] is that of user `users[n]`; no row is empty.
    """

    dimension: str
    name: str
    users: NDArray[np.int64]
    relevant: sparse.csr_matrix


def all_users(relevant: sparse.csr_matrix) -> Segment:
    """The segment of all users with all their positives."""
    return _segments("all", relevant, [("all", np.ones(relevant.nnz, dtype=np.bool_))])[0]


def users_by_history(
    relevant: sparse.csr_matrix, history_lengths: NDArray[np.int64], first_titles: Sequence[int]
) -> list[Segment]:
    """Segments of users by the number of titles in their history, `history_lengths` [users].

    `first_titles` are the lengths at which segments begin, from 0: (0, 1, 5, 20) makes 0, 1-4, 5-19 and 20+.
    """
    _check_length(history_lengths, relevant.shape[0], "history_lengths", "users")
    return _users("history_titles", relevant, _bands(history_lengths, first_titles))


def users_by_country(relevant: sparse.csr_matrix, countries: Sequence[str | None]) -> list[Segment]:
    """Segments of users by country [users], in alphabetical order; `unknown` where there is none."""
    _check_length(countries, relevant.shape[0], "countries", "users")
    return _users("country", relevant, _labels(countries))


def positives_by_popularity(
    relevant: sparse.csr_matrix,
    count_positives: NDArray[np.int64],
    head_share: float = HEAD_SHARE,
    head_and_mid_share: float = HEAD_AND_MID_SHARE,
) -> list[Segment]:
    """Segments of positives by their title's group in `popularity_groups`."""
    _check_length(count_positives, relevant.shape[1], "count_positives", "titles")
    groups = popularity_groups(count_positives, head_share, head_and_mid_share)
    return _positives("popularity", relevant, [(name, groups == name) for name in POPULARITY_GROUPS])


def popularity_groups(
    count_positives: NDArray[np.int64],
    head_share: float = HEAD_SHARE,
    head_and_mid_share: float = HEAD_AND_MID_SHARE,
) -> NDArray[np.str_]:
    """[titles]: head, mid, tail or unseen, by the number of training positives of a title.

    Head are the fewest most popular titles that together have at least `head_share` of all training positives; mid the
    fewest next ones that reach `head_and_mid_share`; tail all other titles with positives; unseen those without. Titles
    of equal counts are in one group, the more popular one where a boundary falls among them.
    """
    if not 0 <= head_share <= head_and_mid_share <= 1:
        raise ValueError(
            f"expected 0 <= head_share <= head_and_mid_share <= 1, found {head_share} and {head_and_mid_share}"
        )
    ascending = np.sort(count_positives)
    totals = np.concatenate([[0], np.cumsum(ascending)])
    # [titles]: the positives of all titles with strictly more positives.
    more_popular = totals[-1] - totals[np.searchsorted(ascending, count_positives, side="right")]
    share = more_popular / max(totals[-1], 1)
    conditions = [count_positives == 0, share < head_share, share < head_and_mid_share]
    return np.select(conditions, ["unseen", "head", "mid"], default="tail")


def positives_by_age(
    relevant: sparse.csr_matrix, ages_days: NDArray[np.float64], first_days: Sequence[int]
) -> list[Segment]:
    """Segments of positives by the age of the title at the moment of the pair, such as that of its like.

    `ages_days` [positives] are days since release in the order of `relevant.indices`: user by user, by row of the
    title; ages [titles] at one moment are `ages[relevant.indices]`. Fractions of a day are dropped. NaN is `unknown`
    and below 0 is `unreleased`. `first_days` are the ages at which segments begin, from 0: (0, 1, 4, 8, 31) makes 0,
    1-3, 4-7, 8-30 and older.
    """
    _check_length(ages_days, relevant.nnz, "ages_days", "positives")
    *younger, (_, is_oldest) = _bands(ages_days, first_days)
    other = [(OLDER, is_oldest), (UNRELEASED, ages_days < 0), (UNKNOWN, np.isnan(ages_days))]
    return _segments("title_age_days", relevant, [*younger, *other])


def positives_by_known_likes(
    relevant: sparse.csr_matrix, counts: NDArray[np.int64], first_counts: Sequence[int]
) -> list[Segment]:
    """Segments of positives by the likes of the title that were known when the list was made, `counts` [titles].

    `first_counts` are the counts at which segments begin, from 0: (0, 1, 10) makes 0, 1-9 and 10+.
    """
    _check_length(counts, relevant.shape[1], "counts", "titles")
    return _positives("known_likes", relevant, _bands(counts, first_counts))


def positives_among(dimension: str, name: str, relevant: sparse.csr_matrix, is_in: Flags) -> list[Segment]:
    """The segment of positives marked by `is_in` [positives], in the order of `relevant.indices`; none where empty."""
    _check_length(is_in, relevant.nnz, "is_in", "positives")
    return _segments(dimension, relevant, [(name, is_in)])


def positives_by_genre(relevant: sparse.csr_matrix, genres: Block, names: Sequence[str]) -> list[Segment]:
    """Segments of positives by genre of the title: a title of several is in each, one of none in `unknown`.

    `genres` [titles, genres] is non-zero where a title has a genre; `names` [genres].
    """
    has_genre = sparse.csc_matrix(genres) != 0
    _check_length(names, has_genre.shape[1], "names", "genres")
    if has_genre.shape[0] != relevant.shape[1]:
        raise ValueError(f"genres: expected {relevant.shape[1]} titles, found {has_genre.shape[0]}")
    masks = [(name, has_genre[:, [column]].toarray().ravel()) for column, name in enumerate(names)]
    has_none = np.asarray(has_genre.sum(axis=1)).ravel() == 0
    return _positives("genre", relevant, [*masks, (UNKNOWN, has_none)])


def positives_by_object_type(relevant: sparse.csr_matrix, object_types: Sequence[str | None]) -> list[Segment]:
    """Segments of positives by the title's type [titles], in alphabetical order; `unknown` where there is none."""
    _check_length(object_types, relevant.shape[1], "object_types", "titles")
    return _positives("object_type", relevant, _labels(object_types))


def _users(dimension: str, relevant: sparse.csr_matrix, masks: Iterable[tuple[str, Flags]]) -> list[Segment]:
    """Segments of masks [users]."""
    rows = _rows(relevant)
    return _segments(dimension, relevant, [(name, mask[rows]) for name, mask in masks])


def _positives(dimension: str, relevant: sparse.csr_matrix, masks: Iterable[tuple[str, Flags]]) -> list[Segment]:
    """Segments of masks [titles]."""
    return _segments(dimension, relevant, [(name, mask[relevant.indices]) for name, mask in masks])


def _segments(dimension: str, relevant: sparse.csr_matrix, masks: Iterable[tuple[str, Flags]]) -> list[Segment]:
    """Segments of masks [positives], without empty ones."""
    check_positives(relevant)
    return [_restricted(dimension, name, relevant, mask) for name, mask in masks if mask.any()]


def _restricted(dimension: str, name: str, relevant: sparse.csr_matrix, mask: Flags) -> Segment:
    counts = np.bincount(_rows(relevant)[mask], minlength=relevant.shape[0])
    users = np.flatnonzero(counts)
    ends = np.concatenate([[0], np.cumsum(counts[users])])
    shape = (len(users), relevant.shape[1])
    restricted = sparse.csr_matrix((relevant.data[mask], relevant.indices[mask], ends), shape=shape)
    return Segment(dimension, name, users, restricted)


def _rows(relevant: sparse.csr_matrix) -> NDArray[np.int64]:
    """[positives]: the row of each."""
    return np.repeat(np.arange(relevant.shape[0]), np.diff(relevant.indptr))


def _bands(values: NDArray[np.int64] | NDArray[np.float64], firsts: Sequence[int]) -> list[tuple[str, Flags]]:
    """Names and masks [values] of the ranges that begin at `firsts`; negative values are in none."""
    if not firsts or firsts[0] != 0 or any(later <= first for first, later in pairwise(firsts)):
        raise ValueError(f"expected whole numbers that rise from 0 as the beginnings of segments, found {firsts}")
    inner = [
        (f"{first}-{later - 1}" if later - 1 > first else f"{first}", (values >= first) & (values < later))
        for first, later in pairwise(firsts)
    ]
    return [*inner, (f"{firsts[-1]}+", values >= firsts[-1])]


def _labels(labels: Sequence[str | None]) -> list[tuple[str, Flags]]:
    """Names and masks [labels], one per distinct label."""
    named = np.array([UNKNOWN if label is None else label for label in labels])
    return [(str(name), named == name) for name in np.unique(named)]


def _check_length(values: Sequence[object] | NDArray[np.generic], expected: int, name: str, unit: str) -> None:
    if len(values) != expected:
        raise ValueError(f"{name}: expected one for each of {expected} {unit}, found {len(values)}")
