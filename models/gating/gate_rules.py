"""The gate's rules: checks of a challenger against the reference model, each with both figures and a reason in words.

Over all users the challenger must be better. In a segment it must not be worse by more than a tolerance. With some
sixty segments a few look worse by chance, so each segment with enough users is a one-sided test of "the loss is within
the tolerance" (a normal approximation, with the standard error from the bootstrap's interval), and the family-wise
error of all segments together is at most 1 - confidence. Source: Holm 1979, A simple sequentially rejective multiple
test procedure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from statistics import NormalDist, median
from typing import Any, TypeAlias

from conf.settings import Gate
from lake.feed_days import FeedDay
from models.evaluation.comparison import Difference
from models.evaluation.measurement import AMONG_ALL, Measurement
from models.evaluation.metric_registry import HEADLINE_METRICS

OVERALL, SEGMENT, GUARDRAIL, DATA, BUNDLE = RULES = ("overall", "segment", "guardrail", "data", "bundle")
# Days before the night whose median is the usual number of events: a week has each weekday once.
EVENTS_DAYS = 7

Key: TypeAlias = tuple[str, str, str]  # dimension, segment, metric


@dataclass(frozen=True)
class Check:
    """One rule on one figure. `limit` bounds the difference where there is one, else `value`.

    `decides` is False where there are too few users for a decision.
    """

    rule: str
    dimension: str
    segment: str
    metric: str
    k: int
    value: float
    reference: float | None
    difference: float | None
    low: float | None
    high: float | None
    count_users: int
    limit: float
    passed: bool
    decides: bool
    reason: str


def judge_models(
    challenger: Sequence[Measurement],
    reference: Sequence[Measurement],
    k: int,
    options: Gate,
    interval_confidence: float,
) -> list[Check]:
    """Checks of a challenger at list length `k`; its differences are to `reference`.

    `interval_confidence` is the confidence of the measured intervals. Raises ValueError where a figure that a rule
    needs was not measured or not compared.
    """
    rows = {_key(row): row for row in challenger if row.k == k}
    reference_rows = {_key(row): row for row in reference if row.k == k}
    overall = [_judge_overall(_measurement(rows, ("all", "all", metric)), options) for metric in HEADLINE_METRICS]
    in_segments = [row for row in rows.values() if row.dimension != "all" and row.metric in HEADLINE_METRICS]
    segments = _judge_segments(in_segments, options, interval_confidence)
    return [*overall, *segments, *_judge_guardrails(rows, reference_rows, options)]


def judge_data(days: Sequence[FeedDay], ds: date, options: Gate) -> list[Check]:
    """Checks of the night's events: the share of rejected lines and the number of events.

    Raises ValueError where `ds` is not in `days`.
    """
    tonight = next((day for day in days if day.ds == ds), None)
    if tonight is None:
        raise ValueError(f"events of ds={ds} were not loaded")
    rejected = tonight.count_rejected / max(tonight.count_lines, 1)
    checks = [
        _single(
            *(DATA, "rejected_share", rejected, options.max_rejected_share, rejected <= options.max_rejected_share),
            f"{tonight.count_rejected:,} of {tonight.count_lines:,} lines were rejected",
        )
    ]
    before = sorted(day.count_loaded for day in days if 0 < (ds - day.ds).days <= EVENTS_DAYS)
    if before:
        usual = median(before)
        least = options.min_events_share * usual
        reason = f"{tonight.count_loaded:,} events were loaded; the median of {len(before)} days before is {usual:,.0f}"
        checks.append(
            _single(DATA, "events", tonight.count_loaded, least, tonight.count_loaded >= least, reason, usual)
        )
    return checks


def judge_new_titles(backtest: Mapping[str, Any], options: Gate) -> list[Check]:
    """The check of the cold-to-warm ratio that models.backtest last measured; see `new_titles.summary`.

    It fails where even the upper end of the interval is below the limit. There is no check without a ratio.
    """
    ratio, least = backtest["cold_to_warm"], options.min_cold_to_warm
    if ratio is None:
        return []
    nights = f"on backtested nights from {backtest['first_night']} to {backtest['last_night']}"
    check = _single(
        *(GUARDRAIL, "cold_to_warm", ratio, least, backtest["high"] >= least),
        f"on release day titles have {ratio:.0%} of the recall of {backtest['reference']} ones, {nights}",
    )
    count = backtest["count_users"]
    return [
        replace(
            check,
            low=backtest["low"],
            high=backtest["high"],
            count_users=count,
            decides=min(count, backtest["count_reference"]) >= options.min_users,
        )
    ]


def judge_bundle(figures: Mapping[str, tuple[float, float, bool]]) -> list[Check]:
    """Checks of an index. `figures` are by name: the value, its limit, and True where more is better."""
    return [
        _single(
            *(BUNDLE, name, value, limit, value >= limit if more_is_better else value <= limit),
            f"{value:.4g}, {'at least' if more_is_better else 'at most'} {limit:.4g} is allowed",
        )
        for name, (value, limit, more_is_better) in figures.items()
    ]


def failures(checks: Sequence[Check]) -> list[Check]:
    """The checks that stop a promotion."""
    return [check for check in checks if check.decides and not check.passed]


def _key(row: Measurement) -> Key:
    return row.dimension, row.segment, row.metric


def _measurement(rows: Mapping[Key, Measurement], key: Key) -> Measurement:
    if key not in rows:
        raise ValueError(f"{' '.join(key)} was not measured")
    return rows[key]


def _judge_overall(row: Measurement, options: Gate) -> Check:
    check = _of_difference(OVERALL, row, options.max_overall_loss_share)
    difference = _difference(row)
    is_better, is_safe = difference.mean > options.min_gain, difference.low >= check.limit
    if not is_better:
        reason = f"no gain: {difference.mean:+.4f}, more than {options.min_gain:+.4f} is required"
    elif not is_safe:
        reason = f"uncertain: the interval reaches down to {difference.low:+.4f}, below {check.limit:+.4f}"
    else:
        reason = f"better by {difference.mean:+.4f}"
    return replace(check, passed=is_better and is_safe, reason=reason)


def _judge_segments(rows: Sequence[Measurement], options: Gate, interval_confidence: float) -> list[Check]:
    """Holm's procedure: p-values in ascending order, each against the error left divided by the tests left."""
    checks = [_of_difference(SEGMENT, row, options.max_segment_loss_share) for row in rows]
    p_values = [
        _p_value(_difference(row), check.limit, interval_confidence) for row, check in zip(rows, checks, strict=True)
    ]
    deciding = [n for n, check in enumerate(checks) if check.count_users >= options.min_users]
    ascending = sorted(deciding, key=lambda n: p_values[n])
    failed: set[int] = set()
    for rank, n in enumerate(ascending):
        if p_values[n] > (1 - options.confidence) / (len(ascending) - rank):
            break
        failed.add(n)
    return [_with_reason(check, n in failed, n in deciding) for n, check in enumerate(checks)]


