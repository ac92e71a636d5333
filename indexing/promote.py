"""Promote the challenger that passed the gate: build its bundle, publish it, point the alias `champion` at its model.

The live bundle decides what is served, and `champion` follows it: the pointer is swapped first, the alias is moved
after it. Every night begins with `align`, which completes a promotion that was interrupted in between and follows a
rollback.

  align             point `champion` at the model of the live bundle
  build             build a bundle of --model, unless there is one of the same model, tables, settings and day
  promote --ds DAY  check the newest bundle of the challenger that passed the gate that night, publish it, align
  refresh           publish the champion's bundle over today's catalogue, as a night does when the gate says no

Reads `gate_results` and what indexing.build reads; writes bundles and CURRENT in <bundles.root>, the alias in MLflow,
and the index's checks to `gate_results` and the gate's page. Exit code 3 where the gate said no, its checks of the
index included, or where there is no champion to refresh.
"""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import date
from typing import Any

from conf import command_line
from conf.settings import Settings
from indexing import build
from indexing.bundle import bundle_files, lake_inputs, parity
from indexing.bundle.manifest import SCHEMA_VERSION, Manifest
from indexing.errors import BundleError
from indexing.publishing import pointer, publication
from indexing.publishing.storage import Store
from lake.model_names import registered_name
from lake.snapshot import LakeSnapshot
from models import gate
from models.errors import ModelError
from models.gating import gate_results
from models.gating.gate_rules import judge_bundle
from models.tracking import registry

log = logging.getLogger("marquee")


def align(settings: Settings) -> int | None:
    """Point `champion` at the model of the live bundle, and return its version; None before any publication."""
    store = publication.store_of(settings)
    current = pointer.read(store)
    if current is None:
        return None
    served = _model_version(store, current.live.version)
    champion = registry.champion_or_none(settings)
    if champion is None or champion.version != served:
        registry.point(settings, registry.CHAMPION, served)
    return served


def build_or_find(settings: Settings, model: str, ds: date | None) -> str:
    """Version of the newest bundle of a model, today's tables and these settings; built where there is none."""
    store, registered = publication.store_of(settings), registry.fetch(settings, model)
    versions = LakeSnapshot.pin(settings.lake.root, lake_inputs.TABLES).versions
    dial = build.measured_dial(settings, model)
    expected = {
        "schema_version": SCHEMA_VERSION,
        "delta_versions": versions,
        "settings": settings.index.model_dump(mode="json"),
        "seed": settings.seed,
        **({"as_of": ds.isoformat()} if ds else {}),
        **({"dial": dial.model_dump(mode="json")} if dial else {}),
    }
    for version in _versions_of(store, registered.version):
        manifest = _read_manifest(store, version)
        if all(manifest.get(name) == value for name, value in expected.items()):
            log.info("%s is of the same model, tables and settings: nothing to build", version)
            return version
    build.work(settings, Namespace(model=model, dial=None, ds=ds))
    return _versions_of(store, registered.version)[0]


def figures(manifest: Manifest, settings: Settings) -> dict[str, tuple[float, float, bool]]:
    """Figures of an index that the gate checks: each with its limit, and True where higher is better."""
    limits, forms = settings.index, manifest.forms
    recalls = [recall for form in (forms.pybind, forms.tensorflow) for recall in form.recall.values()]
    return {
        "index_recall@10": (min(recall.at_10 for recall in recalls), limits.min_recall_at_10, True),
        "index_recall@100": (min(recall.at_100 for recall in recalls), limits.min_recall_at_100, True),
        "overlap_of_searchers": (forms.min_overlap, limits.min_overlap, True),
        "parity_overlap": (manifest.parity.min_top_20_overlap, limits.min_overlap, True),
        "parity_score_difference": (manifest.parity.max_score_difference, parity.MAX_SCORE_DIFFERENCE, False),
    }


def promote(settings: Settings, ds: date) -> int:
    """Publish the challenger that passed the gate on a night.

    Raises ModelError where the gate did not judge it, and BundleError where it has no bundle.
    """
    challenger = registry.fetch(settings, registry.CHALLENGER)
    model = registered_name(challenger.version)
    verdict = gate_results.newest(settings.lake.root, model)
    if verdict is None:
        raise ModelError(f"the gate never judged {model}; run python -m models.gate --ds {ds}")
    store = publication.store_of(settings)
    if verdict.is_yes:
        versions = _versions_of(store, challenger.version)
        if not versions:
            raise BundleError(f"{store.location}: no bundle of {model}; run python -m indexing.promote build")
        checks = judge_bundle(figures(Manifest.model_validate(_read_manifest(store, versions[0])), settings))
        verdict = gate_results.with_bundle(verdict, checks)
        gate.record(settings, verdict)
    if not verdict.is_yes:
        print(f"{model} is not promoted: {verdict.why}")
        return gate.REFUSED
    _publish(settings, store, versions[0])
    return 0


def refresh(settings: Settings, ds: date | None) -> int:
    """Publish the champion over today's catalogue."""
    if registry.champion_or_none(settings) is None:
        print("there is no champion yet: nothing is served")
        return gate.REFUSED
    version = build_or_find(settings, registry.CHAMPION, ds)
    _publish(settings, publication.store_of(settings), version)
    return 0


def _publish(settings: Settings, store: Store, version: str) -> None:
    live = publication.publish(store, version).live
    served = align(settings)
    publication.remove_old(store, settings.index.keep_bundles, settings.index.keep_days)
    print(f"{live.version} is live: change {live.sequence} of {store.location}; champion is version {served}")


def _versions_of(store: Store, model_version: int) -> list[str]:
    """Bundles of a version of the model, the newest first."""
    return [version for version in reversed(store.versions()) if _model_version(store, version) == model_version]


def _model_version(store: Store, version: str) -> int:
    return int(_read_manifest(store, version)["model"]["version"])


def _read_manifest(store: Store, version: str) -> dict[str, Any]:
    """Fields of a bundle's manifest, without fetching the bundle; of any schema, since old bundles stay."""
    stored = store.read(f"{version}/{bundle_files.MANIFEST}")
    if stored is None:
        raise BundleError(f"{store.location}: {version} has no {bundle_files.MANIFEST}")
    return dict(json.loads(stored[0]))


def work(settings: Settings, arguments: Namespace) -> int:
    if arguments.action == "align":
        print(f"champion: version {align(settings)}")
        return 0
    if arguments.action == "build":
        print(build_or_find(settings, arguments.model, arguments.ds))
        return 0
    if arguments.action == "refresh":
        return refresh(settings, arguments.ds)
    return promote(settings, arguments.ds)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("action", choices=["align", "build", "promote", "refresh"])
    parser.add_argument("--model", default=registry.CHALLENGER, help="model of `build`; default: challenger")
    parser.add_argument("--ds", type=date.fromisoformat, metavar="DATE", help="the night")

    def checked(settings: Settings, arguments: Namespace) -> int:
        if arguments.action == "promote" and arguments.ds is None:
            parser.error("promote needs --ds")
        return work(settings, arguments)

    return command_line.run(parser, checked, argv)


if __name__ == "__main__":
    sys.exit(main())
