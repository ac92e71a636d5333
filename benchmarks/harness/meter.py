"""Time and memory of a process together with its descendants."""

import os
import threading
from collections.abc import Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any

import psutil

_SAMPLE_SECONDS = 0.05
_SAME_SPACE_SHARE = 0.01  # address spaces that differ by less, under one command line, are a process and its fork


class Meter:
    """Cost of a block for this process and its descendants together (for Spark: Python and the JVM).

    It measures wall-clock seconds, processor seconds, to which other programs don't add, and the peak of resident
    memory. Memory is sampled, so a peak shorter than the interval can be missed; a page shared by processes counts for
    each of them. Processor time of descendants that end within the block is not counted.

    Descendants whose command line holds one of `apart`, and their descendants, count in `peak_apart_bytes` instead of
    `peak_bytes`.
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
        """All measured values and the machine's load, for JSON."""
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
        process = psutil.Process()
        is_last = False
        while True:
            together, apart = _resident_bytes([process, *process.children(recursive=True)], self._apart)
            self.peak_bytes = max(self.peak_bytes, together)
            self.peak_apart_bytes = max(self.peak_apart_bytes, apart)
            if is_last:
                return
            is_last = self._ended.wait(_SAMPLE_SECONDS)


def _resident_bytes(processes: Sequence[psutil.Process], apart: Sequence[str]) -> tuple[int, int]:
    """Resident bytes of the processes that are not apart, and of those that are, without copies of their parent.

    Between fork and exec, which takes long on a busy machine, a child of the JVM shows all of the JVM's memory again.
    """
    facts: dict[int, tuple[int, list[str], Any]] = {}
    for process in processes:
        try:
            with process.oneshot():
                facts[process.pid] = (process.ppid(), process.cmdline(), process.memory_info())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it ended after it was listed
            continue
    totals = {False: 0, True: 0}
    for pid, (parent_pid, command, memory) in facts.items():
        _, parent_command, parent_memory = facts.get(parent_pid, (0, [], None))
        is_copy = (
            parent_memory is not None
            and command == parent_command
            and abs(memory.vms - parent_memory.vms) <= _SAME_SPACE_SHARE * parent_memory.vms
        )
        totals[_is_apart(pid, facts, apart)] += 0 if is_copy else memory.rss
    return totals[False], totals[True]


def _is_apart(pid: int, facts: Mapping[int, tuple[int, list[str], Any]], apart: Sequence[str]) -> bool:
    while pid in facts:
        parent_pid, command, _ = facts[pid]
        if any(mark in argument for argument in command for mark in apart):
            return True
        pid = parent_pid
    return False


def _processor_seconds() -> float:
    benchmark = psutil.Process()
    return sum(_times(process) for process in [benchmark, *benchmark.children(recursive=True)])


def _times(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
