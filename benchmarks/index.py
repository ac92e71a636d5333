"""Compare the index with other indexes, and a whole call of the retriever with the ALS baseline.

Reads a bundle, by default the live one of <bundles.root>, and user_histories in <lake.root> if it exists; writes to the
folder --work. Every measured part stays there, so the next run continues from it.

    data      a catalogue of --titles: the bundle's titles, multiplied, with queries and exact scores
    ENGINE    scann as in a bundle, exact, faiss-hnsw, faiss-pq (inverted lists, fast scan, re-ranked), hnswlib or
              usearch: built in several configurations, each tuned to a recall@10 of 0.95 and of 0.99 at every setting
              of the dial, then measured on other queries, with one thread and with all
    call      the bare search, the query tower and Retriever.recommend, one at a time and in batches, with one thread
    filters   recall@10 of recommend by the share of titles on offer
    als       the ALS baseline, which scores every title, served in the same way

Figures are JSON lines on standard output and a table at the end. With one thread they are processor time, to which
other programs don't add; wall time is given beside it. The exit code is 0 even where a target is missed.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.processes import run_apart
from benchmarks.harness.report import Report, reporting
from benchmarks.index_bench import catalogue
from benchmarks.index_bench.catalogue import BenchmarkCatalogue
from benchmarks.index_bench.engines import ENGINES, engine
from benchmarks.index_bench.figures import add_als, add_calls, add_engine, add_filters, add_ratios
from benchmarks.index_bench.multiplied import index_of
from benchmarks.index_bench.runs import BuildIndex, SearchIndex
from benchmarks.index_bench.whole_call import OldRecommender, RecallByFilter, WholeCall
from conf import command_line
from conf.settings import Settings
from indexing.bundle.bundle import Bundle
from indexing.publishing import publication

WANTED = (0.95, 0.99)
CALLS = {"call": WholeCall, "filters": RecallByFilter, "als": OldRecommender}
PARTS = ("data", *ENGINES, *CALLS)
_PACKAGES = ("scann", "faiss-cpu", "hnswlib", "usearch", "implicit", "tensorflow", "numpy")


@dataclass(frozen=True)
class Bench:
    """The benchmark of one catalogue size, in its own folder."""

    settings: Settings
    arguments: Namespace
    source: Bundle
    folder: Path
    titles: int

    def catalogue(self) -> BenchmarkCatalogue:
        return catalogue.prepare(self.folder / "data", self.source, self.settings, self.titles, self.arguments.queries)

    def leading_dims(self) -> int:
        """Leading dimensions of a bundle with this catalogue."""
        made = self.catalogue()
        queries = next(iter(made.queries("tuning").values()))[:, 2:]
        return index_of(made.vectors, queries, self.settings).leading_dims

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """The answer of a part: read from the folder if it is there, else made and written."""
        path = self.folder / f"{name}.json"
        if not path.exists() or (self.arguments.again and name in self.arguments.only):
            path.write_text(json.dumps(make(), indent=1), encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))

    def has(self, name: str) -> bool:
        return (self.folder / f"{name}.json").exists()

    def measure_engine(self, name: str) -> list[dict[str, Any]]:
        """Costs of building and, for each recall it reaches, of searching, per configuration."""
        leading = self.leading_dims()
        configurations = engine(name, self.settings.index, leading).configurations(
            self.titles, self.source.manifest.vectors.width
        )
        return [
            self._measure(name, n, dict(config), leading)
            for n, config in enumerate(configurations[: self.arguments.configurations])
        ]

    def _measure(self, name: str, n: int, config: Mapping[str, Any], leading: int) -> dict[str, Any]:
        stored = str(self.folder / f"{name}-{n}")
        job = (self.arguments.conf, self.arguments.overrides, str(self.folder / "data"), name, config, leading, stored)
        threads = len(os.sched_getaffinity(0))
        limit = self.arguments.limit
        built = run_apart(BuildIndex(*job, threads), limit)
        searched = run_apart(SearchIndex(*job, threads, WANTED), limit)
        return {"config": config, "built": built, **searched, "threads": threads}

    def measure_call(self, name: str) -> Any:
        stored = self.folder / "scann-0"
        if not stored.exists():
            self.kept("scann", lambda: self.measure_engine("scann"))
        kind = CALLS[name]
        job = kind(
            self.arguments.conf,
            self.arguments.overrides,
            str(self.source.folder),
            str(self.folder / "data"),
            str(stored),
            self.leading_dims(),
            2 * self.arguments.queries,
        )
        return run_apart(job, self.arguments.limit)


def measure(bench: Bench, report: Report, only: Sequence[str]) -> None:
    """Measure the parts of `only`, and report all parts that were ever measured."""
    bench.folder.mkdir(parents=True, exist_ok=True)
    bench.catalogue()
    report.note("data", json.dumps(bench.catalogue().about), titles=f"{bench.titles:,}")
    engines = {}
    for name in ENGINES:
        if name in only or bench.has(name):
            engines[name] = bench.kept(name, lambda name=name: bench.measure_engine(name))  # type: ignore[misc]
            add_engine(report, name, engines[name], bench.titles)
    adders = {"call": add_calls, "filters": add_filters, "als": add_als}
    calls = {}
    for name in CALLS:
        if name in only or bench.has(name):
            calls[name] = bench.kept(name, lambda name=name: bench.measure_call(name))  # type: ignore[misc]
            adders[name](report, calls[name], bench.titles, bench.settings.report.price_per_hour)
    add_ratios(report, engines, calls, bench.titles)


def work(settings: Settings, arguments: Namespace) -> None:
    location = arguments.bundle
    source = Bundle.open(Path(location)) if location else publication.open_live(publication.store_of(settings))
    with reporting("index", _PACKAGES, arguments.work) as (report, folder):
        for titles in arguments.titles:
            measure(Bench(settings, arguments, source, folder / f"{titles}", titles), report, arguments.only)


def _parser() -> ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure (default: all)")
    parser.add_argument("--titles", type=int, nargs="+", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument(
        "--queries", type=int, default=250, help="per setting of the dial, to tune with; as many to measure with"
    )
    parser.add_argument("--configurations", type=int, default=99, metavar="N", help="only the first N of each engine")
    parser.add_argument("--again", action="store_true", help="measure the parts of --only again")
    parser.add_argument("--bundle", metavar="FOLDER", help="multiply its titles (default: the live bundle)")
    parser.add_argument("--limit", type=float, default=14_400.0, metavar="SECONDS", help="for one measured process")
    parser.add_argument("--work", metavar="FOLDER", help="keeps every measured part (default: a temporary folder)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return command_line.run(_parser(), work, argv)


if __name__ == "__main__":
    sys.exit(main())
