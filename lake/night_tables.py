"""Small tables that a night adds rows to, written and read without Spark: their schemas, keys and checks.

A write replaces the rows of one night and model, so that a night can be run again.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from lake import delta_files
from lake.errors import LakeError

log = logging.getLogger("marquee")

_ATTEMPTS = 8
_WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class NightTable:
    """What one row is, its columns, what names a row, and what always holds."""

    name: str
    grain: str
    schema: pa.Schema
    key: tuple[str, ...]
    checks: Mapping[str, str]


def replace(root: str, table: NightTable, rows: Sequence[Mapping[str, object]], where: str) -> int:
    """Put `rows` in place of those that fulfil `where`, in one commit; the table's version.

    Raises ValueError for two rows of one key, and LakeError where other writers came first all the time.
    """
    keys = [tuple(row[name] for name in table.key) for row in rows]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{table.name}: two rows of {dict(zip(table.key, twice, strict=True))}")
    columns = pa.Table.from_pylist([dict(row) for row in rows], schema=table.schema)
    for attempt in range(_ATTEMPTS):
        try:
            target = _ensure(root, table)
            write_deltalake(target, columns, mode="overwrite", predicate=where)
            version = DeltaTable(target.table_uri).version()
            log.info("%s: wrote %d rows where %s, version %d", table.name, len(rows), where, version)
            return version
        except CommitFailedError:
            time.sleep(_WAIT_SECONDS * 2**attempt)
    raise LakeError(f"{table.name}: another writer kept changing it through {_ATTEMPTS} attempts; run again later")


def read(root: str, table: NightTable) -> pa.Table:
    """All rows; none before the first night."""
    location = f"{root}/{table.name}"
    if not DeltaTable.is_deltatable(_uri(location)):
        return table.schema.empty_table()
    return delta_files.read_table(location, delta_files.newest_version(location), table.schema.names)


def of_night(ds: date, model: str) -> str:
    """The rows of a night and a model, for `replace`."""
    return f"ds = DATE '{ds}' AND model = '{model}'"


def _ensure(root: str, table: NightTable) -> DeltaTable:
    uri = _uri(f"{root}/{table.name}")
    if not DeltaTable.is_deltatable(uri):
        created = DeltaTable.create(
            uri, table.schema, mode="ignore", name=table.name, description=f"{table.grain}; key {', '.join(table.key)}"
        )
        created.alter.add_constraint(dict(table.checks))
    return DeltaTable(uri)


def _uri(location: str) -> str:
    """Hadoop says s3a where others say s3."""
    return location.replace("s3a://", "s3://", 1)
