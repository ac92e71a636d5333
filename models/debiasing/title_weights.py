"""Weight of a title's likes in training, and its popularity, both corrected for how often it was looked at.

A click weighs the inverse of the chance of a look, clipped (Joachims et al. 2017, Unbiased learning-to-rank with biased
feedback). Weights are means per title: weights of single clicks add more noise than they remove.

A recommender's own lists collect likes by being shown, and these get the same titles recommended again. So a like
weighs less, the more often its title was looked at: impressions times the chance of a look, to a power. For users
without history popularity is all there is, and its power is higher.
"""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.settings import PositionBias
from lake.arrays import Doubles, Floats, Ids
from models.data.catalogue import Catalogue
from models.debiasing.click_ranks import ClickRanks
from models.debiasing.examination import Examination, fit_examination

log = logging.getLogger("marquee")

# Clicks on lists in random order that the correction needs: the decay fitted to fewer is mostly chance.
MIN_CLICKS = 200
_MAX_FACTOR = 5.0  # by which exposure may raise or lower the weight of a like
_PRIOR_LOOKS = 10.0  # added to every title: differences among fewer looks hardly count


def title_weights(
    click_ranks: ClickRanks, catalogue: Catalogue, positive_counts: Ids, options: PositionBias
) -> Floats | None:
    """[titles]: the weight of a like, the mean over the title's clicks of 1 / chance of a look.

    A click weighs `options.max_weight` at most, and a title without clicks gets the mean click's weight. The mean over
    likes, of which each title has `positive_counts` [titles], is 1. Exposure lowers the weight, see
    `_exposure_factors`. None, for equal weights, where random order has fewer clicks than MIN_CLICKS.
    """
    examination = _reliable_examination(click_ranks) if options.max_weight > 1 else None
    if examination is None:
        return None
    count_titles = len(positive_counts)
    click_weights = np.minimum(click_ranks.ranks.astype(np.float64) ** examination.decay, options.max_weight)
    title_rows = catalogue.rows(click_ranks.title_ids)
    clicks = _sum_by_title(title_rows, click_ranks.clicks, count_titles)
    summed = _sum_by_title(title_rows, click_weights * click_ranks.clicks, count_titles)
    mean = np.average(click_weights, weights=click_ranks.clicks)
    weights = np.where(clicks > 0, summed / np.maximum(clicks, 1), mean)
    looks = _expected_looks(click_ranks, title_rows, examination, count_titles)
    weights *= _exposure_factors(looks, positive_counts, options.exposure_power)
    log.info(
        "position bias: decay %.3f ± %.3f, of %d clicks", examination.decay, examination.error, examination.count_clicks
    )
    return (weights * positive_counts.sum() / (weights @ positive_counts)).astype(np.float32)


def debiased_popularity(
    click_ranks: ClickRanks, catalogue: Catalogue, positive_counts: Ids, options: PositionBias
) -> Floats:
    """[titles]: `positive_counts` [titles] divided by expected looks to the power `options.debiased_popularity_power`.

    Plain `positive_counts` where random order has fewer clicks than MIN_CLICKS.
    """
    examination = _reliable_examination(click_ranks)
    if examination is None:
        return positive_counts.astype(np.float32)
    title_rows = catalogue.rows(click_ranks.title_ids)
    looks = _expected_looks(click_ranks, title_rows, examination, len(positive_counts))
    return (positive_counts * _exposure_factors(looks, positive_counts, options.debiased_popularity_power)).astype(
        np.float32
    )


def _reliable_examination(click_ranks: ClickRanks) -> Examination | None:
    """The fitted examination; None for fewer clicks than MIN_CLICKS."""
    examination = fit_examination(click_ranks)
    return None if examination is None or examination.count_clicks < MIN_CLICKS else examination


def _expected_looks(click_ranks: ClickRanks, title_rows: Ids, examination: Examination, count_titles: int) -> Doubles:
    """[titles]: impressions times the chance of a look; `title_rows` are the titles of `click_ranks`."""
    looks = click_ranks.impressions * click_ranks.ranks.astype(np.float64) ** -examination.decay
    return _sum_by_title(title_rows, looks, count_titles)


def _sum_by_title(title_rows: Ids, values: Doubles | Ids, count_titles: int) -> NDArray[Any]:
    """[titles]: sums of `values`; titles that the catalogue lacks, of row -1, are left out."""
    is_known = title_rows >= 0
    return np.bincount(title_rows[is_known], weights=values[is_known], minlength=count_titles)


def _exposure_factors(looks: Doubles, positive_counts: Ids, power: float) -> Doubles:
    """[titles]: about 2 ** -power for a title looked at twice as often as the mean like's title, within bounds.

    1 for titles that were in no list: users found them elsewhere.
    """
    relative = (looks + _PRIOR_LOOKS) / np.average(looks + _PRIOR_LOOKS, weights=positive_counts)
    return np.where(looks > 0, np.clip(relative**-power, 1 / _MAX_FACTOR, _MAX_FACTOR), 1.0)
