"""DataFrames of a few literal rows, by way of Arrow.

Rows that Spark gets as Python objects take it Python workers, and these take seconds to start.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType


def frame(spark: SparkSession, columns: str | StructType, rows: Iterable[tuple[Any, ...]]) -> DataFrame:
    """Rows as a DataFrame; `columns` as `a string, b int`, or a schema."""
    schema = StructType.fromDDL(columns) if isinstance(columns, str) else columns
    in_arrow = to_arrow_schema(schema)
    values = [dict(zip(in_arrow.names, row, strict=True)) for row in rows]
    return spark.createDataFrame(pa.Table.from_pylist(values, schema=in_arrow), schema)
