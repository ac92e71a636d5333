"""Show titles like a given one, by the ALS baseline and by a registered model, side by side.

    python -m models.neighbours "Toy Story" "Heat (1995)"

Reads title_features, vocabularies, training_examples and stg_titles in <lake.root>, at their newest versions, and a
registered model in MLflow; writes nothing. ALS, fitted on the training split, goes by the cosine of its factors. What
is near to ours is told in one of three ways (--by):

  tastes  whose scores go up and down together, over people: the covariance of the scores of two titles, divided by the
          deviation of the first and the root of that of the other, so that what nobody knows much of does not come
          before what is known well
  query   what somebody is recommended who liked this title alone
  cosine  of title vectors, whatever directions matter to people

With --measure the titles that held-out users liked together say how good each way is: for every title that a user liked
there, the share of the others that are among its neighbours, and how many times more that is than if those titles were
liked by chance (lift), so that what everybody likes anyway is no merit.
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
_MAX_PEOPLE = 2000  # whose scores say which titles go together

Near: TypeAlias = Callable[[int, int], Ids]  # position of a title, count -> positions, nearest first


@dataclass(frozen=True)
class CoLiked:
    """How well neighbours say what held-out users liked together, over titles of one group of popularity."""

    group: str
    count_pairs: int  # of a user and a title to start from
    recall: float
    lift: float  # NaN where no list has a title that anybody liked


def near_by_tastes(bound: CatalogueModel, people: PaddedHistories, candidates: NDArray[np.bool_]) -> Near:
    """By the scores that `people` give; see `tastes` at the top."""
    queries = bound.queries(people).astype(np.float64)
    deviations = queries - queries.mean(axis=0)
    covariance = deviations.T @ deviations / len(queries)
    vectors = bound.vectors.astype(np.float64)
    weighed = vectors @ covariance  # [titles, dims]
    spreads = np.sqrt(np.maximum(np.einsum("td,td->t", weighed, vectors), 0))

    def near(position: int, count: int) -> Ids:
        # The deviation of the first is the same for all.
        likeness = np.full(len(vectors), -np.inf)
        np.divide(vectors @ weighed[position], np.sqrt(spreads), out=likeness, where=spreads > 0)
        return nearest_titles(np.where(candidates, likeness, -np.inf), position, count)

    return near


def near_by_query(bound: CatalogueModel, candidates: NDArray[np.bool_]) -> Near:
    """What somebody is recommended who liked one title alone, just now, somewhere."""

    def near(position: int, count: int) -> Ids:
        history = sparse.csr_matrix(([1.0], ([0], [position])), shape=(1, len(candidates)), dtype=np.float32)
        return nearest_titles(np.where(candidates, bound.score(history)[0], -np.inf), position, count)

    return near


def near_by(model: Recommender, candidates: NDArray[np.bool_]) -> Near:
    """By a model's own measure of likeness, without what is no candidate."""

    def near(position: int, count: int) -> Ids:
        found = model.similar_titles(position, len(candidates))
        kept = found[(found != NO_TITLE) & candidates[found]][:count]
        return np.concatenate([kept, np.full(count - len(kept), NO_TITLE)])

    return near


@dataclass(frozen=True)
class SideBySide:
    """The ALS baseline and a registered model over one catalogue; `near` is by name of the way."""

    near: Mapping[str, Near]
    names: TitleNames
    catalogue: Catalogue
    train: Positives
    snapshot: LakeSnapshot


def read_side_by_side(settings: Settings, model: str, ways: Sequence[str]) -> SideBySide:
    """ALS, and the registered model in each of `ways`."""
    snapshot = LakeSnapshot.pin(settings.lake.root, (*EVALUATION_TABLES, "stg_titles"))
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    als = baselines(settings.baselines, train, settings.seed)[ALS_BASELINE]()
    als.fit(train.liked, catalogue.content)
    trained = TwoTower.load(registry.fetch(settings, model).folder)
    bound = CatalogueModel(trained, catalogue)
    people = pad_newest_first(_some(train.liked, settings.seed), None, None, trained.history_length)
    may_be = catalogue.is_listed
    ours: dict[str, Callable[[], Near]] = {
        TASTES: lambda: near_by_tastes(bound, people, may_be),
        QUERY: lambda: near_by_query(bound, may_be),
        COSINE: lambda: near_by(bound, may_be),
    }
    near = {ALS_BASELINE: near_by(als, may_be), **{f"{model}, {way}": ours[way]() for way in ways}}
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    return SideBySide(near, read_names(snapshot, catalogue, counts), catalogue, train, snapshot)


