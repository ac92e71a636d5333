"""The same nights in a small and in a large lake: turns, and the figures that compare them."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.report import Report

LAKES = ("small", "large")


def by_turns(number: int) -> tuple[str, ...]:
    """The lakes in their order on a night: they take turns to go first."""
    return LAKES if number % 2 == 0 else LAKES[::-1]


def add_nights(
    report: Report,
    subject: str,
    measure: str,
    costs: Mapping[str, Sequence[float]],
    lake_days: Mapping[str, int],
    target: float | None = None,
    **context: Any,
) -> None:
    """Add the median of each lake's `costs` [nights] in seconds, and their ratio, which is to be at most `target`."""
    rounded = {lake: [round(cost, 3) for cost in costs[lake]] for lake in LAKES}
    medians = {lake: statistics.median(values) for lake, values in rounded.items()}
    for lake, values in rounded.items():
        name, days = f"{subject}, median {measure}", lake_days[lake]
        report.add(name, medians[lake], "s", lake_days=days, night_by_night=values, **context)
    pairs = [round(large / small, 3) for small, large in zip(rounded["small"], rounded["large"], strict=True)]
    report.add(
        f"{subject}, {measure}, large lake over small",
        medians["large"] / medians["small"],
        "ratio",
        target,
        days_small=lake_days["small"],
        days_large=lake_days["large"],
        night_by_night=pairs,
        median_of_those=statistics.median(pairs),
        **context,
    )
