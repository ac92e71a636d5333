"""A night under Airflow whose feeds never arrive: the one end-to-end run that is cheap enough for every test run."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_night_without_feeds_fails_says_why_and_is_reported(tmp_path: Path) -> None:
    keys = {
        **{"feeds.root": tmp_path / "feeds", "lake.root": tmp_path / "lake", "bundles.root": tmp_path / "bundles"},
        **{"report.root": tmp_path / "reports", "airflow.home": tmp_path / "airflow"},
        "airflow.database_uri": f"sqlite:///{tmp_path}/airflow/airflow.db",
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
