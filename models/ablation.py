"""Measure the contribution of each metadata field: a registered model without it, on new and on known titles.

Reads title_features, vocabularies, training_examples and training_users in <lake.root>, at their newest versions, the
files of --truth, and a registered model in MLflow; writes ablation.csv to the folder --out, if there is one.

A line per variant: without each field; of a field that some titles lack, with nothing left of it but whether a title
has it, since a field that only known titles have gives their popularity away; with the plot's embedding of another lake
(--plot-of), whose encoder may be another one. Nothing is trained anew: the model's towers, EASE and ALS are what they
are, and what content says of titles is solved again.

In two columns of figures:

  as served   titles that somebody liked have what was learnt of them, others what content says
  no ids      every title has what content says, those that somebody liked as if they had been left out: content alone;
              left out where no candidate is known, since it is the same then

Differences are to the model with all its content, with intervals over users.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import Evaluation, Settings
from lake.arrays import Ids
from lake.snapshot import LakeSnapshot
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.catalogue import Catalogue, read_catalogue
from models.data.content import Content
from models.data.model_tables import EVALUATION_TABLES
from models.data.positives import Positives, read_positives
from models.errors import ModelError
from models.evaluation import comparison, metrics
from models.evaluation.comparison import Difference, Estimate
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.evaluation_set_arguments import add_evaluation_arguments, read_evaluation_set
from models.linear import cold_ridge
from models.linear.content_kernel import features
from models.recommender import recommend_by
from models.studies import content_evidence, metadata_fields
from models.tracking import registry

WHOLE = "all content"
SERVED, NO_IDS = ("as served", "no ids")
_METRICS = {"recall": metrics.recall_at_k, "ndcg": metrics.ndcg_at_k}

PerUser = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """One metric of one variant in one way; None in place of the difference for the model with all its content."""

    variant: str
    way: str
    metric: str
    k: int
    estimate: Estimate
    difference: Difference | None


def variants(content: Content, other_plot: Content | None) -> Iterator[tuple[str, Content]]:
    """Content by name of the variant; the first is all of it. `other_plot` is of the same titles."""
    yield WHOLE, content
    has = metadata_fields.presence(content)
    for field in has:
        if len(has) > 1:
            yield f"no {field}", metadata_fields.without_field(content, field)
    for field, own in has.items():
        if not own.all() and own.any():
            yield f"only whether {field}", metadata_fields.presence_alone(content, field)
    if other_plot is not None:
        blocks, present = {**content.blocks, **other_plot.blocks}, {**content.present, **other_plot.present}
        yield "plot of the other lake", Content(blocks, present, content.weights)


def lists_of(
    folder: Path,
    catalogue: Catalogue,
    content: Content,
    train: Positives,
    evaluation_set: EvaluationSet,
    k: int,
    max_titles: int,
) -> dict[str, Ids]:
    """[users, k] by way, of the model in `folder` with `content` in place of the catalogue's."""
    model = TwoTower.load(folder)
    weights = {name: content.weights.get(name, 1.0) for name in content.blocks}
    model.card = replace(model.card, content_blocks=weights)
    described = replace(catalogue, content=content)
    bound = CatalogueModel(model, described)
    queries = bound.queries(model.padded(evaluation_set))
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    vectors = {SERVED: bound.vectors}
    if (counts[evaluation_set.candidates] > 0).any():
        vectors[NO_IDS] = content_vectors(model, described, counts, max_titles)
    return {way: _recommend(queries, own, evaluation_set, k) for way, own in vectors.items()}


def content_vectors(
    model: TwoTower, catalogue: Catalogue, counts: NDArray[np.int64], max_titles: int
) -> NDArray[np.float32]:
    """[titles, dim]: the model's vectors, with those of known titles predicted as if nobody had liked them.

    Of more known titles than `max_titles` the least liked have zeros: there is no prediction of them.
    """
    rows, ridge = features(catalogue.content), model.card.cold
    known, fitted = cold_ridge.fit(model.learnt_vectors(catalogue), counts, rows, ridge, max_titles)
    found = np.where((counts > 0)[:, None], np.float32(0), model.title_vectors(catalogue))
    found[known] = ridge.scale * cold_ridge.shrink_by_slope(fitted, fitted.left_out())
    return found


