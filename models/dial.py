"""Measure the popularity dial of a registered model beside that of ALS, and choose its named settings.

Reads title_features, vocabularies, training_examples and training_users in <lake.root>, at their newest versions, the
files of --truth, and a registered model in MLflow; writes to the model's run under dial/TRUTH, and to the folder --out:

  dial.csv         accuracy, coverage, popularity and novelty of both at each of dial.values, and at some settings in
                   between, near the named ones; * marks the Pareto front of recall and coverage
  calibration.csv  popularity of lists relative to that of histories, by group of users, at each setting; see
                   models/evaluation/popularity_calibration.py
  dial.json        popular, balanced, discover and gems, chosen by the rule of models/evaluation/dial_settings.py: the
                   input of `indexing.build --dial`
  dial.png         recall and NDCG against the figures they are traded for

A setting d adds d times the deviation of a user's scores times the standardised popularity of a title to its
score; see models/evaluation/dial_curve.py. With --keep, indexing.build uses the chosen settings for the model from
now on, as it does those of models.evaluate_night.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import Settings
from lake.model_names import ALS_BASELINE, registered_name
from lake.snapshot import LakeSnapshot
from models.baselines.build import baselines
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.catalogue import Catalogue, read_catalogue
from models.data.model_tables import EVALUATION_TABLES
from models.data.positives import Positives, read_positives
from models.evaluation import dial_curve, dial_settings, plots, popularity_calibration, segments
from models.evaluation.dial_curve import Counts, DialLists
from models.evaluation.dial_points import DialPoint, pareto_front
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.evaluation_set_arguments import add_evaluation_arguments, read_evaluation_set
from models.evaluation.popularity_calibration import Calibration
from models.tracking import registry, runs

# Share of users in the group with the most head titles, and in the one with the fewest (Abdollahpouri et al. 2019).
USER_GROUP_SHARE = 0.2


@dataclass(frozen=True)
class ModelDials:
    """One model at every setting; `calibrations` are in the order of `points`."""

    at_dials: DialLists
    points: list[DialPoint]
    calibrations: list[list[Calibration]]


def measure_both(
    settings: Settings, model: str, catalogue: Catalogue, train: Positives, evaluation_set: EvaluationSet
) -> dict[str, ModelDials]:
    """The registered model and ALS, fitted on `train`, at the same settings."""
    counts, count_users = np.bincount(train.liked.indices, minlength=len(catalogue)), len(train.user_ids)
    trained = TwoTower.load(registry.fetch(settings, model).folder)
    score = dial_curve.score_users(trained, CatalogueModel(trained, catalogue), evaluation_set)
    ours, points = dial_settings.measure(score, evaluation_set, counts, count_users, settings)
    als = baselines(settings.baselines, train, settings.seed)[ALS_BASELINE]()
    als.fit(train.liked, catalogue.content)
    k = settings.evaluation.k[0]
    scale = settings.index.popularity_scale
    old = dial_curve.recommend_at_dials(
        lambda users: als.score(evaluation_set.histories[users]), evaluation_set, counts, scale, ours.dials, k
    )
    old_points = dial_curve.measure_points(old, evaluation_set, counts, count_users, settings.evaluation)
    return {
        name: ModelDials(at_dials, dial_points, _calibrations(settings, at_dials, evaluation_set, counts))
        for name, at_dials, dial_points in ((model, ours, points), (ALS_BASELINE, old, old_points))
    }


def _calibrations(
    settings: Settings, at_dials: DialLists, evaluation_set: EvaluationSet, counts: Counts
) -> list[list[Calibration]]:
    k = settings.evaluation.k[0]
    titles = segments.popularity_groups(counts)
    users = popularity_calibration.group_users(evaluation_set.histories, counts, titles, USER_GROUP_SHARE)
    return [
        popularity_calibration.calibrate(lists, evaluation_set.histories, counts, titles, users, k)
        for lists in at_dials.lists
    ]


def points_frame(by_model: Mapping[str, ModelDials], chosen: Mapping[str, DialPoint]) -> pd.DataFrame:
    """One row per model and setting; `setting` has the names of chosen settings of the first model."""
    rows = []
    for n, (model, model_dials) in enumerate(by_model.items()):
        is_best = pareto_front(model_dials.points, "recall", "coverage", less_is_more=False)
        for point, on_front in zip(model_dials.points, is_best, strict=True):
            names = [name for name, other in chosen.items() if n == 0 and other.dial == point.dial]
            rows.append({"model": model, "setting": " ".join(names), **asdict(point), "is_on_front": on_front})
    return pd.DataFrame(rows)


def calibrations_frame(by_model: Mapping[str, ModelDials]) -> pd.DataFrame:
    """One row per model, setting and group of users."""
    return pd.DataFrame(
        [
            {"model": model, "dial": point.dial, **asdict(row)}
            for model, model_dials in by_model.items()
            for point, rows in zip(model_dials.points, model_dials.calibrations, strict=True)
            for row in rows
        ]
    )


def print_points(points: pd.DataFrame, k: int, title: str) -> None:
    """Print one line per model and setting."""
    shown = RichTable(title=f"{title}; lists of {k}; * on the Pareto front of recall and coverage")
    columns = ("recall", "ndcg", "tail_recall", "coverage", "gini", "mean_popularity", "novelty")
    for name in ("model", "dial", *columns, "setting"):
        shown.add_column(name.replace("_", " "), justify="left" if name in ("model", "setting") else "right")
    for row in points.to_dict("records"):
        figures = [f"{row[name]:.0f}" if name == "mean_popularity" else f"{row[name]:.4f}" for name in columns]
        front = "*" if row["is_on_front"] else " "
        shown.add_row(row["model"], f"{row['dial']:+.2f} {front}", *figures, row["setting"])
    command_line.console().print(shown)


def print_calibrations(calibrations: pd.DataFrame, chosen: Mapping[str, DialPoint]) -> None:
    """Print one line per named setting, model and group of users."""
    shown = RichTable(title="popularity calibration by group of users: share of the list less share of the history")
    headings = ("setting", "model", "users", "count", "deviation, bits", "head", "tail", "likes of a title", "lift")
    for name in headings:
        shown.add_column(name, justify="left" if name in headings[:3] else "right")
    for setting, point in chosen.items():
        at_point = calibrations[calibrations["dial"] == point.dial]
        for row in at_point.to_dict("records"):
            figures = (f"{row['deviation']:.3f}", f"{row['head_shift']:+.3f}", f"{row['tail_shift']:+.3f}")
            liked = f"{row['history_popularity']:.0f} → {row['list_popularity']:.0f}"
            lift = f"{row['popularity_lift']:+.0%}"
            shown.add_row(setting, row["model"], row["group"], f"{row['count_users']:,}", *figures, liked, lift)
    command_line.console().print(shown)


def print_settings(points: Sequence[DialPoint], chosen: Mapping[str, DialPoint], spreads: NDArray[np.float64]) -> None:
    """Print the cost and gain of each named setting, relative to the best recall and to the dial at 0."""
    best = max(point.recall for point in points)
    middle = min(points, key=lambda point: abs(point.dial))
    for name, point in chosen.items():
        tail_gain = point.tail_recall / middle.tail_recall if middle.tail_recall > 0 else float("nan")
        print(
            f"{name:9} {point.dial:+.2f}: recall {point.recall / best - 1:+.1%} of the best, coverage"
            f" {point.coverage:.3f}, tail recall {tail_gain:.1f} times that at {middle.dial:g}"
        )
    low, median, high = np.quantile(spreads, [0.05, 0.5, 0.95])
    print(f"deviation of a user's scores: median {median:.4g}, 90 % of users between {low:.4g} and {high:.4g}")


def work(settings: Settings, arguments: Namespace) -> None:
    snapshot = LakeSnapshot.pin(settings.lake.root, EVALUATION_TABLES)
    model = arguments.model
    trained_version = registry.fetch(settings, model).version
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    evaluation_set = read_evaluation_set(snapshot, arguments, train, catalogue)
    by_model = measure_both(settings, model, catalogue, train, evaluation_set)
    ours, k = by_model[model], settings.evaluation.k[0]
    chosen = dial_settings.choose(ours.points, settings.dial)
    points, calibrations = points_frame(by_model, chosen), calibrations_frame(by_model)
    title = f"{evaluation_set.name}: {len(evaluation_set.user_ids):,} users"
    print_points(points, k, title)
    print_calibrations(calibrations, chosen)
    print_settings(ours.points, chosen, ours.at_dials.spreads)

    source = f"models.dial, {registered_name(trained_version)} on {evaluation_set.name}"
    for_index = dial_settings.to_json(dial_settings.for_index(settings, ours.points, ours.at_dials.spread, source))
    texts = {
        "dial.csv": points.to_csv(index=False),
        "calibration.csv": calibrations.to_csv(index=False),
        dial_settings.FILE: for_index,
    }
    figure = plots.dial_front({name: model_dials.points for name, model_dials in by_model.items()}, chosen, k)
    runs.log_plot(settings, model, f"dial/{evaluation_set.name}/dial.png", figure)
    for file, text in texts.items():
        registry.keep_text(settings, model, f"dial/{evaluation_set.name}/{file}", text)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        figure.savefig(arguments.out / "dial.png", dpi=120)
        for file, text in texts.items():
            (arguments.out / file).write_text(text, encoding="utf-8")
    if arguments.keep:
        dial_settings.keep_for_builds(settings, model, for_index)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--model", default=registry.CHALLENGER, metavar="NAME", help="champion, challenger, a version")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write tables and the plot there, too")
    parser.add_argument("--keep", action="store_true", help="use the chosen settings for the model's bundles")
    add_evaluation_arguments(parser)
    return command_line.run(parser, work, argv, (MlflowException,))


if __name__ == "__main__":
    sys.exit(main())
