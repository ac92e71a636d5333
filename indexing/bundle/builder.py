"""One bundle from a trained model and pinned tables: embed, lay out, compile, compare with training; or refuse."""

import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from pyarrow import parquet as pq

from conf.settings import Index
from indexing.ann import scann_index
from indexing.ann.compilation import Embedded, compile_both
from indexing.ann.runtime import save_module
from indexing.bundle import bundle, coordinates, lake_inputs, layout, parity, sample_histories
from indexing.bundle.bundle import Bundle
from indexing.bundle.coordinates import Balance
from indexing.bundle.lake_inputs import LakeInputs
from indexing.bundle.layout import Layout
from indexing.bundle.manifest import SCHEMA_VERSION, Counts, Dial, Manifest, ModelSource, Tolerance
from indexing.bundle.parity import Golden
from indexing.bundle.query_export import BalancedTower
from indexing.errors import BundleError
from lake import provenance
from lake.snapshot import LakeSnapshot
from models.blend.two_tower import TwoTower

log = logging.getLogger("marquee")

_LEAST_HISTORIES = 64  # of people, to tune with


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a bundle holds, but for the draws of ScaNN's training."""

    source: ModelSource
    lake: LakeSnapshot  # of lake_inputs.TABLES
    options: Index
    dial: Dial | None  # None: by rule, from the settings of `options`
    as_of: date | None  # None: the night on which a title's features last changed
    seed: int


def build(model: TwoTower, plan: Plan, root: Path, version: str) -> Bundle:
    """Write a bundle to `root/version`; raises BundleError where it is not as good as `plan.options` ask."""
    inputs = lake_inputs.read(plan.lake, model.card.content_blocks)
    log.info("%s: %d titles, %d of them candidates", version, len(inputs.catalogue), inputs.count_candidates)
    return bundle.write_bundle(root, version, lambda folder: _fill(folder, model, plan, inputs, version))


def _fill(folder: Path, model: TwoTower, plan: Plan, inputs: LakeInputs, version: str) -> Manifest:
    options, count = plan.options, inputs.count_candidates
    as_of = plan.as_of or inputs.newest_day
    learnt = _embed(model, plan, inputs)
    made = layout.lay_out(inputs, learnt.titles, learnt.queries, options, plan.dial, as_of)
    expected = _golden(model, plan, inputs, learnt, made)
    balance = coordinates.balance(learnt.titles[:count], learnt.queries)
    stored = layout.write_vectors(folder / bundle.VECTORS, learnt.titles, balance, made)
    embedded = replace(
        learnt,
        titles=stored[:, bundle.BESIDE :],
        query_tower=BalancedTower(learnt.query_tower, balance),
        queries=balance.queries(learnt.queries),
    )
    del learnt  # and with it the model's own title vectors, as large as those stored
    vectors = stored[:count]
    _write_files(folder, inputs, embedded, made, balance, expected)
    index = scann_index.parameters(count, options, bundle.BESIDE + balance.leading(scann_index.LEADING_SHARE))
    compiled = compile_both(folder, index, options, embedded, inputs.catalogue.title_ids, made, vectors)
    reached = parity.replay(expected, compiled.served, made.dial.settings)
    parity.refuse_difference(reached, _tolerance(options))
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_version=version,
        created_at=datetime.now(UTC),
        as_of=as_of,
        model=plan.source,
        delta_versions=dict(plan.lake.versions),
        git_commit=provenance.git_commit(),
        settings=plan.options.model_dump(warnings=False),
        seed=plan.seed,
        counts=Counts(
            titles=len(inputs.catalogue),
            candidates=inputs.count_candidates,
            offers=len(inputs.offers),
            countries=len(embedded.countries),
            golden_users=plan.options.golden_users,
        ),
        history_length=model.history_length,
        vectors=made.vectors,
        dial=made.dial,
        index=index,
        forms=compiled.forms,
        parity=reached,
        tolerance=_tolerance(plan.options),
        files={},
    )


def _embed(model: TwoTower, plan: Plan, inputs: LakeInputs) -> Embedded:
    titles, query_tower = model.title_vectors(inputs.catalogue), model.query_tower(inputs.catalogue)
    if not np.isfinite(titles).all():
        raise BundleError(f"model version {plan.source.version} gave vectors that are no finite numbers")
    numbers = model.country_ids(inputs.country_codes)
    countries = {code: int(n) for code, n in zip(inputs.country_codes, numbers, strict=True) if n > 1}
    # Half of them tune the searchers, the others measure them.
    count = 2 * plan.options.queries
    asked = sample_histories.sample(
        plan.lake,
        inputs.catalogue.rows,
        countries,
        count,
        model.history_length,
        plan.seed,
    )
    source = f"histories of people, drawn from user_histories version {plan.lake.version('user_histories')}"
    if len(asked) < min(count, _LEAST_HISTORIES):
        asked = sample_histories.made_up(inputs.counts, numbers, count, model.history_length, plan.seed + 1)
        source = "made-up histories: user_histories has too few"
    return Embedded(titles, query_tower, countries, parity.ask(query_tower, asked), source)


def _tolerance(options: Index) -> Tolerance:
    return Tolerance(max_score_difference=options.max_score_difference, min_overlap=options.min_overlap)


def _golden(model: TwoTower, plan: Plan, inputs: LakeInputs, learnt: Embedded, made: Layout) -> Golden:
    """Made-up users with the training graph's answers."""
    numbers = np.array(list(learnt.countries.values()), dtype=np.int64)
    users = sample_histories.made_up(inputs.counts, numbers, plan.options.golden_users, model.history_length, plan.seed)
    candidates = slice(0, inputs.count_candidates)
    popularity = made.popularity.values[candidates]
    queries = parity.ask(learnt.query_tower, users)
    return parity.make(users, queries, learnt.titles[candidates], popularity, made.dial.settings)


def _write_files(
    folder: Path, inputs: LakeInputs, embedded: Embedded, made: Layout, balance: Balance, expected: Golden
) -> None:
    """All but the vectors and the searchers."""
    save_module(embedded.query_tower, folder / bundle.QUERY_TOWER)
    np.savez(folder / bundle.BALANCE, order=balance.order, factors=balance.factors)
    pq.write_table(layout.titles(inputs, made), folder / bundle.TITLES)
    pq.write_table(inputs.offers, folder / bundle.OFFERS)
    countries = json.dumps(embedded.countries, indent=1, sort_keys=True)
    (folder / bundle.COUNTRIES).write_text(countries + "\n", encoding="utf-8")
    expected.save(folder)
