"""Errors that a person can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


class ModelError(Exception):
    """A model command can't do what was asked; the message is the one clear last line a person sees.

    Says what was expected, what came, and what to do.
    """


@contextmanager
def named(file: str) -> Iterator[None]:
    """Raise what fails while a Parquet file is read as a ModelError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise ModelError(f"{file}: the file is missing; was the table vacuumed since this version?") from error
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{file}: the file can't be read as Parquet, is it truncated or damaged? {reason}") from error
