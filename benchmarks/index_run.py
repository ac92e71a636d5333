"""One index built, tuned and timed in a process of its own: `run_apart` of benchmarks/measure.py starts it."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks import index_data
from benchmarks.index_data import Catalogue
from benchmarks.index_engines import Engine, Knobs, engine, stored_bytes
from benchmarks.measure import answer_job
from conf.loader import load_settings

_WORSE_IN_A_ROW = 2  # more of the outer knob is no longer tried once it was slower so often
_REPEATS = 3
_MARGIN = 0.003  # tuning asks for a little more: recall is of a sample


@dataclass(frozen=True)
class Cost:
    """Of one query, seconds."""

    processor_s: float  # of all threads; what other programs take from the machine does not count
    wall_s: float


@dataclass(frozen=True)
class Tuned:
    """The fastest way to ask that finds enough, by the queries for tuning."""

    knobs: Knobs
    cost: Cost


def tune(
    knobs: tuple[Sequence[int], Sequence[int]],
    recall: Callable[[Knobs], float],
    cost: Callable[[Knobs], Cost],
    wanted: float,
) -> Tuned | None:
    """For every outer knob the least inner one that finds what is `wanted`; of these the fastest, None without any."""
    best: Tuned | None = None
    worse = 0
    for outer in knobs[0]:
        inner = _least(knobs[1], lambda value, outer=outer: recall((outer, value)) >= wanted)  # type: ignore[misc]
        if inner is None:
            continue
        found = Tuned((outer, inner), cost((outer, inner)))
        if best is None or found.cost.processor_s < best.cost.processor_s:
            best, worse = found, 0
        else:
            worse += 1
        if worse == _WORSE_IN_A_ROW:
            break
    return best


def _least(values: Sequence[int], is_enough: Callable[[int], bool]) -> int | None:
    """The first of ascending `values` that is enough, where all after it are."""
    if not is_enough(values[-1]):
        return None
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(values[middle]) else (middle + 1, high)
    return values[high]


@dataclass(frozen=True)
class BuildIndex:
    """Build one index, unless it is stored already; returns what that cost."""

    conf: str
    overrides: list[str]
    catalogue: str
    name: str
    config: Mapping[str, Any]
    leading_dims: int
    stored: str
    threads: int

    def run(self) -> dict[str, Any]:
        about = Path(f"{self.stored}.json")
        if not about.exists():
            settings = load_settings(self.conf, self.overrides)
            own = engine(self.name, settings.index, self.leading_dims)
            vectors = Catalogue(Path(self.catalogue)).vectors
            with threadpool_limits(self.threads):
                started, used = time.monotonic(), time.process_time()
                index = own.build(vectors, self.config, self.threads)
                answer = {"seconds": time.monotonic() - started, "processor_s": time.process_time() - used}
            own.save(index, Path(self.stored))
            answer["bytes"] = stored_bytes(Path(self.stored))
            answer["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            about.write_text(json.dumps(answer), encoding="utf-8")
        return json.loads(about.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class AskIndex:
    """Tune a stored index for each recall that is wanted, by one thread, and measure it by one and by all.

    Where it does not reach one of them, what it finds with the most of both knobs is told.
    """

    conf: str
    overrides: list[str]
    catalogue: str
    name: str
    config: Mapping[str, Any]
    leading_dims: int
    stored: str
    threads: int
    wanted: Sequence[float]

    def run(self) -> dict[str, Any]:
        settings = load_settings(self.conf, self.overrides)
        own = engine(self.name, settings.index, self.leading_dims)
        catalogue = Catalogue(Path(self.catalogue))
        asking = Asking(own, own.load(Path(self.stored), self.config), catalogue)
        found: dict[str, Any] = {}
        for wanted in self.wanted:
            tuned = tune(
                own.knobs(self.config),
                lambda knobs: asking.recall(knobs, "tuning"),
                lambda knobs: asking.cost(knobs, "tuning", 1),
                min(1.0, wanted + _MARGIN),
            )
            if tuned is not None:
                one, every = (asking.cost(tuned.knobs, "measuring", n) for n in (1, self.threads))
                found[str(wanted)] = {
                    "knobs": tuned.knobs,
                    "recall": asking.recall(tuned.knobs, "measuring"),
                    "processor_s": one.processor_s,
                    "wall_s": one.wall_s,
                    "wall_all_s": every.wall_s,
                    "load": os.getloadavg()[0],
                }
        outer, inner = own.knobs(self.config)
        missed = len(found) < len(self.wanted)
        most = asking.recall((outer[-1], inner[-1]), "measuring") if missed else None
        return {"asked": found, "most_recall": most}


@dataclass(frozen=True)
class Asking:
    """An index and what it is asked: all queries of a use at once, at each setting of the dial."""

    own: Engine
    index: Any
    catalogue: Catalogue

    def recall(self, knobs: Knobs, use: str) -> float:
        queries = self.catalogue.queries(use)
        found = {name: self.own.search(self.index, asked, knobs, 1) for name, asked in queries.items()}
        return index_data.recall(self.catalogue, use, found)

    def cost(self, knobs: Knobs, use: str, threads: int) -> Cost:
        """The least of some repeats: the others were disturbed."""
        queries = self.catalogue.queries(use)
        count = sum(len(asked) for asked in queries.values())
        costs = []
        with threadpool_limits(threads):
            for _ in range(_REPEATS):
                started, used = time.perf_counter(), time.process_time()
                for asked in queries.values():
                    self.own.search(self.index, asked, knobs, threads)
                costs.append((time.process_time() - used, time.perf_counter() - started))
        return Cost(min(cost[0] for cost in costs) / count, min(cost[1] for cost in costs) / count)


if __name__ == "__main__":
    sys.exit(answer_job([BuildIndex, AskIndex], sys.argv[1:]))
