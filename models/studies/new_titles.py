"""Accuracy for new titles relative to known ones, over nights: figures per user, their means, and ratios of means.

Ages are at the moment of the like, known likes as of the night of the list. The segment `later` has the titles released
since the first night once they are LATER_DAYS old or older.
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
from models.evaluation import ratios, segments
from models.evaluation.comparison import CONFIDENCE, Estimate
from models.evaluation.evaluation_set import EvaluationSet
from models.evaluation.measurement import AGES_DAYS, Measurement
from models.evaluation.metric_registry import HEADLINE_METRICS
from models.evaluation.ratios import Sample
from models.evaluation.segments import OLDER, Segment

AGE, KNOWN_LIKES, LATER = "title_age_days", "known_likes", "later"
FILE = "backtest.json"  # the output of `summary`, in a backtest's folder
# Known likes of a title at which segments of positives begin: none, then roughly on a logarithmic scale.
FIRST_KNOWN_LIKES = (0, 1, 3, 10, 50)
# Days after release from which a title is no longer new: a week has passed, as in AGES_DAYS.
LATER_DAYS = 8

# One row per night, model, segment, metric and user: `value`.
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
    count_reference: int  # users


def values_of_night(
    settings: Settings,
    night: date,
    lists: Mapping[str, Ids],
    evaluation_set: EvaluationSet,
    known: Positives,
    is_new: NDArray[np.bool_],
) -> Values:
    """Figures of a night's users in every segment, for `lists` [users, k] by model.

    `is_new` [titles] are those released since the first night.
    """
    k, tables = settings.evaluation.k[0], []
    user_ids = np.array(evaluation_set.user_ids, dtype=object)
    for part in _segments(evaluation_set, known, is_new):
        for model, of_model in lists.items():
            for metric, of_lists in HEADLINE_METRICS.items():
                values = of_lists(of_model[part.users], part.relevant, k)
                labels = dict(zip(_KEYS, (model, part.dimension, part.name, metric), strict=True))
                tables.append(pd.DataFrame({"user_id": user_ids[part.users], "value": values}).assign(**labels))
    return pd.concat(tables, ignore_index=True).assign(night=night)


def _segments(evaluation_set: EvaluationSet, known: Positives, is_new: NDArray[np.bool_]) -> list[Segment]:
    relevant = evaluation_set.relevant
    counts = np.bincount(known.liked.indices, minlength=relevant.shape[1]).astype(np.int64)
    is_later = is_new[relevant.indices] & (evaluation_set.ages_days >= LATER_DAYS)
    return [
        segments.all_users(relevant),
        *segments.positives_by_age(relevant, evaluation_set.ages_days, AGES_DAYS),
        *segments.positives_among(AGE, LATER, relevant, is_later),
        *segments.positives_by_known_likes(relevant, counts, FIRST_KNOWN_LIKES),
    ]


def measure_segments(values: Values, settings: Settings) -> dict[str, list[Measurement]]:
    """The mean of every segment over all nights with its interval over users, by model."""
    options = settings.evaluation
    user_rows = _user_rows(values)
    measurements: dict[str, list[Measurement]] = {model: [] for model in values["model"].unique()}
    for (model, dimension, segment, metric), rows in values.groupby(_KEYS, sort=False):
        sample = Sample(rows["value"].to_numpy(), user_rows[rows.index])
        estimate = ratios.estimate_mean(sample, options.resamples, CONFIDENCE, settings.seed)
        measurements[model].append(
            Measurement(
                dimension,
                segment,
                metric,
                options.k[0],
                estimate.mean,
                estimate.low,
                estimate.high,
                estimate.count_users,
                0,
            )
        )
    return measurements


def compare(values: Values, settings: Settings) -> list[Ratio]:
    """Ratios of every segment to known titles: ages to `later` and `older`, known likes to the last band.

    References that are empty, or whose mean is 0, are left out.
    """
    options, user_rows = settings.evaluation, _user_rows(values)
    samples = {
        key: Sample(rows["value"].to_numpy(), user_rows[rows.index]) for key, rows in values.groupby(_KEYS, sort=False)
    }
    references = {AGE: (LATER, OLDER), KNOWN_LIKES: (f"{FIRST_KNOWN_LIKES[-1]}+",)}
    segment_ratios = []
    for (model, dimension, segment, metric), sample in samples.items():
        for reference in references.get(dimension, ()):
            below = samples.get((model, dimension, reference, metric))
            if below is None or segment == reference or below.values.mean() == 0:
                continue
            estimate = ratios.estimate_ratio(sample, below, options.resamples, CONFIDENCE, settings.seed)
            count = len(np.unique(below.users))
            segment_ratios.append(Ratio(model, dimension, segment, metric, reference, estimate, count))
    return segment_ratios


def cold_to_warm(segment_ratios: Sequence[Ratio], model: str, min_users: int) -> Ratio | None:
    """The ratio of recall on release day to `later`, or to `older` where `later` has fewer than `min_users`.

    None without likes on release day, or without likes of known titles.
    """
    by_reference = {
        ratio.reference: ratio
        for ratio in segment_ratios
        if (ratio.model, ratio.dimension, ratio.segment, ratio.metric) == (model, AGE, "0", "recall")
    }
    later = by_reference.get(LATER)
    if later is not None and later.count_reference >= min_users:
        return later
    return by_reference.get(OLDER, later)


def summary(ratio: Ratio | None) -> dict[str, Any]:
    """The content of FILE, which the gate reads."""
    if ratio is None:
        return {"cold_to_warm": None}
    return {
        "cold_to_warm": ratio.estimate.mean,
        "low": ratio.estimate.low,
        "high": ratio.estimate.high,
        "count_users": ratio.estimate.count_users,
        "reference": ratio.reference,
        "count_reference": ratio.count_reference,
    }


def ratios_frame(segment_ratios: Sequence[Ratio]) -> pd.DataFrame:
    """One row per ratio."""
    return pd.DataFrame(
        [
            {
                **{key: getattr(ratio, key) for key in _KEYS},
                "reference": ratio.reference,
                "ratio": ratio.estimate.mean,
                "low": ratio.estimate.low,
                "high": ratio.estimate.high,
                "count_users": ratio.estimate.count_users,
                "count_reference": ratio.count_reference,
            }
            for ratio in segment_ratios
        ]
    )


def nights_frame(values: Values) -> pd.DataFrame:
    """One row per night, model, segment and metric: the mean over the night's users."""
    grouped = values.groupby(["night", *_KEYS], sort=False)["value"]
    return grouped.agg(mean="mean", count_users="count").reset_index()


def _user_rows(values: Values) -> NDArray[np.int64]:
    """[rows]: an integer per user."""
    return pd.factorize(values["user_id"])[0].astype(np.int64)
