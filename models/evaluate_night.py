"""Measure the night's challenger beside the champion and the ALS baseline, for the gate and the report.

Reads title_features, vocabularies, training_examples and training_users in <lake.root>, at their newest versions, and
the registered models; writes the rows of --ds in `evaluations`, each model's lists to <report.root>/DATE/lists, and
the challenger's dial curve to <report.root>/DATE/dial.csv; figures, plots and the named settings of the dial go to the
challenger's run in MLflow.

Models are measured against the positives of the split `gate.split`. Differences are to the champion, or to the ALS
baseline before there is a champion.

Unseen titles can only be misses, and only one model can recommend them at all. The judged lists of every model are
therefore without them (condensed lists: Sakai 2007, Alternatives to bpref). This favours models that recommend unseen
titles, so the share of list entries that these take, and accuracy with them as misses, are measured beside it.
"""

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

import numpy as np
import pandas as pd

from conf import command_line
from conf.settings import Settings
from lake import night_files
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
    """Models to measure, as table name to the name for models.evaluate; and the table name of the reference model.

    Raises ModelError where no challenger is registered.
    """
    challenger, champion = registry.fetch(settings, registry.CHALLENGER), registry.champion_or_none(settings)
    versions = [challenger.version, *([champion.version] if champion else [])]
    models = {**{name: name for name in BASELINES}, **{registered_name(n): str(n) for n in versions}}
    is_other = champion is not None and champion.version != challenger.version
    return models, registered_name(champion.version) if champion and is_other else ALS_BASELINE


def work(settings: Settings, arguments: Namespace) -> None:
    models, against = models_of_night(settings)
    snapshot = LakeSnapshot.pin(settings.lake.root, EVALUATION_TABLES)
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    held_out = of_split(snapshot, settings.gate.split, catalogue)
    is_seen = read_seen_titles(snapshot, catalogue)
    judged = held_out.among(is_seen)
    lists = evaluate.recommend_by_all(settings, list(models.values()), train, catalogue, [held_out, judged])
    named, condensed = ({name: by_model[evaluated] for name, evaluated in models.items()} for by_model in lists)
    options, seed = settings.evaluation, settings.seed
    measurements = measurement.measure(condensed, against, judged, catalogue, train.liked, options, seed)
    of_unseen = measurement.measure_unseen(named, against, held_out, is_seen, options, seed)
    measurements = {name: [*rows, *of_unseen[name]] for name, rows in measurements.items()}
    evaluations_table.write(settings.lake.root, arguments.ds, settings.gate.split, against, measurements)
    folder = night_files.lists(settings, arguments.ds)
    folder.mkdir(parents=True, exist_ok=True)
    for name, recommended in named.items():
        evaluate.write_recommendations(folder / f"{name}.parquet", recommended, held_out, catalogue)
    write_dial(settings, arguments.ds, held_out, catalogue, train)
    challenger = next(name for name in models if name not in BASELINES)
    runs.log_measurements(settings, registry.CHALLENGER, run_folder(arguments.ds), measurements, against, challenger)
    title = f"{arguments.ds}, {held_out.name}: {len(held_out.user_ids):,} users; ▲ ▼ against {against}"
    evaluate.print_measurements(measurements, against, None, title)


def write_dial(
    settings: Settings, ds: date, evaluation_set: EvaluationSet, catalogue: Catalogue, train: Positives
) -> None:
    """Write the challenger's dial curve to <report.root>/DATE/dial.csv and, as a plot, to the challenger's run.

    The named settings of its dial go to that run, too, where indexing.build reads them.
    """
    challenger = registry.fetch(settings, registry.CHALLENGER)
    trained = TwoTower.load(challenger.folder)
    k, counts = settings.evaluation.k[0], np.bincount(train.liked.indices, minlength=len(catalogue))
    score = dial_curve.score_users(trained, CatalogueModel(trained, catalogue), evaluation_set)
    at_dials, points = dial_settings.measure(score, evaluation_set, counts, len(train.user_ids), settings)
    pd.DataFrame([asdict(point) for point in points]).to_csv(night_files.dial(settings, ds), index=False)
    file = f"evaluation/{run_folder(ds)}/dial.png"
    runs.log_plot(settings, registry.CHALLENGER, file, plots.dial(points, k))
    source = f"models.evaluate_night of {ds}, {registered_name(challenger.version)} on {evaluation_set.name}"
    for_index = dial_settings.for_index(settings, points, at_dials.spread, source)
    dial_settings.keep_for_builds(settings, registry.CHALLENGER, dial_settings.to_json(for_index))


def run_folder(ds: date) -> str:
    """Folder of the night's figures in the challenger's MLflow run."""
    return f"night-{ds}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--ds", type=date.fromisoformat, required=True, metavar="DATE", help="the night")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
