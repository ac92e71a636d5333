"""The rows of a Delta table as a test sees them, read without Spark, whose jobs would take most of a test's time."""

from datetime import datetime
from typing import Any

import pyarrow as pa

from conf.settings import Settings
from jobs.store import tables
from jobs.store.tables import Table
from lake import delta_log

Row = tuple[Any, ...]


def read(settings: Settings, table: Table, *columns: str, version: int | None = None) -> list[Row]:
    """Rows as tuples of what Spark would collect, ordered by their text; all columns if none are named.

    Structs are tuples too, maps are dictionaries, times have no zone and are those of this machine's.
    """
    names = columns or table.schema.fieldNames()
    stored = delta_log.read(delta_log.load(tables.location(settings, table), version), names)
    values = [[_plain(value, field.type) for value in stored[field.name].to_pylist()] for field in stored.schema]
    return sorted(zip(*values, strict=True), key=repr)


def _plain(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone().replace(tzinfo=None)
    if pa.types.is_struct(kind):
        return tuple(_plain(value[field.name], field.type) for field in kind)
    if pa.types.is_map(kind):
        return {key: _plain(item, kind.item_type) for key, item in value}
    return [_plain(item, kind.value_type) for item in value] if isinstance(value, list) else value
