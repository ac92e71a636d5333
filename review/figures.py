"""The report's plots, as data URIs: the page must open anywhere, by itself."""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import date

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from lake.feed_days import FeedDay
from models.evaluation import plots
from models.evaluation.dial_curve import DialPoint
from models.evaluation.measurement import Measurement
from models.gating.gate_rules import Check
from review.sections import Figure

_COLOURS = ("#1f5f8b", "#c8553d", "#7a9e4b", "#8a6bbe")


def events_by_day(days: Sequence[FeedDay], ds: date) -> Figure:
    """Bars of events loaded, and of lines rejected, the night's own darker."""
    canvas, axes = _canvas(9, 2.6)
    names = [f"{day.ds:%d %b}" for day in days]
    colours = [_COLOURS[0] if day.ds == ds else "#9db8cc" for day in days]
    axes.bar(names, [day.count_loaded for day in days], color=colours)
    axes.bar(names, [-day.count_rejected for day in days], color=_COLOURS[1])
    axes.set_ylabel("events; rejected below 0")
    axes.tick_params(axis="x", rotation=60, labelsize=8)
    return _drawn(canvas, "events loaded and lines rejected, by day")


def differences(checks: Sequence[Check], title: str) -> Figure:
    """A line per segment: the difference with its interval, red where the check failed."""
    canvas, axes = _canvas(9, 1.2 + 0.22 * len(checks))
    for place, check in enumerate(reversed(checks)):
        colour = _COLOURS[0] if check.passed and check.decides else "#9aa7b4" if check.passed else _COLOURS[1]
        axes.plot([check.low or 0, check.high or 0], [place, place], color=colour, linewidth=2)
        axes.plot([check.difference or 0], [place], "o", color=colour, markersize=5)
    axes.axvline(0, color="#444", linewidth=0.8)
    names = [f"{check.dimension} {check.segment} ({check.count_users:,})" for check in reversed(checks)]
    axes.set_yticks(range(len(checks)), names, fontsize=8)
    axes.set_xlabel(title)
    return _drawn(canvas, title)


def by_segment(found: Mapping[str, Sequence[Measurement]], dimension: str, metric: str, k: int) -> Figure:
    """Bars per segment of a dimension, one of each model, with intervals."""
    return _drawn(plots.by_segment(found, dimension, metric, k), f"{metric}@{k} by {dimension}, for {', '.join(found)}")


def dial(points: Sequence[DialPoint], k: int) -> Figure:
    """What recall costs in coverage along the dial, and how popular the recommended titles are."""
    return _drawn(plots.dial(points, k), "recall, coverage and popularity along the dial")


def _canvas(width: float, height: float) -> tuple[Canvas, mpl.axes.Axes]:
    # Without pyplot: it keeps every figure, and looks for a display.
    canvas = Canvas(figsize=(width, height), layout="constrained")
    axes = canvas.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return canvas, axes


def _drawn(canvas: Canvas, said: str) -> Figure:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=110)
    return Figure(f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}", said)
