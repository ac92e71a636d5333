"""Measure recommenders side by side, per segment: baselines fitted on the lake's training split, registered models.

Reads title_features, vocabularies, training_examples and training_users in <lake.root>, at their newest versions, the
files of --truth, and registered models; writes to the folder --out, and the figures and plots of a registered model to
its run in MLflow.

Without --truth, models are measured against the positives of a split of the lake. Differences are to the model
--against, with bootstrap intervals over users. A user without recommendations counts as a miss. No model recommends
titles of the user's history, whether liked or not.
"""

import logging
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import Settings
from lake.arrays import NO_TITLE, Ids
from lake.model_names import ALS_BASELINE
from lake.snapshot import LakeSnapshot
from models.baselines.build import baselines
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.catalogue import Catalogue, read_catalogue
from models.data.model_tables import EVALUATION_TABLES
from models.data.positives import Positives, read_positives
from models.errors import ModelError
from models.evaluation import measurement
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.evaluation_set_arguments import add_evaluation_arguments, read_evaluation_set
from models.evaluation.measurement import Measurement
from models.recommender import recommend
from models.tracking import registry, runs

log = logging.getLogger("marquee")


def recommend_by_all(
    settings: Settings,
    names: Sequence[str],
    train: Positives,
    catalogue: Catalogue,
    evaluation_sets: Sequence[EvaluationSet],
) -> list[dict[str, Ids]]:
    """[users, longest list measured] by model, per evaluation set. Baselines are fitted on `train`."""
    makers = baselines(settings.baselines, train, settings.seed)
    count = max(settings.evaluation.k)
    lists: list[dict[str, Ids]] = [{} for _ in evaluation_sets]
    for name in names:
        started = time.monotonic()
        if name in makers:
            model = makers[name]()
            model.fit(train.liked, catalogue.content)
            for by_model, evaluation_set in zip(lists, evaluation_sets, strict=True):
                by_model[name] = recommend(
                    *(model, evaluation_set.histories, count, evaluation_set.candidates, evaluation_set.ignored)
                )
        else:
            trained = CatalogueModel(TwoTower.load(registry.fetch(settings, name).folder), catalogue)
            for by_model, evaluation_set in zip(lists, evaluation_sets, strict=True):
                by_model[name] = trained.recommend_for(evaluation_set, count)
        log.info("%s: fitted and evaluated in %.1f s", name, time.monotonic() - started)
    return lists


def print_measurements(
    measurements: Mapping[str, Sequence[Measurement]], against: str, metric: str | None, title: str
) -> None:
    """Print one column per model and one line per metric over all users, or, for one `metric`, per segment.

    ▲ and ▼ mark differences to `against` whose interval is above or below 0.
    """
    shown = RichTable(title=title)
    shown.add_column("metric" if metric is None else "segment")
    shown.add_column("users", justify="right")
    for model in measurements:
        shown.add_column(model, justify="right")
    cells: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}
    for model, rows in measurements.items():
        for row in rows:
            if metric is None and row.dimension == "all":
                line = row.name
            elif row.name == metric:
                line = f"{row.dimension} {row.segment}"
            else:
                continue
            cells.setdefault(line, {})[model] = f"{row.mean:.3f}{_marker(row)}"
            counts[line] = max(row.count_users, counts.get(line, 0))
    for line, of_models in cells.items():
        shown.add_row(line, f"{counts[line]:,}", *[of_models.get(model, "") for model in measurements])
    command_line.console().print(shown)


def _marker(row: Measurement) -> str:
    if row.difference is None:
        return "  "
    return " ▲" if row.difference.low > 0 else " ▼" if row.difference.high < 0 else "  "


def write_measurements(file: Path, measurements: Mapping[str, Sequence[Measurement]]) -> None:
    """Write `measurement.to_frame` as a CSV file."""
    measurement.to_frame(measurements).to_csv(file, index=False)


def write_recommendations(file: Path, lists: Ids, evaluation_set: EvaluationSet, catalogue: Catalogue) -> None:
    """Write a Parquet file with one row per user and title: user_id, title_id, rank from 1."""
    users, ranks = np.nonzero(lists != NO_TITLE)
    rows = {
        "user_id": np.array(evaluation_set.user_ids, dtype=object)[users],
        "title_id": catalogue.title_ids[lists[users, ranks]],
        "rank": ranks + 1,
    }
    pd.DataFrame(rows).to_parquet(file, index=False)


def work(settings: Settings, arguments: Namespace) -> None:
    snapshot = LakeSnapshot.pin(settings.lake.root, EVALUATION_TABLES)
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    known = baselines(settings.baselines, train, settings.seed)
    names = arguments.models or list(known)
    for name in (*names, arguments.against):
        if name not in known and name not in registry.ALIASES and not name.isdigit():
            registered = f"{', '.join(registry.ALIASES)} and numbers of registered versions"
            raise ModelError(f"no model {name!r}; there are {', '.join(known)}; {registered}")
    names = list(dict.fromkeys([arguments.against, *names]))
    evaluation_set = read_evaluation_set(snapshot, arguments, train, catalogue)
    [lists] = recommend_by_all(settings, names, train, catalogue, [evaluation_set])
    measurements = measurement.measure(
        lists, arguments.against, evaluation_set, catalogue, train.liked, settings.evaluation, settings.seed
    )
    title = f"{evaluation_set.name}: {len(evaluation_set.user_ids):,} users, {evaluation_set.relevant.nnz:,} positives"
    print_measurements(measurements, arguments.against, None, f"{title}; ▲ ▼ against {arguments.against}")
    metric = f"recall@{settings.evaluation.k[0]}"
    segment_title = f"{metric} per segment; ▲ ▼ against {arguments.against}"
    print_measurements(measurements, arguments.against, metric, segment_title)
    for name in names:
        if name not in known:
            runs.log_measurements(settings, name, evaluation_set.name, measurements, arguments.against)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_measurements(arguments.out / "measured.csv", measurements)
        for name, recommended in lists.items():
            write_recommendations(arguments.out / f"{name}.parquet", recommended, evaluation_set, catalogue)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="NAME",
        help="baselines, champion, challenger or versions; default: all baselines",
    )
    parser.add_argument("--against", default=ALS_BASELINE, metavar="NAME", help="the model that differences are to")
    add_evaluation_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write all figures and each model's lists there")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