def _p_value(difference: Difference, limit: float, interval_confidence: float) -> float:
    """Probability of a difference as low as this one if the true loss were exactly the tolerance."""
    deviation = (difference.high - difference.low) / (2 * NormalDist().inv_cdf((1 + interval_confidence) / 2))
    beyond = difference.mean - limit
    if deviation == 0:
        return 0.0 if beyond < 0 else 1.0
    return NormalDist().cdf(beyond / deviation)


def _with_reason(check: Check, is_failed: bool, decides: bool) -> Check:
    if is_failed:
        reason = f"significantly worse: by {-(check.difference or 0):.4f}, where {-check.limit:.4f} is allowed"
    elif not decides:
        reason = "too few users to decide"
    elif (check.difference or 0) < check.limit:
        reason = "worse, but not significantly"
    else:
        reason = "not worse beyond the tolerance"
    return replace(check, passed=not is_failed, decides=decides, reason=reason)


def _of_difference(rule: str, row: Measurement, loss_share: float) -> Check:
    difference = _difference(row)
    reference = row.mean - difference.mean
    return Check(
        rule=rule,
        dimension=row.dimension,
        segment=row.segment,
        metric=row.metric,
        k=row.k,
        value=row.mean,
        reference=reference,
        difference=difference.mean,
        low=difference.low,
        high=difference.high,
        count_users=difference.count_users,
        limit=-loss_share * reference,
        passed=True,
        decides=True,
        reason="",
    )


def _difference(row: Measurement) -> Difference:
    if row.difference is None:
        raise ValueError(f"{row.name} of {row.dimension} {row.segment} was not compared")
    return row.difference


def _judge_guardrails(
    rows: Mapping[Key, Measurement], reference_rows: Mapping[Key, Measurement], options: Gate
) -> list[Check]:
    coverage, popularity = ("all", "all", "coverage"), ("all", "all", "mean_popularity")
    for key in (coverage, popularity):
        if key not in rows or key not in reference_rows:
            raise ValueError(f"{' '.join(key)} was not measured")
    shown, liked = rows[coverage].mean, rows[popularity].mean
    reference_shown, reference_liked = reference_rows[coverage].mean, reference_rows[popularity].mean
    least = (1 - options.max_coverage_loss_share) * reference_shown
    most = (1 + options.max_popularity_gain_share) * reference_liked
    return [
        *_judge_unseen(rows, reference_rows, options),
        _single(
            *(GUARDRAIL, "coverage", shown, least, shown >= least),
            f"{shown:.1%} of titles are recommended to at least one user, {reference_shown:.1%} by the reference",
            reference_shown,
            rows[coverage].k,
        ),
        _single(
            *(GUARDRAIL, "mean_popularity", liked, most, liked <= most),
            f"recommended titles have {liked:,.1f} likes on average, {reference_liked:,.1f} by the reference",
            reference_liked,
            rows[popularity].k,
        ),
    ]


def _judge_unseen(
    rows: Mapping[Key, Measurement], reference_rows: Mapping[Key, Measurement], options: Gate
) -> list[Check]:
    """Checks of unseen titles, which judged accuracy leaves out: their share of list entries, accuracy with them."""
    key = ("all", "all", "unmet_share")
    share, most = _measurement(rows, key), options.max_unseen_share
    checks = [
        _single(
            *(GUARDRAIL, "unmet_share", share.mean, most, share.mean <= most),
            f"{share.mean:.1%} of the list entries are unseen titles, which held-out likes cannot credit",
            _measurement(reference_rows, key).mean,
            share.k,
        )
    ]
    for metric in HEADLINE_METRICS:
        check = _of_difference(GUARDRAIL, _measurement(rows, ("all", "all", f"{metric}{AMONG_ALL}")), 0.0)
        checks.append(replace(check, decides=False, reason="with unseen titles counted as misses"))
    return checks


def _single(
    rule: str,
    metric: str,
    value: float,
    limit: float,
    passed: bool,
    reason: str,
    reference: float | None = None,
    k: int = 0,
) -> Check:
    """A check of one figure over all users; `k` is 0 where the figure is not of lists."""
    return Check(
        *(rule, "all", "all", metric, k, value, reference, None, None, None, 0, limit, passed, True, reason),
    )
