"""Rows in memory, written to a Delta table by delta-rs: milliseconds where Spark would start five jobs."""

from collections.abc import Iterable

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from pyspark.sql.pandas.types import to_arrow_schema

from jobs.store import tables
from jobs.store.tables import Table


def replace(target: DeltaTable, table: Table, rows: Iterable[tuple[object, ...]], where: str) -> None:
    """Replace the rows that fulfil `where` by `rows`, all of which must fulfil it, in one commit.

    `target` is `table` at the version that `rows` were made from; their values are in the order of its columns. Raises
    ConcurrentWriteError where a later version changed rows that fulfil `where`.
    """
    schema = to_arrow_schema(table.schema)
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    try:
        write_deltalake(target, pa.Table.from_arrays(arrays, schema=schema), mode="overwrite", predicate=where)
    except CommitFailedError as error:
        raise tables.ConcurrentWriteError(f"rows of {table.name} where {where} changed: {error}") from error
