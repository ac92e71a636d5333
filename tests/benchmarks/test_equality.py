"""Differences between lakes and arrays are reported, column by column."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from benchmarks import equality


def write(root: Path, name: str, **columns: list[object]) -> None:
    write_deltalake(str(root / name), pa.table(columns))


def test_rows_are_matched_by_key(tmp_path: Path) -> None:
    write(tmp_path / "a", "t", id=[1, 2], score=[0.5, 1.5], names=[["x"], []])
    write(tmp_path / "b", "t", id=[2, 1], score=[1.5, 0.5], names=[[], ["x"]])
    assert equality.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"score": [0.5, 1.75]}, {"score": {"rows": 1, "max": 0.25}}),
        ({"score": [0.5, None]}, {"score": {"rows": 1, "max": float("inf")}}),
        ({"names": [["y"], []]}, {"names": {"rows": 1}}),
        ({"label": ["a", None]}, {"label": {"rows": 1}}),
        ({"label": ["a", "c"]}, {"label": {"rows": 1}}),
    ],
)
def test_a_different_column_is_reported(
    tmp_path: Path, columns: dict[str, list[object]], expected: dict[str, dict[str, float]]
) -> None:
    rows: dict[str, list[object]] = {"id": [1, 2], "score": [0.5, 1.5], "names": [["x"], []], "label": ["a", "b"]}
    write(tmp_path / "a", "t", **rows)
    write(tmp_path / "b", "t", **rows | columns)
    compared = equality.compare_tables(tmp_path / "a" / "t", tmp_path / "b" / "t", [], 1e-6)
    assert compared["differences"] == expected
    assert equality.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 1


def test_a_missing_row_and_a_missing_table_fail(tmp_path: Path) -> None:
    write(tmp_path / "a", "t", id=[1, 2])
    write(tmp_path / "b", "t", id=[1])
    assert equality.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    write(tmp_path / "b", "u", id=[1])
    assert equality.main([str(tmp_path / "a"), str(tmp_path / "b"), "--skip-tables", "t"]) == 1


def test_arrays_are_compared_relative_to_their_largest_value(tmp_path: Path) -> None:
    for name, last in (("a", 4.0), ("b", 4.002)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "m.npz", vectors=np.array([1.0, last]), ids=np.array([1, 2]))
    compared = equality.compare_arrays(tmp_path / "a" / "m.npz", tmp_path / "b" / "m.npz")
    assert compared["differences"] == {"vectors": pytest.approx(0.0005, rel=1e-3)}
    folders = ["--arrays", str(tmp_path / "a"), str(tmp_path / "b")]
    for folder in ("lake_a", "lake_b"):
        write(tmp_path / folder, "t", id=[1])
    lakes = [str(tmp_path / "lake_a"), str(tmp_path / "lake_b")]
    assert equality.main([*lakes, *folders]) == 1
    assert equality.main([*lakes, *folders, "--tolerance", "0.001"]) == 0
