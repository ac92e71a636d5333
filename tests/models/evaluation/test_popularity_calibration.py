"""Popularity calibration: by hand, and against loops over users."""

import math

import numpy as np
import pytest
from scipy import sparse

from lake.arrays import NO_TITLE
from models.evaluation import popularity_calibration as calibration

# Titles 0, 1 are head, 2 is mid, 3 is tail, 4 has no likes.
GROUPS = np.array(["head", "head", "mid", "tail", "unseen"])
COUNTS = np.array([90, 60, 20, 5, 0])


def likes(*rows: list[int]) -> sparse.csr_matrix:
    matrix = np.zeros((len(rows), len(GROUPS)), dtype=np.float32)
    for user, titles in enumerate(rows):
        matrix[user, titles] = 1
    return sparse.csr_matrix(matrix)


def by_group(rows: list[calibration.Calibration]) -> dict[str, calibration.Calibration]:
    return {row.group: row for row in rows}


def test_divergence_by_hand() -> None:
    # Nothing in common: 1 bit. Halves against a whole: middle (3/4, 1/4), ½·(½·log2(2/3) + ½·log2 2) + ½·log2(4/3).
    left = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])
    right = np.array([[0.0, 1, 0], [1.0, 0, 0], [0.2, 0.3, 0.5]])
    halves = 0.5 * (0.5 * math.log2(2 / 3) + 0.5 * math.log2(2)) + 0.5 * math.log2(4 / 3)
    assert calibration.jensen_shannon(left, right).tolist() == pytest.approx([1, halves, 0])
    assert calibration.jensen_shannon(right, left).tolist() == pytest.approx([1, halves, 0])


def test_new_titles_are_of_the_tail() -> None:
    shares = calibration.group_shares(likes([0, 2, 3, 4], []), GROUPS)
    assert shares[0].tolist() == [0.25, 0.25, 0.5]
    assert np.isnan(shares[1]).all()


def test_users_are_grouped_by_their_head_titles_and_then_by_popularity() -> None:
    # Head shares 1, 1, ½, 0, 0; of equal ones titles 0, 1 are liked less than title 0 alone, 3 less than 2.
    histories = likes([0, 1], [0], [0, 2], [2], [3], [])
    groups = calibration.group_users(histories, COUNTS, GROUPS, 0.2)
    assert groups.tolist() == ["diverse", "blockbuster", "diverse", "diverse", "niche", ""]
    wide = calibration.group_users(histories, COUNTS, GROUPS, 0.4)
    assert wide.tolist() == ["blockbuster", "blockbuster", "diverse", "niche", "niche", ""]


def test_a_share_of_more_than_half_the_users_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share: expected a share of users above 0 and at most 0\.5, found 0\.6"):
        calibration.group_users(likes([0]), COUNTS, GROUPS, 0.6)


def test_a_lover_of_blockbusters_pushed_to_the_tail_shows() -> None:
    # The first liked head alone (means 75 likes) and is given mid and tail: 12.5. The second is served as they like.
    recommended = np.array([[2, 3, 0], [2, 4, NO_TITLE], [NO_TITLE] * 3])
    groups = np.array(["blockbuster", "niche", "niche"])
    rows = by_group(calibration.calibrate(recommended, likes([0, 1], [2, 3], [3]), COUNTS, GROUPS, groups, 2))
    assert list(rows) == ["blockbuster", "niche", "all"]
    lover, niche, all_users = rows.values()
    assert (lover.deviation, lover.head_shift, lover.tail_shift) == (1, -1, 0.5)
    assert (lover.history_popularity, lover.list_popularity) == (75, 12.5)
    assert lover.popularity_lift == pytest.approx(12.5 / 75 - 1)
    # The third has no list, so is in no row.
    assert (niche.count_users, niche.deviation, niche.head_shift, niche.tail_shift) == (1, 0, 0, 0)
    assert niche.popularity_lift == pytest.approx(10 / 12.5 - 1)
    assert (all_users.count_users, all_users.deviation, all_users.tail_shift) == (2, 0.5, 0.25)


def slow_divergence(p: list[float], q: list[float]) -> float:
    divergence = 0.0
    for one, other in zip(p, q, strict=True):
        middle = (one + other) / 2
        divergence += sum(0.5 * x * math.log2(x / middle) for x in (one, other) if x > 0)
    return divergence


def test_calibration_is_that_of_loops_over_users() -> None:
    random = np.random.default_rng(3)
    histories = sparse.csr_matrix((random.random((30, 40)) < 0.2).astype(np.float32))
    counts = random.integers(0, 50, 40)
    groups = random.choice(["head", "mid", "tail", "unseen"], 40)
    recommended = np.stack([random.permutation(40)[:6] for _ in range(30)])
    users = calibration.group_users(histories, counts, groups, 0.2)
    rows = by_group(calibration.calibrate(recommended, histories, counts, groups, users, 5))
    for name, row in rows.items():
        divergences, shifts, means = [], [], []
        for user in range(30):
            if name not in ("all", users[user]):
                continue
            shares = []
            pair = histories[user].indices.tolist(), recommended[user, :5].tolist()
            for titles in pair:
                of = [groups[title] if groups[title] != "unseen" else "tail" for title in titles]
                shares.append([of.count(group) / len(of) for group in ("head", "mid", "tail")])
            divergences.append(slow_divergence(*shares))
            shifts.append([after - before for before, after in zip(*shares, strict=True)])
            means.append([float(np.mean([counts[title] for title in titles])) for titles in pair])
        assert row.count_users == len(divergences)
        assert row.deviation == pytest.approx(np.mean(divergences))
        assert [row.head_shift, row.tail_shift] == pytest.approx([np.mean([s[n] for s in shifts]) for n in (0, 2)])
        before, after = np.mean(means, axis=0)
        assert (row.history_popularity, row.list_popularity) == pytest.approx((before, after))
        assert row.popularity_lift == pytest.approx(after / before - 1)
    assert [row.count_users for row in rows.values()] == [6, 18, 6, 30]
