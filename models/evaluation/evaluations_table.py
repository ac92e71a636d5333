"""evaluations: one row per night, model, model it is compared with, segment, metric and list length.

Source: models.evaluate_night. All rows of a night are measured on the same users and titles.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from lake import night_tables
from lake.night_tables import NightTable
from models.evaluation.comparison import Difference
from models.evaluation.measurement import Measurement

_DIFFERENCE = ("mean", "low", "high", "count_users", "share_better", "share_worse", "share_equal")

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
                for name in _DIFFERENCE
            ],
        ]
    ),
    key=("ds", "model", "dimension", "segment", "metric", "k"),
    checks={"k_is_positive": "k > 0", "users_are_counted": "count_users >= 0 AND count_left_out >= 0"},
)


def write(root: str, ds: date, split: str, against: str, measurements: Mapping[str, Sequence[Measurement]]) -> None:
    """Replace the rows of a night for the models measured."""
    for model, of_model in measurements.items():
        rows = [_row(ds, split, model, against, measurement) for measurement in of_model]
        night_tables.replace(root, TABLE, rows, night_tables.of_night(ds, model))


def read(root: str, ds: date) -> dict[str, list[Measurement]]:
    """The measurements of a night, by model."""
    rows = night_tables.read(root, TABLE)
    measurements: dict[str, list[Measurement]] = {}
    for row in rows.filter(pc.equal(rows["ds"], pa.scalar(ds))).to_pylist():
        measurements.setdefault(row["model"], []).append(_measurement(row))
    return measurements


def against(root: str, ds: date, model: str) -> str | None:
    """The reference model of a model on a night; None where the model was not measured."""
    rows = night_tables.read(root, TABLE)
    of_model = rows.filter(pc.and_(pc.equal(rows["ds"], pa.scalar(ds)), pc.equal(rows["model"], model)))
    return of_model["against"][0].as_py() if len(of_model) else None


def _row(ds: date, split: str, model: str, against: str, measurement: Measurement) -> dict[str, object]:
    difference = measurement.difference
    return {
        **{"ds": ds, "split": split, "model": model, "against": against},
        **{name: getattr(measurement, name) for name in ("dimension", "segment", "metric", "k", "mean", "low", "high")},
        **{"count_users": measurement.count_users, "count_left_out": measurement.count_left_out},
        **{f"difference_{name}": getattr(difference, name) if difference else None for name in _DIFFERENCE},
    }


def _measurement(row: Mapping[str, object]) -> Measurement:
    figures = {name: row[name] for name in Measurement.__dataclass_fields__ if name != "difference"}
    values = {name: row[f"difference_{name}"] for name in _DIFFERENCE}
    difference = None if values["mean"] is None else Difference(**values)  # type: ignore[arg-type]
    return Measurement(**figures, difference=difference)  # type: ignore[arg-type]
