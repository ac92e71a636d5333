"""Measure the cost of compiling and tuning an index by number of titles: seconds, bytes, memory, and its recall.

Reads a bundle, by default the live one of <bundles.root>, and user_histories in <lake.root>; writes only to a temporary
folder. Titles are the bundle's candidates, multiplied: copies of each vector, moved by --noise standard deviations of
every dimension. Queries are users' histories.

--balance compares recall at equal effort over vectors balanced by indexing/bundle/coordinates.py, and as learnt.
"""

import resource
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table as RichTable

from benchmarks.index_bench.multiplied import index_of, multiplied
from conf import command_line
from conf.settings import Settings
from indexing.ann import compilation, scann_index
from indexing.ann.compilation import Compiled, Embedded
from indexing.ann.runtime import save_module
from indexing.bundle import bundle, parity, sample_histories
from indexing.bundle.bundle import Bundle
from indexing.bundle.layout import Layout
from indexing.publishing import publication
from lake.arrays import Floats
from lake.snapshot import LakeSnapshot
from models.blend.standardised import Standardised

COLUMNS = ("titles", "form", "compiled s", "MB", "leaves", "reordered", "recall@10", "recall@100", "p50 ms", "p99 ms")


def compile_multiplied(source: Bundle, vectors: Floats, queries: Floats, settings: Settings, folder: Path) -> Compiled:
    """Compile both searchers over `vectors` [titles, width] in a folder. Raises BundleError for a low recall."""
    manifest, nothing = source.manifest, Standardised(np.empty(0, dtype=np.float32), 0, 0)
    made = Layout(manifest.vectors, manifest.dial, nothing, nothing)
    source_of_queries = manifest.forms.queries_source
    embedded = Embedded(source.embeddings, source.query_tower, source.countries, queries, source_of_queries)
    save_module(source.query_tower, folder / bundle.QUERY_TOWER)
    return compilation.compile_both(
        folder, index_of(vectors, queries, settings), settings.index, embedded, np.arange(len(vectors)), made, vectors
    )


def compare_balance(source: Bundle, vectors: Floats, queries: Floats, settings: Settings) -> RichTable:
    """Recall at equal effort by setting of the dial, for the same titles and queries in two scalings."""
    with np.load(source.folder / bundle.BALANCE) as stored:
        factors = stored["factors"]
    as_learnt = vectors.copy()
    as_learnt[:, bundle.BESIDE :] /= factors
    scalings = {"balanced": (vectors, queries), "as learnt": (as_learnt, queries * factors)}
    index = scann_index.parameters(len(vectors), settings.index, 0)
    shown = RichTable(
        title=f"{len(vectors):,} titles, recall@10 / recall@100 at the same effort, all dimensions hashed"
    )
    for column in ("vectors", "leaves", "reordered", *source.manifest.dial.settings):
        shown.add_column(column, justify="right")
    for name, (scaled_vectors, scaled_queries) in scalings.items():
        queries_by_setting = {
            setting: bundle.turned(source.manifest.vectors, scaled_queries, dial)
            for setting, dial in source.manifest.dial.settings.items()
        }
        answers = scann_index.exact_answers(scaled_vectors, queries_by_setting, (10, 100))
        search = scann_index.search_pybind(scann_index.compile_pybind(scaled_vectors, index, settings.index.threads))
        for leaves, reorder in ((index.leaves // 30, 100), (index.leaves // 10, 200)):
            recalls = scann_index.recalls(search, scaled_vectors, answers, reorder, leaves)
            figures = [f"{at[10]:.3f} / {at[100]:.3f}" for at in recalls.values()]
            shown.add_row(name, str(leaves), str(reorder), *figures)
    return shown


def work(settings: Settings, arguments: Namespace) -> None:
    source = (
        Bundle.open(Path(arguments.bundle))
        if arguments.bundle
        else publication.open_live(publication.store_of(settings))
    )
    histories = sample_histories.sample(
        LakeSnapshot(settings.lake.root, source.manifest.delta_versions),
        source.rows,
        source.countries,
        2 * settings.index.queries,
        source.manifest.history_length,
        settings.seed,
    )
    queries = parity.ask(source.query_tower, histories)
    shown = RichTable(title=f"{source.manifest.vectors.width} dimensions, {len(queries) // 2} queries at every dial")
    for column in COLUMNS:
        shown.add_column(column, justify="right")
    if arguments.balance:
        for count in arguments.titles:
            vectors, _ = multiplied(source, count, arguments.noise, settings.seed)
            command_line.console().print(compare_balance(source, vectors, queries[::2], settings))
        return
    for count in arguments.titles:
        vectors, _ = multiplied(source, count, arguments.noise, settings.seed)
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            compiled = compile_multiplied(source, vectors, queries, settings, Path(folder))
            seconds = time.monotonic() - started
            for form, name in (("pybind", bundle.SCANN), ("tensorflow", bundle.RETRIEVAL)):
                shown.add_row(f"{count:,}", form, *_figures(compiled, form, Path(folder) / name))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        shown.add_row(f"{count:,}", "all", f"{seconds:.0f}", f"peak {peak:.1f} GB", *[""] * 6, end_section=True)
    command_line.console().print(shown)


def _figures(compiled: Compiled, name: str, folder: Path) -> list[str]:
    form = getattr(compiled.forms, name)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    at_10, at_100 = (min(getattr(recall, at) for recall in form.recall.values()) for at in ("at_10", "at_100"))
    figures = [f"{form.build_seconds:.1f}", f"{size / 1e6:,.0f}", str(form.leaves_to_search), str(form.reorder)]
    return [*figures, f"{at_10:.4f}", f"{at_100:.4f}", f"{form.p50_ms:.3f}", f"{form.p99_ms:.3f}"]


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    command.add_argument("--bundle", metavar="FOLDER", help="default: the live bundle")
    command.add_argument(
        "--titles", type=int, nargs="+", default=[20_000, 100_000], metavar="N", help="catalogue sizes"
    )
    command.add_argument("--noise", type=float, default=0.25, help="in standard deviations; default: 0.25")
    command.add_argument("--balance", action="store_true", help="only compare scalings at equal effort")
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
