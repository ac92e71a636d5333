"""The gate as a command: from a night's figures to a verdict in the table, on the page and as an exit code."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from conf.loader import load_settings
from conf.settings import Settings, with_changes
from lake import night_files
from models import gate
from models.evaluation import evaluations_table
from models.evaluation.comparison import Difference
from models.evaluation.measurement import Measurement
from models.gating import gate_results
from models.tracking import registry

NIGHT = date(2024, 5, 14)


@pytest.fixture
def lake(tmp_path: Path) -> Settings:
    """A lake with as many events on the night as on the day before."""
    loads = {
        "feed": ["events", "events"],
        "ds": [date(2024, 5, 13), NIGHT],
        **{"count_lines": [1000, 1010], "count_loaded": [1000, 1000]},
        **{"count_rejected": [0, 10], "count_duplicates": [0, 9]},
    }
    write_deltalake(str(tmp_path / "lake" / "feed_loads"), pa.table(loads), partition_by=["feed"])
    changes = {"lake.root": str(tmp_path / "lake"), "report.root": str(tmp_path / "reports")}
    return with_changes(load_settings(), changes)


@pytest.fixture(autouse=True)
def aliases(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Versions by alias, in place of MLflow's registry, which takes seconds to create."""
    named = {registry.CHALLENGER: 2, registry.CHAMPION: 1}

    def fetch(_: Settings, alias: str) -> registry.Registered:
        return registry.Registered(named[alias], None, Path("nowhere"), {})

    monkeypatch.setattr(registry, "fetch", fetch)
    monkeypatch.setattr(registry, "champion_or_none", lambda settings: fetch(settings, registry.CHAMPION))
    return named


def figures(gain: float, tail_gain: float, compared: bool = True) -> list[Measurement]:
    def row(segment: str, metric: str, step: float) -> Measurement:
        dimension = "all" if segment == "all" else "popularity"
        difference = Difference(step, step - 0.01, step + 0.01, 500, 0.4, 0.3, 0.3) if compared else None
        return Measurement(dimension, segment, metric, 20, 0.2 + step, 0.19, 0.21, 500, 0, difference)

    totals = [
        Measurement("all", "all", name, 20, value, None, None, 500, 0)
        for name, value in (("coverage", 0.5), ("mean_popularity", 0.5), ("unmet_share", 0.1))
    ]
    accuracy = [row(s, m, g) for m in ("recall", "ndcg") for s, g in (("all", gain), ("tail", tail_gain))]
    return accuracy + [row("all", f"{m}_among_all", gain) for m in ("recall", "ndcg")] + totals


def measured(settings: Settings, by_model: Mapping[str, Sequence[Measurement]]) -> None:
    evaluations_table.write(settings.lake.root, NIGHT, "test", "marquee@1", by_model)


def run(settings: Settings, *more: str) -> int:
    keys = {
        "lake.root": settings.lake.root,
        "report.root": settings.report.root,
    }
    changes = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
    return gate.main(["--ds", str(NIGHT), *changes, *more])


def test_measured_figures_are_read_back_as_written(lake: Settings) -> None:
    by_model = {"marquee@2": figures(0.02, 0.0), "marquee@1": figures(0.0, 0.0, compared=False)}
    measured(lake, by_model)
    measured(lake, by_model)  # again: it replaces
    assert evaluations_table.read(lake.lake.root, NIGHT) == by_model
    assert evaluations_table.against(lake.lake.root, NIGHT, "marquee@2") == "marquee@1"
    assert evaluations_table.read(lake.lake.root, date(2024, 5, 13)) == {}


def test_better_challenger_is_let_through_and_promotes_nothing_itself(
    lake: Settings, aliases: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    measured(lake, {"marquee@2": figures(0.02, 0.0), "marquee@1": figures(0.0, 0.0, compared=False)})
    assert run(lake) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "promote marquee@2, compared with marquee@1: all 11 checks passed"
    )
    [verdict] = gate_results.read(lake.lake.root, NIGHT)
    assert (verdict.decision, verdict.is_yes, len(verdict.checks)) == ("promote", True, 11)
    assert aliases == {"challenger": 2, "champion": 1}