def measure(
    lists: Mapping[str, Mapping[str, Ids]], evaluation_set: EvaluationSet, options: Evaluation, seed: int
) -> list[Figure]:
    """Figures of `lists` by variant and way; the first variant is what the others are compared with."""
    bootstrap = (options.resamples, comparison.CONFIDENCE, seed)
    whole, found = next(iter(lists)), []
    for way in lists[whole]:
        for metric, of_lists in _METRICS.items():
            for k in options.k:
                values = {variant: of_lists(own[way], evaluation_set.relevant, k) for variant, own in lists.items()}
                for variant, own in values.items():
                    against = None if variant == whole else comparison.compare_paired(own, values[whole], *bootstrap)
                    found.append(Figure(variant, way, metric, k, comparison.estimate_mean(own, *bootstrap), against))
    return found


def frame(figures: Sequence[Figure]) -> pd.DataFrame:
    """A row per variant, way and metric."""
    rows = pd.json_normalize([asdict(figure) for figure in figures], sep="_")
    return rows.drop(columns="difference", errors="ignore")


def print_figures(figures: Sequence[Figure], k: int, title: str) -> None:
    """A line per variant; ▲ and ▼ where the interval of the difference lies above or below 0."""
    shown = RichTable(title=title)
    columns = [(way, metric) for way in dict.fromkeys(own.way for own in figures) for metric in _METRICS]
    shown.add_column("content")
    for way, metric in columns:
        shown.add_column(f"{way}: {metric}@{k}", justify="right")
    cells = {(own.variant, own.way, own.metric): _format_figure(own) for own in figures if own.k == k}
    for variant in dict.fromkeys(own.variant for own in figures):
        shown.add_row(variant, *[cells[(variant, *column)] for column in columns])
    command_line.console().print(shown)


def _format_figure(figure: Figure) -> str:
    if figure.difference is None:
        return f"{figure.estimate.mean:.4f}                  "
    verdict = "▲" if figure.difference.low > 0 else "▼" if figure.difference.high < 0 else " "
    half = (figure.difference.high - figure.difference.low) / 2
    return f"{figure.estimate.mean:.4f} {figure.difference.mean:+.4f} ±{half:.4f} {verdict}"


def _recommend(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], evaluation_set: EvaluationSet, k: int
) -> Ids:
    return recommend_by(
        lambda users: queries[users] @ vectors.T,
        evaluation_set.histories,
        k,
        evaluation_set.candidates,
        evaluation_set.ignored,
    )


def read_plot(root: str, catalogue: Catalogue) -> Content:
    """The plot's block of another lake, for the titles of this one; raises ModelError where that has none of them."""
    other = read_catalogue(LakeSnapshot.pin(root, EVALUATION_TABLES), {"plot": 1.0})
    places = other.rows(catalogue.title_ids)
    if not (places >= 0).any():
        raise ModelError(f"--plot-of {root}: has none of the {len(places)} titles of this lake")
    block, present = other.content.blocks["plot"][places], other.content.present["plot"][places]
    return Content({"plot": np.where((places >= 0)[:, None], block, 0)}, {"plot": present & (places >= 0)})


def work(settings: Settings, arguments: Namespace) -> None:
    snapshot = LakeSnapshot.pin(settings.lake.root, EVALUATION_TABLES)
    folder = registry.fetch(settings, arguments.model).folder
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    evaluation_set = read_evaluation_set(snapshot, arguments, train, catalogue)
    content = catalogue.content.only(TwoTower.load(folder).card.content_blocks)
    plot = read_plot(arguments.plot_of, catalogue) if arguments.plot_of else None
    k, max_titles = max(settings.evaluation.k), content_evidence.MAX_TITLES
    lists = {
        name: lists_of(folder, catalogue, own, train, evaluation_set, k, max_titles)
        for name, own in variants(content, plot)
    }
    figures = measure(lists, evaluation_set, settings.evaluation, settings.seed)
    new = np.count_nonzero(np.bincount(train.liked.indices, minlength=len(catalogue))[evaluation_set.candidates] == 0)
    count_candidates = evaluation_set.candidates.sum()
    title = (
        f"{evaluation_set.name}: {len(evaluation_set.user_ids):,} users;"
        f" {new:,} of {count_candidates:,} candidates are new"
    )
    print_figures(figures, settings.evaluation.k[0], title)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        frame(figures).to_csv(arguments.out / "ablation.csv", index=False)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--model", default=registry.CHALLENGER, metavar="NAME", help="champion, challenger, a version")
    parser.add_argument("--plot-of", metavar="LAKE", help="root of a lake of the same titles with another encoder")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write all figures to ablation.csv there")
    add_evaluation_arguments(parser)
    return command_line.run(parser, work, argv, (MlflowException,))


if __name__ == "__main__":
    sys.exit(main())
