"""Small tables that a night adds rows to, written and read without Spark: their schemas, keys and checks.

A write replaces the rows of one night and model, so that a night can be run again.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from lake import delta_files, delta_log
from lake.conflicts import retry_conflicts
from lake.uris import with_s3

log = logging.getLogger("marquee")

_WRITE_ATTEMPTS = 8  # a night has few writers and a write takes milliseconds, so none should lose more often


@dataclass(frozen=True)
class NightTable:
    """Specification of a table: the meaning of a row (`grain`), columns, key, and conditions that always hold."""

    name: str
    grain: str
    schema: pa.Schema
    key: tuple[str, ...]
    checks: Mapping[str, str]


def replace(root: str, table: NightTable, rows: Sequence[Mapping[str, object]], where: str) -> int:
    """Replace the rows that fulfil `where` by `rows`, in one commit; returns the table's version.

    Raises ValueError for two rows of one key, and LakeError where other writers came first every time.
    """
    keys = [tuple(row[name] for name in table.key) for row in rows]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{table.name}: two rows of {dict(zip(table.key, twice, strict=True))}")
    columns = pa.Table.from_pylist([dict(row) for row in rows], schema=table.schema)

    def write() -> int:
        target = _ensure(root, table)
        write_deltalake(target, columns, mode="overwrite", predicate=where)
        return DeltaTable(target.table_uri).version()

    version = retry_conflicts(table.name, _WRITE_ATTEMPTS, (CommitFailedError,), write)
    log.info("%s: wrote %d rows where %s, version %d", table.name, len(rows), where, version)
    return version


def read(root: str, table: NightTable) -> pa.Table:
    """All rows; none before the first night."""
    location = f"{root}/{table.name}"
    if not delta_log.exists(location):
        return table.schema.empty_table()
    return delta_files.read_table(location, delta_log.version(location), table.schema.names)


def of_night(ds: date, model: str) -> str:
    """SQL condition of the rows of a night and a model, for `replace`."""
    return f"ds = DATE '{ds}' AND model = '{model}'"


def _ensure(root: str, table: NightTable) -> DeltaTable:
    location = f"{root}/{table.name}"
    if not delta_log.exists(location):
        description = f"{table.grain}; key {', '.join(table.key)}"
        created = DeltaTable.create(
            with_s3(location), table.schema, mode="ignore", name=table.name, description=description
        )
        created.alter.add_constraint(dict(table.checks))
    return delta_log.load(location)
