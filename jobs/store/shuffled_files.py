"""The layout of tables that training reads: files whose rows are in random order."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.store.tables import Table


def shuffle(rows: DataFrame, table: Table, count_files: int, seed: int) -> DataFrame:
    """`rows` in `count_files` Spark partitions, ordered by a hash of key and seed, so the order is reproducible."""
    hashed = rows.withColumn("shuffle_order", F.xxhash64(*table.primary_key, F.lit(seed)))
    parts = hashed.repartitionById(count_files, F.pmod("shuffle_order", F.lit(count_files)).cast("int"))
    # The writer sorts by the table's partitions, and keeps an order that begins with them.
    return parts.sortWithinPartitions(*table.partition_by, "shuffle_order").drop("shuffle_order")
