"""Tables of literal rows, for tests of the jobs that read them."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql.pandas.types import to_arrow_schema

from conf.settings import Settings
from jobs import stg_titles
from jobs.store import tables
from jobs.store.tables import Table

WriteTable = Callable[..., None]
_TITLE_LISTS = ("production_countries", "genres", "themes", "cast", "directors")


@pytest.fixture(scope="session")
def write_table() -> WriteTable:
    """`write_table(settings, TABLE, {column: value}, ...)`: a table of these rows and no others, without Spark.

    Columns that a row lacks are null; the table has no CHECK constraints.
    """

    def write(settings: Settings, table: Table, *rows: Mapping[str, Any]) -> None:
        schema = to_arrow_schema(table.schema)
        values = [{name: row.get(name) for name in schema.names} for row in rows]
        path, by = tables.location(settings, table), list(table.partition_by) or None
        write_deltalake(path, pa.Table.from_pylist(values, schema=schema), mode="overwrite", partition_by=by)

    return write


@pytest.fixture
def stage_titles(settings: Settings, write_table: WriteTable) -> Callable[..., None]:
    """`stage_titles(ds, {field: value}, ...)`: stg_titles after a night whose catalogue has these titles.

    Titles of an earlier night that it lacks stay, and are marked as removed.
    """
    staged: dict[int, dict[str, Any]] = {}

    def stage(ds: date, *titles: Mapping[str, Any]) -> None:
        for row in staged.values():
            row["removed_ds"] = row.get("removed_ds") or ds
        for fields in titles:
            row = {"title": "A", "content_hash": repr(fields), **{name: [] for name in _TITLE_LISTS}, **fields}
            staged[fields["title_id"]] = {**row, "first_ds": ds, "updated_ds": ds, "removed_ds": None}
        write_table(settings, stg_titles.TABLE, *staged.values())

    return stage
