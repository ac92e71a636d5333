"""The gate's rules on figures with known verdicts."""

from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from conf.loader import load_settings
from conf.settings import Gate, with_changes
from lake.feed_days import FeedDay
from models.evaluation.comparison import Difference
from models.evaluation.measurement import Measurement
from models.gating import gate_rules
from models.gating.gate_rules import Check

NIGHT = date(2024, 5, 14)


def options(**changes: object) -> Gate:
    # Of the figures below: a tenth of .2 is a loss of .02, and 100 users are enough.
    fixed = {"confidence": 0.95, "min_users": 100, "min_gain": 0.0, "max_overall_loss_share": 0.1}
    fixed |= {"max_segment_loss_share": 0.1, "max_coverage_loss_share": 0.1, "max_popularity_gain_share": 0.25}
    fixed |= {"max_unseen_share": 0.4, "max_rejected_share": 0.02, "min_events_share": 0.5}
    return with_changes(load_settings(), {f"gate.{key}": value for key, value in (fixed | changes).items()}).gate


def row(
    segment: str, metric: str, gain: float, half_width: float = 0.01, users: int = 1000, reference: float = 0.2
) -> Measurement:
    """A challenger's figure: `gain` over a reference of .2, with an interval of +- `half_width`."""
    difference = Difference(gain, gain - half_width, gain + half_width, users, 0.3, 0.2, 0.5)
    dimension = "all" if segment == "all" else "popularity"
    return Measurement(dimension, segment, metric, 20, reference + gain, None, None, users, 0, difference)


def total(metric: str, value: float) -> Measurement:
    return Measurement("all", "all", metric, 20, value, None, None, 1000, 0)


REFERENCE = [total("coverage", 0.5), total("mean_popularity", 100.0), total("unmet_share", 0.0)]


def judge(
    rows: Sequence[Measurement],
    coverage: float = 0.5,
    popularity: float = 100.0,
    unseen: float = 0.1,
    **changes: object,
) -> list[Check]:
    fixed = [total("coverage", coverage), total("mean_popularity", popularity), total("unmet_share", unseen)]
    challenger = [*rows, *fixed]
    # With unseen titles counted as misses it loses, which decides nothing.
    challenger += [row("all", f"{metric}_among_all", -0.1) for metric in ("recall", "ndcg")]
    return gate_rules.judge_models(challenger, REFERENCE, 20, options(**changes), 0.95)


def better(*others: Measurement) -> list[Measurement]:
    return [row("all", "recall", 0.02), row("all", "ndcg", 0.02), *others]


def failed(checks: Sequence[Check]) -> list[tuple[str, str]]:
    return [(check.segment, check.metric) for check in gate_rules.failures(checks)]


def test_better_everywhere_passes() -> None:
    checks = judge(better(row("tail", "recall", 0.0), row("tail", "ndcg", 0.0)))
    assert failed(checks) == []
    assert [check.rule for check in checks] == ["overall"] * 2 + ["segment"] * 2 + ["guardrail"] * 5


@pytest.mark.parametrize(
    ("gain", "half_width", "reason"),
    [
        (0.0, 0.01, "no gain: +0.0000, more than +0.0000 is required"),
        # .015 - .04 = -.025 lies below a tenth of .2.
        (0.015, 0.04, "uncertain: the interval reaches down to -0.0250, below -0.0200"),
    ],
)
def test_all_users_must_gain_and_certainly_not_lose(gain: float, half_width: float, reason: str) -> None:
    checks = judge([row("all", "recall", gain, half_width), row("all", "ndcg", 0.02)])
    assert failed(checks) == [("all", "recall")]
    assert checks[0].reason == reason


def test_one_significant_loss_in_a_segment_is_enough() -> None:
    # A loss of .05 where .02 is allowed, known to +- .01: 1.5 intervals, nearly six deviations beyond.
    checks = judge(better(row("tail", "recall", -0.05), row("tail", "ndcg", 0.0)))
    assert failed(checks) == [("tail", "recall")]
    assert gate_rules.failures(checks)[0].reason == "significantly worse: by 0.0500, where 0.0200 is allowed"


def test_loss_within_the_tolerance_passes_however_sure_it_is() -> None:
    assert failed(judge(better(row("tail", "recall", -0.015, 0.001)))) == []


def test_loss_that_may_be_chance_passes_and_says_so() -> None:
    # .01 beyond the limit with an interval of +- .01, a deviation of .0051: one of 40, so for one segment alone it is
    # no chance, and for two at once (.025 each) it is.
    alone = judge(better(row("tail", "recall", -0.0295)))
    assert failed(alone) == [("tail", "recall")]
    with_others = judge(better(row("tail", "recall", -0.0295), *[row(f"s{n}", "recall", 0.0) for n in range(9)]))
    assert failed(with_others) == []
    assert with_others[2].reason == "worse, but not significantly"


