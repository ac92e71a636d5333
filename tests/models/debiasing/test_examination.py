"""The decay of examination by rank, fitted to clicks in random order."""

import numpy as np
import pytest

from models.debiasing.examination import fit_examination
from tests.fixtures.click_ranks import Row, in_random_order, ranks_of


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.2])
def test_decay_is_fitted_to_random_order_alone(decay: float) -> None:
    misleading: list[Row] = [(2, False, rank, 1000, 1000 // rank**2) for rank in (1, 2, 3)]
    fitted = fit_examination(ranks_of(*in_random_order(decay), *misleading))
    assert fitted is not None
    assert fitted.decay == pytest.approx(decay, abs=1e-3)


def test_error_is_the_deviation_of_estimates() -> None:
    random = np.random.default_rng(3)
    decays, errors = [], []
    for _ in range(200):
        drawn = [(1, True, rank, 900, int(random.poisson(900 * 0.17 * rank**-0.5))) for rank in range(1, 13)]
        fitted = fit_examination(ranks_of(*drawn))
        assert fitted is not None
        decays.append(fitted.decay)
        errors.append(fitted.error)
    assert np.mean(decays) == pytest.approx(0.5, abs=0.01)
    assert np.std(decays) == pytest.approx(np.mean(errors), rel=0.15)


def test_without_clicks_in_random_order_nothing_is_fitted() -> None:
    assert fit_examination(ranks_of((1, False, 1, 100, 50), (1, False, 2, 100, 20))) is None
    assert fit_examination(ranks_of((1, True, 1, 100, 50), (1, True, 2, 100, 0))) is None


def test_clicks_that_rise_with_the_rank_give_a_decay_of_0() -> None:
    fitted = fit_examination(ranks_of((1, True, 1, 100, 10), (1, True, 2, 100, 20)))
    assert fitted is not None
    assert fitted.decay == 0
