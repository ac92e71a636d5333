"""Whether lists are as popular as what their user likes: popularity calibration, for users of different tastes.

Titles are in groups of popularity: head, mid and tail, as `segments.popularity_groups` makes them; what nobody liked
yet counts as tail. Users are in groups by how much of their history is head: lovers of blockbusters, those of the
niche, and the diverse ones in between.

Sources: Abdollahpouri, Mansoury, Burke, Mobasher 2020, Addressing the multistakeholder impact of popularity bias in
recommendation through calibration (arXiv 2007.12230), for the divergence; Abdollahpouri, Mansoury, Burke, Mobasher,
Malthouse 2021, User-centered evaluation of popularity bias in recommender systems (arXiv 2103.06364), for groups of
users.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import NO_TITLE, Doubles
from models.recommender import Positions

TITLE_GROUPS = ("head", "mid", "tail")
USER_GROUPS = (BLOCKBUSTER, DIVERSE, NICHE) = ("blockbuster", "diverse", "niche")


@dataclass(frozen=True)
class Calibration:
    """How a group of users is served; means over users whose history and list both have titles.

    `shift` of a group of titles is its share of the list less its share of the history: a lover of blockbusters who is
    pushed to the tail has a `tail_shift` above 0.
    """

    group: str
    count_users: int
    deviation: float  # UPD of the group: Jensen-Shannon divergence in bits, 0 is calibrated, 1 as far off as can be
    head_shift: float
    tail_shift: float
    history_popularity: float  # mean likes of a title of the history
    list_popularity: float
    popularity_lift: float  # list_popularity / history_popularity - 1: ΔGAP


def calibrate(
    recommended: Positions,
    histories: sparse.csr_matrix,
    counts: NDArray[np.int64],
    title_groups: NDArray[np.str_],
    user_groups: NDArray[np.str_],
    k: int,
) -> list[Calibration]:
    """A row per group of `user_groups` [users] that somebody is in, then one of everybody, `all`.

    `recommended` [users, k_max] and `histories` [users, titles] are of the same users; `counts` [titles] are likes,
    `title_groups` [titles] are head, mid, tail or unseen. Users without a history or a list are in no row.
    """
    lists = list_matrix(recommended[:, :k], histories.shape[1])
    liked, listed = group_shares(histories, title_groups), group_shares(lists, title_groups)
    popularity = np.stack([mean_of(histories, counts), mean_of(lists, counts)])
    is_told = ~np.isnan(popularity).any(axis=0)
    divergences = jensen_shannon(liked, listed)
    rows = []
    for group in (*USER_GROUPS, "all"):
        users = np.flatnonzero(is_told & ((user_groups == group) | (group == "all")))
        if len(users):
            shifts = (listed[users] - liked[users]).mean(axis=0)
            before, after = popularity[:, users].mean(axis=1)
            rows.append(
                Calibration(
                    group=group,
                    count_users=len(users),
                    deviation=float(divergences[users].mean()),
                    head_shift=float(shifts[0]),
                    tail_shift=float(shifts[2]),
                    history_popularity=float(before),
                    list_popularity=float(after),
                    popularity_lift=float(after / before - 1) if before > 0 else float("nan"),
                )
            )
    return rows


def group_users(
    histories: sparse.csr_matrix, counts: NDArray[np.int64], title_groups: NDArray[np.str_], share: float
) -> NDArray[np.str_]:
    """[users]: the `share` of users with most head titles in their history are `blockbuster`, that with fewest `niche`.

    Where shares of head titles are equal, the mean log popularity of the history decides, then the row. All others are
    `diverse`; empty for a user without a history.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"share: expected a share of users above 0 and at most 0.5, found {share}")
    head = group_shares(histories, title_groups)[:, 0]
    popularity = mean_of(histories, np.log1p(counts))
    users = np.flatnonzero(~np.isnan(head))
    ascending = users[np.lexsort((popularity[users], head[users]))]
    size = int(len(users) * share)
    found = np.full(len(head), "", dtype=f"<U{max(map(len, USER_GROUPS))}")
    found[users] = DIVERSE
    found[ascending[:size]] = NICHE
    found[ascending[len(users) - size :]] = BLOCKBUSTER
    return found


def jensen_shannon(left: Doubles, right: Doubles) -> Doubles:
    """[rows], in bits, from 0 to 1: of two distributions [rows, groups] each; NaN where one of them is NaN.

    ½ KL(left ‖ mean) + ½ KL(right ‖ mean). Source: Lin 1991, Divergence measures based on the Shannon entropy.
    """
    middle = (left + right) / 2
    found = (_relative_entropy(left, middle) + _relative_entropy(right, middle)) / 2
    return np.where(np.isnan(middle).any(axis=1), np.nan, np.maximum(found, 0))


def group_shares(titles: sparse.csr_matrix, title_groups: NDArray[np.str_]) -> Doubles:
    """[users, head mid tail]: which share of a user's `titles` [users, titles] is of which group; NaN where none."""
    merged = np.where(title_groups == "unseen", "tail", title_groups)
    is_in = np.stack([merged == group for group in TITLE_GROUPS], axis=1).astype(np.float64)
    amounts = np.asarray((titles != 0) @ is_in, dtype=np.float64)
    return _divided(amounts, amounts.sum(axis=1, keepdims=True))


def mean_of(titles: sparse.csr_matrix, values: NDArray[np.int64] | Doubles) -> Doubles:
    """[users]: the mean of `values` [titles] over a user's `titles` [users, titles]; NaN where there are none."""
    is_one = titles != 0
    counts = np.asarray(is_one.sum(axis=1), dtype=np.float64).ravel()
    return _divided(np.asarray(is_one @ np.asarray(values, dtype=np.float64)), counts)


def list_matrix(recommended: Positions, count_titles: int) -> sparse.csr_matrix:
    """[users, titles]: 1 where a title is in the user's list."""
    users, ranks = np.nonzero(recommended != NO_TITLE)
    entries = (np.ones(len(users)), (users, recommended[users, ranks]))
    return sparse.csr_matrix(entries, shape=(len(recommended), count_titles))


def by_group(rows: list[Calibration]) -> Mapping[str, Calibration]:
    return {row.group: row for row in rows}


def _relative_entropy(of: Doubles, against: Doubles) -> Doubles:
    ratio = np.divide(of, against, out=np.ones_like(of), where=of > 0)
    return np.sum(of * np.log2(ratio), axis=1)


def _divided(above: Doubles, below: Doubles) -> Doubles:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=np.broadcast_to(below > 0, above.shape))
