"""Delta tables: how they are declared, created and written.

A table lies at `<lake.root>/<name>`. It is created on first use with its schema, comments and CHECK constraints, and
a later job that declares something else is refused.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import reduce
from operator import and_

from delta.exceptions import captured
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from conf.settings import Settings
from jobs.errors import JobError
from jobs.store.session import hadoop_path
from lake import conflicts, delta_log
from lake.conflicts import Result
from lake.night_tables import NightTable

log = logging.getLogger("marquee")

# Delta's exceptions have no base class of their own. They come from `captured`, whose import is what makes PySpark
# raise them instead of an anonymous Java error.
_CONFLICTS = (
    captured.ConcurrentAppendException,
    captured.ConcurrentDeleteDeleteException,
    captured.ConcurrentDeleteReadException,
    captured.ConcurrentTransactionException,
    captured.ConcurrentWriteException,
    captured.MetadataChangedException,
    captured.ProtocolChangedException,
)

_FIRST_COMMIT_SECONDS = 3
# Attempts at a write while other writers change the same table; the waits between them add up to half a minute.
WRITE_ATTEMPTS = 8
# Delta's error conditions for a table whose log has no commit yet; the second if a file was added to it meanwhile.
_HALF_MADE = ("DELTA_TABLE_NOT_FOUND", "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION")
_MAX_FILES_PER_WRITE = 16


@dataclass(frozen=True)
class Table:
    """Declaration of a table: its grain, columns, keys and constraints.

    `stats_columns` are the columns whose minimum and maximum Delta writes into its log; a user id is never one of them,
    since the log outlives an erased row. `user_column` is the column that holds the user id. Files of a table that
    `is_for_training` have the small row groups that training shuffles by.
    """

    name: str
    grain: str
    schema: StructType
    primary_key: tuple[str, ...]
    stats_columns: tuple[str, ...]
    partition_by: tuple[str, ...] = ()
    checks: Mapping[str, str] = field(default_factory=dict)
    user_column: str | None = None
    is_for_training: bool = False
    is_derived: bool = False  # jobs.backfill builds all of it again from other tables


AnyTable = Table | NightTable


@dataclass(frozen=True)
class Commit:
    """A completed write: the Delta version and the number of rows written."""

    version: int
    rows: int


class ConcurrentWriteError(Exception):
    """Another writer changed the table between reading it and writing it."""


def location(settings: Settings, table: AnyTable) -> str:
    return f"{settings.lake.root}/{table.name}"


def exists(settings: Settings, table: AnyTable) -> bool:
    return delta_log.exists(location(settings, table))


def version(settings: Settings, table: AnyTable) -> int:
    """The table's newest version."""
    return delta_log.version(location(settings, table))


def ensure(spark: SparkSession, settings: Settings, table: Table) -> None:
    """Create the table if it is missing; raise JobError if it exists with another schema."""
    path = location(settings, table)
    if not exists(settings, table):
        retry_conflicts(table, lambda: _create(spark, path, table))
    actual = StructType.fromJson(json.loads(delta_log.load(path).schema().to_json())).simpleString()
    expected = table.schema.simpleString()
    if actual != expected:
        remedy = "move the table away or migrate it"
        if table.is_derived:
            remedy = "remove this folder and run python -m jobs.backfill, which builds the table again"
        raise JobError(f"{path}: expected {expected}, found {actual}; {remedy}")


def _create(spark: SparkSession, path: str, table: Table) -> None:
    builder = DeltaTable.createIfNotExists(spark).location(path).addColumns(table.schema).comment(table.grain)
    if table.partition_by:
        builder = builder.partitionedBy(*table.partition_by)
    properties = {
        "marquee.primary_key": ",".join(table.primary_key),
        "delta.dataSkippingStatsColumns": ",".join(table.stats_columns),
        # A version that a model was trained on must stay readable: files go by VACUUM alone, never by log age.
        "delta.logRetentionDuration": "interval 3650 days",
    }
    for name, condition in table.checks.items():
        properties[f"delta.constraints.{name}"] = condition
    for key, value in properties.items():
        builder = builder.property(key, value)
    try:
        builder.execute()
    except AnalysisException as error:
        if error.getCondition() not in _HALF_MADE or not _has_log(spark, path):
            raise
        # A log without a commit: its writer is about to make the first one, or was killed before it could. In the
        # second case Delta itself would never create the table.
        time.sleep(_FIRST_COMMIT_SECONDS)
        _remove_empty_log(spark, path)
        raise ConcurrentWriteError(f"{table.name} is being created") from None


