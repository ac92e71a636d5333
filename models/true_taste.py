"""Measure models against the true tastes of simulated users, beside ALS and popularity.

Reads title_features, vocabularies, training_examples and training_users in <lake.root>, at their newest versions, what
`jobs.sources.simulate` wrote to the folder --taste, and registered models; writes true_taste.csv to the folder --out,
with every segment, country and genre among them.

The moment of the query is the end of the training split. Three evaluation sets, each with figures per segment and
differences to --against:

  taste     the 20 titles that a user would enjoy most and has not liked yet
  gems      little-known titles of great appeal to few, for the 20 users whose taste is nearest to each
  releases  titles released since, without likes, that are in the top tenth of what a user would enjoy; only such
            titles are candidates, users without any are left out, and lists have 5 titles, in random order where a
            model scores all of them equally

Clicks and impressions play no role, so this tests the recommender and not the exposure that the data came from.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from conf import command_line
from conf.settings import Settings
from lake.arrays import Ids
from lake.model_names import ALS_BASELINE
from lake.snapshot import LakeSnapshot
from models import evaluate
from models.baselines.build import baselines
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.catalogue import Catalogue, read_catalogue
from models.data.model_tables import EVALUATION_TABLES
from models.data.positives import Positives, read_positives
from models.evaluation import dial_curve, measurement
from models.evaluation.dial_curve import ScoreUsers
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.measurement import Measurement
from models.evaluation.metric_registry import HEADLINE_METRICS
from models.recommender import Recommender, Scores
from models.studies import simulated_tastes
from models.studies.simulated_tastes import RELEASES
from models.tracking import registry

RELEASES_AT = 5
MAX_USERS = 3000  # measured by default: with 60,000 titles each takes some 2 MB while lists are made
MODELS = ("popularity", ALS_BASELINE, registry.CHALLENGER)
_SHOWN = ("all", "history_titles", "popularity", "title_age_days", "taste")


def scorers(
    settings: Settings, names: Sequence[str], train: Positives, catalogue: Catalogue
) -> dict[str, Callable[[EvaluationSet], ScoreUsers]]:
    """Per model how it scores the users of an evaluation set; each is fitted or read once."""
    makers = baselines(settings.baselines, train, settings.seed)
    by_name: dict[str, Callable[[EvaluationSet], ScoreUsers]] = {}
    for name in names:
        if name in makers:
            model = makers[name]()
            model.fit(train.liked, catalogue.content)
            by_name[name] = partial(_scores_of_baseline, model, seed=settings.seed)
        else:
            trained = TwoTower.load(registry.fetch(settings, name).folder)
            by_name[name] = partial(dial_curve.score_users, trained, CatalogueModel(trained, catalogue))
    return by_name


def recommend_all(
    settings: Settings,
    models: Mapping[str, Callable[[EvaluationSet], ScoreUsers]],
    dials: Sequence[float],
    counts: Ids,
    evaluation_set: EvaluationSet,
) -> dict[str, Ids]:
    """[users, longest list measured] by model; lists at a dial other than 0 are named `als -0.50`.

    `counts` [titles] are the positives that the dial goes by.
    """
    lists: dict[str, Ids] = {}
    for name, score in models.items():
        model_dials = [0.0] if name.startswith("popularity") else dials  # no effect on popularity
        scale = settings.index.popularity_scale
        at_dials = dial_curve.recommend_at_dials(
            score(evaluation_set), evaluation_set, counts, scale, model_dials, max(settings.evaluation.k)
        )
        for dial, recommended in zip(model_dials, at_dials.lists, strict=True):
            lists[f"{name} {dial:+.2f}" if dial else name] = recommended
    return lists


def measure(
    settings: Settings,
    lists: Mapping[str, Ids],
    against: str,
    evaluation_set: EvaluationSet,
    is_niche: Mapping[str, bool],
    train: Positives,
    catalogue: Catalogue,
) -> dict[str, list[Measurement]]:
    """Measurements in all segments, with the taste of the user as one more dimension: niche or mainstream."""
    options = settings.evaluation
    if evaluation_set.name == RELEASES:
        options = options.model_copy(update={"k": (RELEASES_AT,)})
    measurements = measurement.measure(lists, against, evaluation_set, catalogue, train.liked, options, settings.seed)
    niche = np.array([is_niche[user] for user in evaluation_set.user_ids])
    for name, members in (("niche", niche), ("mainstream", ~niche)):
        users = np.flatnonzero(members)
        if not len(users):
            continue
        part_lists = {model: recommended[users] for model, recommended in lists.items()}
        part = measurement.measure(
            part_lists,
            against,
            simulated_tastes.users_of(evaluation_set, users),
            catalogue,
            train.liked,
            options,
            settings.seed,
        )
        for model, rows in part.items():
            of_all = [row for row in rows if row.dimension == "all"]
            measurements[model] += [replace(row, dimension="taste", segment=name) for row in of_all]
    return measurements


def worse_segments(rows: Sequence[Measurement], min_users: int) -> list[Measurement]:
    """Segments of `min_users` or more where recall or NDCG is significantly below that of the reference model."""
    return [
        row
        for row in rows
        if row.metric in HEADLINE_METRICS
        and row.difference
        and row.difference.high < 0
        and row.count_users >= min_users
    ]


def show(
    measurements: Mapping[str, Sequence[Measurement]], against: str, evaluation_set: EvaluationSet, k: int
) -> None:
    """Print metrics over all users, and recall per segment of models with the dial at 0."""
    users = f"{len(evaluation_set.user_ids):,} users"
    title = f"{evaluation_set.name}: {users}, {evaluation_set.relevant.nnz:,} positives; ▲ ▼ against {against}"
    for part in (dict(list(measurements.items())[n : n + 6]) for n in range(0, len(measurements), 6)):
        evaluate.print_measurements(part, against, None, title)
    plain = {model: rows for model, rows in measurements.items() if " " not in model}
    shown = {model: [row for row in rows if row.dimension in _SHOWN] for model, rows in plain.items()}
    evaluate.print_measurements(shown, against, f"recall@{k}", f"recall@{k} of {evaluation_set.name} per segment")


def work(settings: Settings, arguments: Namespace) -> None:
    snapshot = LakeSnapshot.pin(settings.lake.root, EVALUATION_TABLES)
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    tastes = simulated_tastes.read_tastes(arguments.taste, catalogue, arguments.max_users, settings.seed)
    is_niche = dict(zip(tastes.user_ids, tastes.is_niche.tolist(), strict=True))
    names = list(dict.fromkeys([*arguments.models, *arguments.against]))
    dials = [0.0, *[dial for dial in arguments.dials if dial]]
    models = scorers(settings, names, train, catalogue)
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    tables, verdicts = [], []
    for name, evaluation_set in simulated_tastes.evaluation_sets(tastes, train, catalogue).items():
        lists = recommend_all(settings, models, dials, counts, evaluation_set)
        for n, against in enumerate(arguments.against):
            measurements = measure(settings, lists, against, evaluation_set, is_niche, train, catalogue)
            if n == 0:
                k = RELEASES_AT if name == RELEASES else settings.evaluation.k[0]
                show(measurements, against, evaluation_set, k)
            tables.append(measurement.to_frame(measurements).assign(truth=name, against=against))
            rivals = [model for model in measurements if model.split()[0] not in arguments.against]
            min_users = settings.gate.min_users
            verdicts += [_format_comparison(name, model, against, measurements[model], min_users) for model in rivals]
    print("\n".join(verdicts))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        pd.concat(tables).to_csv(arguments.out / "true_taste.csv", index=False)


def _scores_of_baseline(model: Recommender, evaluation_set: EvaluationSet, seed: int) -> ScoreUsers:
    random = np.random.default_rng(seed)

    def score(users: slice) -> Scores:
        scores = model.score(evaluation_set.histories[users])
        # Otherwise equal scores would be in the order of the catalogue, which may be a good one.
        is_constant = np.ptp(scores[:, evaluation_set.candidates], axis=1) == 0
        scores[is_constant] = random.random((is_constant.sum(), scores.shape[1]))
        return scores

    return score


def _format_comparison(name: str, model: str, reference: str, rows: Sequence[Measurement], min_users: int) -> str:
    worse = worse_segments(rows, min_users)
    names = ", ".join(f"{row.name} of {row.dimension} {row.segment}" for row in worse)
    where = f"below in {names}" if worse else "nowhere below"
    return f"{name}: {model} against {reference}, segments of {min_users} users or more: {where}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--taste", type=Path, required=True, metavar="FOLDER", help="truth/ of the simulated feeds")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME", help="as for models.evaluate")
    parser.add_argument(
        "--against",
        nargs="+",
        default=[ALS_BASELINE, "popularity"],
        metavar="NAME",
        help="reference models that differences are to",
    )
    parser.add_argument(
        "--dials", nargs="*", type=float, default=[], metavar="D", help="settings of the dial to measure beside 0"
    )
    parser.add_argument(
        "--max-users", type=int, default=MAX_USERS, metavar="N", help="of more users, that many by chance"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write all figures to true_taste.csv there")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
