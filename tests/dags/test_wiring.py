"""Shared parts of the DAGs, without a scheduler: arguments, processes and their exit codes, alerts."""

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import backfill
import pytest
import wiring
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from conf.settings import with_changes


def context(**params: Any) -> Any:
    given = {"conf": "conf/night.yaml", "overrides": [], "ds": None} | params
    return {"params": given, "ds": "2024-05-14"}


def test_arguments_take_the_day_and_the_runs_settings() -> None:
    render = wiring.arguments("--to", "{ds}", "--skip-complete")
    assert render(context(), None) == ["--to", "2024-05-14", "--skip-complete", "--conf", "conf/night.yaml"]
    changed = render(context(ds="2024-05-13", overrides=["seed=1; rm -rf /", "lake.root=my lake"]), None)
    # Each is one argument of a list that no shell sees.
    assert changed == [
        *("--to", "2024-05-13", "--skip-complete", "--conf", "conf/night.yaml"),
        *("--set", "seed=1; rm -rf /", "--set", "lake.root=my lake"),
    ]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"from": None, "to": None, "tables": [], "skip_complete": True}, ["--skip-complete"]),
        (
            {"from": "2024-05-01", "to": "2024-05-31", "tables": ["stg_events"], "skip_complete": False},
            ["--from", "2024-05-01", "--to", "2024-05-31", "--only", "stg_events"],
        ),
    ],
)
def test_backfill_asks_for_the_days_and_tables_of_its_parameters(
    params: Mapping[str, Any], expected: list[str]
) -> None:
    assert backfill.chosen(params) == expected


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wiring.Command:
    """Runs `stage.py CODE`, which prints two lines and ends with that code."""
    (tmp_path / "stage.py").write_text("import sys\nprint('working')\nprint('said last')\nsys.exit(int(sys.argv[1]))\n")
    monkeypatch.setattr(wiring, "ROOT", tmp_path)
    return wiring.Command(task_id="stage", module="stage", arguments=["0"])


@pytest.mark.parametrize(
    ("code", "raised"), [(1, AirflowException), (2, AirflowFailException), (3, AirflowSkipException)]
)
def test_exit_codes_fail_end_or_skip_with_the_last_line(
    command: wiring.Command, code: int, raised: type[Exception]
) -> None:
    command.arguments = [str(code)]
    with pytest.raises(AirflowException, match=r"^said last$") as ended:
        command.execute(context())
    assert ended.type is raised


def test_exit_code_0_is_success(command: wiring.Command) -> None:
    assert command.execute(context()) is None


def test_killed_process_is_reported_as_killed(command: wiring.Command, tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(
        "import os, signal\nprint('at work', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with pytest.raises(AirflowException, match=r"^killed by signal 9; its last line: at work$"):
        command.execute(context())


@pytest.mark.parametrize(("code", "raised"), [(1, AirflowException), (2, AirflowFailException)])
def test_spark_job_fails_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, raised: type[Exception]
) -> None:
    submit = tmp_path / "spark-submit"
    submit.write_text(f"#!/bin/sh\necho starting\necho 'events for 2024-05-14: none'\necho\nexit {code}\n")
    submit.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[1]"}')
    job = wiring.spark_task("staging", "backfill", wiring.arguments())
    job.application_args = []
    with pytest.raises(AirflowException, match=r"^events for 2024-05-14: none$") as ended:
        job.execute(context())
    assert ended.type is raised


def test_timeout_names_what_was_waited_for(command: wiring.Command) -> None:
    wait = wiring.WaitFor(task_id="wait", module="stage", arguments=["1"], timeout=0.5, poke_interval=0.2)
    with pytest.raises(AirflowSensorTimeout, match="said last"):
        wait.execute(context())


def task_that_failed(root: Path) -> Any:
    task = SimpleNamespace(
        dag_id="nightly", task_id="train", run_id="run 1", start_date=datetime.now(UTC), try_number=2
    )
    run = context(conf=str(wiring.DEFAULT_CONF), overrides=[f"report.root={root}"])
    return {**run, "ti": task, "exception": AirflowException("loss is NaN")}


def test_how_a_task_ended_is_noted_for_the_report(tmp_path: Path) -> None:
    wiring.note_stage("failed")(task_that_failed(tmp_path))
    noted = json.loads((tmp_path / "2024-05-14" / "stages" / "train.json").read_text())
    assert {key: noted[key] for key in ("run", "task", "state", "tries", "reason")} == {
        **{"run": "run 1", "task": "train", "state": "failed"},
        **{"tries": 2, "reason": "loss is NaN"},
    }


def test_failure_is_sent_to_the_webhook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[dict[str, str]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802: the name that http.server calls
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(wiring, "SETTINGS", with_changes(wiring.SETTINGS, {"airflow.alert_webhook": address}))
        wiring.alert(task_that_failed(tmp_path))
        thread.join()
    [body] = received
    assert body["text"] == "nightly for 2024-05-14: train failed: loss is NaN"
    assert (body["dag"], body["task"], body["run"]) == ("nightly", "train", "run 1")
