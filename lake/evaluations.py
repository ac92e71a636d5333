"""The table `evaluations`, which models.evaluate_night writes."""

import pyarrow as pa

from lake.night_tables import NightTable

# Fields of a difference; their columns are named difference_*.
DIFFERENCE = ("mean", "low", "high", "count_users", "share_better", "share_worse", "share_equal")

TABLE = NightTable(
    name="evaluations",
    grain="one row per night, model, model it is compared with, segment, metric and list length",
    schema=pa.schema(
        [
            pa.field("ds", pa.date32(), False),
            pa.field("split", pa.string(), False),
            pa.field("model", pa.string(), False),  # als, or marquee@7: version 7 of the registered model
            pa.field("against", pa.string(), False),
            pa.field("dimension", pa.string(), False),
            pa.field("segment", pa.string(), False),
            pa.field("metric", pa.string(), False),
            pa.field("k", pa.int32(), False),
            pa.field("mean", pa.float64(), False),
            pa.field("low", pa.float64()),
            pa.field("high", pa.float64()),
            pa.field("count_users", pa.int64(), False),
            pa.field("count_left_out", pa.int64(), False),
            *[
                pa.field(f"difference_{name}", pa.int64() if name == "count_users" else pa.float64())
                for name in DIFFERENCE
            ],
        ]
    ),
    key=("ds", "model", "dimension", "segment", "metric", "k"),
    checks={"k_is_positive": "k > 0", "users_are_counted": "count_users >= 0 AND count_left_out >= 0"},
)
