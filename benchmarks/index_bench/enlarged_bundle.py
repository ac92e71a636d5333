"""A bundle of a multiplied catalogue, for measuring whole calls of the retriever.

Its query tower is that of the source bundle, with tables as long as the catalogue: a copy of a title contributes to a
query what the title does. Countries and golden users are the source's. Offers are of generated countries, in each of
which a known share of all titles is on offer, drawn at random; in LEAST_POPULAR it is the least popular titles. The
SavedModel from features to titles is missing, since the retriever does not use it.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from benchmarks.index_bench.catalogue import BenchmarkCatalogue
from conf.settings import Index
from indexing.ann import compilation, scann_index, tuning
from indexing.ann.runtime import load_saved_model, load_searcher, save_module
from indexing.bundle import bundle_files, bundle_writer, parity
from indexing.bundle.bundle import Bundle
from indexing.bundle.bundle_files import OFFERS_SCHEMA
from indexing.bundle.manifest import Form, Manifest
from jobs.errors import JobError
from lake.arrays import Ids

# Share of titles on offer, by country.
SHARES: Mapping[str, float] = {"AA": 0.0001, "AB": 0.001, "AC": 0.01, "AD": 0.1, "AE": 1.0}
LEAST_POPULAR, LEAST_POPULAR_SHARE = "AF", 0.1
_PROVIDER = "one"


def enlarged(
    source: Bundle, catalogue: BenchmarkCatalogue, scann: Path, leading_dims: int, options: Index, root: Path, seed: int
) -> Bundle:
    """The bundle `root`/<version>-<titles>, with the searcher stored at `scann`; made unless it exists."""
    vectors = catalogue.vectors
    version = f"{source.version}-{len(vectors)}"
    if (root / version).exists():
        return Bundle.open(root / version, verify=False)

    def fill(folder: Path) -> Manifest:
        np.save(folder / bundle_files.VECTORS, vectors)
        titles = _titles(source, catalogue)
        pq.write_table(titles, folder / bundle_files.TITLES)
        offers = _offers(titles["popularity"].to_numpy(), seed)
        pq.write_table(offers, folder / bundle_files.OFFERS)
        shutil.copytree(scann, folder / bundle_files.SCANN)
        save_module(_tower(source, catalogue), folder / bundle_files.QUERY_TOWER)
        _write_tower_arrays(source, catalogue, folder)
        for name in (bundle_files.COUNTRIES, bundle_files.GOLDEN, bundle_files.BALANCE):
            shutil.copy(source.folder / name, folder / name)
        counts = source.manifest.counts
        sizes = {"titles": len(vectors), "candidates": len(vectors), "offers": len(offers)}
        forms = source.manifest.forms
        return source.manifest.model_copy(
            update={
                "bundle_version": version,
                "counts": counts.model_copy(update=sizes),
                "forms": forms.model_copy(update={"pybind": _tuned(catalogue, scann, options, source)}),
                "index": scann_index.parameters(len(vectors), options, leading_dims),
                "files": {},
            }
        )

    return Bundle.open(bundle_writer.write_bundle(root, version, fill), verify=False)


def _tower(source: Bundle, catalogue: BenchmarkCatalogue) -> Any:
    tower = load_saved_model(source.folder / bundle_files.QUERY_TOWER)
    variables = tower.signatures["serving_default"].variables
    tables = [variable for variable in variables if variable.shape[:1] == [None]]
    if not tables:
        raise JobError(f"{source.folder}: its query tower is of an older version; build the bundle again")
    tower_rows = np.concatenate([[0], catalogue.rows + 1])
    for table in tables:
        table.assign(table.numpy()[tower_rows])
    return tower


def _write_tower_arrays(source: Bundle, catalogue: BenchmarkCatalogue, folder: Path) -> None:
    path = source.folder / bundle_files.QUERY_TOWER_ARRAYS
    if not path.exists():  # the source was built earlier, or its model has another form
        return
    rows = np.concatenate([[0], catalogue.rows + 1])
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name][rows] if name.startswith("tables.") else stored[name] for name in stored}
    np.savez(folder / bundle_files.QUERY_TOWER_ARRAYS, **arrays)


def _titles(source: Bundle, catalogue: BenchmarkCatalogue) -> pa.Table:
    """Titles with the facts of those they were made from, and new ids."""
    rows = catalogue.rows
    real = source.count_candidates
    new = source.title_ids.max() + 1 + np.arange(len(rows) - min(real, len(rows)))
    ids = np.concatenate([source.title_ids[:real], new])[: len(rows)]
    titles = source.titles.take(pa.array(rows))
    return titles.set_column(titles.schema.get_field_index("title_id"), "title_id", pa.array(ids, pa.int64()))


def _offers(popularity: np.ndarray, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    count = len(popularity)
    rows = {
        country: np.sort(random.permutation(count)[: max(1, round(share * count))]) for country, share in SHARES.items()
    }
    rows[LEAST_POPULAR] = np.sort(np.argsort(popularity, kind="stable")[: round(LEAST_POPULAR_SHARE * count)])
    columns: list[Ids | list[str]] = [np.concatenate(list(rows.values()))]
    columns.append([country for country, on_offer in rows.items() for _ in on_offer])
    columns += [[_PROVIDER] * len(columns[0]), ["flatrate"] * len(columns[0])]
    return pa.table([pa.array(values) for values in columns], names=OFFERS_SCHEMA.names).cast(OFFERS_SCHEMA)


def _tuned(catalogue: BenchmarkCatalogue, scann: Path, options: Index, source: Bundle) -> Form:
    """The searcher's parameters as indexing.build would tune them for the recall that a bundle must have."""
    search = scann_index.search_pybind(load_searcher(scann))
    index = scann_index.parameters(len(catalogue.vectors), options, 0)
    answers = tuning.exact_results(catalogue.vectors, catalogue.queries("tuning"), (10, parity.COUNT, 100))
    tuned = tuning.tune(search, catalogue.vectors, index, answers, compilation.required_recall(options))
    form = source.manifest.forms.pybind
    return form.model_copy(update={"leaves_to_search": tuned.leaves_to_search, "reorder": tuned.reorder})
