"""Compare two lakes that the same feeds went into: tables row by row, arrays of models and bundles, recommended lists.

For a change that must not change results: build one lake with the code before it and one with the code after it, then
compare. Rows are matched by their table's key. A column that only one of the lakes has, or that differs, is printed
with how many rows differ and, for numbers, by how much at most. Columns of --ignore hold clock times, or hashes of
settings and of file times; they are not compared.

Prints one JSON line per table and per array file. Exit code 0 where everything is equal (arrays and scores within
--tolerance), 1 where something is not.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from numpy.typing import NDArray

from conf import command_line
from conf.settings import Settings

# Hashes of file times and of settings, which change without a row changing.
_IGNORED = ("fingerprint", "inputs_hash", "settings_hash")
_ARRAY_FILES = (".npy", ".npz")


def table_names(root: Path) -> set[str]:
    """Names of the Delta tables below a lake's root."""
    return {log.parent.name for log in root.glob("*/_delta_log")}


def compare_tables(before: Path, after: Path, ignored: Sequence[str], tolerance: float) -> dict[str, Any]:
    """Rows of one table in both lakes, and the columns in which they differ."""
    tables = [_sorted_rows(folder, ignored) for folder in (before, after)]
    names = [set(table.column_names) for table in tables]
    shared = sorted(names[0] & names[1])
    differences = {}
    if tables[0].num_rows == tables[1].num_rows:
        for name in shared:
            if different := _compare_columns(tables[0][name], tables[1][name], tolerance):
                differences[name] = different
    return {
        "table": before.name,
        "rows": [table.num_rows for table in tables],
        "columns_compared": len(shared),
        "only_before": sorted(names[0] - names[1]),
        "only_after": sorted(names[1] - names[0]),
        "differences": differences,
    }


def _sorted_rows(folder: Path, ignored: Sequence[str]) -> pa.Table:
    delta = DeltaTable(str(folder))
    rows = delta.to_pyarrow_table()
    key = delta.metadata().configuration.get("marquee.primary_key")
    rows = rows.select([name for name in rows.column_names if name not in ignored])
    names = key.split(",") if key else _sortable(rows.schema)
    return rows.sort_by([(name, "ascending") for name in names if name in rows.column_names])


def _sortable(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if not (pa.types.is_nested(field.type) or pa.types.is_floating(field.type))]


def _compare_columns(before: pa.ChunkedArray, after: pa.ChunkedArray, tolerance: float) -> dict[str, float] | None:
    if before.equals(after):
        return None
    if pa.types.is_floating(before.type):
        left, right = (column.to_numpy(zero_copy_only=False) for column in (before, after))
        gaps = np.nan_to_num(np.abs(left - right), nan=0.0)
        gaps[np.isnan(left) != np.isnan(right)] = np.inf
        return None if gaps.max() <= tolerance else {"rows": int((gaps > 0).sum()), "max": float(gaps.max())}
    if pa.types.is_nested(before.type):
        pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
        return {"rows": sum(left != right for left, right in pairs)}
    different = pc.fill_null(pc.not_equal(before, after), True)
    both_null = pc.and_(before.is_null(), after.is_null())
    return {"rows": pc.sum(pc.and_not(different, both_null)).as_py()}


def compare_arrays(before: Path, after: Path) -> dict[str, Any]:
    """Shapes and the largest difference over the arrays of one file, relative to the largest value of each array."""
    left, right = _arrays(before), _arrays(after)
    gaps = {name: _gap(left[name], right[name]) for name in sorted(left.keys() & right.keys())}
    return {
        "file": before.name,
        "arrays": len(gaps),
        "max_difference": max(gaps.values(), default=0.0),
        "only_before": sorted(left.keys() - right.keys()),
        "only_after": sorted(right.keys() - left.keys()),
        "differences": {name: gap for name, gap in gaps.items() if gap > 0},
    }


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    stored = np.load(file, allow_pickle=False)
    return {"array": stored} if file.suffix == ".npy" else {name: stored[name] for name in stored.files}


def _gap(left: NDArray[Any], right: NDArray[Any]) -> float:
    if left.shape != right.shape:
        return float("inf")
    if not np.issubdtype(left.dtype, np.floating):
        return 0.0 if np.array_equal(left, right) else float("inf")
    if not left.size:
        return 0.0
    return float(np.nanmax(np.abs(left - right)) / max(np.nanmax(np.abs(left)), 1e-12))


def array_pairs(before: Path, after: Path) -> Iterator[tuple[Path, Path]]:
    """Array files with the same path below both folders. Raises FileNotFoundError for one without a counterpart."""
    for file in sorted(before.rglob("*")):
        if file.suffix in _ARRAY_FILES:
            partner = after / file.relative_to(before)
            if not partner.exists():
                raise FileNotFoundError(f"{partner}: expected the counterpart of {file}")
            yield file, partner


def work(_: Settings, arguments: Namespace) -> int:
    is_equal = True
    for name in sorted((table_names(arguments.before) | table_names(arguments.after)) - set(arguments.skip_tables)):
        compared = compare_tables(
            arguments.before / name, arguments.after / name, arguments.ignore, arguments.tolerance
        )
        is_equal &= not compared["differences"] and compared["rows"][0] == compared["rows"][1]
        print(json.dumps(compared, default=str))
    for left, right in arguments.arrays:
        for pair in array_pairs(left, right):
            compared = compare_arrays(*pair)
            is_equal &= compared["max_difference"] <= arguments.tolerance
            print(json.dumps(compared))
    print("equal" if is_equal else "not equal")
    return 0 if is_equal else 1


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    command.add_argument("before", type=Path, help="root of the lake built by the code before")
    command.add_argument("after", type=Path, help="root of the lake built by the code after")
    command.add_argument(
        "--arrays",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar="FOLDER",
        help="folders of .npy and .npz files",
    )
    command.add_argument("--ignore", nargs="*", default=list(_IGNORED), metavar="COLUMN", help="columns left out")
    command.add_argument("--skip-tables", nargs="*", default=[], metavar="TABLE", help="tables left out")
    command.add_argument("--tolerance", type=float, default=1e-6, help="of floating-point numbers")
    return command_line.run(command, work, argv, (TableNotFoundError,))


if __name__ == "__main__":
    sys.exit(main())
