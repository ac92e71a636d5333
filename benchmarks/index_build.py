"""What compiling and tuning an index costs, by titles: seconds, bytes, memory, and what it finds then.

Reads a bundle, the live one of <bundles.root> by default, and user_histories in <lake.root>; writes to a temporary
folder only. Titles are the bundle's candidates, multiplied: each embedding again and again, moved by --noise standard
deviations of every dimension. Queries are histories of people.

With --balance the same searcher, asked alike, is compared over vectors balanced by indexing/bundle/coordinates.py and
as the model learnt them.
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

from conf import command_line
from conf.settings import Settings
from indexing.ann import compilation, scann_index, tuning
from indexing.ann.compilation import Compiled, SearchInputs
from indexing.ann.runtime import save_module
from indexing.bundle import bundle_files, coordinates, sample_histories
from indexing.bundle.bundle import Bundle
from indexing.bundle.manifest import EMBEDDING_START, IndexParameters
from indexing.publishing import publication
from indexing.query_tower import query_export
from lake.arrays import Floats, Ids
from lake.snapshot import LakeSnapshot

COLUMNS = ("titles", "form", "compiled s", "MB", "leaves", "reordered", "recall@10", "recall@100", "p50 ms", "p99 ms")


def multiplied(source: Bundle, count: int, noise: float, seed: int) -> tuple[Floats, Ids]:
    """Vectors [count, width] as of a larger catalogue, and the row of `source` that each was made from.

    The first ones are the bundle's own candidates.
    """
    random = np.random.default_rng(seed)
    own = np.array(source.vectors[: source.count_candidates])
    rows = np.concatenate([np.arange(len(own)), random.integers(0, len(own), max(count - len(own), 0))])[:count]
    vectors = own[rows]
    spread = (noise * own.std(axis=0)).astype(np.float32)
    for start in range(len(own), count, 65_536):
        part = vectors[start : start + 65_536]
        part += spread * random.standard_normal(part.shape, dtype=np.float32)
    return vectors, rows


def compile_multiplied(source: Bundle, vectors: Floats, queries: Floats, settings: Settings, folder: Path) -> Compiled:
    """Both searchers over `vectors` [titles, width], in a folder. Raises BundleError where they find too little."""
    manifest = source.manifest
    inputs = SearchInputs(
        layout=manifest.vectors,
        dial=manifest.dial,
        vectors=vectors,
        title_ids=np.arange(len(vectors)),
        countries=source.countries,
        query_tower=source.query_tower,
        sample_queries=queries,
        queries_source=manifest.forms.queries_source,
    )
    save_module(source.query_tower, folder / bundle_files.QUERY_TOWER)
    return compilation.compile_both(folder, inputs, index_of(vectors, queries, settings), settings.index)


def index_of(vectors: Floats, queries: Floats, settings: Settings) -> IndexParameters:
    """As a bundle of so many titles would have it."""
    energies = np.square(vectors[:, EMBEDDING_START:].std(axis=0) * np.sqrt(np.mean(np.square(queries), axis=0)))
    added = np.cumsum(energies)
    leading = int(np.searchsorted(added, scann_index.LEADING_SHARE * added[-1])) + 1
    return scann_index.parameters(len(vectors), settings.index, EMBEDDING_START + leading)


def compare_balance(source: Bundle, vectors: Floats, queries: Floats, settings: Settings) -> RichTable:
    """Recall at fixed effort by setting of the dial, of the same titles and queries in two scalings."""
    with np.load(source.folder / bundle_files.BALANCE) as stored:
        factors = stored["factors"]
    as_learnt = vectors.copy()
    as_learnt[:, EMBEDDING_START:] /= factors
    scalings = {"balanced": (vectors, queries), "as learnt": (as_learnt, queries * factors)}
    index = scann_index.parameters(len(vectors), settings.index, 0)
    shown = RichTable(
        title=f"{len(vectors):,} titles, recall@10 / recall@100 at the same effort, all dimensions hashed"
    )
    for column in ("vectors", "leaves", "reordered", *source.manifest.dial.settings):
        shown.add_column(column, justify="right")
    for name, (own, asked) in scalings.items():
        turned = {
            setting: coordinates.query_vectors(source.manifest.vectors, asked, dial)
            for setting, dial in source.manifest.dial.settings.items()
        }
        answers = tuning.exact_results(own, turned, (10, 100))
        search = scann_index.search_pybind(scann_index.compile_pybind(own, index, settings.index.threads))
        for leaves, reorder in ((index.leaves // 30, 100), (index.leaves // 10, 200)):
            found = tuning.recalls(search, own, answers, reorder, leaves)
            figures = [f"{of[10]:.3f} / {of[100]:.3f}" for of in found.values()]
            shown.add_row(name, str(leaves), str(reorder), *figures)
    return shown


def work(settings: Settings, arguments: Namespace) -> None:
    source = (
        Bundle.open(Path(arguments.bundle))
        if arguments.bundle
        else publication.open_live(publication.store_of(settings))
    )
    asked = sample_histories.sample(
        LakeSnapshot(settings.lake.root, source.manifest.delta_versions),
        source.rows,
        source.countries,
        2 * settings.index.queries,
        source.manifest.history_length,
        settings.seed,
    )
    queries = query_export.embed(source.query_tower, asked)
    shown = RichTable(
        title=f"{source.manifest.vectors.vector_dim} dimensions, {len(queries) // 2} queries at every dial"
    )
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
            for form, name in (("pybind", bundle_files.SCANN), ("tensorflow", bundle_files.RETRIEVAL)):
                shown.add_row(f"{count:,}", form, *_figures(compiled, form, Path(folder) / name))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        shown.add_row(f"{count:,}", "all", f"{seconds:.0f}", f"peak {peak:.1f} GB", *[""] * 6, end_section=True)
    command_line.console().print(shown)


def _figures(compiled: Compiled, name: str, folder: Path) -> list[str]:
    form = getattr(compiled.forms, name)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    at_10, at_100 = (min(getattr(own, at) for own in form.recall.values()) for at in ("at_10", "at_100"))
    figures = [f"{form.build_seconds:.1f}", f"{size / 1e6:,.0f}", str(form.leaves_to_search), str(form.reorder)]
    return [*figures, f"{at_10:.4f}", f"{at_100:.4f}", f"{form.p50_ms:.3f}", f"{form.p99_ms:.3f}"]


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    command.add_argument("--bundle", metavar="FOLDER", help="the live bundle by default")
    command.add_argument(
        "--titles", type=int, nargs="+", default=[20_000, 100_000], metavar="N", help="catalogue sizes"
    )
    command.add_argument("--noise", type=float, default=0.25, help="standard deviations; 0.25 by default")
    command.add_argument("--balance", action="store_true", help="compare scalings at the same effort, and nothing else")
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
