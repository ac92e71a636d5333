"""The table `recommendations`, written by `jobs.recommend`; declared here since importing that job loads TensorFlow."""

from pyspark.sql.types import (
    BooleanType,
    DateType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from jobs.store.tables import Table

TABLE = Table(
    name="recommendations",
    grain="one row per user_id and rank, of the newest run",
    schema=StructType(
        [
            StructField("user_id", StringType(), False, {"comment": "pseudonymous"}),
            StructField("rank", IntegerType(), False, {"comment": "1 is best"}),
            StructField("title_id", LongType(), False),
            StructField("score", FloatType(), False, {"comment": "says something within one list only"}),
            StructField("is_popular", BooleanType(), False, {"comment": "nothing was known of the user"}),
            StructField("dial", FloatType(), False, {"comment": "above 0 towards the popular"}),
            StructField("bundle", StringType(), False, {"comment": "version of the bundle that answered"}),
            StructField("ds", DateType(), False, {"comment": "day whose end the histories are of"}),
        ]
    ),
    primary_key=("user_id", "rank"),
    stats_columns=("rank", "ds"),
    checks={"rank_counts_from_one": "rank >= 1"},
    user_column="user_id",
)
