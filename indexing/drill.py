"""Drill a rollback without touching what is served: publish, roll back and forward again in a copy, and check answers.

Reads <bundles.root>/CURRENT, the live bundle and the one that was live before; writes nothing but a temporary folder.
Each step answers the bundle's golden users as at its build, or the drill fails with exit code 1.
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
    """The bundle that a rollback leads to and the live one; None where there is none to roll back to.

    Raises BundleError where a step would fail in earnest, or lead elsewhere.
    """
    found = pointer.read(store)
    before = found.published_before() if found else None
    if found is None or before is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = LocalStore(Path(folder))
        for entry in (before, found.live):
            (Path(folder) / entry.version).symlink_to(publication.open_entry(store, entry).folder)
            publication.publish(copy, entry.version)
        back = publication.roll_back(copy, None).live
        forth = publication.roll_back(copy, found.live.version).live
    came = [(entry.version, entry.manifest_sha256) for entry in (back, forth)]
    wanted = [(entry.version, entry.manifest_sha256) for entry in (before, found.live)]
    if came != wanted:
        raise BundleError(f"{store.location}: a rollback and back leads to {came}, expected {wanted}")
    return before.version, found.live.version


def work(settings: Settings, _: Namespace) -> None:
    done = drill(publication.store_of(settings))
    if done is None:
        print("no bundle was live before the live one: nothing to drill")
    else:
        print(f"rolled back to {done[0]} and forward to {done[1]} in a copy; golden users got their answers")


def main(argv: Sequence[str] | None = None) -> int:
    return command_line.run(command_line.parser(__doc__), work, argv)


if __name__ == "__main__":
    sys.exit(main())
