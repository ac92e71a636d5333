"""Weights of likes and popularity of titles, corrected for position and exposure."""

from typing import Any

import numpy as np
import pytest

from conf.settings import PositionBias
from models.debiasing import title_weights as weights_module
from models.debiasing.click_ranks import ClickRanks
from models.debiasing.examination import fit_examination
from models.debiasing.title_weights import debiased_popularity, title_weights
from tests.fixtures.click_ranks import Row, in_random_order, ranks_of

OPTIONS = PositionBias(random_variant="explore", max_weight=2.5, exposure_power=0.0, debiased_popularity_power=0.0)


@pytest.fixture(autouse=True)
def few_clicks_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "MIN_CLICKS", 100)


def test_a_like_weighs_the_mean_over_the_title_s_clicks(trained: Any) -> None:
    catalogue = trained.inputs.catalogue
    rows: list[Row] = [
        *in_random_order(0.5),
        (100, False, 1, 10, 3),
        (100, False, 4, 10, 1),
        (101, False, 9, 10, 2),
        (101, True, 2, 10, 1),
        (102, False, 5, 50, 0),
        (999, False, 1, 50, 50),  # not in the catalogue
    ]
    likes = np.arange(len(catalogue)) % 4
    weights = title_weights(ranks_of(*rows), catalogue, likes, OPTIONS)
    assert weights is not None
    curve = fit_examination(ranks_of(*rows))
    assert curve is not None
    at = {rank: min(rank**curve.decay, 2.5) for rank in range(1, 13)}
    expected = np.full(
        len(catalogue), np.average([at[row[2]] for row in rows], weights=[row[4] for row in rows]), dtype=np.float64
    )
    expected[0] = (3 * at[1] + at[4]) / 4
    expected[1] = (2 * at[9] + at[2]) / 3  # rank 9 is clipped
    assert at[9] == 2.5
    expected *= likes.sum() / (expected @ likes)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_likes_of_often_examined_titles_weigh_less(trained: Any) -> None:
    catalogue = trained.inputs.catalogue
    rows: list[Row] = [
        *[(999, is_random, rank, seen, clicks) for _, is_random, rank, seen, clicks in in_random_order(0.5)],
        (100, False, 1, 400, 0),
        (101, False, 4, 200, 0),
        (101, True, 4, 200, 0),
        (102, False, 1, 10**9, 0),
        (103, False, 9, 1, 0),
    ]
    likes = np.array([3, 1, 1, 1] + [0] * (len(catalogue) - 4))
    likes[4] = 2  # in no list at all
    plain, weighted = (
        title_weights(ranks_of(*rows), catalogue, likes, OPTIONS.model_copy(update={"exposure_power": power}))
        for power in (0.0, 0.5)
    )
    curve = fit_examination(ranks_of(*rows))
    assert plain is not None
    assert weighted is not None
    assert curve is not None
    assert np.ptp(plain) == 0  # nothing was clicked but a title that is not in the catalogue
    looks = np.array([400, 400 * 4**-curve.decay, 1e9, 9**-curve.decay, 0])
    share = (looks + 10) / np.average(looks + 10, weights=likes[:5])
    expected = np.append(np.clip(share[:4] ** -0.5, 1 / 5, 5), 1)
    assert expected[0] == 5  # looked at a millionth as often as the mean like's title
    expected *= likes.sum() / (expected @ likes[:5])
    np.testing.assert_allclose(weighted[:5], expected, rtol=1e-5)
    assert (weighted @ likes) == pytest.approx(likes.sum(), rel=1e-5)


def test_debiased_popularity_is_likes_by_looks(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = trained.inputs.catalogue
    random_order: list[Row] = [(999, *row[1:]) for row in in_random_order(0.5)]
    rows: list[Row] = [*random_order, (100, False, 1, 390, 0), (101, False, 1, 90, 0), (102, False, 1, 10**9, 0)]
    likes = np.array([30, 20, 10, 6] + [0] * (len(catalogue) - 4))
    looks = np.array([400, 100, 10**9 + 10])
    share = looks / np.average([*looks, 10], weights=likes[:4])

    def popularity(ranks: ClickRanks, **changes: Any) -> np.ndarray:
        return debiased_popularity(ranks, catalogue, likes, OPTIONS.model_copy(update=changes))

    debiased = popularity(ranks_of(*rows), debiased_popularity_power=0.1, max_weight=1.0)
    assert 1 / 5 < share[2] ** -0.1 < share[1] ** -0.1 < 5
    np.testing.assert_allclose(debiased[:4], [*(likes[:3] * share**-0.1), 6], rtol=1e-5)  # the last was in no list
    assert not debiased[4:].any()
    np.testing.assert_array_equal(popularity(ranks_of(*rows)), likes)
    monkeypatch.setattr(weights_module, "MIN_CLICKS", 10**9)
    np.testing.assert_array_equal(popularity(ranks_of(*rows), debiased_popularity_power=0.1), likes)


def test_nothing_is_corrected_where_that_is_off_or_clicks_are_few(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    likes = np.ones(len(trained.inputs.catalogue), dtype=np.int64)

    def weights(ranks: ClickRanks, **changes: Any) -> Any:
        return title_weights(ranks, trained.inputs.catalogue, likes, OPTIONS.model_copy(update=changes))

    ranks = ranks_of(*in_random_order(0.5, seen=100))
    clicks = int(ranks.clicks.sum())
    assert weights(ranks, max_weight=1.0) is None
    monkeypatch.setattr(weights_module, "MIN_CLICKS", clicks + 1)
    assert weights(ranks) is None
    monkeypatch.setattr(weights_module, "MIN_CLICKS", clicks)
    assert weights(ranks) is not None
    assert weights(ranks.until(-1)) is None
    assert trained.inputs.title_weights is None  # a lake without ranks
