"""The popularity dial's curve: accuracy, coverage and popularity of a model's lists at several settings of the dial.

With s the model's score, d the dial, sd_u the standard deviation of user u's scores of the candidates, and z the
standardised popularity of title t, lists are ranked by

    s(u, t) + d · sd_u · z(t)

The dial is thus in standard deviations of a user's scores and comparable between models. An index replaces sd_u by its
median over users; `DialLists.spreads` shows how much sd_u varies.

Popularity counts the positives in training, not those of the evaluation set. Titles without positives are not moved;
see models/blend/standardised.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from conf.settings import Evaluation
from lake.arrays import Ids
from models.blend import standardised
from models.blend.two_tower import CatalogueModel, TwoTower
from models.evaluation import metrics, segments
from models.evaluation.dial_points import DialPoint
from models.evaluation.evaluation_set import EvaluationSet
from models.recommender import Scores, recommend_by

_BATCH_USERS = 1024

Counts: TypeAlias = NDArray[np.int64]
ScoreUsers: TypeAlias = Callable[[slice], Scores]  # [users of the slice, titles]


@dataclass(frozen=True)
class DialLists:
    """Lists [users, k] at each dial, and the standard deviation of each user's scores."""

    dials: Sequence[float]
    lists: Sequence[Ids]
    spreads: NDArray[np.float64]  # [users]

    @property
    def spread(self) -> float:
        """The median of `spreads`: the factor of the dial in an index."""
        return float(np.median(self.spreads))

    def merge(self, other: "DialLists") -> "DialLists":
        """The lists of both, of the same users, in the order of dials."""
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
    """Lists of length `k` at every dial.

    `counts` [titles] are the positives in training, `scale` is `index.popularity_scale`.
    """
    popularity = standardised.popularity(counts, evaluation_set.candidates, scale).values
    lists: list[list[Ids]] = [[] for _ in dials]
    spreads = []
    for users in _batches(len(evaluation_set.user_ids)):
        scores = score(users)
        spread = scores[:, evaluation_set.candidates].std(axis=1, keepdims=True)
        spreads.append(spread[:, 0].astype(np.float64))
        histories, ignored = evaluation_set.histories[users], evaluation_set.ignored[users]
        for dial, batches in zip(dials, lists, strict=True):
            shifted = (scores + np.float32(dial) * spread * popularity).astype(np.float32)
            batches.append(recommend_by(shifted.__getitem__, histories, k, evaluation_set.candidates, ignored))
    return DialLists(dials, [np.concatenate(batches) for batches in lists], np.concatenate(spreads))


def measure_points(
    at_dials: DialLists, evaluation_set: EvaluationSet, counts: Counts, count_users: int, options: Evaluation
) -> list[DialPoint]:
    """A point per dial, at the first list length of `options`.

    `counts` [titles] are the positives of `count_users` users in training.
    """
    k = options.k[0]
    parts = segments.positives_by_popularity(evaluation_set.relevant, counts)
    tail = next((part for part in parts if part.name == "tail"), None)
    points = []
    for dial, lists in zip(at_dials.dials, at_dials.lists, strict=True):
        tail_recall = metrics.recall_at_k(lists[tail.users], tail.relevant, k).mean() if tail else np.nan
        points.append(
            DialPoint(
                dial=dial,
                recall=float(metrics.recall_at_k(lists, evaluation_set.relevant, k).mean()),
                ndcg=float(metrics.ndcg_at_k(lists, evaluation_set.relevant, k).mean()),
                coverage=metrics.coverage_at_k(lists, evaluation_set.candidates, k),
                mean_popularity=float(np.nanmean(metrics.mean_popularity_at_k(lists, counts, k))),
                cold_share=float(np.nanmean(metrics.cold_share_at_k(lists, counts, k))),
                tail_recall=float(tail_recall),
                gini=metrics.gini_at_k(lists, evaluation_set.candidates, k),
                novelty=float(np.nanmean(metrics.novelty_at_k(lists, counts, count_users, k))),
            )
        )
    return points


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + _BATCH_USERS) for start in range(0, count, _BATCH_USERS))
