"""The decay of looks, fitted to clicks in random order."""

import numpy as np
import pytest

from models.debiasing.examination import fit_examination
from tests.fixtures.click_ranks import Row, in_random_order, ranks_of


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.2])
def test_decay_of_looks_is_found_from_random_order_alone(decay: float) -> None:
    misleading: list[Row] = [(2, False, rank, 1000, 1000 // rank**2) for rank in (1, 2, 3)]
    found = fit_examination(ranks_of(*in_random_order(decay), *misleading))
    assert found is not None
    assert found.decay == pytest.approx(decay, abs=1e-3)


def test_error_is_how_far_estimates_scatter() -> None:
    random = np.random.default_rng(3)
    decays, errors = [], []
    for _ in range(200):
        drawn = [(1, True, rank, 900, int(random.poisson(900 * 0.17 * rank**-0.5))) for rank in range(1, 13)]
        found = fit_examination(ranks_of(*drawn))
        assert found is not None
        decays.append(found.decay)
        errors.append(found.error)
    assert np.mean(decays) == pytest.approx(0.5, abs=0.01)
    assert np.std(decays) == pytest.approx(np.mean(errors), rel=0.15)


def test_order_that_was_never_random_tells_nothing() -> None:
    assert fit_examination(ranks_of((1, False, 1, 100, 50), (1, False, 2, 100, 20))) is None
    assert fit_examination(ranks_of((1, True, 1, 100, 50), (1, True, 2, 100, 0))) is None


def test_clicks_that_rise_with_the_rank_decay_by_nothing() -> None:
    found = fit_examination(ranks_of((1, True, 1, 100, 10), (1, True, 2, 100, 20)))
    assert found is not None
    assert found.decay == 0
