"""Recommendations measured: every metric, over everybody and per segment, with intervals and paired differences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from conf.settings import Evaluation
from lake.arrays import NO_TITLE
from models.data.catalogue import Catalogue
from models.evaluation import comparison, metrics, segments
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.segments import Segment
from models.recommender import Positions

PerUser = NDArray[np.float64]

AMONG_ALL = "_among_all"  # ends the name of a metric of lists among all titles, where others are of judged ones alone


@dataclass(frozen=True)
class Measurement:
    """One metric of one model in one segment, its mean over users with its interval.

    `difference` is that to the model it is compared with, on the same users, with the shares of users for whom it is
    better and worse; None for that model itself and for metrics that are no means over users, which have no interval
    either. `count_left_out` are users whose list cannot say it: an empty one has no novelty.
    """

    dimension: str
    segment: str
    metric: str
    k: int
    mean: float
    low: float | None
    high: float | None
    count_users: int
    count_left_out: int
    difference: comparison.Difference | None = None

    @property
    def name(self) -> str:
        return f"{self.metric}@{self.k}"


_ACCURACY: Mapping[str, Callable[[Positions, sparse.csr_matrix, int], PerUser]] = {
    "recall": metrics.recall_at_k,
    "ndcg": metrics.ndcg_at_k,
    "mrr": metrics.mrr_at_k,
}


def measure(
    recommended: Mapping[str, Positions],
    against: str,
    evaluation_set: EvaluationSet,
    catalogue: Catalogue,
    liked: sparse.csr_matrix,
    options: Evaluation,
    seed: int,
) -> dict[str, list[Measurement]]:
    """Per model what its `recommended` [users, titles] are worth; each is compared with the model `against`.

    `liked` [users, titles] is what the models were trained on: it says how popular a title was.
    """
    counts = np.bincount(liked.indices, minlength=liked.shape[1])
    of_lists: Mapping[str, Callable[[Positions, int], PerUser]] = {
        "novelty": lambda lists, k: metrics.novelty_at_k(lists, counts, liked.shape[0], k),
        "mean_popularity": lambda lists, k: metrics.mean_popularity_at_k(lists, counts, k),
        "cold_share": lambda lists, k: metrics.cold_share_at_k(lists, counts, k),
        "diversity": lambda lists, k: metrics.diversity_at_k(lists, catalogue.genres, k),
        "calibration": lambda lists, k: metrics.calibration_at_k(lists, evaluation_set.histories, catalogue.genres, k),
    }
    parts = list(_segments(evaluation_set, catalogue, counts, options))
    all_users = segments.all_users(evaluation_set.relevant)
    found: dict[str, list[Measurement]] = {model: [] for model in recommended}
    for k in options.k:
        for part in parts:
            for metric, of_hits in _ACCURACY.items():
                values = {model: of_hits(own[part.users], part.relevant, k) for model, own in recommended.items()}
                _add(found, values, against, part, metric, k, options, seed)
        for metric, of_list in of_lists.items():
            values = {model: of_list(own, k) for model, own in recommended.items()}
            _add(found, values, against, all_users, metric, k, options, seed)
        for model, own in recommended.items():
            found[model] += _totals(own, evaluation_set.candidates, k)
    return found


def measure_unseen(
    recommended: Mapping[str, Positions],
    against: str,
    evaluation_set: EvaluationSet,
    is_seen: NDArray[np.bool_],
    options: Evaluation,
    seed: int,
) -> dict[str, list[Measurement]]:
    """What titles do that nobody has met, and of which held-out positives can say nothing: over everybody.

    `recommended` [users, titles] are lists among all titles, `is_seen` [titles] those that somebody has met. Per model
    the share of its places that others have (`unmet_share`), and accuracy where these count as misses
    (`recall_among_all`, `ndcg_among_all`, `mrr_among_all`).
    """
    all_users = segments.all_users(evaluation_set.relevant)
    found: dict[str, list[Measurement]] = {model: [] for model in recommended}
    for k in options.k:
        for metric, of_hits in _ACCURACY.items():
            values = {model: of_hits(own, evaluation_set.relevant, k) for model, own in recommended.items()}
            _add(found, values, against, all_users, f"{metric}{AMONG_ALL}", k, options, seed)
        shares = {
            model: metrics.cold_share_at_k(own, is_seen.astype(np.int64), k) for model, own in recommended.items()
        }
        _add(found, shares, against, all_users, "unmet_share", k, options, seed)
    return found


def to_frame(found: Mapping[str, Sequence[Measurement]]) -> pd.DataFrame:
    """A row per model, segment and metric, with intervals and differences."""
    rows = [{"model": model, **asdict(row)} for model, rows in found.items() for row in rows]
    return pd.json_normalize(rows, sep="_").drop(columns="difference", errors="ignore")


def _add(
    found: dict[str, list[Measurement]],
    values: Mapping[str, PerUser],
    against: str,
    part: Segment,
    metric: str,
    k: int,
    options: Evaluation,
    seed: int,
) -> None:
    """Add one metric of every model. A user whom one of two models has no value for is in neither of the two means."""
    bootstrap = (options.resamples, options.confidence, seed)
    for model, own in values.items():
        known = ~np.isnan(own)
        if not known.any():
            continue
        estimate = comparison.estimate_mean(own[known], *bootstrap)
        both = known & ~np.isnan(values[against])
        difference = None
        if model != against and both.any():
            difference = comparison.compare_paired(own[both], values[against][both], *bootstrap)
        found[model].append(
            Measurement(
                dimension=part.dimension,
                segment=part.name,
                metric=metric,
                k=k,
                mean=estimate.mean,
                low=estimate.low,
                high=estimate.high,
                count_users=estimate.count_users,
                count_left_out=int((~known).sum()),
                difference=difference,
            )
        )


def _totals(recommended: Positions, candidates: NDArray[np.bool_], k: int) -> Iterator[Measurement]:
    """What is one number for all lists together."""
    empty = int((recommended == NO_TITLE).all(axis=1).sum())
    for metric, value in (
        ("coverage", metrics.coverage_at_k(recommended, candidates, k)),
        ("gini", metrics.gini_at_k(recommended, candidates, k)),
    ):
        yield Measurement("all", "all", metric, k, value, None, None, len(recommended), empty)


def _segments(
    evaluation_set: EvaluationSet, catalogue: Catalogue, counts: NDArray[np.int64], options: Evaluation
) -> Iterator[Segment]:
    yield segments.all_users(evaluation_set.relevant)
    lengths = np.diff(evaluation_set.histories.indptr).astype(np.int64)
    yield from segments.users_by_history(evaluation_set.relevant, lengths, options.history_titles)
    yield from segments.users_by_country(evaluation_set.relevant, evaluation_set.countries)
    yield from segments.positives_by_popularity(
        evaluation_set.relevant, counts, options.head_share, options.head_and_mid_share
    )
    yield from segments.positives_by_age(evaluation_set.relevant, evaluation_set.ages_days, options.ages_days)
    yield from segments.positives_by_genre(evaluation_set.relevant, catalogue.genres, catalogue.genre_names)
    yield from segments.positives_by_object_type(evaluation_set.relevant, catalogue.object_types)
