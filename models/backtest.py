"""Backtest historical nights: accuracy for new titles from their release day on, relative to known titles.

    python -m models.backtest --from 2024-05-04 --to 2024-05-13

Reads title_features, vocabularies, click_ranks, training_examples and training_users in <lake.root>, at their newest
versions; writes to the folder --out, by default <report.root>/backtest, and to a run in MLflow:

  backtest.csv   recall and NDCG by age of the title at the moment of the like, and by the number of its likes known
                 on the night, with intervals over users
  ratios.csv     each of these as a share of the figure for known titles
  nights.csv     figures per night
  backtest.json  the cold-to-warm ratio that the gate reads
  recall.png, ndcg.png

For every night from --from to --to, or every --step-days, our model and the baselines of --models are trained on what
was known at its end; with --warm-start our towers start from those of the night before. Each model recommends to all
users with likes in the --horizon-days after, among all titles released by then. Nothing that happened later is known,
except metadata, which is the current one.

References for ages are the same titles later (`later`: those released since the first night, once they are older than
a week old) and titles older than a month (`older`); for known likes, the last band. The
cold-to-warm ratio is recall at age 0 divided by that of `later`, or of `older` where fewer than gate.min_users users
liked a title later.
"""

import json
import logging
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import Settings
from lake import night_files, provenance
from lake.arrays import Ids
from lake.model_names import ALS_BASELINE, REGISTERED_MODEL
from models.baselines.build import baselines
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.positives import Positives
from models.errors import ModelError
from models.evaluation import measurement, plots
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.measurement import Measurement
from models.evaluation.metric_registry import HEADLINE_METRICS
from models.recommender import recommend
from models.studies import historical_nights, new_titles
from models.studies.historical_nights import InteractionLog
from models.studies.new_titles import AGE, Ratio, Values
from models.tracking import runs

log = logging.getLogger("marquee")

OURS = REGISTERED_MODEL


def nights_between(first: date, last: date, step_days: int) -> list[date]:
    """Nights from the first to the last, `step_days` apart."""
    return [first + timedelta(days=n) for n in range(0, (last - first).days + 1, step_days)]


def replay_nights(
    settings: Settings,
    interactions: InteractionLog,
    nights: Sequence[date],
    names: Sequence[str],
    horizon_days: int,
    is_warm_start: bool,
) -> Values:
    """Figures of all users on every night.

    Nights without known likes, or without likes after them, are left out. Raises ModelError where none is left.
    """
    is_new = interactions.catalogue.release_days >= historical_nights.day_number(nights[0])
    model: TwoTower | None = None
    tables = []
    for night in nights:
        started = time.monotonic()
        known = interactions.known_by(night)
        evaluation_set = interactions.evaluation_set_after(night, horizon_days, known) if known.liked.nnz else None
        if evaluation_set is None:
            log.info("%s: left out, without likes before or after it", night)
            continue
        model = historical_nights.train_night(settings, interactions, night, known, model if is_warm_start else None)
        lists = _lists(settings, names, interactions, known, evaluation_set, model)
        tables.append(new_titles.values_of_night(settings, night, lists, evaluation_set, known, is_new))
        log.info(
            "%s: trained on %d likes, evaluated on %d users in %.0f s",
            *(night, known.liked.nnz, len(evaluation_set.user_ids), time.monotonic() - started),
        )
    if not tables:
        raise ModelError(f"no night from {nights[0]} to {nights[-1]} has likes before and after it")
    return pd.concat(tables, ignore_index=True)


def _lists(
    settings: Settings,
    names: Sequence[str],
    interactions: InteractionLog,
    known: Positives,
    evaluation_set: EvaluationSet,
    trained: TwoTower,
) -> dict[str, Ids]:
    """[users, k] by model."""
    k = settings.evaluation.k[0]
    lists = {OURS: CatalogueModel(trained, interactions.catalogue).recommend_for(evaluation_set, k)}
    makers = baselines(settings.baselines, known, settings.seed)
    for name in names:
        model = makers[name]()
        model.fit(known.liked, interactions.catalogue.content)
        lists[name] = recommend(model, evaluation_set.histories, k, evaluation_set.candidates, evaluation_set.ignored)
    return lists


def print_measurements(measurements: Mapping[str, Sequence[Measurement]], metric: str) -> None:
    """Print one line per segment and one column per model."""
    shown = RichTable(title=f"{metric} by age at the like, and by likes known on the night")
    shown.add_column("titles")
    shown.add_column("users", justify="right")
    cells: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}
    for model, rows in measurements.items():
        shown.add_column(model, justify="right")
        for row in rows:
            if row.name == metric:
                line = f"{row.dimension} {row.segment}"
                cells.setdefault(line, {})[model] = f"{row.mean:.3f} ({row.low:.3f} to {row.high:.3f})"
                counts[line] = row.count_users
    for line, by_model in cells.items():
        shown.add_row(line, f"{counts[line]:,}", *[by_model.get(model, "") for model in measurements])
    command_line.console().print(shown)


