"""Rows that are computed once and read several times."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import StorageLevel
from pyspark.sql import DataFrame


@contextmanager
def kept_on_disk(rows: DataFrame) -> Iterator[DataFrame]:
    """`rows`, computed once however often they are read, until the block ends."""
    kept = rows.persist(StorageLevel.DISK_ONLY)
    try:
        yield kept
    finally:
        kept.unpersist()
