"""Show titles like a given one, by the ALS baseline and by a registered model, side by side.

    python -m models.neighbours "Toy Story" "Heat (1995)"

Reads title_features, vocabularies, training_examples, training_users and stg_titles in <lake.root>, at their newest
versions, the files of --truth, and a registered model in MLflow; writes nothing. ALS, fitted on the training split,
compares titles by the cosine of their factors, the registered model in one of three ways (--by):

  tastes  the covariance over users of the two titles' scores, divided by the standard deviation of the first title's
          and by the square root of that of the other's, so that little-known titles don't come before well-known ones
  query   the other title's score for a history of the first title alone
  cosine  the cosine of title vectors

With --measure, each way is measured on held-out users, over all pairs of a user and a title that the user liked:
recall is the share of the user's other titles among the title's neighbours; lift is the number of these hits over that
expected if titles were liked by chance, so that popular neighbours are no merit.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from rich.table import Table as RichTable
from scipy import sparse

from conf import command_line
from conf.settings import Settings
from lake.arrays import NO_TITLE, Ids
from lake.model_names import ALS_BASELINE
from lake.snapshot import LakeSnapshot
from lake.title_names import TitleNames
from models.baselines.build import baselines
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.catalogue import Catalogue, read_catalogue
from models.data.model_tables import EVALUATION_TABLES
from models.data.padded_histories import PaddedHistories, pad_newest_first
from models.data.positives import Positives, read_positives
from models.data.title_names import read_names
from models.evaluation import segments
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.evaluation_set_arguments import add_evaluation_arguments, read_evaluation_set
from models.linear.nearest import nearest_titles
from models.recommender import Recommender
from models.tracking import registry

WAYS = (TASTES, QUERY, COSINE) = ("tastes", "query", "cosine")
_MAX_USERS = 2000  # of the sample whose scores `near_by_tastes` compares

Near: TypeAlias = Callable[[int, int], Ids]  # row of a title, count -> rows, nearest first


@dataclass(frozen=True)
class CoLiked:
    """Neighbours measured on titles that held-out users liked together, from titles of one popularity group."""

    group: str
    count_pairs: int  # of a user and a title to start from
    recall: float
    lift: float  # NaN where no neighbour has held-out likes


def near_by_tastes(bound: CatalogueModel, histories: PaddedHistories, candidates: NDArray[np.bool_]) -> Near:
    """Nearest candidates by covariance of scores over the users of `histories`; `tastes` in the module docstring."""
    queries = bound.queries(histories).astype(np.float64)
    deviations = queries - queries.mean(axis=0)
    covariance = deviations.T @ deviations / len(queries)
    vectors = bound.vectors.astype(np.float64)
    weighted = vectors @ covariance  # [titles, dims]
    spreads = np.sqrt(np.maximum(np.einsum("td,td->t", weighted, vectors), 0))

    def near(row: int, count: int) -> Ids:
        # Not divided by the deviation of the title at `row`, which is the same for all.
        similarities = np.full(len(vectors), -np.inf)
        np.divide(vectors @ weighted[row], np.sqrt(spreads), out=similarities, where=spreads > 0)
        return nearest_titles(np.where(candidates, similarities, -np.inf), row, count)

    return near


def near_by_query(bound: CatalogueModel, candidates: NDArray[np.bool_]) -> Near:
    """Candidates with the highest scores for a history of one title, of age 0, the country not known."""

    def near(row: int, count: int) -> Ids:
        history = sparse.csr_matrix(([1.0], ([0], [row])), shape=(1, len(candidates)), dtype=np.float32)
        return nearest_titles(np.where(candidates, bound.score(history)[0], -np.inf), row, count)

    return near


def near_by_model(model: Recommender, candidates: NDArray[np.bool_]) -> Near:
    """Nearest candidates by the model's `similar_titles`."""

    def near(row: int, count: int) -> Ids:
        nearest = model.similar_titles(row, len(candidates))
        kept = nearest[(nearest != NO_TITLE) & candidates[nearest]][:count]
        return np.concatenate([kept, np.full(count - len(kept), NO_TITLE)])

    return near


@dataclass(frozen=True)
class SideBySide:
    """The ALS baseline and a registered model over one catalogue; `near` is by column of the output."""

    near: Mapping[str, Near]
    names: TitleNames
    catalogue: Catalogue
    train: Positives
    snapshot: LakeSnapshot


def read_side_by_side(settings: Settings, model: str, ways: Sequence[str]) -> SideBySide:
    """The ALS baseline, and the registered model in each of `ways`."""
    snapshot = LakeSnapshot.pin(settings.lake.root, (*EVALUATION_TABLES, "stg_titles"))
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    als = baselines(settings.baselines, train, settings.seed)[ALS_BASELINE]()
    als.fit(train.liked, catalogue.content)
    trained = TwoTower.load(registry.fetch(settings, model).folder)
    bound = CatalogueModel(trained, catalogue)
    histories = pad_newest_first(_sample_users(train.liked, settings.seed), None, None, trained.history_length)
    candidates = catalogue.is_listed
    makers: dict[str, Callable[[], Near]] = {
        TASTES: lambda: near_by_tastes(bound, histories, candidates),
        QUERY: lambda: near_by_query(bound, candidates),
        COSINE: lambda: near_by_model(bound, candidates),
    }
    near = {ALS_BASELINE: near_by_model(als, candidates), **{f"{model}, {way}": makers[way]() for way in ways}}
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    return SideBySide(near, read_names(snapshot, catalogue, counts), catalogue, train, snapshot)


