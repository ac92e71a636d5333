"""Plots of the report, as data URIs so that the page needs no other file."""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import date

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from lake.feed_days import FeedDay
from models.evaluation import plots
from models.evaluation.dial_points import DialPoint
from models.evaluation.measurement import Measurement
from models.gating.gate_rules import Check
from review.sections import Figure

_COLOURS = ("#1f5f8b", "#c8553d", "#7a9e4b", "#8a6bbe")


def events_by_day(days: Sequence[FeedDay], ds: date) -> Figure:
    """Bars of loaded events and rejected lines by day, the day `ds` darker."""
    canvas, axes = _canvas(9, 2.6)
    names = [f"{day.ds:%d %b}" for day in days]
    colours = [_COLOURS[0] if day.ds == ds else "#9db8cc" for day in days]
    axes.bar(names, [day.count_loaded for day in days], color=colours)
    axes.bar(names, [-day.count_rejected for day in days], color=_COLOURS[1])
    axes.set_ylabel("events; rejected below 0")
    axes.tick_params(axis="x", rotation=60, labelsize=8)
    return _to_figure(canvas, "events loaded and lines rejected, by day")


def differences(checks: Sequence[Check], title: str) -> Figure:
    """Differences with their intervals, one line per segment, red where the check failed."""
    canvas, axes = _canvas(9, 1.2 + 0.22 * len(checks))
    for line, check in enumerate(reversed(checks)):
        colour = _COLOURS[0] if check.passed and check.decides else "#9aa7b4" if check.passed else _COLOURS[1]
        axes.plot([check.low or 0, check.high or 0], [line, line], color=colour, linewidth=2)
        axes.plot([check.difference or 0], [line], "o", color=colour, markersize=5)
    axes.axvline(0, color="#444", linewidth=0.8)
    names = [f"{check.dimension} {check.segment} ({check.count_users:,})" for check in reversed(checks)]
    axes.set_yticks(range(len(checks)), names, fontsize=8)
    axes.set_xlabel(title)
    return _to_figure(canvas, title)


def by_segment(measured: Mapping[str, Sequence[Measurement]], dimension: str, metric: str, k: int) -> Figure:
    """Bars per segment of a dimension, one per model, with intervals."""
    return _to_figure(
        plots.by_segment(measured, dimension, metric, k), f"{metric}@{k} by {dimension}, for {', '.join(measured)}"
    )


def dial(points: Sequence[DialPoint], k: int) -> Figure:
    """Recall, coverage and popularity of the recommended titles along the dial."""
    return _to_figure(plots.dial(points, k), "recall, coverage and popularity along the dial")


def _canvas(width: float, height: float) -> tuple[Canvas, mpl.axes.Axes]:
    # Not pyplot: it keeps every figure in memory and looks for a display.
    canvas = Canvas(figsize=(width, height), layout="constrained")
    axes = canvas.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return canvas, axes


def _to_figure(canvas: Canvas, alt: str) -> Figure:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=110)
    return Figure(f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}", alt)
