"""evaluations: one row per night, model, model it is compared with, segment, metric and list length.

Source: models.evaluate_night. All rows of a night are measured on the same users and titles.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from lake import night_tables
from lake.evaluations import DIFFERENCE, TABLE
from models.evaluation.comparison import Difference
from models.evaluation.measurement import Measurement


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
        **{f"difference_{name}": getattr(difference, name) if difference else None for name in DIFFERENCE},
    }


def _measurement(row: Mapping[str, object]) -> Measurement:
    figures = {name: row[name] for name in Measurement.__dataclass_fields__ if name != "difference"}
    values = {name: row[f"difference_{name}"] for name in DIFFERENCE}
    difference = None if values["mean"] is None else Difference(**values)  # type: ignore[arg-type]
    return Measurement(**figures, difference=difference)  # type: ignore[arg-type]
