"""Time and memory of a process with all that it started, and figures as JSON lines and as a table."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from jobs.errors import JobError

_SAMPLE_SECONDS = 0.05
_SAME_SPACE_SHARE = 0.01  # address spaces that differ by less, under one command line, are a process and its fork
_FILE_WIDTH = 160  # of the table where no terminal says how wide it may be


class Meter:
    """What the block cost this process and its descendants (for Spark: Python and the JVM) together.

    Wall-clock seconds, processor seconds (what other programs take from the machine does not count there), and the
    peak of resident memory. Memory is sampled, so what is shorter than the interval can be missed; pages that processes
    share count once for each. Processor time of descendants that end within the block is not counted.

    Descendants whose command line holds one of `apart`, and what those started, are left out of `peak_bytes`: theirs is
    `peak_apart_bytes`.
    """

    def __init__(self, apart: Sequence[str] = ()) -> None:
        self.seconds = 0.0
        self.processor_s = 0.0
        self.peak_bytes = 0
        self.peak_apart_bytes = 0
        self._apart = apart
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def answer(self) -> dict[str, float]:
        """All of it, and the machine's load, for JSON."""
        return {
            "seconds": self.seconds,
            "processor_s": self.processor_s,
            "peak_mib": self.peak_bytes / 2**20,
            "peak_apart_mib": self.peak_apart_bytes / 2**20,
            "load": os.getloadavg()[0],
        }

    def __enter__(self) -> "Meter":
        self._sampler.start()
        self.processor_s = -_processor_seconds()
        self.seconds = -perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds += perf_counter()
        self.processor_s += _processor_seconds()
        self._ended.set()
        self._sampler.join()

    def _sample(self) -> None:
        own = psutil.Process()
        is_last = False
        while True:
            together, apart = _resident_bytes([own, *own.children(recursive=True)], self._apart)
            self.peak_bytes = max(self.peak_bytes, together)
            self.peak_apart_bytes = max(self.peak_apart_bytes, apart)
            if is_last:
                return
            is_last = self._ended.wait(_SAMPLE_SECONDS)


def _resident_bytes(processes: Sequence[psutil.Process], apart: Sequence[str]) -> tuple[int, int]:
    """Of all `processes` but those apart, and of those; without those that are still a mere copy of their parent.

    Between fork and exec, which takes long on a busy machine, a child of the JVM shows all of the JVM's memory again.
    """
    found: dict[int, tuple[int, list[str], Any]] = {}
    for process in processes:
        try:
            with process.oneshot():
                found[process.pid] = (process.ppid(), process.cmdline(), process.memory_info())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it ended between being listed and being asked
            continue
    totals = {False: 0, True: 0}
    for pid, (parent_pid, command, memory) in found.items():
        _, parent_command, parent_memory = found.get(parent_pid, (0, [], None))
        is_copy = (
            parent_memory is not None
            and command == parent_command
            and abs(memory.vms - parent_memory.vms) <= _SAME_SPACE_SHARE * parent_memory.vms
        )
        totals[_is_apart(pid, found, apart)] += 0 if is_copy else memory.rss
    return totals[False], totals[True]


def _is_apart(pid: int, found: Mapping[int, tuple[int, list[str], Any]], apart: Sequence[str]) -> bool:
    while pid in found:
        parent_pid, command, _ = found[pid]
        if any(mark in argument for argument in command for mark in apart):
            return True
        pid = parent_pid
    return False


def _processor_seconds() -> float:
    own = psutil.Process()
    return sum(_times(process) for process in [own, *own.children(recursive=True)])


def _times(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


@dataclass(frozen=True)
class Figure:
    """One measured value; where it has a target, `value` is to be at most that, or, for `at_least`, no less."""

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
        """Target and verdict, for a person."""
        limits = [("at most", self.target), ("at least", self.at_least)]
        return ", ".join(f"{side} {limit:g}: {self.verdict}" for side, limit in limits if limit is not None)


class Report:
    """Prints each figure as one JSON line at once, and all of them as a table in the end."""

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
        """Note one figure; `context` says what it was measured on."""
        figure = Figure(name, round(value, 4) if isinstance(value, float) else value, unit, context, target, at_least)
        self._figures.append(figure)
        aims = {"target_at_most": target, "target_at_least": at_least, "verdict": figure.verdict or None}
        aim = {name: value for name, value in aims.items() if value is not None}
        self._print_line(name, figure.value, unit, {**context, **aim})

    def _print_line(self, name: str, value: float | int | bool | str, unit: str, context: Mapping[str, Any]) -> None:
        print(json.dumps({"benchmark": self._benchmark, "figure": name, "value": value, "unit": unit, **context}))
        sys.stdout.flush()

    def add_machine(self, packages: Sequence[str]) -> None:
        """Note what figures are measured with: versions of `packages`, and the machine."""
        for package in packages:
            self.note("version", version(package), package=package)
        self.add("cores", len(os.sched_getaffinity(0)), "cores")
        self.add("memory of the machine", psutil.virtual_memory().total / 2**30, "GiB")
        self.add("load before", os.getloadavg()[0], "processes", meaning="runs beside others are slower")

    def note(self, name: str, text: str, **context: str) -> None:
        """Note what has no number; it comes below the table."""
        self._notes.append(f"{name}, {', '.join(context.values())}: {text}")
        self._print_line(name, text, "text", context)

    def show(self) -> None:
        """The table, on standard error: standard output has the JSON lines alone."""
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
    """Numbers grouped by thousands, with no more digits than a person reads."""
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@contextmanager
def reporting(benchmark: str, packages: Sequence[str], work: str | None) -> Iterator[tuple[Report, Path]]:
    """A report that is shown at the end, and the folder to work in: `work`, or a temporary one that does not stay."""
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
    """Nothing of an earlier run in `folder`, and nothing left of this one: ten million events take gigabytes."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_apart(job: Any, limit_s: float) -> dict[str, Any]:
    """Run a job in a fresh process and return its answer. The module of its class ends in `answer_job`.

    Raises JobError where it failed or took longer than `limit_s`; what it logged is shown as it comes.
    """
    spec = json.dumps({"job": type(job).__name__, **asdict(job)})
    command = [sys.executable, "-m", type(job).__module__, spec]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=limit_s)
    except subprocess.CalledProcessError as error:
        raise JobError(f"{type(job).__name__}: its process ended with code {error.returncode}; see above") from None
    except subprocess.TimeoutExpired:
        raise JobError(f"{type(job).__name__}: took longer than {limit_s:.0f} s; give a larger --limit") from None
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def answer_job(kinds: Sequence[type[Any]], argv: Sequence[str]) -> int:
    """The other side of `run_apart`: run the job that the one argument describes, and print its answer."""
    spec = json.loads(argv[0])
    job = {kind.__name__: kind for kind in kinds}[spec.pop("job")](**spec)
    print(json.dumps(job.run()), flush=True)
    return 0
