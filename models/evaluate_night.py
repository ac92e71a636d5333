"""Measure tonight's challenger beside the champion and the recommender being replaced, for the gate and the report.

Reads title_features, vocabularies, training_examples and training_users in <lake.root>, at their newest versions, and
the registered models; writes the rows of --ds in `evaluations`, each model's lists to <report.root>/DATE/lists, and
what the challenger's dial trades to <report.root>/DATE/dial.csv; figures and plots go to its run in MLflow, and so do
the named settings of its dial.

The truth are the positives of the split `gate.split`. Differences are to the champion, and before there is one to ALS.

Titles that nobody has met by this night can only be misses, for the one model that can recommend them at all. So what
is judged are lists without them (condensed lists: Sakai 2007, Alternatives to bpref), of every model. That favours who
recommends such titles: how many places they take, and accuracy where they count as misses, stand beside it.
"""

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from conf import command_line
from conf.settings import Settings
from lake.model_names import ALS_BASELINE, registered_name
from lake.snapshot import LakeSnapshot
from models import evaluate
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.catalogue import Catalogue, read_catalogue
from models.data.model_tables import EVALUATION_TABLES
from models.data.positives import Positives, read_positives, read_seen_titles
from models.evaluation import dial_curve, dial_settings, evaluations_table, measurement, plots
from models.evaluation.evaluation_set import EvaluationSet, of_split
from models.tracking import registry, runs

log = logging.getLogger("marquee")

BASELINES = ("popularity", ALS_BASELINE)


def models_of_night(settings: Settings) -> tuple[dict[str, str], str]:
    """What is measured, by the name that tables call it, as models.evaluate asks for it; and what it is compared with.

    Raises ModelError before a challenger was registered.
    """
    challenger, champion = registry.fetch(settings, registry.CHALLENGER), registry.champion_or_none(settings)
    versions = [challenger.version, *([champion.version] if champion else [])]
    asked = {**{name: name for name in BASELINES}, **{registered_name(n): str(n) for n in versions}}
    is_other = champion is not None and champion.version != challenger.version
    return asked, registered_name(champion.version) if champion and is_other else ALS_BASELINE


def work(settings: Settings, arguments: Namespace) -> None:
    asked, against = models_of_night(settings)
    snapshot = LakeSnapshot.pin(settings.lake.root, EVALUATION_TABLES)
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    held_out = of_split(snapshot, settings.gate.split, catalogue)
    is_seen = read_seen_titles(snapshot, catalogue)
    judged = held_out.among(is_seen)
    lists = evaluate.recommend_by_all(settings, list(asked.values()), train, catalogue, [held_out, judged])
    named, condensed = ({name: lists_of[own] for name, own in asked.items()} for lists_of in lists)
    options, seed = settings.evaluation, settings.seed
    found = measurement.measure(condensed, against, judged, catalogue, train.liked, options, seed)
    unmet = measurement.measure_unseen(named, against, held_out, is_seen, options, seed)
    found = {name: [*rows, *unmet[name]] for name, rows in found.items()}
    evaluations_table.write(settings.lake.root, arguments.ds, settings.gate.split, against, found)
    folder = lists_folder(settings, arguments.ds)
    folder.mkdir(parents=True, exist_ok=True)
    for name, own in named.items():
        evaluate.write_recommendations(folder / f"{name}.parquet", own, held_out, catalogue)
    write_dial(settings, arguments.ds, held_out, catalogue, train)
    challenger = next(name for name in asked if name not in BASELINES)
    runs.log_measurements(settings, registry.CHALLENGER, run_folder(arguments.ds), found, against, challenger)
    title = f"{arguments.ds}, {held_out.name}: {len(held_out.user_ids):,} users; ▲ ▼ against {against}"
    evaluate.print_measurements(found, against, None, title)


def write_dial(
    settings: Settings, ds: date, evaluation_set: EvaluationSet, catalogue: Catalogue, train: Positives
) -> None:
    """What the challenger's dial trades, as <report.root>/DATE/dial.csv and as a plot in the challenger's run.

    Its named settings go to that run, too: what a bundle of it is built with.
    """
    challenger = registry.fetch(settings, registry.CHALLENGER)
    trained = TwoTower.load(challenger.folder)
    k, counts = settings.evaluation.k[0], np.bincount(train.liked.indices, minlength=len(catalogue))
    score = dial_curve.score_users(trained, CatalogueModel(trained, catalogue), evaluation_set)
    turned, points = dial_settings.measure(score, evaluation_set, counts, len(train.user_ids), settings)
    pd.DataFrame([asdict(point) for point in points]).to_csv(dial_file(settings, ds), index=False)
    file = f"evaluation/{run_folder(ds)}/dial.png"
    runs.log_plot(settings, registry.CHALLENGER, file, plots.dial(points, k))
    source = f"models.evaluate_night of {ds}, {registered_name(challenger.version)} on {evaluation_set.name}"
    built_for = dial_settings.for_index(settings, points, turned.spread, source)
    dial_settings.keep_for_builds(settings, registry.CHALLENGER, dial_settings.to_json(built_for))


def run_folder(ds: date) -> str:
    """What the challenger's run in MLflow calls the night's figures."""
    return f"night-{ds}"


def dial_file(settings: Settings, ds: date) -> Path:
    """Where the dial's curve of a night lies."""
    return Path(settings.report.root) / ds.isoformat() / "dial.csv"


def lists_folder(settings: Settings, ds: date) -> Path:
    """Where the lists of a night lie, a Parquet file per model."""
    return Path(settings.report.root) / ds.isoformat() / "lists"


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--ds", type=date.fromisoformat, required=True, metavar="DATE", help="the night")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
