"""The gate: decide whether the night's challenger may replace the champion.

Reads `evaluations` of --ds (made by models.evaluate_night), feed_loads, the registry and what models.backtest last
wrote to <report.root>/backtest; writes the verdict and every check to `gate_results`, and the page
<report.root>/DATE/gate.html. It promotes nothing itself: indexing.promote promotes what the gate
has passed.

The exit code is 0 for a pass and 3 for a refusal. The rules are in models/gating/gate_rules.py, their tolerances in the
section `gate` of the settings. --override passes the challenger in spite of failed checks; the reason is kept in the
table and on the page. A challenger that is already the champion keeps its verdict.
"""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from conf import command_line
from conf.settings import Settings
from lake import feed_days, night_files
from lake.model_names import registered_name
from models.errors import ModelError
from models.evaluation import comparison, evaluations_table
from models.gating import gate_page, gate_results
from models.gating.gate_results import Verdict
from models.gating.gate_rules import Check, judge_data, judge_models, judge_new_titles
from models.studies import new_titles
from models.tracking import registry

log = logging.getLogger("marquee")

REFUSED = 3


def judge(settings: Settings, ds: date, model: str) -> tuple[str, list[Check]]:
    """The reference model and all checks of a challenger. Raises ModelError where it was not measured."""
    measurements = evaluations_table.read(settings.lake.root, ds)
    against = evaluations_table.against(settings.lake.root, ds, model)
    if against is None or against not in measurements:
        raise ModelError(f"{model} was not measured on {ds}; run python -m models.evaluate_night --ds {ds}")
    k = settings.evaluation.k[0]
    try:
        challenger, reference = measurements[model], measurements[against]
        checks = judge_models(challenger, reference, k, settings.gate, comparison.CONFIDENCE)
        checks += judge_new_titles(read_backtest(settings), settings.gate)
        return against, [*checks, *judge_data(feed_days.read(settings.lake.root), ds, settings.gate)]
    except ValueError as error:
        raise ModelError(f"the gate can't judge {model} on {ds}: {error}") from error


def read_backtest(settings: Settings) -> Mapping[str, Any]:
    """The summary that models.backtest wrote last; without a ratio before its first run."""
    file = night_files.backtest(settings) / new_titles.FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else new_titles.summary(None)


def record(settings: Settings, verdict: Verdict) -> None:
    """Write a verdict to its table and its page."""
    gate_results.write(settings.lake.root, verdict)
    file = night_files.gate(settings, verdict.ds)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(gate_page.render(verdict), encoding="utf-8")


def work(settings: Settings, arguments: Namespace) -> int:
    challenger = registry.fetch(settings, registry.CHALLENGER)
    champion = registry.champion_or_none(settings)
    model = registered_name(challenger.version)
    earlier = gate_results.newest(settings.lake.root, model)
    if champion and champion.version == challenger.version and earlier:
        print(f"{model} is the champion already, by the verdict of {earlier.ds}: {earlier.decision}, {earlier.why}")
        return 0
    against, checks = judge(settings, arguments.ds, model)
    verdict = gate_results.decide(arguments.ds, model, against, checks, arguments.why if arguments.override else None)
    record(settings, verdict)
    print(f"page: {night_files.gate(settings, arguments.ds)}")
    print(f"{verdict.decision} {model}, compared with {against}: {verdict.why}")
    return 0 if verdict.is_yes else REFUSED


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--ds", type=date.fromisoformat, required=True, metavar="DATE", help="the night")
    parser.add_argument("--override", action="store_true", help="pass in spite of failed checks; needs --why")
    parser.add_argument("--why", metavar="TEXT", help="who overrides, and why")

    def checked(settings: Settings, arguments: Namespace) -> int:
        if arguments.override != bool(arguments.why):
            parser.error("--override and --why go together")
        return work(settings, arguments)

    return command_line.run(parser, checked, argv)


if __name__ == "__main__":
    sys.exit(main())