def print_ratios(ratios: Sequence[Ratio], metric: str) -> None:
    """Print one line per segment and reference, and one column per model."""
    shown = RichTable(title=f"{metric} as a share of that of known titles")
    models = list(dict.fromkeys(ratio.model for ratio in ratios))
    for name in ("titles", "share of", *models):
        shown.add_column(name, justify="right" if name in models else "left")
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for ratio in ratios:
        if ratio.metric == metric:
            estimate = ratio.estimate
            cell = f"{estimate.mean:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
            cells.setdefault((f"{ratio.dimension} {ratio.segment}", ratio.reference), {})[ratio.model] = cell
    for (titles, reference), by_model in cells.items():
        shown.add_row(titles, reference, *[by_model.get(model, "") for model in models])
    command_line.console().print(shown)


def work(settings: Settings, arguments: Namespace) -> None:
    interactions = historical_nights.read_interaction_log(settings)
    nights = nights_between(arguments.first, arguments.last, arguments.step_days)
    makers = baselines(settings.baselines, interactions.known_by(nights[-1]), settings.seed)
    if unknown := [name for name in arguments.models if name not in makers]:
        raise ModelError(f"no baseline {unknown[0]!r}; there are {', '.join(makers)}")
    horizon_days = arguments.horizon_days or arguments.step_days
    values = replay_nights(settings, interactions, nights, arguments.models, horizon_days, arguments.warm_start)
    measurements, ratios = new_titles.measure_segments(values, settings), new_titles.compare(values, settings)
    k = settings.evaluation.k[0]
    for metric in HEADLINE_METRICS:
        print_measurements(measurements, f"{metric}@{k}")
    print_ratios(ratios, "recall")
    ratio = new_titles.cold_to_warm(ratios, OURS, settings.gate.min_users)
    summary = {
        "model": OURS,
        "lake": settings.lake.root,
        "first_night": str(nights[0]),
        "last_night": str(nights[-1]),
        "nights": values["night"].nunique(),
        "horizon_days": horizon_days,
        "warm_start": arguments.warm_start,
        **new_titles.summary(ratio),
    }
    texts = {
        "backtest.csv": measurement.to_frame(measurements).to_csv(index=False),
        "ratios.csv": new_titles.ratios_frame(ratios).to_csv(index=False),
        "nights.csv": new_titles.nights_frame(values).to_csv(index=False),
        new_titles.FILE: json.dumps(summary, indent=1) + "\n",
    }
    out = arguments.out or night_files.backtest(settings)
    out.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (out / file).write_text(text, encoding="utf-8")
    for metric in HEADLINE_METRICS:
        plots.by_segment(measurements, AGE, metric, k).savefig(out / f"{metric}.png", dpi=120)
    with runs.start_run(settings, None, "backtest"):
        mlflow.set_tags({"lake": settings.lake.root, "git_commit": provenance.git_commit()})
        mlflow.log_artifacts(str(out), "backtest")
    print(_format_ratio(ratio))


def _format_ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "cold to warm: no ratio, since there are no likes on release day or none of known titles"
    estimate = ratio.estimate
    return (
        f"cold to warm: {estimate.mean:.2f} ({estimate.low:.2f} to {estimate.high:.2f}) of the recall of"
        f" {ratio.reference} titles, by {estimate.count_users:,} users who liked a title on its release day"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True, metavar="DATE")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, required=True, metavar="DATE")
    parser.add_argument("--step-days", type=int, default=1, metavar="N", help="days between nights; default: 1")
    parser.add_argument("--horizon-days", type=int, metavar="N", help="days measured after a night")
    parser.add_argument(
        "--models", nargs="*", default=[ALS_BASELINE, "als_ridge"], metavar="NAME", help="baselines to compare with"
    )
    parser.add_argument("--warm-start", action="store_true", help="start from the towers of the night before")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: where the gate looks, <report.root>/backtest"
    )

    def checked(settings: Settings, arguments: Namespace) -> None:
        if arguments.last < arguments.first:
            parser.error("--to lies before --from")
        if arguments.step_days < 1 or (arguments.horizon_days or 1) < 1:
            parser.error("--step-days and --horizon-days must be 1 or more")
        work(settings, arguments)

    return command_line.run(parser, checked, argv, (MlflowException,))


if __name__ == "__main__":
    sys.exit(main())
