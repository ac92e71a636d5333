"""The DAGs as Airflow parses them: their tasks, the order of tasks, and what holds for every task."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Parsed in another process, so that only modules which the DAGs import are loaded."""
    home = tmp_path_factory.mktemp("airflow")
    conf = home / "gpu.yaml"
    conf.write_text("airflow: {training_queue: gpu, retries: 3}\n")
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "MARQUEE_CONF": str(conf)}
    command = [sys.executable, str(Path(__file__).with_name("describe.py"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_dags_parse_without_anything_heavy(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert parsed["heavy"] == []
    assert sorted(parsed["dags"]) == ["backfill", "maintenance", "nightly"]


def test_night_goes_from_feeds_to_report(parsed: dict[str, Any]) -> None:
    tasks = parsed["dags"]["nightly"]["tasks"]
    assert {name: [after for after in task["then"] if after != "night"] for name, task in tasks.items()} == {
        "check_feeds": ["staging"],
        "staging": ["features"],
        "features": ["examples"],
        "examples": ["champion"],
        "champion": ["train"],
        "train": ["evaluate"],
        "evaluate": ["gate"],
        "gate": ["build_index", "refresh"],
        "build_index": ["publish"],
        "publish": ["recommend"],
        "refresh": ["recommend"],
        "recommend": ["report"],
        "report": [],
        "night": [],
    }


def test_gate_that_says_no_keeps_the_champion_and_failures_make_the_night_red(parsed: dict[str, Any]) -> None:
    tasks = parsed["dags"]["nightly"]["tasks"]
    rules = {name: task["rule"] for name, task in tasks.items() if task["rule"] != "all_success"}
    assert rules == {
        "refresh": "all_skipped",
        "recommend": "none_failed_min_one_success",
        "report": "all_done",
        "night": "none_failed",
    }
    assert {name for name, task in tasks.items() if "night" in task["then"]} == set(tasks) - {"night"}


def test_training_goes_to_the_queue_of_the_settings(parsed: dict[str, Any]) -> None:
    tasks = parsed["dags"]["nightly"]["tasks"]
    assert {name for name, task in tasks.items() if task["queue"] == "gpu"} == {
        *("train", "evaluate", "build_index", "refresh")
    }
    assert {name for name, task in tasks.items() if task["kind"] == "SparkJob"} == {
        *("staging", "features", "examples", "recommend")
    }


def test_every_task_has_a_timeout_retries_and_a_failure_callback(parsed: dict[str, Any]) -> None:
    for name, dag in parsed["dags"].items():
        assert (dag["max_active_runs"], dag["catchup"]) == (1, False), name
        assert dag["doc"], name
        for task_id, task in dag["tasks"].items():
            assert (task["retries"], task["backoff"], task["has_failure_callback"]) == (3, 2.0, True), task_id
            # The sensor has its own timeout, over all its pokes.
            assert (task["timeout"] is not None) == (task_id != "check_feeds"), task_id


def test_assets_say_which_tables_a_task_makes(parsed: dict[str, Any]) -> None:
    tasks = parsed["dags"]["nightly"]["tasks"]
    assert tasks["staging"]["assets"] == ["stg_events", "stg_titles", "stg_offers", "stg_consents"]
    assert tasks["gate"]["assets"] == ["gate_results"]
