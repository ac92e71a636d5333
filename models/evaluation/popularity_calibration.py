"""Popularity calibration: the popularity of lists compared with that of the histories of their users.

Titles are grouped into head, mid and tail by `segments.popularity_groups`; unseen titles count as tail. Users are
grouped by the share of head titles in their history: blockbuster, diverse and niche.

Sources: Abdollahpouri, Mansoury, Burke, Mobasher 2020, Addressing the multistakeholder impact of popularity bias in
recommendation through calibration (arXiv 2007.12230), for the divergence; Abdollahpouri, Mansoury, Burke, Mobasher,
Malthouse 2021, User-centered evaluation of popularity bias in recommender systems (arXiv 2103.06364), for groups of
users.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import NO_TITLE, Doubles, Ids

TITLE_GROUPS = ("head", "mid", "tail")
USER_GROUPS = (BLOCKBUSTER, DIVERSE, NICHE) = ("blockbuster", "diverse", "niche")


@dataclass(frozen=True)
class Calibration:
    """Popularity calibration of a group of users; means over users whose history and list both have titles.

    The shift of a group of titles is its share of the list less its share of the history.
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
    recommended: Ids,
    histories: sparse.csr_matrix,
    counts: NDArray[np.int64],
    title_groups: NDArray[np.str_],
    user_groups: NDArray[np.str_],
    k: int,
) -> list[Calibration]:
    """One row per non-empty group of `user_groups` [users], then one over all users, `all`.

    `recommended` [users, k_max] and `histories` [users, titles] are of the same users; `counts` [titles] are likes,
    `title_groups` [titles] are head, mid, tail or unseen. Users without a history or a list are left out.
    """
    lists = list_matrix(recommended[:, :k], histories.shape[1])
    liked, listed = group_shares(histories, title_groups), group_shares(lists, title_groups)
    popularity = np.stack([mean_of(histories, counts), mean_of(lists, counts)])
    is_defined = ~np.isnan(popularity).any(axis=0)
    divergences = jensen_shannon(liked, listed)
    rows = []
    for group in (*USER_GROUPS, "all"):
        users = np.flatnonzero(is_defined & ((user_groups == group) | (group == "all")))
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
    """[users]: `blockbuster`, `diverse` or `niche`, by the share of head titles in the history.

    The `share` of users with the most head titles are `blockbuster`, those with the fewest `niche`. Ties are broken by
    the mean log popularity of the history, then by the row. All other users are `diverse`; the group is empty for a
    user without a history.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"share: expected a share of users above 0 and at most 0.5, found {share}")
    head = group_shares(histories, title_groups)[:, 0]
    popularity = mean_of(histories, np.log1p(counts))
    users = np.flatnonzero(~np.isnan(head))
    ascending = users[np.lexsort((popularity[users], head[users]))]
    size = int(len(users) * share)
    groups = np.full(len(head), "", dtype=f"<U{max(map(len, USER_GROUPS))}")
    groups[users] = DIVERSE
    groups[ascending[:size]] = NICHE
    groups[ascending[len(users) - size :]] = BLOCKBUSTER
    return groups


def jensen_shannon(left: Doubles, right: Doubles) -> Doubles:
    """[rows], in bits, from 0 to 1: Jensen-Shannon divergence of two distributions [rows, groups]; NaN where either is.

    ½ KL(left ‖ mean) + ½ KL(right ‖ mean). Source: Lin 1991, Divergence measures based on the Shannon entropy.
    """
    middle = (left + right) / 2
    divergence = (_relative_entropy(left, middle) + _relative_entropy(right, middle)) / 2
    return np.where(np.isnan(middle).any(axis=1), np.nan, np.maximum(divergence, 0))


def group_shares(titles: sparse.csr_matrix, title_groups: NDArray[np.str_]) -> Doubles:
    """[users, 3]: the shares of head, mid and tail in a user's `titles` [users, titles]; NaN where there are none."""
    merged = np.where(title_groups == "unseen", "tail", title_groups)
    is_in = np.stack([merged == group for group in TITLE_GROUPS], axis=1).astype(np.float64)
    amounts = np.asarray((titles != 0) @ is_in, dtype=np.float64)
    return _divided(amounts, amounts.sum(axis=1, keepdims=True))


def mean_of(titles: sparse.csr_matrix, values: NDArray[np.int64] | Doubles) -> Doubles:
    """[users]: the mean of `values` [titles] over a user's `titles` [users, titles]; NaN where there are none."""
    is_present = titles != 0
    counts = np.asarray(is_present.sum(axis=1), dtype=np.float64).ravel()
    return _divided(np.asarray(is_present @ np.asarray(values, dtype=np.float64)), counts)


def list_matrix(recommended: Ids, count_titles: int) -> sparse.csr_matrix:
    """[users, titles]: 1 where a title is in the user's list."""
    users, ranks = np.nonzero(recommended != NO_TITLE)
    entries = (np.ones(len(users)), (users, recommended[users, ranks]))
    return sparse.csr_matrix(entries, shape=(len(recommended), count_titles))


def _relative_entropy(left: Doubles, right: Doubles) -> Doubles:
    ratio = np.divide(left, right, out=np.ones_like(left), where=left > 0)
    return np.sum(left * np.log2(ratio), axis=1)


def _divided(above: Doubles, below: Doubles) -> Doubles:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=np.broadcast_to(below > 0, above.shape))
