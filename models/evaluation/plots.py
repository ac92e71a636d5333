"""Plots of measurements and of training, as figures for MLflow runs and pages, without pyplot's global state."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from models.evaluation.dial_points import DialPoint, pareto_front
from models.evaluation.measurement import Measurement

# Distinguishable with colour blindness. Source: Okabe and Ito 2008, Color universal design.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#f0e442")
BETTER, WORSE, UNDECIDED = "#0072b2", "#d55e00", "#999999"
_WIDTH = 9.0  # inches


def by_segment(measurements: Mapping[str, Sequence[Measurement]], dimension: str, metric: str, k: int) -> Figure:
    """Bars with intervals per segment of a dimension, one bar per model; labels have the number of users.

    Segments are in the order of measurement. A model without a segment has a gap there.
    """
    figure, axes = _canvas(3.2)
    rows = {model: _of(of_model, dimension, metric, k) for model, of_model in measurements.items()}
    counts = {row.segment: row.count_users for of_model in reversed(rows.values()) for row in of_model}
    segments = list(dict.fromkeys(row.segment for of_model in rows.values() for row in of_model))
    width = 0.8 / max(len(rows), 1)
    for number, (model, of_model) in enumerate(rows.items()):
        bar_centers = [segments.index(row.segment) + (number - (len(rows) - 1) / 2) * width for row in of_model]
        means, below, above = _intervals(of_model)
        colour = COLOURS[number % len(COLOURS)]
        axes.bar(bar_centers, means, width, yerr=[below, above], label=model, color=colour, ecolor="#333333")
    axes.set_xticks(range(len(segments)), [f"{segment}\n{counts[segment]:,}" for segment in segments])
    axes.set(xlabel=f"{dimension}; users", ylabel=f"{metric}@{k}")
    if rows:
        axes.legend(frameon=False, fontsize=8)
    return figure


def differences(measurements: Sequence[Measurement], metric: str, k: int, title: str) -> Figure:
    """One line per segment: the mean difference to the reference model, and its interval.

    Lines are coloured where the interval is above or below 0. Segments without a difference are left out.
    """
    rows = [row for row in measurements if (row.metric, row.k) == (metric, k) and row.difference]
    figure, axes = _canvas(1.2 + 0.22 * len(rows))
    for height, row in enumerate(reversed(rows)):
        difference = row.difference
        assert difference  # filtered above
        colour = BETTER if difference.low > 0 else WORSE if difference.high < 0 else UNDECIDED
        axes.plot([difference.low, difference.high], [height, height], color=colour, linewidth=2)
        axes.plot([difference.mean], [height], "o", color=colour, markersize=5)
    axes.axvline(0, color="#333333", linewidth=0.8)
    names = [f"{row.dimension} {row.segment} ({row.count_users:,})" for row in reversed(rows)]
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set(xlabel=f"difference in {metric}@{k}", title=title)
    return figure


def dial(points: Sequence[DialPoint], k: int) -> Figure:
    """Recall, coverage and mean popularity of the lists along the popularity dial."""
    figure, axes = _canvas(3.2)
    dials = [point.dial for point in points]
    axes.plot(dials, [point.recall for point in points], "o-", color=COLOURS[0], label=f"recall@{k}")
    axes.plot(dials, [point.coverage for point in points], "s-", color=COLOURS[1], label=f"coverage@{k}")
    axes.set_xlabel("dial: hidden gems to the left, well known to the right")
    axes.set_ylim(bottom=0)
    right_axes = axes.twinx()
    likes = [point.mean_popularity for point in points]
    right_axes.plot(dials, likes, "--", color=COLOURS[2], label="likes of a title")
    right_axes.set_ylim(bottom=0)
    lines = [line for one_axes in (axes, right_axes) for line in one_axes.get_lines()]
    axes.legend(lines, [line.get_label() for line in lines], frameon=False, fontsize=8, loc="upper center", ncols=3)
    return figure


_TRADED = ("coverage", "gini", "mean_popularity", "tail_recall", "novelty")


def dial_front(curves: Mapping[str, Sequence[DialPoint]], chosen: Mapping[str, DialPoint], k: int) -> Figure:
    """Recall (top row) and NDCG against what the dial trades them for: a line per model, a dot per setting.

    Dots on the Pareto front of the model are filled. `chosen` are named settings of the first model.
    """
    figure = Figure(figsize=(16, 6.5), layout="constrained")
    grid = figure.subplots(2, len(_TRADED), sharex="col", sharey="row")
    for row, gain in zip(grid, ("recall", "ndcg"), strict=True):
        for axes, traded in zip(row, _TRADED, strict=True):
            less_is_more = traded in ("gini", "mean_popularity")
            for number, (model, points) in enumerate(curves.items()):
                colour, is_best = COLOURS[number % len(COLOURS)], pareto_front(points, gain, traded, less_is_more)
                coordinates = [(getattr(point, traded), getattr(point, gain)) for point in points]
                axes.plot(*zip(*coordinates, strict=True), color=colour, linewidth=1, label=model)
                for point_xy, best in zip(coordinates, is_best, strict=True):
                    axes.plot(*point_xy, "o", color=colour, markersize=5, markerfacecolor=colour if best else "white")
            for name, point in chosen.items():
                point_xy = (getattr(point, traded), getattr(point, gain))
                axes.annotate(name, point_xy, xytext=(4, 4), textcoords="offset points", fontsize=7)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(f"{gain}@{k}")
    for axes, traded in zip(grid[1], _TRADED, strict=True):
        axes.set_xlabel(f"{traded.replace('_', ' ')}@{k}")
    grid[0][0].legend(frameon=False, fontsize=8)
    return figure


def training_curves(epochs: Sequence[int], losses: Sequence[float], validations: Sequence[float | None]) -> Figure:
    """Loss and validation figure by epoch; None for an epoch without validation."""
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    axes.plot(epochs, losses, color="tab:blue", label="loss")
    axes.set(xlabel="epoch", ylabel="loss")
    validated = [(epoch, value) for epoch, value in zip(epochs, validations, strict=True) if value is not None]
    if validated:
        right_axes = axes.twinx()
        right_axes.plot(*zip(*validated, strict=True), color="tab:orange", label="validation")
        right_axes.set_ylabel("NDCG@20 on validation")
    figure.legend(loc="upper right")
    return figure


def _of(rows: Sequence[Measurement], dimension: str, metric: str, k: int) -> list[Measurement]:
    return [row for row in rows if (row.dimension, row.metric, row.k) == (dimension, metric, k)]


def _intervals(rows: Sequence[Measurement]) -> tuple[list[float], list[float], list[float]]:
    """Means, and the lengths of their error bars below and above; 0 for a figure without interval."""
    lows = [row.mean if row.low is None else row.low for row in rows]
    highs = [row.mean if row.high is None else row.high for row in rows]
    means = [row.mean for row in rows]
    return means, list(np.subtract(means, lows)), list(np.subtract(highs, means))


def _canvas(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
