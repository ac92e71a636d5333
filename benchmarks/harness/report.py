"""Figures as JSON lines on standard output, and as a table on standard error."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

_FILE_WIDTH = 160  # columns of the table where standard error is no terminal


@dataclass(frozen=True)
class Figure:
    """One measured value, which is to be at most `target` and no less than `at_least`, where they are given."""

    name: str
    value: float | int | bool
    unit: str
    context: Mapping[str, Any]
    target: float | None = None
    at_least: float | None = None

    @property
    def verdict(self) -> str:
        if self.target is None and self.at_least is None:
            return ""
        is_low_enough = self.target is None or self.value <= self.target
        return "met" if is_low_enough and (self.at_least is None or self.value >= self.at_least) else "missed"

    @property
    def goal(self) -> str:
        """Target and verdict as text."""
        limits = [("at most", self.target), ("at least", self.at_least)]
        return ", ".join(f"{side} {limit:g}: {self.verdict}" for side, limit in limits if limit is not None)


class Report:
    """Prints each figure as one JSON line at once, and all of them as a table at the end."""

    def __init__(self, benchmark: str) -> None:
        self._benchmark = benchmark
        self._figures: list[Figure] = []
        self._notes: list[str] = []

    def add(
        self,
        name: str,
        value: float | int | bool,
        unit: str,
        target: float | None = None,
        at_least: float | None = None,
        **context: Any,
    ) -> None:
        """Add a figure; `context` says what it was measured on."""
        figure = Figure(name, round(value, 4) if isinstance(value, float) else value, unit, context, target, at_least)
        self._figures.append(figure)
        aims = {"target_at_most": target, "target_at_least": at_least, "verdict": figure.verdict or None}
        aim = {name: value for name, value in aims.items() if value is not None}
        self._print_line(name, figure.value, unit, {**context, **aim})

    def _print_line(self, name: str, value: float | int | bool | str, unit: str, context: Mapping[str, Any]) -> None:
        print(json.dumps({"benchmark": self._benchmark, "figure": name, "value": value, "unit": unit, **context}))
        sys.stdout.flush()

    def add_machine(self, packages: Sequence[str]) -> None:
        """Add the versions of `packages`, and facts of the machine."""
        for package in packages:
            self.note("version", version(package), package=package)
        self.add("cores", len(os.sched_getaffinity(0)), "cores")
        self.add("memory of the machine", psutil.virtual_memory().total / 2**30, "GiB")
        self.add("load before", os.getloadavg()[0], "processes", meaning="runs beside others are slower")

    def note(self, name: str, text: str, **context: str) -> None:
        """Add a text, which is shown below the table."""
        self._notes.append(f"{name}, {', '.join(context.values())}: {text}")
        self._print_line(name, text, "text", context)

    def show(self) -> None:
        """Print the table to standard error; standard output holds only JSON lines."""
        table = Table(title=f"Benchmark: {self._benchmark}")
        for heading in ("figure", "value", "unit", "on", "target"):
            table.add_column(heading, justify="right" if heading == "value" else "left", overflow="fold")
        for figure in self._figures:
            on = ", ".join(f"{key}={_short(value)}" for key, value in figure.context.items())
            table.add_row(figure.name, _short(figure.value), figure.unit, on, figure.goal)
        console = Console(file=sys.stderr)
        if not console.is_terminal:
            console.width = _FILE_WIDTH
        console.print(table)
        for note in self._notes:
            console.print(note, highlight=False, markup=False)


def _short(value: Any) -> str:
    """A value as short text: numbers grouped by thousands, with three digits where they are small."""
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@contextmanager
def reporting(benchmark: str, packages: Sequence[str], work: str | None) -> Iterator[tuple[Report, Path]]:
    """A report that is shown at the end, and a folder: `work`, or a temporary one that is removed at the end."""
    folder = Path(work).absolute() if work else Path(tempfile.mkdtemp(prefix=f"marquee-{benchmark}-"))
    report = Report(benchmark)
    try:
        report.add_machine(packages)
        yield report, folder
    finally:
        report.show()
        if not work:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Remove `folder` before and after the block: large runs take gigabytes."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
