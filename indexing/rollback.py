"""Make an earlier bundle live again: verify it, then swap the pointer.

Reads <bundles.root>/CURRENT and the bundle; writes <bundles.root>/CURRENT. By default the target is the bundle that was
live before; a second rollback goes one further back.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from conf import command_line
from conf.settings import Settings
from indexing.publishing import publication


def work(settings: Settings, arguments: Namespace) -> None:
    store = publication.store_of(settings)
    live = publication.roll_back(store, arguments.to).live
    print(f"{live.version} is live again: change {live.sequence} of {store.location}")


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    command.add_argument("--to", metavar="VERSION", help="a bundle that was live; default: the one before")
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
