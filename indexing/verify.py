"""Verify a bundle: schema, files, checksums, counts, and that its golden users are answered as at its build.

Reads a folder, or a version in <bundles.root>; the live bundle by default. Writes nothing, but where <bundles.root> is
object storage a copy in <bundles.copies>. Needs no lake and no MLflow.
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
    found = publication.check(opened)
    manifest = opened.manifest
    model, counts = manifest.model, manifest.counts
    size = sum(entry.bytes for entry in manifest.files.values())
    print(
        f"{opened.version} is good: {len(manifest.files)} files of {size / 1e6:,.1f} MB, {counts.titles:,} titles, "
        f"{counts.candidates:,} of them candidates; model {model.name} version {model.version}; "
        f"golden users' top 20 are {found.min_top_20_overlap:.4f} the same, their scores within "
        f"{found.max_score_difference:.2g} standard deviations"
    )


def _open(settings: Settings, named: str | None) -> Bundle:
    if named and (Path(named).is_dir() or "/" in named):
        return Bundle.open(Path(named))
    store = publication.store_of(settings)
    return Bundle.open(store.fetch(named)) if named else publication.open_live(store)


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    command.add_argument("bundle", nargs="?", metavar="BUNDLE", help="a folder or a version; the live one by default")
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