def test_loss_in_one_segment_ends_with_code_3_and_reasons_on_the_page(lake: Settings) -> None:
    measured(lake, {"marquee@2": figures(0.02, -0.06), "marquee@1": figures(0.0, 0.0, compared=False)})
    assert run(lake) == 3
    assert run(lake) == 3  # again: one verdict
    [verdict] = gate_results.read(lake.lake.root, NIGHT)
    assert verdict.decision == "refuse"
    assert verdict.why == (
        "recall@20 of popularity tail: significantly worse: by 0.0600, where 0.0200 is allowed; "
        "ndcg@20 of popularity tail: significantly worse: by 0.0600, where 0.0200 is allowed"
    )
    page = night_files.gate(lake, NIGHT).read_text()
    assert "marquee@2 is not promoted" in page
    assert "recall@20 of popularity tail" in page
    assert "-0.0700 to -0.0500" in page
    assert "significantly worse: by 0.0600, where 0.0200 is allowed" in page


def test_new_titles_that_are_not_recommended_stop_a_promotion(
    lake: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(lake, {"marquee@2": figures(0.02, 0.01), "marquee@1": figures(0.0, 0.0, compared=False)})
    file = Path(lake.report.root) / "backtest" / "backtest.json"
    file.parent.mkdir(parents=True)
    about = {"cold_to_warm": 0.01, "low": 0.0, "high": 0.02, "count_users": 150, "reference": "older"}
    about |= {"count_reference": 900, "first_night": "2024-05-03", "last_night": "2024-05-13"}
    file.write_text(json.dumps(about))
    assert run(lake) == 3
    assert "cold_to_warm" in capsys.readouterr().out
    file.write_text(json.dumps({"cold_to_warm": None}))
    assert run(lake) == 0


def test_override_promotes_and_records_its_reason_and_the_failed_checks(
    lake: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(lake, {"marquee@2": figures(-0.02, 0.0), "marquee@1": figures(0.0, 0.0, compared=False)})
    assert run(lake, "--override", "--why", "<b>Ann</b>: the festival's titles must be in") == 0
    [verdict] = gate_results.read(lake.lake.root, NIGHT)
    assert verdict.decision == "override"
    assert verdict.why.startswith("<b>Ann</b>: the festival's titles must be in (against: recall@20: no gain: -0.0200")
    assert "&lt;b&gt;Ann&lt;/b&gt;" in night_files.gate(lake, NIGHT).read_text()
    with pytest.raises(SystemExit) as ended:
        run(lake, "--override")
    assert ended.value.code == 2
    assert "--override and --why go together" in capsys.readouterr().err


def test_champion_keeps_its_verdict_when_its_night_is_run_again(
    lake: Settings, aliases: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    measured(lake, {"marquee@2": figures(0.02, 0.0), "marquee@1": figures(0.0, 0.0, compared=False)})
    run(lake)
    aliases[registry.CHAMPION] = 2
    before = gate_results.read(lake.lake.root, NIGHT)
    evaluations_table.write(
        lake.lake.root, NIGHT, "test", "als", {"marquee@2": figures(-0.1, -0.1), "als": figures(0, 0)}
    )
    assert run(lake) == 0
    assert "marquee@2 is the champion already, by the verdict of 2024-05-14: promote" in capsys.readouterr().out
    assert gate_results.read(lake.lake.root, NIGHT) == before


def test_challenger_that_was_not_measured_ends_with_one_clear_line(
    lake: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lake) == 1
    assert "marquee@2 was not measured on 2024-05-14; run python -m models.evaluate_night" in capsys.readouterr().err


def test_table_refuses_a_row_twice(lake: Settings) -> None:
    with pytest.raises(ValueError, match="evaluations: two rows of"):
        measured(lake, {"als": [*figures(0.0, 0.0), *figures(0.0, 0.0)]})
