"""Every job as a user starts it."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from conf.settings import Settings
from tests.processes import with_small_java

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "jobs").rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text()
)


@pytest.mark.parametrize("module", COMMANDS)
def test_help_says_what_is_read_and_written(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "--conf FILE" in text
    assert "--set key.path=value" in text
    assert "read" in text.lower()
    assert "write" in text.lower()


def test_bare_spark_submit_runs_a_job(settings: Settings, write_feed: Callable[..., Path], tmp_path: Path) -> None:
    fields = {"user_id": "u1", "title_id": 1, "event_type": "like", "country": "FR"}
    line = json.dumps({"event_id": "e1", "event_time": "2024-05-01T12:00:00Z", **fields})
    write_feed(settings, "events/event_date=2024-05-01/a.jsonl.gz", line)
    environment = {
        name: value for name, value in with_small_java().items() if not name.startswith(("SPARK_", "PYSPARK_"))
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    job = str(ROOT / "jobs" / "stg_events.py")
    roots = ["--set", f"feeds.root={settings.feeds.root}", "--set", f"lake.root={settings.lake.root}"]

    done = subprocess.run(
        # From another folder: nothing may depend on the working directory.
        ["spark-submit", job, "--ds", "2024-05-01", *roots],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert DeltaTable(f"{settings.lake.root}/stg_events").to_pyarrow_table()["event_id"].to_pylist() == ["e1"]

    missing = subprocess.run(
        ["spark-submit", job, "--ds", "2024-05-02", *roots],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert missing.returncode == 1
    # spark-submit passes all of Python's output on to standard output, errors too.
    assert "no events for ds=2024-05-02: expected" in missing.stdout.strip().splitlines()[-1]