def co_liked(near: Near, evaluation_set: EvaluationSet, groups: NDArray[np.str_], k: int) -> list[CoLiked]:
    """One row per popularity group in `groups` [titles] with held-out positives, then one over all of them, `all`.

    A pair is a user with two or more held-out positives, and one of these as the title to start from.
    """
    liked = evaluation_set.relevant[np.flatnonzero(np.diff(evaluation_set.relevant.indptr) > 1)].astype(np.float64)
    starts = np.unique(liked.indices)
    lists = {start: near(start, k) for start in starts.tolist()}
    pairs = [(start, title) for start, nearest in lists.items() for title in nearest.tolist() if title != NO_TITLE]
    start_rows, neighbour_rows = zip(*pairs, strict=True) if pairs else ((), ())
    width = liked.shape[1]
    neighbours = sparse.csr_matrix((np.ones(len(pairs)), (start_rows, neighbour_rows)), shape=(width, width))
    # [users, titles]: for each title that the user liked, the number of its neighbours that the user liked too.
    hits = (liked @ neighbours.T).multiply(liked)
    others = np.diff(liked.indptr) - 1
    shares = sparse.diags(1 / np.maximum(others, 1)) @ hits
    chance = np.asarray(neighbours @ np.asarray(liked.mean(axis=0)).ravel())  # [titles], hits of a list by chance
    counts = np.bincount(liked.indices, minlength=width)
    title_hits, title_shares = (np.asarray(values.sum(axis=0)).ravel() for values in (hits, shares))
    rows = []
    for group in (*segments.POPULARITY_GROUPS, "all"):
        group_starts = starts[(groups[starts] == group) | (group == "all")]
        count = int(counts[group_starts].sum())
        if count:
            expected = float((counts[group_starts] * chance[group_starts]).sum())
            lift = float(title_hits[group_starts].sum() / expected) if expected > 0 else float("nan")
            rows.append(CoLiked(group, count, float(title_shares[group_starts].sum() / count), lift))
    return rows


def print_neighbours(near: Mapping[str, Near], names: TitleNames, row: int, count: int) -> None:
    """Print one column per way and one line per rank, with the likes of each title beside it."""
    shown = RichTable(title=f"more like {names.label(row)}, liked by {names.counts[row]:,}")
    shown.add_column("", justify="right")
    lists = {way: near_by_way(row, count) for way, near_by_way in near.items()}
    for way in lists:
        shown.add_column(way)
        shown.add_column("liked by", justify="right")
    for index in range(count):
        cells = []
        for nearest in lists.values():
            title = int(nearest[index])
            cells += ["", ""] if title == NO_TITLE else [names.label(title), f"{names.counts[title]:,}"]
        shown.add_row(str(index + 1), *cells)
    command_line.console().print(shown)


def print_co_liked(co_liked_by_way: Mapping[str, Sequence[CoLiked]], title: str) -> None:
    """Print one line per way and popularity group."""
    shown = RichTable(title=title)
    for name in ("way", "popularity", "pairs", "recall", "lift"):
        shown.add_column(name, justify="left" if name in ("way", "popularity") else "right")
    for way, rows in co_liked_by_way.items():
        for row in rows:
            shown.add_row(way, row.group, f"{row.count_pairs:,}", f"{row.recall:.4f}", f"{row.lift:.2f}")
    command_line.console().print(shown)


def work(settings: Settings, arguments: Namespace) -> None:
    models = read_side_by_side(settings, arguments.model, WAYS if arguments.measure else [arguments.by])
    names = models.names
    matches = [names.find(name) for name in arguments.titles]  # an unknown name fails before any output
    for match in matches:
        if match.note:
            print(match.note)
        print_neighbours(models.near, names, match.row, arguments.count)
    if arguments.measure:
        evaluation_set = read_evaluation_set(models.snapshot, arguments, models.train, models.catalogue)
        k = settings.evaluation.k[0]
        groups = segments.popularity_groups(names.counts)
        co_liked_by_way = {way: co_liked(near, evaluation_set, groups, k) for way, near in models.near.items()}
        print_co_liked(co_liked_by_way, f"{evaluation_set.name}: titles liked together, among {k} neighbours")


def _sample_users(histories: sparse.csr_matrix, seed: int) -> sparse.csr_matrix:
    if histories.shape[0] <= _MAX_USERS:
        return histories
    return histories[np.sort(np.random.default_rng(seed).choice(histories.shape[0], _MAX_USERS, replace=False))]


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("titles", nargs="*", metavar="TITLE", help="name or its beginning; Heat (1995) works")
    parser.add_argument("--model", default=registry.CHALLENGER, metavar="NAME", help="champion, challenger, a version")
    parser.add_argument("--by", choices=WAYS, default=TASTES, help="how the registered model compares; default: tastes")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="titles to show; default: 10")
    parser.add_argument("--measure", action="store_true", help="measure each way on held-out positives, too")
    add_evaluation_arguments(parser)

    def checked(settings: Settings, arguments: Namespace) -> None:
        if not arguments.titles and not arguments.measure:
            parser.error("name a title, or --measure")
        if arguments.count < 1:
            parser.error("--count must be 1 or more")
        work(settings, arguments)

    return command_line.run(parser, checked, argv, (MlflowException,))


if __name__ == "__main__":
    sys.exit(main())
