"""The gate's rules: what a challenger must show, as checks with both figures and the reason in words.

Over everybody it must be better. In a segment it must not be worse by more than a tolerance; that counts as shown only
where chance is ruled out, for with some sixty segments a few always look worse. So each segment with enough users is a
one-sided test of "the loss is within the tolerance" (a normal approximation, its standard error from the bootstrap's
interval), and all of them together are wrong with a probability of at most 1 - confidence: Holm 1979, A simple
sequentially rejective multiple test procedure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from statistics import NormalDist, median
from typing import Any

from conf.settings import Gate
from lake.feed_days import FeedDay
from models.evaluation.comparison import Difference
from models.evaluation.measurement import AMONG_ALL, Measurement

OVERALL, SEGMENT, GUARDRAIL, DATA, BUNDLE = RULES = ("overall", "segment", "guardrail", "data", "bundle")
ACCURACY = ("recall", "ndcg")


@dataclass(frozen=True)
class Check:
    """One rule on one figure. `limit` is what `value` was held against: a difference, or a figure of its own.

    `decides` is False where too few users say nothing either way.
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
    """The checks of a challenger, whose differences are to `reference`, at list length `k`.

    `interval_confidence` is that of the intervals. Raises ValueError where a figure that is to be judged was not
    measured, or not compared.
    """
    own = {(row.dimension, row.segment, row.metric): row for row in challenger if row.k == k}
    its = {(row.dimension, row.segment, row.metric): row for row in reference if row.k == k}
    overall = [_judge_overall(_measured(own, ("all", "all", metric)), options) for metric in ACCURACY]
    others = [row for (dimension, _, metric), row in own.items() if dimension != "all" and metric in ACCURACY]
    segments = _judge_segments(others, options, interval_confidence)
    return [*overall, *segments, *_judge_guardrails(own, its, options)]


def judge_data(days: Sequence[FeedDay], ds: date, options: Gate) -> list[Check]:
    """What the night's events must be: few rejected, no half a feed. Raises ValueError where `ds` is not in `days`."""
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
    before = sorted(day.count_loaded for day in days if 0 < (ds - day.ds).days <= options.events_days)
    if before:
        usual = median(before)
        least = options.min_events_share * usual
        reason = f"{tonight.count_loaded:,} events came in, {usual:,.0f} on a usual day of the last {len(before)}"
        checks.append(
            _single(DATA, "events", tonight.count_loaded, least, tonight.count_loaded >= least, reason, usual)
        )
    return checks


def judge_new_titles(replayed: Mapping[str, Any], options: Gate) -> list[Check]:
    """What new titles must get beside known ones, by what models.backtest last found; see `cold_start.summary`.

    It fails where chance is ruled out. No ratio, no check.
    """
    ratio, least = replayed["cold_to_warm"], options.min_cold_to_warm
    if ratio is None:
        return []
    nights = f"on replayed nights from {replayed['first_night']} to {replayed['last_night']}"
    check = _single(
        *(GUARDRAIL, "cold_to_warm", ratio, least, replayed["high"] >= least),
        f"on the day they come out titles get {ratio:.0%} of the recall of {replayed['reference']} ones, {nights}",
    )
    count = replayed["count_users"]
    return [
        replace(
            check,
            low=replayed["low"],
            high=replayed["high"],
            count_users=count,
            decides=min(count, replayed["count_reference"]) >= options.min_users,
        )
    ]


def judge_bundle(figures: Mapping[str, tuple[float, float, bool]]) -> list[Check]:
    """Checks of an index by name: the figure, its limit, and whether more of it is better."""
    return [
        _single(
            *(BUNDLE, name, value, limit, value >= limit if more_is_better else value <= limit),
            f"{value:.4g}, {'at least' if more_is_better else 'at most'} {limit:.4g} is allowed",
        )
        for name, (value, limit, more_is_better) in figures.items()
    ]


def failures(checks: Sequence[Check]) -> list[Check]:
    """What stops a promotion."""
    return [check for check in checks if check.decides and not check.passed]


def _measured(own: Mapping[tuple[str, str, str], Measurement], key: tuple[str, str, str]) -> Measurement:
    if key not in own:
        raise ValueError(f"{' '.join(key)} was not measured")
    return own[key]


def _judge_overall(row: Measurement, options: Gate) -> Check:
    check = _of_difference(OVERALL, row, options.max_overall_loss_share)
    found = _difference(row)
    is_better, is_safe = found.mean > options.min_gain, found.low >= check.limit
    if not is_better:
        reason = f"no gain: {found.mean:+.4f}, more than {options.min_gain:+.4f} is needed"
    elif not is_safe:
        reason = f"unsure: it may be as low as {found.low:+.4f}, below {check.limit:+.4f}"
    else:
        reason = f"better by {found.mean:+.4f}"
    return replace(check, passed=is_better and is_safe, reason=reason)


