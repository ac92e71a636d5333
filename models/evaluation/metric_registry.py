"""The metrics that models are measured by, each under the name that tables and pages have.

To add a metric: write its function in models/evaluation/metrics.py, with a test in
tests/models/evaluation/test_metrics.py against a slow oracle, and add one line to the table below that fits its
signature. Every command that measures models (`models.evaluate`, `models.evaluate_night`, `models.true_taste`) then
reports it, and the table `evaluations` stores it under the name given here: metrics of ACCURACY per segment and once
more among all titles (`..._among_all`), those of ACCURACY and LISTS with intervals and differences. To let it decide
the gate, name it in HEADLINE_METRICS; a rule of its own goes to models/gating/gate_rules.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from scipy import sparse

from lake.arrays import Flags, Ids
from models.data.content import Block
from models.evaluation import metrics
from models.evaluation.metrics import PerUser


@dataclass(frozen=True)
class ListContext:
    """Inputs of metrics that describe lists without held-out positives."""

    positive_counts: Ids  # [titles], positives in training
    count_users: int  # in training
    genres: Block  # [titles, genres]
    histories: sparse.csr_matrix  # [users, titles], of the users whose lists are measured
    candidates: Flags  # [titles] that may be recommended


AccuracyMetric: TypeAlias = Callable[[Ids, sparse.csr_matrix, int], PerUser]
ListMetric: TypeAlias = Callable[[Ids, ListContext, int], PerUser]
AggregateMetric: TypeAlias = Callable[[Ids, ListContext, int], float]

# Against held-out positives [users, titles]; measured in every segment.
ACCURACY: Mapping[str, AccuracyMetric] = {
    "recall": metrics.recall_at_k,
    "ndcg": metrics.ndcg_at_k,
    "mrr": metrics.mrr_at_k,
}

# The metrics of ACCURACY that decide the gate and that plots and studies show.
HEADLINE_METRICS: Mapping[str, AccuracyMetric] = {name: ACCURACY[name] for name in ("recall", "ndcg")}

# Of each user's list alone; measured over all users.
LISTS: Mapping[str, ListMetric] = {
    "novelty": lambda lists, context, k: metrics.novelty_at_k(lists, context.positive_counts, context.count_users, k),
    "mean_popularity": lambda lists, context, k: metrics.mean_popularity_at_k(lists, context.positive_counts, k),
    "cold_share": lambda lists, context, k: metrics.cold_share_at_k(lists, context.positive_counts, k),
    "diversity": lambda lists, context, k: metrics.diversity_at_k(lists, context.genres, k),
    "calibration": lambda lists, context, k: metrics.calibration_at_k(lists, context.histories, context.genres, k),
}

# One figure for all lists together; no mean over users, so without interval and difference.
AGGREGATES: Mapping[str, AggregateMetric] = {
    "coverage": lambda lists, context, k: metrics.coverage_at_k(lists, context.candidates, k),
    "gini": lambda lists, context, k: metrics.gini_at_k(lists, context.candidates, k),
}