def test_too_few_users_decide_nothing() -> None:
    [_, _, tail, *_] = checks = judge(better(row("tail", "recall", -0.2, users=99)))
    assert failed(checks) == []
    assert (tail.decides, tail.reason) == (False, "too few users to decide")


def test_segment_where_the_reference_never_hits_can_only_gain() -> None:
    assert failed(judge(better(row("unseen", "recall", 0.0, 0.0, reference=0.0)))) == []


@pytest.mark.parametrize(
    ("coverage", "popularity", "unseen", "expected"),
    [
        (0.45, 125.0, 0.4, []),
        (0.44, 100.0, 0.0, [("all", "coverage")]),
        (0.5, 126.0, 0.0, [("all", "mean_popularity")]),
        (0.5, 100.0, 0.41, [("all", "unmet_share")]),
    ],
)
def test_guardrails(coverage: float, popularity: float, unseen: float, expected: list[tuple[str, str]]) -> None:
    assert failed(judge(better(), coverage, popularity, unseen)) == expected


def test_accuracy_with_unseen_titles_as_misses_is_shown_and_decides_nothing() -> None:
    [recall, ndcg] = [check for check in judge(better()) if check.metric.endswith("_among_all")]
    assert [(check.value, check.reference, check.decides) for check in (recall, ndcg)] == [(0.1, 0.2, False)] * 2


def test_figure_that_was_not_measured_is_named() -> None:
    with pytest.raises(ValueError, match="all all ndcg was not measured"):
        judge([row("all", "recall", 0.02)])


def feed(days_before: int, lines: int, rejected: int) -> FeedDay:
    return FeedDay(NIGHT - timedelta(days=days_before), lines, lines - rejected, rejected)


def test_data_of_a_usual_night_passes() -> None:
    days = [feed(n, 1000, 1) for n in range(1, 4)]
    checks = gate_rules.judge_data([feed(0, 900, 18), *days], NIGHT, options())
    # 18 of 900 is the limit itself; 882 events beside 999 on a usual day.
    assert failed(checks) == []
    assert checks[1].reason == "882 events were loaded; the median of 3 days before is 999"


def test_half_a_feed_and_bad_lines_fail() -> None:
    days = [feed(n, 1000, 0) for n in range(1, 4)]
    assert failed(gate_rules.judge_data([feed(0, 499, 0), *days], NIGHT, options())) == [("all", "events")]
    assert failed(gate_rules.judge_data([feed(0, 1000, 21), *days], NIGHT, options())) == [("all", "rejected_share")]
    # Days longer ago than EVENTS_DAYS, seven, do not count.
    assert failed(gate_rules.judge_data([feed(0, 499, 0), feed(8, 1000, 0)], NIGHT, options())) == []
    with pytest.raises(ValueError, match="ds=2024-05-14 were not loaded"):
        gate_rules.judge_data(days, NIGHT, options())


BACKTEST = {
    **{"cold_to_warm": 0.04, "low": 0.01, "high": 0.06, "count_users": 150, "reference": "later"},
    **{"count_reference": 120, "first_night": "2024-05-03", "last_night": "2024-05-13"},
}


@pytest.mark.parametrize(
    ("changes", "passed", "decides"),
    [
        ({}, True, True),  # .05 may be reached: the interval reaches .06
        ({"high": 0.049}, False, True),
        ({"high": 0.049, "count_users": 99}, False, False),
        ({"high": 0.049, "count_reference": 99}, False, False),
    ],
)
def test_new_titles_must_reach_a_share_of_the_recall_of_known_ones(
    changes: dict[str, float], passed: bool, decides: bool
) -> None:
    [check] = gate_rules.judge_new_titles({**BACKTEST, **changes}, options(min_cold_to_warm=0.05))
    assert (check.passed, check.decides) == (passed, decides)
    assert (check.rule, check.metric, check.value, check.limit) == ("guardrail", "cold_to_warm", 0.04, 0.05)
    assert check.reason == (
        "on release day titles have 4% of the recall of later ones, on backtested nights from 2024-05-03 to 2024-05-13"
    )


def test_before_a_backtest_new_titles_are_not_judged() -> None:
    assert gate_rules.judge_new_titles({"cold_to_warm": None}, options(min_cold_to_warm=0.05)) == []


def test_index_must_reach_its_figures() -> None:
    checks = gate_rules.judge_bundle({"recall@10": (0.97, 0.98, True), "score_difference": (0.001, 0.01, False)})
    assert failed(checks) == [("all", "recall@10")]
