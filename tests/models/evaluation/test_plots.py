"""Plots: their bars, intervals, colours and labels."""

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from models.evaluation import plots
from models.evaluation.comparison import Difference
from models.evaluation.dial_points import DialPoint
from models.evaluation.measurement import Measurement


def measured(segment: str, mean: float, difference: tuple[float, float] | None = None, **changes: Any) -> Measurement:
    """A measurement with an interval from .02 below to .03 above the mean; a difference is the middle of its own."""
    low_and_high = {"low": mean - 0.02, "high": mean + 0.03, "count_users": 1200, "count_left_out": 0}
    plain = {"dimension": "popularity", "segment": segment, "metric": "recall", "k": 20, "mean": mean}
    paired = None
    if difference:
        paired = Difference(sum(difference) / 2, *difference, 1200, 0.5, 0.4, 0.1)
    return Measurement(**{**plain, **low_and_high, "difference": paired, **changes})


MEASURED = {
    "als": [measured("head", 0.3), measured("tail", 0.1, count_users=40), measured("head", 0.9, metric="ndcg")],
    "challenger": [
        measured("head", 0.4),
        measured("tail", 0.2, count_users=40),
        measured("unseen", 0.05),
        measured("head", 0.8, k=100),
        measured("all", 0.7, dimension="all"),
    ],
}


def whiskers(bars: Any) -> np.ndarray:
    """[bars, 2]: ends of the intervals of a container."""
    return np.array([segment[:, 1] for segment in bars.errorbar.lines[2][0].get_segments()])


def test_models_stand_side_by_side_with_intervals_and_users() -> None:
    axes = plots.by_segment(MEASURED, "popularity", "recall", 20).axes[0]
    als, challenger = axes.containers[1::2] if len(axes.containers) > 2 else axes.containers
    assert [bar.get_height() for bar in als] == [0.3, 0.1]
    assert [bar.get_height() for bar in challenger] == [0.4, 0.2, 0.05]
    np.testing.assert_allclose(whiskers(als), [[0.28, 0.33], [0.08, 0.13]])
    # Each within .4 of its segment's position, als to the left; als has no figure for the third.
    centres = [[bar.get_x() + bar.get_width() / 2 for bar in bars] for bars in (als, challenger)]
    np.testing.assert_allclose(centres[0], [-0.2, 0.8])
    np.testing.assert_allclose(centres[1], [0.2, 1.2, 2.2])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["head\n1,200", "tail\n40", "unseen\n1,200"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["als", "challenger"]
    assert axes.get_ylabel() == "recall@20"


def test_figures_without_an_interval_have_whiskers_of_no_length() -> None:
    measurements = {"als": [measured("all", 0.3, metric="coverage", low=None, high=None)]}
    axes = plots.by_segment(measurements, "popularity", "coverage", 20).axes[0]
    [bars] = [container for container in axes.containers if hasattr(container, "patches")]
    assert [bar.get_height() for bar in bars] == [0.3]
    np.testing.assert_allclose(whiskers(bars), [[0.3, 0.3]])


def test_nothing_measured_is_an_empty_plot() -> None:
    for measurements in ({}, {"als": []}):
        axes = plots.by_segment(measurements, "popularity", "recall", 20).axes[0]
        assert not axes.patches


def test_differences_are_coloured_by_significance() -> None:
    rows = [
        measured("head", 0.4, (-0.05, -0.01)),
        measured("mid", 0.4, (-0.01, 0.03)),
        measured("tail", 0.2, (0.02, 0.06), count_users=40),
        measured("unseen", 0.2),
        measured("head", 0.2, (0.2, 0.3), metric="ndcg"),
    ]
    axes = plots.differences(rows, "recall", 20, "new less old").axes[0]
    intervals = [line for line in axes.get_lines() if len(line.get_xdata()) == 2 and line.get_linewidth() == 2]
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    # The first segment comes on top.
    assert [list(line.get_xdata()) for line in intervals] == [[0.02, 0.06], [-0.01, 0.03], [-0.05, -0.01]]
    assert [line.get_xdata()[0] for line in dots] == pytest.approx([0.04, 0.01, -0.03])
    expected = [plots.BETTER, plots.UNDECIDED, plots.WORSE]
    assert [to_hex(line.get_color()) for line in intervals] == expected
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["popularity tail (40)", "popularity mid (1,200)", "popularity head (1,200)"]
    assert (axes.get_xlabel(), axes.get_title()) == ("difference in recall@20", "new less old")


def test_the_dial_is_shown_with_its_trade_off() -> None:
    points = [
        DialPoint(-1.0, 0.1, 0.2, 0.9, 5.0, 0.3, 0.05, 0.6, 4.0),
        DialPoint(0.0, 0.3, 0.4, 0.5, 50.0, 0.1, 0.01, 0.8, 3.0),
    ]
    left, right = plots.dial(points, 20).axes
    shown = {line.get_label(): list(line.get_ydata()) for axes in (left, right) for line in axes.get_lines()}
    assert shown == {"recall@20": [0.1, 0.3], "coverage@20": [0.9, 0.5], "likes of a title": [5.0, 50.0]}
    assert all(list(line.get_xdata()) == [-1, 0] for line in left.get_lines())
    assert len(left.get_legend().get_texts()) == 3


def test_every_plot_can_be_drawn(tmp_path: Any) -> None:
    drawn: list[Figure] = [
        plots.by_segment(MEASURED, "popularity", "recall", 20),
        plots.differences(MEASURED["als"], "recall", 20, "none"),
        plots.dial([DialPoint(0.0, 0.3, 0.4, 0.5, 50.0, 0.1, 0.01, 0.8, 3.0)], 20),
    ]
    for number, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")


def test_curves_have_gaps_where_nothing_was_validated() -> None:
    # A resumed training begins with a later epoch.
    figure = plots.training_curves([3, 4, 5], [0.5, 0.4, 0.3], [0.1, None, 0.2])
    loss, validation = (axes.get_lines()[0] for axes in figure.axes)
    assert loss.get_xydata().tolist() == [[3, 0.5], [4, 0.4], [5, 0.3]]
    assert validation.get_xydata().tolist() == [[3, 0.1], [5, 0.2]]
    assert len(plots.training_curves([1], [0.5], [None]).axes) == 1
