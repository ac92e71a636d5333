"""Measurement of recommendation lists: every metric, over all users and per segment, with intervals and differences.

The metrics are those of models/evaluation/metric_registry.py, which says how to add one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from conf.settings import Evaluation
from lake.arrays import NO_TITLE, Flags, Ids
from models.data.catalogue import Catalogue
from models.evaluation import comparison, metrics, segments
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.metric_registry import ACCURACY, AGGREGATES, LISTS, ListContext
from models.evaluation.metrics import PerUser
from models.evaluation.segments import Segment

# Lengths of history at which segments of users begin: without one, few, some, many titles.
HISTORY_TITLES = (0, 1, 5, 20)
# Days since release at which segments of positives begin: release day, half a week, a week, a month.
AGES_DAYS = (0, 1, 4, 8, 31)
# Suffix of metrics of lists among all titles; metrics without it are of lists among seen titles.
AMONG_ALL = "_among_all"


@dataclass(frozen=True)
class Measurement:
    """One metric of one model in one segment: the mean over users with its interval.

    `difference` is that to the reference model on the same users. It is None for the reference itself and for
    aggregates, which have no interval either. `count_left_out` counts users for whom the metric is not defined: an
    empty list has no novelty.
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


def measure(
    recommended: Mapping[str, Ids],
    against: str,
    evaluation_set: EvaluationSet,
    catalogue: Catalogue,
    liked: sparse.csr_matrix,
    options: Evaluation,
    seed: int,
) -> dict[str, list[Measurement]]:
    """Measurements by model of the lists `recommended` [users, k_max]; differences are to the model `against`.

    `liked` [users, titles] are the positives in training, by which popularity is counted.
    """
    counts = np.bincount(liked.indices, minlength=liked.shape[1])
    context = ListContext(
        *(counts, liked.shape[0], catalogue.genres, evaluation_set.histories, evaluation_set.candidates)
    )
    parts = list(_segments(evaluation_set, catalogue, counts, options))
    all_users = segments.all_users(evaluation_set.relevant)
    measurements: dict[str, list[Measurement]] = {model: [] for model in recommended}
    for k in options.k:
        for part in parts:
            for metric, of_positives in ACCURACY.items():
                values = {
                    model: of_positives(lists[part.users], part.relevant, k) for model, lists in recommended.items()
                }
                _add(measurements, values, against, part, metric, k, options, seed)
        for metric, of_list in LISTS.items():
            values = {model: of_list(lists, context, k) for model, lists in recommended.items()}
            _add(measurements, values, against, all_users, metric, k, options, seed)
        for model, lists in recommended.items():
            measurements[model] += _aggregates(lists, context, k)
    return measurements


def measure_unseen(
    recommended: Mapping[str, Ids],
    against: str,
    evaluation_set: EvaluationSet,
    is_seen: Flags,
    options: Evaluation,
    seed: int,
) -> dict[str, list[Measurement]]:
    """Measurements by model, over all users, of the effect of unseen titles.

    `recommended` [users, k_max] are lists among all titles, `is_seen` [titles] marks titles with history entries in
    training. Held-out positives cannot credit the other titles: `unmet_share` is the share of list entries that they
    take, and `recall_among_all`, `ndcg_among_all` and `mrr_among_all` count them as misses.
    """
    all_users = segments.all_users(evaluation_set.relevant)
    measurements: dict[str, list[Measurement]] = {model: [] for model in recommended}
    seen = is_seen.astype(np.int64)
    for k in options.k:
        for metric, of_positives in ACCURACY.items():
            values = {model: of_positives(lists, evaluation_set.relevant, k) for model, lists in recommended.items()}
            _add(measurements, values, against, all_users, f"{metric}{AMONG_ALL}", k, options, seed)
        shares = {model: metrics.cold_share_at_k(lists, seen, k) for model, lists in recommended.items()}
        _add(measurements, shares, against, all_users, "unmet_share", k, options, seed)
    return measurements


def to_frame(measurements: Mapping[str, Sequence[Measurement]]) -> pd.DataFrame:
    """One row per model, segment and metric, with intervals and differences."""
    rows = [{"model": model, **asdict(row)} for model, rows in measurements.items() for row in rows]
    return pd.json_normalize(rows, sep="_").drop(columns="difference", errors="ignore")


def _add(
    measurements: dict[str, list[Measurement]],
    values: Mapping[str, PerUser],
    against: str,
    part: Segment,
    metric: str,
    k: int,
    options: Evaluation,
    seed: int,
) -> None:
    """Add one metric of every model. A difference leaves out users for whom either model has no value."""
    bootstrap = (options.resamples, comparison.CONFIDENCE, seed)
    for model, user_values in values.items():
        is_defined = ~np.isnan(user_values)
        if not is_defined.any():
            continue
        estimate = comparison.estimate_mean(user_values[is_defined], *bootstrap)
        is_paired = is_defined & ~np.isnan(values[against])
        difference = None
        if model != against and is_paired.any():
            difference = comparison.compare_paired(user_values[is_paired], values[against][is_paired], *bootstrap)
        measurements[model].append(
            Measurement(
                dimension=part.dimension,
                segment=part.name,
                metric=metric,
                k=k,
                mean=estimate.mean,
                low=estimate.low,
                high=estimate.high,
                count_users=estimate.count_users,
                count_left_out=int((~is_defined).sum()),
                difference=difference,
            )
        )


def _aggregates(lists: Ids, context: ListContext, k: int) -> Iterator[Measurement]:
    """Metrics that are one figure for all lists together."""
    count_empty = int((lists == NO_TITLE).all(axis=1).sum())
    for metric, of_all_lists in AGGREGATES.items():
        yield Measurement("all", "all", metric, k, of_all_lists(lists, context, k), None, None, len(lists), count_empty)


def _segments(
    evaluation_set: EvaluationSet, catalogue: Catalogue, counts: Ids, options: Evaluation
) -> Iterator[Segment]:
    relevant = evaluation_set.relevant
    yield segments.all_users(relevant)
    lengths = np.diff(evaluation_set.histories.indptr).astype(np.int64)
    yield from segments.users_by_history(relevant, lengths, HISTORY_TITLES)
    yield from segments.users_by_country(relevant, evaluation_set.countries)
    yield from segments.positives_by_popularity(relevant, counts)
    yield from segments.positives_by_age(relevant, evaluation_set.ages_days, AGES_DAYS)
    yield from segments.positives_by_genre(relevant, catalogue.genres, catalogue.genre_names)
    yield from segments.positives_by_object_type(relevant, catalogue.object_types)
