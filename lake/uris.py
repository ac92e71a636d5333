"""Locations of the lake's files: folders, or URIs of object storage."""

from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from lake.errors import LakeError

# The scheme of S3 as Hadoop writes it, and as other clients do.
HADOOP_S3, S3 = "s3a:", "s3:"


def with_s3(location: str) -> str:
    """The location as delta-rs and Arrow take it: s3:// in place of Hadoop's s3a://."""
    return S3 + location.removeprefix(HADOOP_S3) if location.startswith(HADOOP_S3) else location


def filesystem(location: str) -> tuple[fs.FileSystem, str]:
    """The filesystem of a folder or URI, and the path there. Raises LakeError where Arrow has none for it."""
    if not urlsplit(location).scheme:
        return fs.LocalFileSystem(), str(Path(location).absolute())
    try:
        return fs.FileSystem.from_uri(with_s3(location))
    except (OSError, pa.ArrowException) as error:
        raise LakeError(f"{location}: pyarrow can't open this: {str(error).splitlines()[0]}") from error
