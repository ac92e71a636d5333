"""The index beside others, and the whole call beside the recommender being replaced.

Reads a bundle, the live one of <bundles.root> by default, and user_histories in <lake.root> where it is there; writes
to the folder --work, where every part that was measured stays, so that the next run goes on from there.

    data      a catalogue of --titles: the bundle's own, multiplied, each vector moved a little; queries, exact answers
    ENGINE    scann as a bundle has it, exact, faiss-hnsw, faiss-pq (inverted lists, fast scan, re-ranked), hnswlib,
              usearch: built in some ways, each tuned to find 95 % and 99 % of the exact ten at every setting of the
              dial, then measured by other queries than it was tuned by, one thread and all
    call      the bare search, the query tower, and Retriever.recommend whole, one at a time and in batches, one thread
    filters   what recommend finds of the exact ten, by how much of all is on offer
    als       the old recommender, which scores every title, served in the same way

Figures are JSON lines on standard output and a table in the end. Those of one thread count processor time, which other
programs do not add to; wall time stands beside it. Exit code 0, whatever targets were met.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import index_data
from benchmarks.index_build import index_of
from benchmarks.index_call import OldRecommender, RecallByFilter, WholeCall
from benchmarks.index_data import Catalogue
from benchmarks.index_engines import ENGINES, engine
from benchmarks.index_report import add_calls, add_engine, add_filters, add_old, add_ratios
from benchmarks.index_run import AskIndex, BuildIndex
from benchmarks.measure import Report, reporting, run_apart
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
    """One size of catalogue, in a folder of its own."""

    settings: Settings
    arguments: Namespace
    source: Bundle
    folder: Path
    titles: int

    def catalogue(self) -> Catalogue:
        return index_data.prepare(self.folder / "data", self.source, self.settings, self.titles, self.arguments.queries)

    def leading_dims(self) -> int:
        """As a bundle of so many titles would have it."""
        made = self.catalogue()
        queries = next(iter(made.queries("tuning").values()))[:, 2:]
        return index_of(made.vectors, queries, self.settings).leading_dims

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What a part measured, from the folder where it is there already."""
        path = self.folder / f"{name}.json"
        if not path.exists() or (self.arguments.again and name in self.arguments.only):
            path.write_text(json.dumps(make(), indent=1), encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))

    def has(self, name: str) -> bool:
        return (self.folder / f"{name}.json").exists()

    def measure_engine(self, name: str) -> list[dict[str, Any]]:
        """Per configuration what it cost to build, and to ask for each recall that it reached."""
        leading = self.leading_dims()
        configurations = engine(name, self.settings.index, leading).configurations(
            self.titles, self.source.manifest.vectors.vector_dim
        )
        return [
            self._measure(name, n, dict(config), leading)
            for n, config in enumerate(configurations[: self.arguments.configurations])
        ]

    def _measure(self, name: str, n: int, config: Mapping[str, Any], leading: int) -> dict[str, Any]:
        stored = str(self.folder / f"{name}-{n}")
        own = (self.arguments.conf, self.arguments.overrides, str(self.folder / "data"), name, config, leading, stored)
        threads = len(os.sched_getaffinity(0))
        limit = self.arguments.limit
        built = run_apart(BuildIndex(*own, threads), limit)
        asked = run_apart(AskIndex(*own, threads, WANTED), limit)
        return {"config": config, "built": built, **asked, "threads": threads}

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
    """Measure the parts of `only`, and add what is known of all parts."""
    bench.folder.mkdir(parents=True, exist_ok=True)
    bench.catalogue()
    report.note("data", json.dumps(bench.catalogue().about), titles=f"{bench.titles:,}")
    engines = {}
    for name in ENGINES:
        if name in only or bench.has(name):
            engines[name] = bench.kept(name, lambda name=name: bench.measure_engine(name))  # type: ignore[misc]
            add_engine(report, name, engines[name], bench.titles)
    adders = {"call": add_calls, "filters": add_filters, "als": add_old}
    calls = {}
    for name in CALLS:
        if name in only or bench.has(name):
            calls[name] = bench.kept(name, lambda name=name: bench.measure_call(name))  # type: ignore[misc]
            adders[name](report, calls[name], bench.titles, bench.settings.report.price_per_hour)
    add_ratios(report, engines, calls, bench.titles)


def work(settings: Settings, arguments: Namespace) -> None:
    named = arguments.bundle
    source = Bundle.open(Path(named)) if named else publication.open_live(publication.store_of(settings))
    with reporting("index", _PACKAGES, arguments.work) as (report, folder):
        for titles in arguments.titles:
            measure(Bench(settings, arguments, source, folder / f"{titles}", titles), report, arguments.only)


def _parser() -> ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure (default: all)")
    parser.add_argument("--titles", type=int, nargs="+", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument(
        "--queries", type=int, default=250, help="per setting of the dial, to tune, and as many to measure"
    )
    parser.add_argument("--configurations", type=int, default=99, metavar="N", help="of each engine, the first N alone")
    parser.add_argument("--again", action="store_true", help="measure the parts of --only though they were before")
    parser.add_argument("--bundle", metavar="FOLDER", help="whose titles are multiplied (default: the live one)")
    parser.add_argument("--limit", type=float, default=14_400.0, metavar="SECONDS", help="of one measured process")
    parser.add_argument("--work", metavar="FOLDER", help="where everything is kept (default: nowhere)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return command_line.run(_parser(), work, argv)


if __name__ == "__main__":
    sys.exit(main())
