"""Building, tuning and timing of one index, each in its own process, which `run_apart` starts."""

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

from benchmarks.harness.processes import answer_job
from benchmarks.index_bench import catalogue
from benchmarks.index_bench.catalogue import BenchmarkCatalogue
from benchmarks.index_bench.engines import Engine, Knobs, engine, stored_bytes
from conf.loader import load_settings

_WORSE_IN_A_ROW = 2  # stop raising the outer knob after so many slower values in a row
_REPEATS = 3
_MARGIN = 0.003  # added to the wanted recall when tuning, since recall is that of a sample


@dataclass(frozen=True)
class Cost:
    """Seconds of one query."""

    processor_s: float  # of all threads; other programs don't add to it
    wall_s: float


@dataclass(frozen=True)
class Tuned:
    """The fastest knobs that reach a recall, by the queries for tuning."""

    knobs: Knobs
    cost: Cost


def tune(
    knobs: tuple[Sequence[int], Sequence[int]],
    recall: Callable[[Knobs], float],
    cost: Callable[[Knobs], Cost],
    wanted: float,
) -> Tuned | None:
    """Find the fastest knobs whose recall is `wanted` or more: for each outer one the lowest inner one is tried."""
    best: Tuned | None = None
    worse = 0
    for outer in knobs[0]:
        inner = _least(knobs[1], lambda value, outer=outer: recall((outer, value)) >= wanted)  # type: ignore[misc]
        if inner is None:
            continue
        candidate = Tuned((outer, inner), cost((outer, inner)))
        if best is None or candidate.cost.processor_s < best.cost.processor_s:
            best, worse = candidate, 0
        else:
            worse += 1
        if worse == _WORSE_IN_A_ROW:
            break
    return best


def _least(values: Sequence[int], is_enough: Callable[[int], bool]) -> int | None:
    """The first of ascending `values` that is enough, by bisection; None if the last one is not."""
    if not is_enough(values[-1]):
        return None
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(values[middle]) else (middle + 1, high)
    return values[high]


@dataclass(frozen=True)
class BuildIndex:
    """Build one index, unless it is stored already, and return the cost."""

    conf: str
    overrides: list[str]
    catalogue: str
    name: str
    config: Mapping[str, Any]
    leading_dims: int
    stored: str
    threads: int

    def run(self) -> dict[str, Any]:
        cost_file = Path(f"{self.stored}.json")
        if not cost_file.exists():
            settings = load_settings(self.conf, self.overrides)
            tested = engine(self.name, settings.index, self.leading_dims)
            vectors = BenchmarkCatalogue(Path(self.catalogue)).vectors
            with threadpool_limits(self.threads):
                started, used = time.monotonic(), time.process_time()
                index = tested.build(vectors, self.config, self.threads)
                answer = {"seconds": time.monotonic() - started, "processor_s": time.process_time() - used}
            tested.save(index, Path(self.stored))
            answer["bytes"] = stored_bytes(Path(self.stored))
            answer["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            cost_file.write_text(json.dumps(answer), encoding="utf-8")
        return json.loads(cost_file.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class SearchIndex:
    """Tune a stored index for each wanted recall with one thread, and measure it with one thread and with all.

    Where it misses a wanted recall, the answer holds its recall with the highest knobs.
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
        tested = engine(self.name, settings.index, self.leading_dims)
        catalogue = BenchmarkCatalogue(Path(self.catalogue))
        search = IndexSearch(tested, tested.load(Path(self.stored), self.config), catalogue)
        reached: dict[str, Any] = {}
        for wanted in self.wanted:
            tuned = tune(
                tested.knobs(self.config),
                lambda knobs: search.recall(knobs, "tuning"),
                lambda knobs: search.cost(knobs, "tuning", 1),
                min(1.0, wanted + _MARGIN),
            )
            if tuned is not None:
                one, every = (search.cost(tuned.knobs, "measuring", n) for n in (1, self.threads))
                reached[str(wanted)] = {
                    "knobs": tuned.knobs,
                    "recall": search.recall(tuned.knobs, "measuring"),
                    "processor_s": one.processor_s,
                    "wall_s": one.wall_s,
                    "wall_all_s": every.wall_s,
                    "load": os.getloadavg()[0],
                }
        outer, inner = tested.knobs(self.config)
        missed = len(reached) < len(self.wanted)
        most = search.recall((outer[-1], inner[-1]), "measuring") if missed else None
        return {"by_recall": reached, "most_recall": most}


@dataclass(frozen=True)
class IndexSearch:
    """An index searched with all queries of a use at once, at each setting of the dial."""

    engine: Engine
    index: Any
    catalogue: BenchmarkCatalogue

    def recall(self, knobs: Knobs, use: str) -> float:
        queries = self.catalogue.queries(use)
        rows = {name: self.engine.search(self.index, batch, knobs, 1) for name, batch in queries.items()}
        return catalogue.recall(self.catalogue, use, rows)

    def cost(self, knobs: Knobs, use: str, threads: int) -> Cost:
        """The lowest cost of several repeats; the others were disturbed by other programs."""
        queries = self.catalogue.queries(use)
        count = sum(len(batch) for batch in queries.values())
        costs = []
        with threadpool_limits(threads):
            for _ in range(_REPEATS):
                started, used = time.perf_counter(), time.process_time()
                for batch in queries.values():
                    self.engine.search(self.index, batch, knobs, threads)
                costs.append((time.process_time() - used, time.perf_counter() - started))
        return Cost(min(cost[0] for cost in costs) / count, min(cost[1] for cost in costs) / count)


if __name__ == "__main__":
    sys.exit(answer_job([BuildIndex, SearchIndex], sys.argv[1:]))
