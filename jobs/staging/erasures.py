"""erasures: one row per erased user, as a hash that keeps them out of every later load. Source: the erasures feed."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType, TimestampType

from conf.settings import Settings
from jobs.errors import JobError
from jobs.store import tables
from jobs.store.tables import Table

TABLE = Table(
    name="erasures",
    grain="one row per erased user",
    schema=StructType(
        [
            StructField("user_hash", StringType(), False, {"comment": "SHA-256 of user_id, hex"}),
            StructField("requested_at", TimestampType(), False, {"comment": "first request"}),
        ]
    ),
    primary_key=("user_hash",),
    stats_columns=("requested_at",),
)


def user_hash(user_id: Column) -> Column:
    return F.sha2(user_id, 256)


def read_erased(spark: SparkSession, settings: Settings) -> DataFrame | None:
    """`user_hash` of all users erased so far; None where there is no table yet."""
    if not tables.exists(settings, TABLE):
        return None
    return tables.read(spark, settings, TABLE).select("user_hash")


def version(settings: Settings) -> int:
    """The table's version, to detect erasures in the meantime; -1 while there is no table."""
    return tables.version(settings, TABLE) if tables.exists(settings, TABLE) else -1


@contextmanager
def none_meanwhile(settings: Settings, table: Table) -> Iterator[None]:
    """Guard a write of `table`, whose rows name users: raises JobError where a user was erased during the block.

    Their rows may have been read before and written again.
    """
    before = version(settings)
    yield
    if version(settings) != before:
        raise JobError(f"a user was erased while {table.name} was written; run python -m jobs.erase again")