def _has_log(spark: SparkSession, path: str) -> bool:
    filesystem, log_path = hadoop_path(spark, f"{path}/_delta_log")
    return filesystem.exists(log_path)


def _remove_empty_log(spark: SparkSession, path: str) -> None:
    """Remove a log that holds no commit, only temporary files of a killed writer (their names begin with a dot)."""
    filesystem, log_path = hadoop_path(spark, f"{path}/_delta_log")
    if filesystem.exists(log_path):
        names = [status.getPath().getName() for status in filesystem.listStatus(log_path)]
        if all(name.startswith(".") for name in names):
            filesystem.delete(log_path, True)


def read(spark: SparkSession, settings: Settings, table: Table) -> DataFrame:
    return spark.read.format("delta").load(location(settings, table))


def read_version(spark: SparkSession, settings: Settings, table: Table, version: int) -> DataFrame:
    return spark.read.format("delta").option("versionAsOf", version).load(location(settings, table))


def replace(
    rows: DataFrame,
    settings: Settings,
    table: Table,
    where: str,
    expected_version: int | None = None,
    keep_layout: bool = False,
) -> Commit:
    """Replace exactly the rows that fulfil `where` by `rows`, all of which must fulfil it, in one commit.

    With `expected_version` the write is a compare-and-swap: it succeeds only if no other such write was committed to
    the table since that version, and raises ConcurrentWriteError otherwise. Delta drops a write whose transaction
    number is not above the last one, and refuses one that races another of the same application; both raise that
    error. With `keep_layout` each Spark partition of `rows` becomes one file, in its order.
    """
    path = location(settings, table)
    before = delta_log.version(path)
    mark = uuid.uuid4().hex
    writer = rows.select(*table.schema.fieldNames()).write.format("delta").mode("overwrite")
    writer = writer.option("replaceWhere", where).option("userMetadata", mark)
    if expected_version is not None:
        writer = writer.option("txnAppId", table.name).option("txnVersion", expected_version + 1)
    if keep_layout:
        writer = writer.option("optimizeWrite", "false")
    writer.save(path)
    written_commits = [commit for commit in delta_log.commits(path, after=before) if commit.mark == mark]
    if not written_commits:
        # No rows in place of no rows makes no commit; neither does a write that Delta dropped.
        newest = version(settings, table)
        if expected_version not in (None, newest):
            raise ConcurrentWriteError(f"{table.name} changed after version {expected_version}")
        return Commit(newest, 0)
    # Rows that shared a file with replaced ones are written again and counted by Delta; they are not among `rows`.
    metrics = written_commits[0].metrics
    count_rows = int(metrics.get("numOutputRows", 0)) - int(metrics.get("numCopiedRows", 0))
    commit = Commit(written_commits[0].version, count_rows)
    log.info("%s: wrote %d rows where %s, version %d", table.name, commit.rows, where, commit.version)
    return commit


def replace_days(rows: DataFrame, settings: Settings, table: Table, column: str, days: Sequence[date]) -> DataFrame:
    """Replace the rows of `days` (in order, without gaps) in one commit; returns these rows as written.

    `column` holds the day. A file holds one day or consecutive days, so that a reader of a few days opens few files; a
    folder per day would make thousands of files where days are nearly empty.
    """
    where = is_one_of(column, days)
    by_day = rows.hint("rebalance") if len(days) == 1 else _files_by_day(rows, column, days)
    commit = retry_conflicts(table, lambda: replace(by_day, settings, table, where, keep_layout=len(days) > 1))
    return read_version(rows.sparkSession, settings, table, commit.version).where(where)


def _files_by_day(rows: DataFrame, column: str, days: Sequence[date]) -> DataFrame:
    count = min(len(days), _MAX_FILES_PER_WRITE)
    day_number = F.datediff(F.col(column), F.lit(days[0]))
    return rows.repartitionById(count, F.floor(day_number * count / len(days)).cast("int"))


