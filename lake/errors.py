"""The lake's error, and how a Parquet file's failure becomes one."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from conf.errors import ActionableError


class LakeError(ActionableError):
    """A table can't be read or written."""


@contextmanager
def named(file: str) -> Iterator[None]:
    """Raise what fails while a Parquet file is read as a LakeError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise LakeError(f"{file}: the file is missing; was the table vacuumed since this version?") from error
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise LakeError(f"{file}: the file can't be read as Parquet, is it truncated or damaged? {reason}") from error
