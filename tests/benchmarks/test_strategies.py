"""Inputs of each way to train, and figures of its answers; the command itself trains for minutes."""

import json
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from benchmarks import strategies
from benchmarks.harness.report import Report
from benchmarks.strategies import Train
from lake.delta_files import open_version
from models.data.model_tables import TRAINING_TABLES
from models.errors import ModelError


@pytest.fixture
def lake_root(tmp_path: Path) -> Path:
    """Tables of ten rows in one row group each."""
    rows = pa.table({"title_id": list(range(10)), "split": ["train"] * 10})
    for table in TRAINING_TABLES:
        by = ["split"] if table == "training_examples" else None
        write_deltalake(str(tmp_path / "lake" / table), rows, partition_by=by)
    return tmp_path / "lake"


def test_training_tables_are_laid_out_in_row_groups_and_the_lake_is_left_alone(lake_root: Path, tmp_path: Path) -> None:
    root = strategies.regrouped(lake_root, tmp_path / "work", 3)
    assert open_version(str(root / "training_users"), 0).row_groups == [3, 3, 3, 1]
    assert open_version(str(root / "training_examples"), 0, "train").row_groups == [3, 3, 3, 1]
    assert open_version(str(lake_root / "training_users"), 0).row_groups == [10]
    for table in TRAINING_TABLES:
        titles = DeltaTable(root / table).to_pyarrow_table()["title_id"].to_pylist()
        assert sorted(titles) == list(range(10))


def test_every_worker_knows_all_addresses_and_its_index() -> None:
    first, second = strategies.cluster_of(2)
    assert first["cluster"] == second["cluster"]
    addresses = first["cluster"]["worker"]
    assert len(set(addresses)) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert [config["task"] for config in (first, second)] == [{"type": "worker", "index": n} for n in range(2)]


def test_figures_are_compared_with_those_of_one_device() -> None:
    one = {"losses": [3.0, 2.0], "ndcg": [0.1, 0.2], "seconds": [0.5]}
    workers = {"losses": [3.1, 2.1], "ndcg": [0.1, 0.18], "seconds": [0.4, 0.6, 0.9]}
    printed, report = StringIO(), Report("strategies")
    with redirect_stdout(printed):
        strategies.add_training(report, "one", one, one, 0.95)
        strategies.add_training(report, "workers", workers, one, 0.95)
    figures = {line["figure"]: line for line in map(json.loads, printed.getvalue().splitlines())}
    assert figures["workers: time of an epoch, median"]["value"] == 0.6
    assert figures["workers: loss of the last epoch"]["by_epoch"] == [3.1, 2.1]
    ratio = figures["workers: NDCG@20 over that on one device"]
    assert (ratio["value"], ratio["target_at_least"], ratio["verdict"]) == (0.9, 0.95, "missed")
    assert "one: NDCG@20 over that on one device" not in figures


def test_failed_training_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(ModelError, match="a training's process ended with code 1"):
        strategies.run_together([Train("conf", [], 1)] * 2, strategies.cluster_of(2), 60)
