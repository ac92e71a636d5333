"""What a title's place in a list does to its clicks, and how much its likes weigh in training for it.

    python -m models.position_bias --truth data/feeds/truth/position_bias.json

Reads click_ranks in <lake.root>, at its newest version; writes nothing. A line per rank: how often it was clicked in
random order beside the first, what the fitted curve says, and the same of all other lists, whose order was not chance.

A click needs two things: that the title is looked at, and that it appeals. In random order appeal is the same at every
rank, so that clicks fall with the rank as looking does: a title at rank r is looked at with probability r ** -decay,
fitted by maximum likelihood. Sources: Craswell et al. 2008, An experimental comparison of click position-bias models
(the examination hypothesis); Joachims et al. 2017, Unbiased learning-to-rank with biased feedback (the power of the
rank, and clicks weighed by its inverse, clipped).

The weights are means per title: those of single clicks, tried on the simulated guide, add more noise than they mend.

What a recommender shows to everybody collects likes by being shown, and is recommended for them again. Against that
likes weigh the less, the more often their title was looked at: impressions times the chance of a look, to a power. Of
people without a history nothing else is known, so that for them it is a higher power: see `appeal`.
"""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import PositionBias, Settings
from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue
from models.errors import ModelError

log = logging.getLogger("marquee")

TABLE = "click_ranks"
_COLUMNS = ("title_id", "ds", "is_random", "rank", "count_impressions", "count_clicks")
_STEPS, _ENOUGH = 50, 1e-10  # of Newton's method
_MOST_BY_EXPOSURE = 5.0  # that a like weighs more, or less, for how often its title was looked at
_FEW_LOOKS = 10.0  # among titles that were looked at less often than that, it hardly tells which were less so

Counts = NDArray[np.int64]
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class ClickRanks:
    """Rows of click_ranks: arrays of one length."""

    title_ids: Counts
    days: Counts  # since 1970-01-01
    is_random: NDArray[np.bool_]
    ranks: Counts
    impressions: Counts
    clicks: Counts

    def where(self, chosen: NDArray[np.bool_]) -> "ClickRanks":
        """Some of the rows."""
        return ClickRanks(*(values[chosen] for values in vars(self).values()))

    def until(self, day: float) -> "ClickRanks":
        """What was known at the end of a day, counted from 1970-01-01."""
        return self.where(self.days <= day)

    def by_rank(self) -> tuple[Counts, Counts, Counts]:
        """Each rank with its impressions and clicks; ranks never shown are left out."""
        impressions = np.bincount(self.ranks, weights=self.impressions).astype(np.int64)
        clicks = np.bincount(self.ranks, weights=self.clicks).astype(np.int64)
        shown = np.flatnonzero(impressions)
        return shown, impressions[shown], clicks[shown]


@dataclass(frozen=True)
class Examination:
    """A title at rank r is looked at with probability r ** -decay."""

    decay: float
    error: float  # standard error of decay
    clicks: int  # that it was fitted to


def read(snapshot: LakeSnapshot) -> ClickRanks:
    """The rows of a lake's click_ranks."""
    rows = snapshot.read(TABLE, _COLUMNS)
    columns = {name: rows[name].to_numpy() for name in _COLUMNS}
    columns["ds"] = columns["ds"].astype("datetime64[D]").astype(np.int64)
    return ClickRanks(*columns.values())


def examination(found: ClickRanks) -> Examination | None:
    """The decay by which lists in random order were clicked; None where no two ranks had a click.

    Poisson regression of clicks on log rank, with impressions as exposure, by Newton's method.
    """
    ranks, impressions, clicks = found.where(found.is_random).by_rank()
    if np.count_nonzero(clicks) < 2:
        return None
    x = np.stack([np.ones(len(ranks)), np.log(ranks)], axis=1)
    fitted = np.array([np.log(clicks.sum() / impressions.sum()), 0.0])
    for _ in range(_STEPS):
        expected = impressions * np.exp(x @ fitted)
        information = x.T @ (expected[:, None] * x)
        step = np.linalg.solve(information, x.T @ (clicks - expected))
        fitted += step
        if np.abs(step).max() < _ENOUGH:
            break
    error = float(np.sqrt(np.linalg.inv(information)[1, 1]))
    return Examination(max(-float(fitted[1]), 0.0), error, int(clicks.sum()))


