"""Tables of change rows: a key has a row on the days on which something about it changed, and on every checkpoint day.

A table with a row per key and day would grow by all titles or all users each night; a table of changes alone would have
to be read from its beginning to learn the current state. With all keys on each checkpoint day, the state at the end of
any day is the newest row per key since the checkpoint day at or before it.
"""

import json
from collections.abc import Sequence
from datetime import date
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Days after which each key has a row again. Rows on disk depend on it, so another value needs these tables built anew:
# fewer days make the tables larger, more make a read as of a day go further back.
CHECKPOINT_DAYS = 28
_EPOCH = date(1970, 1, 1)
# Spark does not compile a filter of hundreds of ranges.
_MAX_RANGES = 32


def hashed_constants() -> str:
    """CHECKPOINT_DAYS for the hash of a day's inputs, as text that equals that of the former setting.

    So days built when it was a setting need not be built again.
    """
    return json.dumps({"checkpoint_days": CHECKPOINT_DAYS}, separators=(",", ":"))


def checkpoint_of(ds: Column, checkpoint_days: int) -> Column:
    """The checkpoint day at or before `ds`."""
    days = F.unix_date(ds)
    return F.date_from_unix_date((F.floor(days / checkpoint_days) * checkpoint_days).cast("int"))


def checkpoints(days: Sequence[date], checkpoint_days: int) -> list[date]:
    """The checkpoint days among `days`."""
    return [ds for ds in days if (ds - _EPOCH).days % checkpoint_days == 0]


def read_back(rows: DataFrame, ds: date, checkpoint_days: int) -> DataFrame:
    """Rows from the checkpoint day at or before `ds` up to `ds`; the newest per key is its state at the end of `ds`."""
    return rows.where(F.col("ds").between(checkpoint_of(F.lit(ds), checkpoint_days), F.lit(ds)))


def as_of(rows: DataFrame, keys: Sequence[str], ds: date, checkpoint_days: int) -> DataFrame:
    """State at the end of `ds`: one row per key that had one by then, with the `ds` of that row."""
    return newest(read_back(rows, ds, checkpoint_days), keys)


def newest(rows: DataFrame, keys: Sequence[str]) -> DataFrame:
    """The row with the latest `ds`, per key."""
    values = [name for name in rows.columns if name not in keys]
    latest = rows.groupBy(*keys).agg(F.max_by(F.struct(*values), "ds").alias("latest"))
    return latest.select(*keys, *[F.col(f"latest.{name}").alias(name) for name in values]).select(*rows.columns)


def as_of_each(rows: DataFrame, pairs: DataFrame, keys: Sequence[str], checkpoint_days: int) -> DataFrame:
    """State for each of `pairs` (keys and `as_of_ds`, distinct) that had a row by then, without the row's `ds`.

    The join on keys and days runs first; the rows, which may be wide, are fetched after it.
    """
    checked = pairs.withColumn("checkpoint_ds", checkpoint_of(F.col("as_of_ds"), checkpoint_days))
    days = rows.select(*keys, "ds").join(checked, on=list(keys))
    days = days.where(F.col("ds").between(F.col("checkpoint_ds"), F.col("as_of_ds")))
    latest = days.groupBy(*keys, "as_of_ds").agg(F.max("ds").alias("ds"))
    return latest.join(rows, on=[*keys, "ds"]).drop("ds")


def ranges_to_read(days: Sequence[date], checkpoint_days: int) -> Column:
    """Condition on `ds` that holds for all rows needed for the state at the end of any of `days`.

    It consists of plain comparisons, so that Delta skips files without such rows.
    """
    bounds: list[tuple[date, date]] = []
    for ds in sorted(set(days)):
        start = date.fromordinal(ds.toordinal() - (ds - _EPOCH).days % checkpoint_days)
        if bounds and start <= bounds[-1][1]:
            bounds[-1] = (bounds[-1][0], ds)
        else:
            bounds.append((start, ds))
    if len(bounds) > _MAX_RANGES:
        bounds = [(bounds[0][0], bounds[-1][1])]
    return reduce(or_, [F.col("ds").between(F.lit(first), F.lit(last)) for first, last in bounds], F.lit(False))


def with_checkpoints(rows: DataFrame, keys: DataFrame, days: Sequence[date], checkpoint_days: int) -> DataFrame:
    """`rows` (keys and `ds`), plus one row for each of `keys` on each checkpoint day among `days`."""
    due = checkpoints(days, checkpoint_days)
    if not due:
        return rows
    every = keys.withColumn("ds", F.explode(F.array([F.lit(ds) for ds in due])))
    return rows.unionByName(every, allowMissingColumns=True)


def between(column: str, first: date, last: date) -> Column:
    """Condition that a day lies in a range, both ends included."""
    return F.col(column).between(F.lit(first), F.lit(last))
