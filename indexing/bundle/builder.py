"""Build of a bundle from a trained model and pinned tables: embed, lay out, write, compile, compare with training."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from conf.settings import Index
from indexing.ann import compilation, scann_index
from indexing.ann.compilation import SearchInputs
from indexing.ann.runtime import tf
from indexing.bundle import bundle_files, bundle_writer, lake_inputs, parity, sample_histories
from indexing.bundle.bundle import Bundle
from indexing.bundle.lake_inputs import LakeInputs
from indexing.bundle.layout import Layout, lay_out
from indexing.bundle.manifest import EMBEDDING_START, SCHEMA_VERSION, Counts, Dial, Manifest, ModelSource, Tolerance
from indexing.bundle.parity import ParityCases
from indexing.errors import BundleError
from indexing.query_tower import query_export
from lake import provenance
from lake.arrays import Floats
from lake.snapshot import LakeSnapshot
from models.blend.two_tower import TwoTower
from models.data.padded_histories import PaddedHistories

log = logging.getLogger("marquee")

# Made-up users whose lists prove that training and bundle agree: a wrong export is wrong for nearly all of them.
GOLDEN_USERS = 64
_LEAST_HISTORIES = 64  # fewer real ones are replaced by made-up histories


@dataclass(frozen=True)
class BundleSpec:
    """Everything that decides a bundle's content, except the random draws of ScaNN's training."""

    source: ModelSource
    lake: LakeSnapshot  # of lake_inputs.TABLES
    options: Index
    dial: Dial | None  # None: by rule, from the settings of `options`
    as_of: date | None  # None: the night on which a title's features last changed
    seed: int


@dataclass(frozen=True)
class _Embedded:
    """The model's embeddings of the catalogue and of sampled histories, not yet balanced."""

    titles: Floats  # [titles, dim]
    query_tower: tf.Module
    countries: Mapping[str, int]
    sample_queries: Floats  # [users, dim]
    queries_source: str
    golden_users: PaddedHistories  # made up
    golden_queries: Floats  # [users, dim]


@dataclass(frozen=True)
class _Contents:
    """Values from a bundle's files that the steps after writing need."""

    layout: Layout
    search_inputs: SearchInputs
    parity_cases: ParityCases


def build(model: TwoTower, spec: BundleSpec, root: Path, version: str) -> Bundle:
    """Write a bundle to `root/version`. Raises BundleError where recall or parity is below `spec.options`."""
    inputs = lake_inputs.read(spec.lake, model.card.content_blocks)
    log.info("%s: %d titles, %d of them candidates", version, len(inputs.catalogue), inputs.count_candidates)
    folder = bundle_writer.write_bundle(root, version, lambda folder: _fill(folder, model, spec, inputs, version))
    return Bundle.open(folder, verify=False)


def _fill(folder: Path, model: TwoTower, spec: BundleSpec, inputs: LakeInputs, version: str) -> Manifest:
    """Write all files but the manifest, and return it."""
    options, as_of = spec.options, spec.as_of or inputs.newest_day
    contents = _write_contents(folder, model, spec, inputs, as_of)
    leading_dims = EMBEDDING_START + contents.layout.balance.leading(scann_index.LEADING_SHARE)
    index = scann_index.parameters(inputs.count_candidates, options, leading_dims)
    compiled = compilation.compile_both(folder, contents.search_inputs, index, options)
    reached = parity.replay(contents.parity_cases, compiled.served, contents.layout.dial.settings)
    tolerance = Tolerance(max_score_difference=parity.MAX_SCORE_DIFFERENCE, min_overlap=options.min_overlap)
    parity.refuse_difference(reached, tolerance)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_version=version,
        created_at=datetime.now(UTC),
        as_of=as_of,
        model=spec.source,
        delta_versions=dict(spec.lake.versions),
        git_commit=provenance.git_commit(),
        settings=options.model_dump(warnings=False),
        seed=spec.seed,
        counts=Counts(
            titles=len(inputs.catalogue),
            candidates=inputs.count_candidates,
            offers=len(inputs.offers),
            countries=len(contents.search_inputs.countries),
            golden_users=GOLDEN_USERS,
        ),
        history_length=model.history_length,
        vectors=contents.layout.vectors,
        dial=contents.layout.dial,
        index=index,
        forms=compiled.forms,
        parity=reached,
        tolerance=tolerance,
        files={},
    )


def _write_contents(folder: Path, model: TwoTower, spec: BundleSpec, inputs: LakeInputs, as_of: date) -> _Contents:
    """Write all files but the searchers.

    The model's title vectors, as large as the stored ones, live in this function only: they are freed before the
    searchers are compiled.
    """
    embedded = _embed(model, spec, inputs)
    layout = lay_out(inputs, embedded.titles, embedded.sample_queries, spec.options, spec.dial, as_of)
    candidates = slice(inputs.count_candidates)  # the first rows
    cases = parity.make_cases(
        embedded.golden_users,
        embedded.golden_queries,
        embedded.titles[candidates],
        layout.popularity.values[candidates],
        layout.dial.settings,
    )
    layout.write_vectors(folder, embedded.titles)
    layout.write_titles(folder, inputs)
    inputs.write_offers(folder)
    cases.save(folder)
    countries = json.dumps(embedded.countries, indent=1, sort_keys=True)
    (folder / bundle_files.COUNTRIES).write_text(countries + "\n", encoding="utf-8")
    search_inputs = SearchInputs(
        layout=layout.vectors,
        dial=layout.dial,
        vectors=np.load(folder / bundle_files.VECTORS, mmap_mode="r")[candidates],
        title_ids=inputs.catalogue.title_ids,
        countries=embedded.countries,
        query_tower=query_export.save_query_tower(embedded.query_tower, layout.balance, folder),
        sample_queries=layout.balance.queries(embedded.sample_queries),
        queries_source=embedded.queries_source,
    )
    return _Contents(layout, search_inputs, cases)


def _embed(model: TwoTower, spec: BundleSpec, inputs: LakeInputs) -> _Embedded:
    titles, query_tower = model.title_vectors(inputs.catalogue), model.query_tower(inputs.catalogue)
    if not np.isfinite(titles).all():
        raise BundleError(f"model version {spec.source.version} gave vectors that are not finite numbers")
    country_ids, longest = model.country_ids(inputs.country_codes), model.history_length
    countries = {code: int(n) for code, n in zip(inputs.country_codes, country_ids, strict=True) if n > 1}
    # Half of the queries tune the searchers, the other half measure them.
    count = 2 * spec.options.queries
    histories = sample_histories.sample(spec.lake, inputs.catalogue.rows, countries, count, longest, spec.seed)
    source = f"histories of users, drawn from user_histories version {spec.lake.version('user_histories')}"
    if len(histories) < min(count, _LEAST_HISTORIES):
        histories = sample_histories.made_up(inputs.positive_counts, country_ids, count, longest, spec.seed + 1)
        source = "made-up histories: user_histories has too few"
    known_countries = np.array(list(countries.values()), dtype=np.int64)
    golden_users = sample_histories.made_up(inputs.positive_counts, known_countries, GOLDEN_USERS, longest, spec.seed)
    return _Embedded(
        titles=titles,
        query_tower=query_tower,
        countries=countries,
        sample_queries=query_export.embed(query_tower, histories),
        queries_source=source,
        golden_users=golden_users,
        golden_queries=query_export.embed(query_tower, golden_users),
    )
