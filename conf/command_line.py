"""Common parts of every command line: options, logging and exit codes.

Exit codes: 0 done, 1 failed with one clear last line, 2 wrong arguments, 3 refused by a gate.
"""

import argparse
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from rich.console import Console

from conf.errors import ActionableError
from conf.loader import DEFAULT_CONF, ConfigError, load_settings
from conf.settings import Settings

log = logging.getLogger("marquee")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with `--conf` and `--set`; `doc` is the module's docstring, which names inputs and outputs."""
    command = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--conf", default=str(DEFAULT_CONF), metavar="FILE", help="settings laid over conf/local.yaml")
    command.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="key.path=value", help="override one setting"
    )
    return command


def run(
    command: argparse.ArgumentParser,
    work: Callable[[Settings, Namespace], int | None],
    argv: Sequence[str] | None,
    failures: tuple[type[Exception], ...] = (),
) -> int:
    """Parse the arguments, load the settings, do `work`; returns the exit code.

    ConfigError ends the command with its message as one last line and code 2; ActionableError, OSError and the foreign
    errors in `failures` with code 1.
    """
    arguments = command.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    actionable: tuple[type[Exception], ...] = (ActionableError, OSError, *failures)
    try:
        return work(load_settings(arguments.conf, arguments.overrides), arguments) or 0
    except ConfigError as error:
        print(f"{command.prog}: {error}", file=sys.stderr)
        return 2
    except actionable as error:
        print(f"{command.prog}: {error}", file=sys.stderr)
        return 1


def console() -> Console:
    """Console for a command's answer: as wide as the terminal, or 120 columns in a file or a log."""
    return Console() if sys.stdout.isatty() else Console(width=120)
