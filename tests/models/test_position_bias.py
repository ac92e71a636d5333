"""The command that shows clicks by rank."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from models import position_bias
from models.data.model_tables import EVALUATION_TABLES
from models.debiasing.click_ranks import TABLE

MAY_1 = date(2024, 5, 1)


def test_the_command_shows_both_orders_and_the_truth(
    tiny_lake: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = tiny_lake(tmp_path / "lake")
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"1": 1.0, "2": 0.71}))
    options = ["--set", f"lake.root={lake.root}", "--truth", str(truth)]
    assert position_bias.main(options) == 1
    assert "no two ranks were clicked in random order" in capsys.readouterr().err
    rows = [(100, MAY_1, True, 1, 1000, 100), (100, MAY_1, True, 2, 1000, 70), (100, MAY_1, False, 1, 100, 80)]
    lake.write_click_ranks([*rows, (101, MAY_1, False, 2, 100, 20)])
    assert position_bias.main(options) == 0
    shown = capsys.readouterr().out
    assert "170 clicks" in shown
    second = next(line for line in shown.splitlines() if line.startswith("│ 2 "))
    assert [cell.strip() for cell in second.split("│")[1:-1]] == ["2", "0.700", "0.700", "0.250", "0.710"]


def test_a_lake_without_the_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert position_bias.main(["--set", f"lake.root={tmp_path}"]) == 1
    assert "click_ranks" in capsys.readouterr().err
    assert TABLE not in EVALUATION_TABLES  # so commands that only measure do not need it
