"""Verify a bundle: schema, files, checksums, counts, and the lists of its golden users.

Reads a folder, or a version in <bundles.root>; the live bundle by default. Writes nothing, except a copy in
<bundles.copies> where <bundles.root> is object storage. Needs neither lake nor MLflow.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from conf import command_line
from conf.settings import Settings
from indexing.bundle.bundle import Bundle
from indexing.publishing import publication


def work(settings: Settings, arguments: Namespace) -> None:
    opened = _open(settings, arguments.bundle)
    parity = publication.check(opened)
    manifest = opened.manifest
    model, counts = manifest.model, manifest.counts
    size = sum(entry.bytes for entry in manifest.files.values())
    print(
        f"{opened.version} is good: {len(manifest.files)} files of {size / 1e6:,.1f} MB, {counts.titles:,} titles, "
        f"{counts.candidates:,} of them candidates; model {model.name} version {model.version}; "
        f"golden users get {parity.min_top_20_overlap:.4f} of the top 20 titles of the build, with scores within "
        f"{parity.max_score_difference:.2g} standard deviations"
    )


def _open(settings: Settings, bundle: str | None) -> Bundle:
    if bundle and (Path(bundle).is_dir() or "/" in bundle):
        return Bundle.open(Path(bundle))
    store = publication.store_of(settings)
    return Bundle.open(store.fetch(bundle)) if bundle else publication.open_live(store)


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    command.add_argument("bundle", nargs="?", metavar="BUNDLE", help="a folder or a version; default: the live one")
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
