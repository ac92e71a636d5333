"""Make a bundle live: verify it, check its golden users, then swap the pointer.

Reads <bundles.root>/VERSION, the newest bundle by default; writes <bundles.root>/CURRENT, and removes bundles that are
older than index.keep_days and not among the newest index.keep_bundles, never the live one. Readers see either the old
bundle or the new one. Exit code 1, and no change, where another process changed the pointer in the meantime.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from conf import command_line
from conf.settings import Settings
from indexing.publishing import publication


def work(settings: Settings, arguments: Namespace) -> None:
    store = publication.store_of(settings)
    live = publication.publish(store, arguments.version).live
    publication.remove_old(store, settings.index.keep_bundles, settings.index.keep_days)
    print(f"{live.version} is live: change {live.sequence} of {store.location}")


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    command.add_argument("version", nargs="?", metavar="VERSION", help="default: the newest bundle")
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