def title_weights(found: ClickRanks, catalogue: Catalogue, likes: Counts, options: PositionBias) -> Weights | None:
    """What a like of each title of the catalogue weighs, [titles]: the mean over its clicks of 1 / chance of a look.

    A click weighs `options.max_weight` at most, a title without clicks what the mean click does; the mean over `likes`
    [titles], how often each was liked, is 1. Of a title that was often looked at they are smaller, see `_by_exposure`.
    None, all the same, where random order had too few clicks to tell by.
    """
    curve = _told_well(found, options) if options.max_weight > 1 else None
    if curve is None:
        return None
    per_click = np.minimum(found.ranks.astype(np.float64) ** curve.decay, options.max_weight)
    places = catalogue.rows(found.title_ids)
    clicks, mean = _by_title(places, found.clicks, len(likes)), np.average(per_click, weights=found.clicks)
    weights = np.where(
        clicks > 0, _by_title(places, per_click * found.clicks, len(likes)) / np.maximum(clicks, 1), mean
    )
    weights *= _by_exposure(_looks(found, places, curve, len(likes)), likes, options.exposure_power)
    log.info("position bias: decay %.3f ± %.3f, of %d clicks", curve.decay, curve.error, curve.clicks)
    return (weights * likes.sum() / (weights @ likes)).astype(np.float32)


def appeal(found: ClickRanks, catalogue: Catalogue, likes: Counts, options: PositionBias) -> Weights:
    """How much each title of the catalogue appeals to somebody of whom nothing is known, [titles].

    Its `likes` [titles], divided by how often it was looked at to the power `options.appeal_power`; by nothing where
    random order had too few clicks to tell by.
    """
    curve = _told_well(found, options)
    if curve is None:
        return likes.astype(np.float32)
    looks = _looks(found, catalogue.rows(found.title_ids), curve, len(likes))
    return (likes * _by_exposure(looks, likes, options.appeal_power)).astype(np.float32)


def _told_well(found: ClickRanks, options: PositionBias) -> Examination | None:
    """The decay, where there were clicks enough."""
    curve = examination(found)
    return None if curve is None or curve.clicks < options.min_clicks else curve


def _looks(found: ClickRanks, places: Counts, curve: Examination, count_titles: int) -> NDArray[np.float64]:
    """[titles]: how often each was looked at, as expected from where it stood; `places` [rows] are its positions."""
    return _by_title(places, found.impressions * found.ranks.astype(np.float64) ** -curve.decay, count_titles)


def _by_title(places: Counts, values: NDArray[Any], count_titles: int) -> NDArray[Any]:
    """[titles]: sums of `values` [rows], at `places` [rows]; below 0 is a title that the catalogue lacks."""
    is_known = places >= 0
    return np.bincount(places[is_known], weights=values[is_known], minlength=count_titles)


def _by_exposure(looks: NDArray[np.float64], likes: Counts, power: float) -> NDArray[np.float64]:
    """[titles]: what was looked at twice as often as the mean like's title weighs some 2 ** -power, within bounds.

    1 for titles that were in no list: whoever liked them found them elsewhere.
    """
    share = (looks + _FEW_LOOKS) / np.average(looks + _FEW_LOOKS, weights=likes)
    return np.where(looks > 0, np.clip(share**-power, 1 / _MOST_BY_EXPOSURE, _MOST_BY_EXPOSURE), 1.0)


def work(settings: Settings, arguments: Namespace) -> None:
    snapshot = LakeSnapshot.pin(settings.lake.root, [TABLE])
    found = read(snapshot)
    curve = examination(found)
    if curve is None:
        raise ModelError(
            f"{snapshot.location(TABLE)}: no two ranks were clicked in random order; see position_bias.random_variant"
        )
    truth = json.loads(arguments.truth.read_text(encoding="utf-8")) if arguments.truth else {}
    title = f"looked at: rank ** -{curve.decay:.3f} ± {curve.error:.3f}; {curve.clicks:,} clicks"
    shown = RichTable("rank", "in random order", "fitted", "in other lists", *(["truth"] if truth else []), title=title)
    columns = [_beside_first(found.where(found.is_random)), _beside_first(found.where(~found.is_random))]
    for rank in sorted(columns[0]):
        other = columns[1].get(rank)
        values = [columns[0][rank], rank**-curve.decay, other, *([truth.get(str(rank))] if truth else [])]
        shown.add_row(str(rank), *["" if value is None else f"{value:.3f}" for value in values])
    command_line.console().print(shown)


def _beside_first(found: ClickRanks) -> dict[int, float]:
    """Clicks an impression by rank, over those of the first rank that has any."""
    ranks, impressions, clicks = found.by_rank()
    rates = clicks / impressions
    first = next((rate for rate in rates if rate > 0), np.nan)
    return dict(zip(ranks.tolist(), (rates / first).tolist(), strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--truth", type=Path, metavar="JSON", help="chance of a look by rank, to show beside")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