def _judge_segments(rows: Sequence[Measurement], options: Gate, interval_confidence: float) -> list[Check]:
    """Holm's procedure: the surest losses first, each against its share of the error that is left."""
    checks = [_of_difference(SEGMENT, row, options.max_segment_loss_share) for row in rows]
    chances = [
        _chance_of_loss(_difference(row), check.limit, interval_confidence)
        for row, check in zip(rows, checks, strict=True)
    ]
    enough = [n for n, check in enumerate(checks) if check.count_users >= options.min_users]
    deciding = sorted(enough, key=lambda n: chances[n])
    failed: set[int] = set()
    for rank, n in enumerate(deciding):
        if chances[n] > (1 - options.confidence) / (len(deciding) - rank):
            break
        failed.add(n)
    return [_told(check, n in failed, n in enough) for n, check in enumerate(checks)]


def _chance_of_loss(found: Difference, limit: float, interval_confidence: float) -> float:
    """How likely a difference as bad as this one would be, were the true loss just the tolerance."""
    deviation = (found.high - found.low) / (2 * NormalDist().inv_cdf((1 + interval_confidence) / 2))
    beyond = found.mean - limit
    if deviation == 0:
        return 0.0 if beyond < 0 else 1.0
    return NormalDist().cdf(beyond / deviation)


def _told(check: Check, is_failed: bool, decides: bool) -> Check:
    if is_failed:
        reason = f"worse by {-(check.difference or 0):.4f}, beyond {-check.limit:.4f}, and not by chance"
    elif not decides:
        reason = "too few users to decide"
    elif (check.difference or 0) < check.limit:
        reason = "worse, but chance can't be ruled out"
    else:
        reason = "not worse beyond the tolerance"
    return replace(check, passed=not is_failed, decides=decides, reason=reason)


def _of_difference(rule: str, row: Measurement, loss_share: float) -> Check:
    found = _difference(row)
    its = row.mean - found.mean
    return Check(
        rule=rule,
        dimension=row.dimension,
        segment=row.segment,
        metric=row.metric,
        k=row.k,
        value=row.mean,
        reference=its,
        difference=found.mean,
        low=found.low,
        high=found.high,
        count_users=found.count_users,
        limit=-loss_share * its,
        passed=True,
        decides=True,
        reason="",
    )


def _difference(row: Measurement) -> Difference:
    if row.difference is None:
        raise ValueError(f"{row.name} of {row.dimension} {row.segment} was not compared")
    return row.difference


def _judge_guardrails(
    own: Mapping[tuple[str, str, str], Measurement], its: Mapping[tuple[str, str, str], Measurement], options: Gate
) -> list[Check]:
    coverage, popularity = ("all", "all", "coverage"), ("all", "all", "mean_popularity")
    for key in (coverage, popularity):
        if key not in own or key not in its:
            raise ValueError(f"{' '.join(key)} was not measured")
    least = (1 - options.max_coverage_loss_share) * its[coverage].mean
    most = (1 + options.max_popularity_gain_share) * its[popularity].mean
    shown, liked = own[coverage].mean, own[popularity].mean
    return [
        *_judge_unseen(own, its, options),
        _single(
            *(GUARDRAIL, "coverage", shown, least, shown >= least),
            f"{shown:.1%} of the titles are recommended to somebody, {its[coverage].mean:.1%} by the other",
            its[coverage].mean,
            own[coverage].k,
        ),
        _single(
            *(GUARDRAIL, "mean_popularity", liked, most, liked <= most),
            f"a recommended title has {liked:,.1f} likes, {its[popularity].mean:,.1f} of the other",
            its[popularity].mean,
            own[popularity].k,
        ),
    ]


def _judge_unseen(
    own: Mapping[tuple[str, str, str], Measurement], its: Mapping[tuple[str, str, str], Measurement], options: Gate
) -> list[Check]:
    """What the accuracy that is judged does not see: places of titles that nobody has met, and what they cost."""
    key = ("all", "all", "unmet_share")
    share, most = _measured(own, key), options.max_unmet_share
    checks = [
        _single(
            *(GUARDRAIL, "unmet_share", share.mean, most, share.mean <= most),
            f"{share.mean:.1%} of the places go to titles that nobody has met, of which likes can say nothing",
            _measured(its, key).mean,
            share.k,
        )
    ]
    for metric in ACCURACY:
        check = _of_difference(GUARDRAIL, _measured(own, ("all", "all", f"{metric}{AMONG_ALL}")), 0.0)
        checks.append(replace(check, decides=False, reason="where titles that nobody has met count as misses"))
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
    """A check of one figure over everything; `k` is 0 where it is not of lists."""
    return Check(
        *(rule, "all", "all", metric, k, value, reference, None, None, None, 0, limit, passed, True, reason),
    )
