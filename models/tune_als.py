"""Search the best parameters of ALS, the recommender being replaced, so that comparisons with it are fair.

Reads title_features, vocabularies, training_examples and training_users in <lake.root>, at their newest versions;
writes nothing: it prints every trial, and the best one as settings, for the baseline and for the model's own ALS.

The measure is NDCG@20 on the validation split, or, where a lake has none, on a tenth of each user's likes, drawn by
seed and left out of training.
"""

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from conf import command_line
from conf.settings import Settings
from lake.errors import LakeError
from lake.snapshot import LakeSnapshot
from models.data.catalogue import read_catalogue
from models.data.content import Content
from models.data.model_tables import EVALUATION_TABLES
from models.data.positives import read_positives
from models.errors import ModelError
from models.evaluation import evaluation_set, metrics
from models.linear.als import Als
from models.linear.als_search import AlsGrid, AlsParameters, Trial, best_trial, search_als
from models.recommender import recommend

log = logging.getLogger("marquee")

GRID = AlsGrid(
    factors=(32, 64, 128, 256),
    regularization=(0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 50.0, 100.0, 150.0, 250.0),
    alpha=(1.0, 3.0, 5.0, 10.0, 20.0, 40.0),
    iterations=(10, 20, 40),
)
_HIDDEN_SHARE = 0.1
_MEASURED_AT = 20


def work(settings: Settings, arguments: Namespace) -> None:
    snapshot = LakeSnapshot.pin(settings.lake.root, EVALUATION_TABLES)
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue).liked
    try:
        held_out = evaluation_set.of_split(snapshot, "validation", catalogue)
        histories, relevant = held_out.histories, held_out.relevant
    except (LakeError, ModelError):
        train, relevant = hide(train, _HIDDEN_SHARE, settings.seed)
        users = np.flatnonzero(np.diff(relevant.indptr))
        histories, relevant = train[users], relevant[users]
    warm = np.bincount(train.indices, minlength=len(catalogue)) > 0

    def objective(point: AlsParameters) -> float:
        als = Als(point.factors, point.regularization, point.alpha, point.iterations, settings.seed)
        als.fit(train, Content({}, {}))
        lists = recommend(als, histories, _MEASURED_AT, catalogue.is_listed & warm)
        ndcg = float(metrics.ndcg_at_k(lists, relevant, _MEASURED_AT).mean())
        log.info("%s: NDCG@%d %.4f", point, _MEASURED_AT, ndcg)
        return ndcg

    trials = search_als(objective, GRID, arguments.random, arguments.climbs, arguments.max_trials, settings.seed)
    print(_as_settings(best_trial(trials), len(trials)))


def hide(liked: sparse.csr_matrix, share: float, seed: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split `liked` at random into the entries that remain and a `share` of them that is hidden."""
    is_hidden = np.random.default_rng(seed).random(liked.nnz) < share
    rows = np.repeat(np.arange(liked.shape[0]), np.diff(liked.indptr))

    def select_entries(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> sparse.csr_matrix:
        entries = (liked.data[chosen], (rows[chosen], liked.indices[chosen]))
        return sparse.csr_matrix(entries, shape=liked.shape)

    return select_entries(~is_hidden), select_entries(is_hidden)


def _as_settings(best: Trial, count: int) -> str:
    parameters = best.parameters
    lines = (
        f"  als:\n    factors: {parameters.factors}\n    regularization: {parameters.regularization}\n"
        f"    alpha: {parameters.alpha}\n    iterations: {parameters.iterations}"
    )
    return (
        f"# the best of {count} trials, NDCG@{_MEASURED_AT} {best.objective:.4f}\nbaselines:\n{lines}\nmodel:\n{lines}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--random", type=int, default=12, metavar="N", help="points drawn first (default: 12)")
    parser.add_argument(
        "--climbs", type=int, default=2, metavar="N", help="best random points to climb from (default: 2)"
    )
    parser.add_argument("--max-trials", type=int, default=60, metavar="N", help="points tried at most (default: 60)")
    return command_line.run(parser, work, argv, (ValueError,))


if __name__ == "__main__":
    sys.exit(main())
