"""Build a bundle again from its manifest and compare: the same titles, offers, vectors and lists of golden users.

Reads <bundles.root>/VERSION, the live bundle by default, and the model version and table versions that its manifest
names; writes to a temporary folder only. ScaNN trains without a seed, so its files are not compared by bytes: the new
searchers must pass the same gates, and golden users must get the same titles. Exit code 1 where anything differs.
"""

import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from conf import command_line
from conf.settings import Index, Settings, moved
from indexing.build import source_of
from indexing.bundle import builder, parity
from indexing.bundle.builder import BundleSpec
from indexing.bundle.bundle import Bundle
from indexing.bundle.parity import ParityCases, Served
from indexing.errors import BundleError
from indexing.publishing import publication
from lake.snapshot import LakeSnapshot
from models.blend.two_tower import TwoTower
from models.tracking import registry


def work(settings: Settings, arguments: Namespace) -> None:
    store = publication.store_of(settings)
    version = arguments.version
    original = Bundle.open(store.fetch(version)) if version else publication.open_live(store)
    registered = registry.fetch(settings, str(original.manifest.model.version))
    if (source := source_of(registered)) != original.manifest.model:
        raise BundleError(
            f"{original.version}: was built from {original.manifest.model}, but the registry now has {source}"
        )
    spec = spec_of(original, settings.lake.root)
    with tempfile.TemporaryDirectory() as folder:
        again = builder.build(TwoTower.load(registered.folder), spec, Path(folder), original.version)
        if differences := compare(original, again):
            raise BundleError(f"{original.version}: the rebuilt bundle differs: {'; '.join(differences)}")
    print(f"{original.version} was built again: the same titles, offers and vectors, and golden users get the same")


def spec_of(original: Bundle, lake_root: str) -> BundleSpec:
    """The spec that a bundle was built from."""
    manifest = original.manifest
    return BundleSpec(
        source=manifest.model,
        lake=LakeSnapshot(lake_root, manifest.delta_versions),
        options=Index.model_validate(moved.current("index", manifest.settings)),
        dial=manifest.dial,
        as_of=manifest.as_of,
        seed=manifest.seed,
    )


def compare(original: Bundle, again: Bundle) -> list[str]:
    """Descriptions of differences. Vectors may differ by rounding, since processors sum in different orders."""
    differences = []
    for name in ("titles", "offers"):
        if not getattr(original, name).equals(getattr(again, name)):
            differences.append(f"{name}.parquet has other rows")
    if original.countries != again.countries:
        differences.append("countries.json has other ids")
    allowed = original.manifest.tolerance
    rounding = allowed.max_score_difference
    if original.vectors.shape != again.vectors.shape:
        differences.append(f"vectors.npy has shape {again.vectors.shape} instead of {original.vectors.shape}")
    elif not np.allclose(original.vectors, again.vectors, rtol=rounding, atol=rounding * np.std(original.vectors)):
        differences.append("vectors.npy has other vectors")
    else:
        reached = parity.replay(ParityCases.load(original.folder), Served.of(again), original.manifest.dial.settings)
        if reached.min_top_20_overlap < allowed.min_overlap:
            differences.append(f"golden users get only {reached.min_top_20_overlap:.4f} of their titles")
    return differences


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    command.add_argument("version", nargs="?", metavar="VERSION", help="default: the live bundle")
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
