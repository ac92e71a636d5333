"""Position bias: what random order tells of ranks, and what a like weighs for the places at which a title was met."""

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.settings import PositionBias
from models import position_bias
from models.data.model_tables import EVALUATION_TABLES
from models.position_bias import ClickRanks

OPTIONS = PositionBias(random_variant="explore", max_weight=2.5, exposure_power=0.0, appeal_power=0.0, min_clicks=100)
MAY_1 = date(2024, 5, 1)

Row = tuple[int, bool, int, int, int]  # title, in random order, rank, impressions, clicks


def ranks_of(*rows: Row, days: Sequence[int] | None = None) -> ClickRanks:
    titles, is_random, ranks, impressions, clicks = (np.array(values) for values in zip(*rows, strict=True))
    return ClickRanks(titles, np.array(days or [0] * len(rows)), is_random, ranks, impressions, clicks)


def in_random_order(decay: float, seen: int = 100_000, share: float = 0.2, ranks: int = 12) -> list[Row]:
    """As many clicks as are expected."""
    return [(1, True, rank, seen, round(seen * share * rank**-decay)) for rank in range(1, ranks + 1)]


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.2])
def test_decay_of_looks_is_found_from_random_order_alone(decay: float) -> None:
    misleading: list[Row] = [(2, False, rank, 1000, 1000 // rank**2) for rank in (1, 2, 3)]
    found = position_bias.examination(ranks_of(*in_random_order(decay), *misleading))
    assert found is not None
    assert found.decay == pytest.approx(decay, abs=1e-3)


def test_error_is_how_far_estimates_scatter() -> None:
    random = np.random.default_rng(3)
    decays, errors = [], []
    for _ in range(200):
        drawn = [(1, True, rank, 900, int(random.poisson(900 * 0.17 * rank**-0.5))) for rank in range(1, 13)]
        found = position_bias.examination(ranks_of(*drawn))
        assert found is not None
        decays.append(found.decay)
        errors.append(found.error)
    assert np.mean(decays) == pytest.approx(0.5, abs=0.01)
    assert np.std(decays) == pytest.approx(np.mean(errors), rel=0.15)


def test_order_that_was_never_random_tells_nothing() -> None:
    assert position_bias.examination(ranks_of((1, False, 1, 100, 50), (1, False, 2, 100, 20))) is None
    assert position_bias.examination(ranks_of((1, True, 1, 100, 50), (1, True, 2, 100, 0))) is None


def test_clicks_that_rise_with_the_rank_decay_by_nothing() -> None:
    found = position_bias.examination(ranks_of((1, True, 1, 100, 10), (1, True, 2, 100, 20)))
    assert found is not None
    assert found.decay == 0


def test_a_like_weighs_the_mean_over_the_titles_clicks(trained: Any) -> None:
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
    weights = position_bias.title_weights(ranks_of(*rows), catalogue, likes, OPTIONS)
    assert weights is not None
    curve = position_bias.examination(ranks_of(*rows))
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


def test_likes_of_what_was_often_looked_at_weigh_less(trained: Any) -> None:
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
    plain, found = (
        position_bias.title_weights(
            ranks_of(*rows), catalogue, likes, OPTIONS.model_copy(update={"exposure_power": power})
        )
        for power in (0.0, 0.5)
    )
    curve = position_bias.examination(ranks_of(*rows))
    assert plain is not None
    assert found is not None
    assert curve is not None
    assert np.ptp(plain) == 0  # nothing was clicked but a title that is not in the catalogue
    looks = np.array([400, 400 * 4**-curve.decay, 1e9, 9**-curve.decay, 0])
    share = (looks + 10) / np.average(looks + 10, weights=likes[:5])
    expected = np.append(np.clip(share[:4] ** -0.5, 1 / 5, 5), 1)
    assert expected[0] == 5  # looked at a millionth as often as the mean like's title
    expected *= likes.sum() / (expected @ likes[:5])
    np.testing.assert_allclose(found[:5], expected, rtol=1e-5)
    assert (found @ likes) == pytest.approx(likes.sum(), rel=1e-5)


def test_appeal_is_likes_by_looks(trained: Any) -> None:
    catalogue = trained.inputs.catalogue
    random_order: list[Row] = [(999, *row[1:]) for row in in_random_order(0.5)]
    rows: list[Row] = [*random_order, (100, False, 1, 390, 0), (101, False, 1, 90, 0), (102, False, 1, 10**9, 0)]
    likes = np.array([30, 20, 10, 6] + [0] * (len(catalogue) - 4))
    looks = np.array([400, 100, 10**9 + 10])
    share = looks / np.average([*looks, 10], weights=likes[:4])

    def appeal(found: ClickRanks, **changes: Any) -> np.ndarray:
        return position_bias.appeal(found, catalogue, likes, OPTIONS.model_copy(update=changes))

    found = appeal(ranks_of(*rows), appeal_power=0.1, max_weight=1.0)
    assert 1 / 5 < share[2] ** -0.1 < share[1] ** -0.1 < 5
    np.testing.assert_allclose(found[:4], [*(likes[:3] * share**-0.1), 6], rtol=1e-5)  # the last was in no list
    assert not found[4:].any()
    np.testing.assert_array_equal(appeal(ranks_of(*rows)), likes)
    np.testing.assert_array_equal(appeal(ranks_of(*rows), appeal_power=0.1, min_clicks=10**9), likes)


def test_nothing_is_corrected_where_that_is_off_or_too_little_is_known(trained: Any) -> None:
    likes = np.ones(len(trained.inputs.catalogue), dtype=np.int64)

    def weights(found: ClickRanks, **changes: Any) -> Any:
        return position_bias.title_weights(found, trained.inputs.catalogue, likes, OPTIONS.model_copy(update=changes))

    found = ranks_of(*in_random_order(0.5, seen=100))
    clicks = int(found.clicks.sum())
    assert weights(found, max_weight=1.0) is None
    assert weights(found, min_clicks=clicks + 1) is None
    assert weights(found, min_clicks=clicks) is not None
    assert weights(found.until(-1)) is None
    assert trained.inputs.title_weights is None  # a lake without ranks


def test_days_after_one_are_not_known() -> None:
    found = ranks_of((1, True, 1, 5, 1), (2, True, 1, 5, 1), days=[3, 4])
    assert found.until(3.0).title_ids.tolist() == [1]


def test_the_command_shows_both_orders_and_the_truth(
    tiny_lake: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tiny_lake(tmp_path / "lake")
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"1": 1.0, "2": 0.71}))
    options = ["--set", f"lake.root={own.root}", "--truth", str(truth)]
    assert position_bias.main(options) == 1
    assert "no two ranks were clicked in random order" in capsys.readouterr().err
    rows = [(100, MAY_1, True, 1, 1000, 100), (100, MAY_1, True, 2, 1000, 70), (100, MAY_1, False, 1, 100, 80)]
    own.write_click_ranks([*rows, (101, MAY_1, False, 2, 100, 20)])
    assert position_bias.main(options) == 0
    shown = capsys.readouterr().out
    assert "170 clicks" in shown
    second = next(line for line in shown.splitlines() if line.startswith("│ 2 "))
    assert [cell.strip() for cell in second.split("│")[1:-1]] == ["2", "0.700", "0.700", "0.250", "0.710"]


def test_a_lake_without_the_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert position_bias.main(["--set", f"lake.root={tmp_path}"]) == 1
    assert "click_ranks" in capsys.readouterr().err
    assert position_bias.TABLE not in EVALUATION_TABLES  # so what only measures does not need it
