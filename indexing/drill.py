"""Rehearse a rollback without touching what is served: publish, roll back and roll forward in a copy.

Reads <bundles.root>/CURRENT, the live bundle and the one that was live before; writes a temporary folder only. Exit
code 1 where a step fails, or where a bundle's golden users do not get the lists of its build.
"""

import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from conf import command_line
from conf.settings import Settings
from indexing.errors import BundleError
from indexing.publishing import pointer, publication
from indexing.publishing.storage import LocalStore, Store


def drill(store: Store) -> tuple[str, str] | None:
    """Versions of the bundle that a rollback leads to and of the live one; None where there is nothing to roll back to.

    Raises BundleError where a step fails or leads to another bundle.
    """
    current = pointer.read(store)
    before = current.published_before() if current else None
    if current is None or before is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = LocalStore(Path(folder))
        for entry in (before, current.live):
            (Path(folder) / entry.version).symlink_to(publication.open_entry(store, entry).folder)
            publication.publish(copy, entry.version)
        back = publication.roll_back(copy, None).live
        forth = publication.roll_back(copy, current.live.version).live
    reached = [(entry.version, entry.manifest_sha256) for entry in (back, forth)]
    expected = [(entry.version, entry.manifest_sha256) for entry in (before, current.live)]
    if reached != expected:
        raise BundleError(f"{store.location}: rolling back and forward again leads to {reached}, expected {expected}")
    return before.version, current.live.version


def work(settings: Settings, _: Namespace) -> None:
    versions = drill(publication.store_of(settings))
    if versions is None:
        print("no bundle was live before the live one: nothing to drill")
    else:
        print(f"rolled back to {versions[0]} and forward to {versions[1]} in a copy; golden users got their answers")


def main(argv: Sequence[str] | None = None) -> int:
    return command_line.run(command_line.parser(__doc__), work, argv)


if __name__ == "__main__":
    sys.exit(main())
