"""Examination model: a title at rank r is looked at with probability r ** -decay.

A click needs a look and a title that appeals. In random order appeal is the same at every rank, so clicks fall with the
rank as looks do, and the decay is fitted to them by maximum likelihood. Sources: Craswell et al. 2008, An experimental
comparison of click position-bias models (the examination hypothesis); Joachims et al. 2017, Unbiased learning-to-rank
with biased feedback (the power of the rank).
"""

from dataclasses import dataclass

import numpy as np

from models.debiasing.click_ranks import ClickRanks

_STEPS, _CONVERGED = 50, 1e-10  # of Newton's method


@dataclass(frozen=True)
class Examination:
    """The fitted decay."""

    decay: float
    error: float  # standard error of decay
    count_clicks: int  # that it was fitted to


def fit_examination(click_ranks: ClickRanks) -> Examination | None:
    """The decay of clicks in lists of random order; None where fewer than two ranks were clicked.

    Poisson regression of clicks on log rank, with impressions as exposure, by Newton's method.
    """
    ranks, impressions, clicks = click_ranks.where(click_ranks.is_random).by_rank()
    if np.count_nonzero(clicks) < 2:
        return None
    x = np.stack([np.ones(len(ranks)), np.log(ranks)], axis=1)
    coefficients = np.array([np.log(clicks.sum() / impressions.sum()), 0.0])
    for _ in range(_STEPS):
        expected = impressions * np.exp(x @ coefficients)
        information = x.T @ (expected[:, None] * x)
        step = np.linalg.solve(information, x.T @ (clicks - expected))
        coefficients += step
        if np.abs(step).max() < _CONVERGED:
            break
    error = float(np.sqrt(np.linalg.inv(information)[1, 1]))
    return Examination(max(-float(coefficients[1]), 0.0), error, int(clicks.sum()))
