"""built_days: one row per derived table and day that was built, with hashes of its inputs and of its rows.

The ledger answers three questions: which days are built, since a day without activity leaves no row in its table;
which days are stale, since an input or a setting changed after they were built; and, for a table that builds each day
from the day before, where a day is missing. The hash of a day's rows does not depend on their order, so rebuilding the
same rows makes nothing stale.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, LongType, StringType, StructField, StructType

from conf.settings import Section, Settings
from jobs.errors import JobError
from jobs.store import few_rows, tables
from jobs.store.tables import Table
from lake import delta_log

log = logging.getLogger("marquee")

TABLE = Table(
    name="built_days",
    grain="one row per derived table and day that was built",
    schema=StructType(
        [
            StructField("table_name", StringType(), False, {"comment": "the derived table"}),
            StructField("ds", DateType(), False, {"comment": "the day that was built"}),
            StructField("count_rows", LongType(), False, {"comment": "its rows; 0 where nothing happened"}),
            StructField("rows_hash", LongType(), False, {"comment": "XOR of the rows' xxHash64"}),
            StructField("inputs_hash", StringType(), False, {"comment": "SHA-256 of settings and inputs"}),
        ]
    ),
    primary_key=("table_name", "ds"),
    stats_columns=("ds",),
    partition_by=("table_name",),
)


@dataclass(frozen=True)
class Built:
    """The ledger's entry for one day of a table."""

    count_rows: int
    rows_hash: int
    inputs_hash: str


def read(settings: Settings, table: Table) -> dict[date, Built]:
    """The days of `table` that were built, in order; without Spark.

    Empty if the table was moved away: a job calls this before it creates the table again.
    """
    if not tables.exists(settings, TABLE) or not tables.exists(settings, table):
        return {}
    return _read(delta_log.load(tables.location(settings, TABLE)), table)


def _read(ledger: DeltaTable, table: Table) -> dict[date, Built]:
    rows = delta_log.read(ledger, filters=[("table_name", "=", table.name)]).to_pylist()
    ordered = sorted(rows, key=lambda row: row["ds"])
    return {row["ds"]: Built(row["count_rows"], row["rows_hash"], row["inputs_hash"]) for row in ordered}


def record(
    rows: DataFrame,
    settings: Settings,
    table: Table,
    inputs: Mapping[date, str],
    day_column: str = "ds",
    without: Sequence[str] = (),
) -> dict[date, Built]:
    """Enter the days of `inputs` (hash per day) as built, with the `rows` that the table now holds for them.

    Columns in `without` are not hashed.
    """
    hashed = [name for name in table.schema.fieldNames() if name not in without]
    per_day = rows.groupBy(F.col(day_column).alias("ds")).agg(
        F.count("*").alias("count_rows"), F.bit_xor(F.xxhash64(*hashed)).alias("rows_hash")
    )
    written = {row["ds"]: (row["count_rows"], row["rows_hash"]) for row in per_day.collect()}
    built = {ds: Built(*written.get(ds, (0, 0)), inputs_hash=inputs_hash) for ds, inputs_hash in inputs.items()}
    enter(rows.sparkSession, settings, table, built)
    return built


def enter(spark: SparkSession, settings: Settings, table: Table, built: Mapping[date, Built]) -> None:
    """Write the ledger's rows of these days."""
    tables.ensure(spark, settings, TABLE)
    tables.retry_conflicts(TABLE, lambda: _enter(settings, table, built))


def _enter(settings: Settings, table: Table, built: Mapping[date, Built]) -> None:
    """Rewrite all rows of one derived table: they are few, and it leaves one file per table."""
    ledger = delta_log.load(tables.location(settings, TABLE))
    days = {**_read(ledger, table), **built}
    rows = [(table.name, ds, day.count_rows, day.rows_hash, day.inputs_hash) for ds, day in sorted(days.items())]
    few_rows.replace(ledger, TABLE, rows, f"table_name = '{table.name}'")


def hash_inputs(*parts: Section | Table | str | int | float) -> str:
    """SHA-256 over settings sections, schemas and values, in order; equal inputs give equal hashes."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Section):
            text = part.model_dump_json()
        elif isinstance(part, Table):
            text = part.schema.simpleString()
        else:
            text = str(part)
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def chain(inputs: Mapping[date, Built], start: str) -> dict[date, str]:
    """Hash per day over `start` and the rows of an input table on that day and on all days before it.

    A table that builds each day from the day before depends on all of them. Raises JobError where the input has a gap.
    """
    hashes: dict[date, str] = {}
    before = start
    for ds, day in inputs.items():
        if hashes and ds - timedelta(days=1) not in hashes:
            raise JobError(
                f"ds={ds - timedelta(days=1)} was never built, and days after it were; run python -m jobs.backfill "
                f"--from {ds - timedelta(days=1)}"
            )
        before = hash_inputs(before, day.rows_hash)
        hashes[ds] = before
    return hashes


def days_to_build(
    settings: Settings, table: Table, days: Sequence[date], inputs: Mapping[date, str], skip_complete: bool
) -> list[date]:
    """The days of a chained table that a request for `days` builds, with no gap between the first and the last.

    These are all of `days`, or with `skip_complete` those that are missing or stale, and any other day that is built
    but stale, because a changed day affects all later ones. Raises JobError if an input or the day before is missing.
    """
    missing = [ds for ds in days if ds not in inputs]
    if missing:
        raise JobError(f"{table.name} for ds={missing[0]}: its inputs are not built; run python -m jobs.backfill first")
    built = read(settings, table)
    known = {ds for ds in inputs if ds in built}
    stale = {ds for ds in known if built[ds].inputs_hash != inputs[ds]}
    to_build = stale | {ds for ds in days if not (skip_complete and ds in known)}
    if not to_build:
        return []
    first, last = min(to_build), max(to_build)
    through = [ds for ds in inputs if first <= ds <= last]
    before = first - timedelta(days=1)
    gaps = [ds for ds in [before, *through] if ds in inputs and ds not in known and ds not in to_build]
    if gaps:
        raise JobError(
            f"{table.name} for ds={last} goes on from the days before it, and ds={gaps[0]} is not built; run python -m "
            f"jobs.backfill --from {gaps[0]} --to {last}"
        )
    more = sorted(stale - set(days))
    if more:
        log.info("%s: %d days from %s on are stale and built again too", table.name, len(more), more[0])
    return through


def unknown_days(days: Iterable[date], known: Mapping[date, object]) -> list[date]:
    """Days of `days` that are not among `known`, in order."""
    return sorted(ds for ds in days if ds not in known)
