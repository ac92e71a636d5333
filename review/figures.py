"""The report's plots, as data URIs: the page must open anywhere, by itself."""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import date

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from models.dial_curve import DialPoint
from models.evaluation import Measured
from models.gate_rules import Check, FeedDay
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


def by_segment(found: Mapping[str, Sequence[Measured]], dimension: str, metric: str, k: int) -> Figure:
    """Bars per segment of a dimension, one of each model, with intervals."""
    canvas, axes = _canvas(9, 3)
    width = 0.8 / max(len(found), 1)
    segments: list[str] = []
    for rows in found.values():
        segments += [row.segment for row in _of(rows, dimension, metric, k) if row.segment not in segments]
    for n, (model, rows) in enumerate(found.items()):
        own = {row.segment: row for row in _of(rows, dimension, metric, k)}
        places = [place + n * width for place, segment in enumerate(segments) if segment in own]
        shown = [own[segment] for segment in segments if segment in own]
        lower = [row.mean - (row.low if row.low is not None else row.mean) for row in shown]
        upper = [(row.high if row.high is not None else row.mean) - row.mean for row in shown]
        colour = _COLOURS[n % len(_COLOURS)]
        axes.bar(places, [row.mean for row in shown], width, label=model, color=colour, yerr=[lower, upper])
    middle = 0.4 - width / 2
    axes.set_xticks([place + middle for place in range(len(segments))], segments)
    axes.set_ylabel(f"{metric}@{k}")
    axes.legend(frameon=False, fontsize=8)
    return _drawn(canvas, f"{metric}@{k} by {dimension}, for {', '.join(found)}")


def dial(points: Sequence[DialPoint], k: int) -> Figure:
    """What recall costs in coverage along the dial, and how popular the recommended titles are."""
    canvas, axes = _canvas(9, 3)
    positions = [point.dial for point in points]
    axes.plot(positions, [point.recall for point in points], "o-", color=_COLOURS[0], label=f"recall@{k}")
    axes.plot(positions, [point.coverage for point in points], "s-", color=_COLOURS[1], label=f"coverage@{k}")
    axes.set_xlabel("dial: hidden gems to the left, well known to the right")
    axes.set_ylim(bottom=0)
    liked = axes.twinx()
    liked.plot(
        positions, [point.mean_popularity for point in points], "--", color=_COLOURS[2], label="likes of a title"
    )
    liked.set_ylim(bottom=0)
    lines, labels = axes.get_legend_handles_labels()
    more_lines, more_labels = liked.get_legend_handles_labels()
    axes.legend([*lines, *more_lines], [*labels, *more_labels], frameon=False, fontsize=8, loc="upper center", ncols=3)
    return _drawn(canvas, "recall, coverage and popularity along the dial")


def _of(rows: Sequence[Measured], dimension: str, metric: str, k: int) -> list[Measured]:
    return [row for row in rows if (row.dimension, row.metric, row.k) == (dimension, metric, k)]


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
