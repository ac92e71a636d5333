"""Remove old bundles: those older than index.keep_days that are not among the newest index.keep_bundles.

Reads and writes <bundles.root>. The live bundle is never removed, and nothing is before the first publication.
Unfinished bundles of killed writers are removed once they are a day old. indexing.publish does the same each time.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from conf import command_line
from conf.settings import Settings
from indexing.publishing import publication


def work(settings: Settings, arguments: Namespace) -> None:
    store = publication.store_of(settings)
    removed = publication.remove_old(store, settings.index.keep_bundles, settings.index.keep_days)
    print(f"removed {len(removed)} bundles of {store.location}{': ' if removed else ''}{', '.join(removed)}")


def main(argv: Sequence[str] | None = None) -> int:
    return command_line.run(command_line.parser(__doc__), work, argv)


if __name__ == "__main__":
    sys.exit(main())
