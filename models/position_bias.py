"""Show clicks by rank, in random order and in other lists, beside the fitted chance of a look.

    python -m models.position_bias --truth data/feeds/truth/position_bias.json

Reads click_ranks in <lake.root>, at its newest version; writes nothing. Prints a line per rank: its rate of clicks in
random order over that of the first rank, the fitted curve, and the same rate in all other lists. For the model and its
sources see models/debiasing.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import Settings
from lake.snapshot import LakeSnapshot
from models.debiasing.click_ranks import TABLE, ClickRanks, read_click_ranks
from models.debiasing.examination import fit_examination
from models.errors import ModelError


def work(settings: Settings, arguments: Namespace) -> None:
    snapshot = LakeSnapshot.pin(settings.lake.root, [TABLE])
    click_ranks = read_click_ranks(snapshot)
    examination = fit_examination(click_ranks)
    if examination is None:
        raise ModelError(
            f"{snapshot.location(TABLE)}: no two ranks were clicked in random order; see position_bias.random_variant"
        )
    truth = json.loads(arguments.truth.read_text(encoding="utf-8")) if arguments.truth else {}
    title = (
        f"looked at: rank ** -{examination.decay:.3f} ± {examination.error:.3f}; {examination.count_clicks:,} clicks"
    )
    shown = RichTable("rank", "in random order", "fitted", "in other lists", *(["truth"] if truth else []), title=title)
    in_random_order = _relative_click_rates(click_ranks.where(click_ranks.is_random))
    in_other_lists = _relative_click_rates(click_ranks.where(~click_ranks.is_random))
    for rank in sorted(in_random_order):
        values = [in_random_order[rank], rank**-examination.decay, in_other_lists.get(rank)]
        values += [truth.get(str(rank))] if truth else []
        shown.add_row(str(rank), *["" if value is None else f"{value:.3f}" for value in values])
    command_line.console().print(shown)


def _relative_click_rates(click_ranks: ClickRanks) -> dict[int, float]:
    """Clicks per impression by rank, over those of the first rank that has any."""
    ranks, impressions, clicks = click_ranks.by_rank()
    rates = clicks / impressions
    first = next((rate for rate in rates if rate > 0), np.nan)
    return dict(zip(ranks.tolist(), (rates / first).tolist(), strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--truth", type=Path, metavar="JSON", help="file with the true chance of a look by rank")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