def merge_snapshot(
    rows: DataFrame, settings: Settings, table: Table, ds: date, changed: Column, max_removed_share: float
) -> Commit | None:
    """Make the table equal to the snapshot `rows`; unchanged rows are not rewritten, and no change means no write.

    `changed` is the condition, over aliases `t` (table) and `s` (snapshot), under which an existing row is updated.
    A row that the snapshot lacks is deleted or, if the table has `removed_ds`, kept and marked with it. `first_ds` and
    `updated_ds` are maintained if the table has them. Returns None if nothing changed. Raises JobError if more than
    `max_removed_share` of the table's rows would be removed, so that a truncated snapshot can't empty a table.
    """
    spark = rows.sparkSession
    columns = table.schema.fieldNames()
    keeps_removed = "removed_ds" in columns
    is_same_row = same_columns("t", "s", table.primary_key)
    present = F.col("t.removed_ds").isNull() if keeps_removed else F.lit(True)

    target = DeltaTable.forPath(spark, location(settings, table)).alias("t")
    joined = target.toDF().alias("t").join(rows.alias("s"), on=is_same_row, how="full")
    in_table = F.col(f"t.{table.primary_key[0]}").isNotNull()
    in_snapshot = F.col(f"s.{table.primary_key[0]}").isNotNull()
    counts = joined.agg(
        F.count_if(in_table & present).alias("known"),
        F.count_if(in_table & present & ~in_snapshot).alias("removed"),
        F.count_if(in_snapshot & ~in_table).alias("added"),
        F.count_if(in_table & in_snapshot & changed).alias("changed"),
    ).collect()[0]
    if counts["known"] and counts["removed"] > max_removed_share * counts["known"]:
        raise JobError(
            f"{table.name}: the snapshot for ds={ds} would remove {counts['removed']} of {counts['known']} rows, more "
            f"than staging.max_removed_share={max_removed_share}; if that is right, raise it for this run"
        )
    if not counts["removed"] + counts["added"] + counts["changed"]:
        log.info("%s: ds=%s, nothing changed", table.name, ds)
        return None

    values = {name: F.col(f"s.{name}") for name in columns if name not in ("first_ds", "updated_ds", "removed_ds")}
    if "updated_ds" in columns:
        values["updated_ds"] = F.lit(ds)
    if keeps_removed:
        values["removed_ds"] = F.lit(None).cast("date")
    first = {"first_ds": F.lit(ds)} if "first_ds" in columns else {}
    merge = (
        target.merge(rows.alias("s"), is_same_row)
        .whenMatchedUpdate(condition=changed, set=dict(values))
        .whenNotMatchedInsert(values={**values, **first})
    )
    if keeps_removed:
        merge = merge.whenNotMatchedBySourceUpdate(condition=present, set={"removed_ds": F.lit(ds)})
    else:
        merge = merge.whenNotMatchedBySourceDelete()
    merge.execute()
    commit = Commit(version(settings, table), counts["added"] + counts["changed"] + counts["removed"])
    log.info(
        "%s: ds=%s, %d added, %d changed, %d removed, version %d",
        *(table.name, ds, counts["added"], counts["changed"], counts["removed"], commit.version),
    )
    return commit


def same_columns(left: str, right: str, columns: Sequence[str]) -> Column:
    """Condition that two aliased rows agree in `columns`."""
    return reduce(and_, [F.col(f"{left}.{name}") == F.col(f"{right}.{name}") for name in columns])


@contextmanager
def row_groups(spark: SparkSession, settings: Settings, table: AnyTable) -> Iterator[None]:
    """Write files of `table` with its size of row groups within the block: small ones for a table for training."""
    key = "parquet.block.row.count.limit"
    if isinstance(table, Table) and table.is_for_training:
        spark.conf.set(key, str(settings.examples.rows_per_group))
    try:
        yield
    finally:
        spark.conf.unset(key)


def retry_conflicts(table: Table, work: Callable[[], Result]) -> Result:
    """Run `work`, from its beginning again after a conflict with another writer, WRITE_ATTEMPTS times at most.

    Raises LakeError if every attempt conflicts.
    """
    return conflicts.retry_conflicts(table.name, WRITE_ATTEMPTS, (ConcurrentWriteError, *_CONFLICTS), work)


def vacuum(spark: SparkSession, settings: Settings, table: AnyTable, retention_hours: int, lite: bool = False) -> int:
    """Remove the files that no version of the last `retention_hours` needs; returns how many.

    With `lite`, only files that the log names as part of an earlier version are removed: files of a running write are
    safe, and files of a killed write stay.
    """
    mode = "LITE" if lite else ""
    path = location(settings, table)
    before = version(settings, table)
    # The check refuses less than a week; the settings decide on the retention.
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    spark.sql(f"VACUUM delta.`{path}` {mode} RETAIN {retention_hours} HOURS")
    ends = [commit for commit in delta_log.commits(path, after=before) if commit.operation == "VACUUM END"]
    return sum(int(end.metrics["numDeletedFiles"]) for end in ends)


def is_one_of(column: str, days: Iterable[date]) -> str:
    """SQL for `column IN days`, as ranges, so that a backfill of years is one comparison instead of thousands."""
    ranges: list[list[date]] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1][1] = day
        else:
            ranges.append([day, day])
    conditions = [f"({column} >= DATE'{first}' AND {column} <= DATE'{last}')" for first, last in ranges]
    return " OR ".join(conditions) or "false"
