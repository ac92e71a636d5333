"""What the popularity dial trades: accuracy, coverage and popularity of one model's lists at several settings of it.

The score of a title is the model's, plus the dial times the deviation of the user's scores of the candidates times the
standardised popularity of the title. So the dial counts in standard deviations of a user's scores, whatever the
model's scale, and is the same for any model. An index adds one number for everybody, the dial times the median
deviation: the same where all users' deviations are alike, which `DialLists.spreads` shows.

Popularity counts the positives that the model was trained on, not those that it is measured against. What nobody liked
yet is moved neither way; see models/blend/standardised.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from conf.settings import Evaluation
from models.blend import standardised
from models.blend.two_tower import CatalogueModel, TwoTower
from models.evaluation import metrics, segments
from models.evaluation.evaluation_set import EvaluationSet
from models.recommender import Positions, Scores, recommend_by

_BATCH_USERS = 1024

Counts: TypeAlias = NDArray[np.int64]
ScoreUsers: TypeAlias = Callable[[slice], Scores]  # [users of the slice, titles]


@dataclass(frozen=True)
class DialPoint:
    """Means over users and figures over all lists at one setting of the dial."""

    dial: float
    recall: float
    ndcg: float
    coverage: float
    mean_popularity: float
    cold_share: float
    tail_recall: float  # of positives of the tail alone; NaN where nobody has one
    gini: float
    novelty: float  # in bits


@dataclass(frozen=True)
class DialLists:
    """Lists [users, k] of each dial, and the deviation of each user's scores."""

    dials: Sequence[float]
    lists: Sequence[Positions]
    spreads: NDArray[np.float64]  # [users]

    @property
    def spread(self) -> float:
        """What an index multiplies the dial with."""
        return float(np.median(self.spreads))

    def beside(self, other: "DialLists") -> "DialLists":
        """Both, of the same users, in the order of dials."""
        lists = [*self.lists, *other.lists]
        dials = [*self.dials, *other.dials]
        order = np.argsort(dials, kind="stable").tolist()
        return DialLists([dials[n] for n in order], [lists[n] for n in order], self.spreads)


def score_users(trained: TwoTower, bound: CatalogueModel, evaluation_set: EvaluationSet) -> ScoreUsers:
    """Scores of the users of an evaluation set; the model is given their countries and the ages of their histories."""
    padded = trained.padded(evaluation_set)
    return lambda users: bound.score_padded(padded.part(users))


def recommend_at_dials(
    score: ScoreUsers,
    evaluation_set: EvaluationSet,
    counts: Counts,
    scale: standardised.Scale,
    dials: Sequence[float],
    k: int,
) -> DialLists:
    """Lists at every dial; `counts` [titles] are positives in training, `scale` is `index.popularity_scale`."""
    popularity = standardised.popularity(counts, evaluation_set.candidates, scale).values
    lists: list[list[Positions]] = [[] for _ in dials]
    spreads = []
    for users in _batches(len(evaluation_set.user_ids)):
        own = score(users)
        spread = own[:, evaluation_set.candidates].std(axis=1, keepdims=True)
        spreads.append(spread[:, 0].astype(np.float64))
        histories, ignored = evaluation_set.histories[users], evaluation_set.ignored[users]
        for dial, found in zip(dials, lists, strict=True):
            turned = (own + np.float32(dial) * spread * popularity).astype(np.float32)
            found.append(recommend_by(turned.__getitem__, histories, k, evaluation_set.candidates, ignored))
    return DialLists(dials, [np.concatenate(found) for found in lists], np.concatenate(spreads))


def measure_points(
    turned: DialLists, evaluation_set: EvaluationSet, counts: Counts, count_users: int, options: Evaluation
) -> list[DialPoint]:
    """A point per dial, at the first list length of `options`; `counts` [titles] are of `count_users` in training."""
    k = options.k[0]
    shares = (options.head_share, options.head_and_mid_share)
    parts = segments.positives_by_popularity(evaluation_set.relevant, counts, *shares)
    tail = next((part for part in parts if part.name == "tail"), None)
    points = []
    for dial, lists in zip(turned.dials, turned.lists, strict=True):
        of_tail = metrics.recall_at_k(lists[tail.users], tail.relevant, k).mean() if tail else np.nan
        points.append(
            DialPoint(
                dial=dial,
                recall=float(metrics.recall_at_k(lists, evaluation_set.relevant, k).mean()),
                ndcg=float(metrics.ndcg_at_k(lists, evaluation_set.relevant, k).mean()),
                coverage=metrics.coverage_at_k(lists, evaluation_set.candidates, k),
                mean_popularity=float(np.nanmean(metrics.mean_popularity_at_k(lists, counts, k))),
                cold_share=float(np.nanmean(metrics.cold_share_at_k(lists, counts, k))),
                tail_recall=float(of_tail),
                gini=metrics.gini_at_k(lists, evaluation_set.candidates, k),
                novelty=float(np.nanmean(metrics.novelty_at_k(lists, counts, count_users, k))),
            )
        )
    return points


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + _BATCH_USERS) for start in range(0, count, _BATCH_USERS))
