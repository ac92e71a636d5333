"""Measure the contribution of each metadata field: a registered model without it, on new and on known titles.

Reads title_features, vocabularies, training_examples and training_users in <lake.root>, at their newest versions, the
files of --truth, and a registered model in MLflow; writes ablation.csv to the folder --out, if there is one.

One line per variant:

  all content             the model as it is
  no FIELD                without the field
  only whether FIELD      with the field's presence in place of its values, for fields that some titles lack: a field
                          that only known titles have gives their popularity away
  plot of the other lake  with the plot embeddings of --plot-of, whose encoder may differ

No variant is trained: towers, EASE and ALS stay as they are, and only the ridge from content is fitted again.

Two ways to make the title vectors, each with its columns of figures:

  as served   titles with likes have their learnt vectors, other titles vectors predicted from content
  no ids      all titles have vectors predicted from content, those with likes as if left out of training; omitted where
              no candidate has likes, since both ways are the same then

Differences are to the model with all its content, with intervals over users.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
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
from models.evaluation import comparison
from models.evaluation.comparison import Difference, Estimate
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.evaluation_set_arguments import add_evaluation_arguments, read_evaluation_set
from models.evaluation.metric_registry import HEADLINE_METRICS
from models.linear import cold_ridge
from models.linear.content_kernel import features
from models.recommender import recommend_by
from models.studies import content_evidence, metadata_fields
from models.tracking import registry

WHOLE = "all content"
SERVED, NO_IDS = ("as served", "no ids")


@dataclass(frozen=True)
class Figure:
    """One metric of one variant in one way; `difference` is None for the variant with all content."""

    variant: str
    way: str
    metric: str
    k: int
    estimate: Estimate
    difference: Difference | None


def variants(content: Content, other_plot: Content | None) -> Iterator[tuple[str, Content]]:
    """Pairs of a variant's name and content; the first has all of `content`. `other_plot` is of the same titles."""
    yield WHOLE, content
    has = metadata_fields.presence(content)
    for field in has:
        if len(has) > 1:
            yield f"no {field}", metadata_fields.without_field(content, field)
    for field, has_field in has.items():
        if not has_field.all() and has_field.any():
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
    """Lists [users, k] by way, of the model in `folder` with `content` in place of the catalogue's."""
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
    return {way: _recommend(queries, title_vectors, evaluation_set, k) for way, title_vectors in vectors.items()}


def content_vectors(
    model: TwoTower, catalogue: Catalogue, counts: NDArray[np.int64], max_titles: int
) -> NDArray[np.float32]:
    """[titles, dim]: the model's vectors, with those of known titles predicted as if they had no likes.

    Where more than `max_titles` titles are known, the least liked ones have zeros, since they are not predicted.
    """
    rows, ridge = features(catalogue.content), model.card.cold
    known, fitted = cold_ridge.fit_most_liked(model.learnt_vectors(catalogue), counts, rows, ridge, max_titles)
    vectors = np.where((counts > 0)[:, None], np.float32(0), model.title_vectors(catalogue))
    vectors[known] = ridge.scale * cold_ridge.shrink_by_slope(fitted, fitted.left_out())
    return vectors


def measure(
    lists: Mapping[str, Mapping[str, Ids]], evaluation_set: EvaluationSet, options: Evaluation, seed: int
) -> list[Figure]:
    """Figures of `lists` by variant and way; the first variant is the one that the others are compared with."""
    bootstrap = (options.resamples, comparison.CONFIDENCE, seed)
    whole, figures = next(iter(lists)), []
    for way, (metric, of_lists), k in product(lists[whole], HEADLINE_METRICS.items(), options.k):
        values = {variant: of_lists(by_way[way], evaluation_set.relevant, k) for variant, by_way in lists.items()}
        for variant, user_values in values.items():
            estimate = comparison.estimate_mean(user_values, *bootstrap)
            difference = None if variant == whole else comparison.compare_paired(user_values, values[whole], *bootstrap)
            figures.append(Figure(variant, way, metric, k, estimate, difference))
    return figures


def frame(figures: Sequence[Figure]) -> pd.DataFrame:
    """One row per variant, way, metric and list length."""
    rows = pd.json_normalize([asdict(figure) for figure in figures], sep="_")
    return rows.drop(columns="difference", errors="ignore")


def print_figures(figures: Sequence[Figure], k: int, title: str) -> None:
    """Print one line per variant; ▲ and ▼ mark differences whose interval is above or below 0."""
    shown = RichTable(title=title)
    columns = list(product(dict.fromkeys(figure.way for figure in figures), HEADLINE_METRICS))
    shown.add_column("content")
    for way, metric in columns:
        shown.add_column(f"{way}: {metric}@{k}", justify="right")
    cells = {(row.variant, row.way, row.metric): _format_figure(row) for row in figures if row.k == k}
    for variant in dict.fromkeys(figure.variant for figure in figures):
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
    """The plot block of the lake at `root`, for the titles of `catalogue`; ModelError if that lake has none of them."""
    other = read_catalogue(LakeSnapshot.pin(root, EVALUATION_TABLES), {"plot": 1.0})
    rows = other.rows(catalogue.title_ids)
    is_shared = rows >= 0
    if not is_shared.any():
        raise ModelError(f"--plot-of {root}: has none of the {len(rows)} titles of this lake")
    block, present = other.content.blocks["plot"][rows], other.content.present["plot"][rows]
    return Content({"plot": np.where(is_shared[:, None], block, 0)}, {"plot": present & is_shared})


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
        variant: lists_of(folder, catalogue, variant_content, train, evaluation_set, k, max_titles)
        for variant, variant_content in variants(content, plot)
    }
    figures = measure(lists, evaluation_set, settings.evaluation, settings.seed)
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    count_new = np.count_nonzero(counts[evaluation_set.candidates] == 0)
    count_candidates = evaluation_set.candidates.sum()
    title = (
        f"{evaluation_set.name}: {len(evaluation_set.user_ids):,} users;"
        f" {count_new:,} of {count_candidates:,} candidates are new"
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
