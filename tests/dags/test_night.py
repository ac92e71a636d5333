"""Airflow as a user starts it, in one home, which takes seconds to prepare: a night, then its pages.

The night's feeds never arrive: the one end-to-end run that is cheap enough for every test run.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.processes import ask, make, started


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings for Airflow's files. The first test has them prepared, the second finds them so."""
    folder = tmp_path_factory.mktemp("airflow")
    return {"airflow.home": str(folder), "airflow.database_uri": f"sqlite:///{folder}/airflow.db"}


def test_night_without_feeds_fails_says_why_and_is_reported(home: dict[str, str], tmp_path: Path) -> None:
    keys = {
        **{"feeds.root": tmp_path / "feeds", "lake.root": tmp_path / "lake", "bundles.root": tmp_path / "bundles"},
        **{"report.root": tmp_path / "reports", **home},
        **{"airflow.feeds_timeout_seconds": 1, "airflow.feeds_poke_seconds": 1, "airflow.retries": 0},
    }
    changes = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "conf.run_airflow", "--ds", "2024-05-14", *changes],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert done.stderr.strip().splitlines()[-1] == "DagRun failed"
    page = (tmp_path / "reports" / "2024-05-14" / "report.html").read_text()
    assert "The night failed at check_feeds" in page
    assert f"expected {tmp_path}/feeds/events/event_date=2024-05-14/*.jsonl[.gz], found none" in page
    assert "Missing: the lake has no feed_loads" in page
    # Nothing was published or written.
    assert not (tmp_path / "bundles").exists()
    assert not (tmp_path / "lake").exists()


def test_airflow_comes_up(home: dict[str, str]) -> None:
    port = free_port()
    changes = " ".join(f"{key}={value}" for key, value in {**home, "airflow.port": port}.items())
    with started(make("airflow", f"SET={changes}")) as process:
        health = json.loads(ask(process, f"http://127.0.0.1:{port}/api/v2/monitor/health"))
    assert health["metadatabase"]["status"] == "healthy"