def co_liked(near: Near, evaluation_set: EvaluationSet, groups: NDArray[np.str_], k: int) -> list[CoLiked]:
    """A row per group of `groups` [titles] that a held-out title is of, then one of `all`.

    Pairs are of a user with two held-out positives or more, and one of these.
    """
    liked = evaluation_set.relevant[np.flatnonzero(np.diff(evaluation_set.relevant.indptr) > 1)].astype(np.float64)
    starts = np.unique(liked.indices)
    lists = {start: near(start, k) for start in starts.tolist()}
    pairs = [(start, title) for start, own in lists.items() for title in own.tolist() if title != NO_TITLE]
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    width = liked.shape[1]
    neighbours = sparse.csr_matrix((np.ones(len(pairs)), (rows, columns)), shape=(width, width))
    # [users, titles]: of a title that the user liked, how many of its neighbours the user liked besides.
    hits = (liked @ neighbours.T).multiply(liked)
    others = np.diff(liked.indptr) - 1
    shares = sparse.diags(1 / np.maximum(others, 1)) @ hits
    chance = np.asarray(neighbours @ np.asarray(liked.mean(axis=0)).ravel())  # [titles], hits of a list by chance
    counts = np.bincount(liked.indices, minlength=width)
    by_title = [np.asarray(values.sum(axis=0)).ravel() for values in (hits, shares)]
    found = []
    for group in (*segments.POPULARITY_GROUPS, "all"):
        own = starts[(groups[starts] == group) | (group == "all")]
        count = int(counts[own].sum())
        if count:
            expected = float((counts[own] * chance[own]).sum())
            lift = float(by_title[0][own].sum() / expected) if expected > 0 else float("nan")
            found.append(CoLiked(group, count, float(by_title[1][own].sum() / count), lift))
    return found


def print_neighbours(near: Mapping[str, Near], names: TitleNames, position: int, count: int) -> None:
    """A column per way, a line per rank; how many users liked each title is beside it."""
    shown = RichTable(title=f"more like {names.label(position)}, liked by {names.counts[position]:,}")
    shown.add_column("", justify="right")
    columns = {way: own(position, count) for way, own in near.items()}
    for way in columns:
        shown.add_column(way)
        shown.add_column("liked by", justify="right")
    for rank in range(count):
        cells = []
        for own in columns.values():
            title = int(own[rank])
            cells += ["", ""] if title == NO_TITLE else [names.label(title), f"{names.counts[title]:,}"]
        shown.add_row(str(rank + 1), *cells)
    command_line.console().print(shown)


def print_co_liked(found: Mapping[str, Sequence[CoLiked]], title: str) -> None:
    """A line per way and group of titles to start from."""
    shown = RichTable(title=title)
    for name in ("by", "from titles of the", "pairs", "share of what was liked besides", "lift"):
        shown.add_column(name, justify="left" if name in ("by", "from titles of the") else "right")
    for way, rows in found.items():
        for row in rows:
            shown.add_row(way, row.group, f"{row.count_pairs:,}", f"{row.recall:.4f}", f"{row.lift:.2f}")
    command_line.console().print(shown)


def work(settings: Settings, arguments: Namespace) -> None:
    models = read_side_by_side(settings, arguments.model, WAYS if arguments.measure else [arguments.by])
    names = models.names
    for match in [names.find(wanted) for wanted in arguments.titles]:  # all of them, before anything is shown
        if match.note:
            print(match.note)
        print_neighbours(models.near, names, match.row, arguments.count)
    if arguments.measure:
        evaluation_set = read_evaluation_set(models.snapshot, arguments, models.train, models.catalogue)
        k = settings.evaluation.k[0]
        groups = segments.popularity_groups(names.counts)
        found = {way: co_liked(near, evaluation_set, groups, k) for way, near in models.near.items()}
        print_co_liked(found, f"{evaluation_set.name}: what was liked together, among {k} neighbours")


def _some(histories: sparse.csr_matrix, seed: int) -> sparse.csr_matrix:
    if histories.shape[0] <= _MAX_PEOPLE:
        return histories
    return histories[np.sort(np.random.default_rng(seed).choice(histories.shape[0], _MAX_PEOPLE, replace=False))]


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("titles", nargs="*", metavar="TITLE", help="names, whole or how they begin; Heat (1995) works")
    parser.add_argument("--model", default=registry.CHALLENGER, metavar="NAME", help="champion, challenger, a version")
    parser.add_argument("--by", choices=WAYS, default=TASTES, help="what is near to ours; default: tastes")
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
