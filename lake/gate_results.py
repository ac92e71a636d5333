"""The table `gate_results`, which models.gate and indexing.promote write."""

import pyarrow as pa

from lake.night_tables import NightTable

TABLE = NightTable(
    name="gate_results",
    grain="one row per night, model and check, and one for the verdict",
    schema=pa.schema(
        [
            pa.field("ds", pa.date32(), False),
            pa.field("model", pa.string(), False),  # the challenger, marquee@7
            pa.field("against", pa.string(), False),  # the champion, or als before there is one
            pa.field("rule", pa.string(), False),  # overall, segment, guardrail, data, bundle, verdict
            pa.field("dimension", pa.string(), False),
            pa.field("segment", pa.string(), False),
            pa.field("metric", pa.string(), False),  # of a verdict: promote, refuse or override
            pa.field("k", pa.int32(), False),
            pa.field("value", pa.float64()),
            *[pa.field(name, pa.float64()) for name in ("reference", "difference", "low", "high")],
            pa.field("count_users", pa.int64(), False),
            pa.field("limit", pa.float64()),
            pa.field("passed", pa.bool_(), False),
            pa.field("decides", pa.bool_(), False),
            pa.field("reason", pa.string(), False),
        ]
    ),
    key=("ds", "model", "rule", "dimension", "segment", "metric", "k"),
    checks={"rule_is_known": "rule IN ('overall', 'segment', 'guardrail', 'data', 'bundle', 'verdict')"},
)
