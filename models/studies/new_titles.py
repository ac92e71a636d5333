"""How new titles fare beside known ones, over nights: every person's figures, their means, and ratios of these.

Ages are at the moment of the like, known likes as of the night on which the list was made. `later` are the same titles
as the young ones, those released since the first night, once they are older than backtest.later_days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.settings import Settings
from lake.arrays import Ids
from models.data.positives import Positives
from models.evaluation import metrics, ratios, segments
from models.evaluation.comparison import Estimate
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.measurement import Measurement
from models.evaluation.ratios import Sample
from models.evaluation.segments import OLDER, Segment

AGE, KNOWN_LIKES, LATER = "title_age_days", "known_likes", "later"
FILE = "backtest.json"  # of `summary`, in a replay's folder
_METRICS = {"recall": metrics.recall_at_k, "ndcg": metrics.ndcg_at_k}

# One row per night, model, segment, metric and person: `value`.
Values: TypeAlias = pd.DataFrame
_KEYS = ["model", "dimension", "segment", "metric"]


@dataclass(frozen=True)
class Ratio:
    """The mean of a segment divided by that of a reference, another segment of the same model and metric."""

    model: str
    dimension: str
    segment: str
    metric: str
    reference: str
    estimate: Estimate
    count_reference: int  # people


def values_of_night(
    settings: Settings,
    night: date,
    lists: Mapping[str, Ids],
    evaluation_set: EvaluationSet,
    known: Positives,
    is_new: NDArray[np.bool_],
) -> Values:
    """The figures of everybody whose `lists` [users, k] by model were made on a night, in every segment.

    `is_new` [titles] are those released since the first night.
    """
    k, tables = settings.evaluation.k[0], []
    user_ids = np.array(evaluation_set.user_ids, dtype=object)
    for part in _segments(settings, evaluation_set, known, is_new):
        for model, own in lists.items():
            for metric, of_lists in _METRICS.items():
                values = of_lists(own[part.users], part.relevant, k)
                labels = dict(zip(_KEYS, (model, part.dimension, part.name, metric), strict=True))
                tables.append(pd.DataFrame({"user_id": user_ids[part.users], "value": values}).assign(**labels))
    return pd.concat(tables, ignore_index=True).assign(night=night)


def _segments(
    settings: Settings, evaluation_set: EvaluationSet, known: Positives, is_new: NDArray[np.bool_]
) -> list[Segment]:
    relevant, options = evaluation_set.relevant, settings.backtest
    counts = np.bincount(known.liked.indices, minlength=relevant.shape[1]).astype(np.int64)
    is_later = is_new[relevant.indices] & (evaluation_set.ages_days >= options.later_days)
    return [
        segments.all_users(relevant),
        *segments.positives_by_age(relevant, evaluation_set.ages_days, settings.evaluation.ages_days),
        *segments.positives_among(AGE, LATER, relevant, is_later),
        *segments.positives_by_known_likes(relevant, counts, options.known_likes),
    ]


def measure_segments(values: Values, settings: Settings) -> dict[str, list[Measurement]]:
    """By model the mean of every segment over all nights, with its interval over people."""
    options = settings.evaluation
    people = _people(values)
    found: dict[str, list[Measurement]] = {model: [] for model in values["model"].unique()}
    for (model, dimension, segment, metric), rows in values.groupby(_KEYS, sort=False):
        sample = Sample(rows["value"].to_numpy(), people[rows.index])
        own = ratios.estimate_mean(sample, options.resamples, options.confidence, settings.seed)
        found[model].append(
            Measurement(dimension, segment, metric, options.k[0], own.mean, own.low, own.high, own.count_users, 0)
        )
    return found


def compare(values: Values, settings: Settings) -> list[Ratio]:
    """Every segment's ratio to what known titles get: ages to `later` and `older`, known likes to the last band.

    References that nobody is in, or whose mean is 0, are left out.
    """
    options, people = settings.evaluation, _people(values)
    samples = {
        key: Sample(rows["value"].to_numpy(), people[rows.index]) for key, rows in values.groupby(_KEYS, sort=False)
    }
    references = {AGE: (LATER, OLDER), KNOWN_LIKES: (f"{settings.backtest.known_likes[-1]}+",)}
    found = []
    for (model, dimension, segment, metric), own in samples.items():
        for reference in references.get(dimension, ()):
            below = samples.get((model, dimension, reference, metric))
            if below is None or segment == reference or below.values.mean() == 0:
                continue
            estimate = ratios.estimate_ratio(own, below, options.resamples, options.confidence, settings.seed)
            count = len(np.unique(below.users))
            found.append(Ratio(model, dimension, segment, metric, reference, estimate, count))
    return found


def cold_to_warm(found: Sequence[Ratio], model: str, min_users: int) -> Ratio | None:
    """Recall at the first age as a share of that of the same titles later; of older titles where few people say.

    None where nobody liked a title of that age, or no known one.
    """
    by_reference = {
        own.reference: own
        for own in found
        if (own.model, own.dimension, own.segment, own.metric) == (model, AGE, "0", "recall")
    }
    later = by_reference.get(LATER)
    if later is not None and later.count_reference >= min_users:
        return later
    return by_reference.get(OLDER, later)


def summary(ratio: Ratio | None) -> dict[str, Any]:
    """What the gate reads."""
    if ratio is None:
        return {"cold_to_warm": None}
    own = ratio.estimate
    return {
        "cold_to_warm": own.mean,
        "low": own.low,
        "high": own.high,
        "count_users": own.count_users,
        "reference": ratio.reference,
        "count_reference": ratio.count_reference,
    }


def ratios_frame(found: Sequence[Ratio]) -> pd.DataFrame:
    """A row per ratio."""
    return pd.DataFrame(
        [
            {
                **{key: getattr(own, key) for key in _KEYS},
                "reference": own.reference,
                "ratio": own.estimate.mean,
                "low": own.estimate.low,
                "high": own.estimate.high,
                "count_users": own.estimate.count_users,
                "count_reference": own.count_reference,
            }
            for own in found
        ]
    )


def nights_frame(values: Values) -> pd.DataFrame:
    """A row per night, model, segment and metric: the mean over the night's people."""
    grouped = values.groupby(["night", *_KEYS], sort=False)["value"]
    return grouped.agg(mean="mean", count_users="count").reset_index()


def _people(values: Values) -> NDArray[np.int64]:
    """[rows]: a number per user."""
    return pd.factorize(values["user_id"])[0].astype(np.int64)
