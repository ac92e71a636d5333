"""Airflow gets all settings as one file, keeps its files in one folder, and listens on this machine only."""

import json
from pathlib import Path

import pytest

from conf import run_airflow
from conf.loader import load_settings
from conf.settings import Settings, with_changes


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    changes = {
        **{"airflow.home": tmp_path / "airflow", "airflow.database_uri": "sqlite:///some/airflow.db"},
        **{"spark.conf.spark.driver.memory": "1g", "simulate.first_day": "2023-02-01", "airflow.port": 8123},
    }
    return load_settings(overrides=[f"{key}={value}" for key, value in changes.items()])


def test_settings_are_restored_whole_from_their_file(settings: Settings) -> None:
    file = run_airflow.write_settings(settings)
    assert load_settings(file) == settings
    assert run_airflow.write_settings(settings) == file
    changed = load_settings(file, ["seed=7"])
    assert run_airflow.write_settings(changed) != file


def test_block_of_content_that_is_off_stays_off_in_the_file_of_a_run(settings: Settings) -> None:
    # Tasks lay the file over local.yaml, where every block of content has weight.
    changed = with_changes(settings, {"content.blocks": {**settings.content.blocks, "people": 0.0}})
    assert "people" in settings.content.blocks
    assert "people" not in load_settings(run_airflow.write_settings(changed)).content.blocks


def test_airflow_is_on_loopback_in_its_own_folder(settings: Settings, tmp_path: Path) -> None:
    variables = run_airflow.environment(settings, Path("night.yaml"))
    assert variables["AIRFLOW_HOME"] == str(tmp_path / "airflow")
    assert variables["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert variables["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8123/execution/"
    assert variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{Path('some/airflow.db').absolute()}"
    assert variables["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert variables["MARQUEE_CONF"] == "night.yaml"
    assert json.loads(variables["AIRFLOW_CONN_SPARK_DEFAULT"]) == {"conn_type": "spark", "host": settings.spark.master}


def test_no_arguments_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_airflow.main(["--set", f"airflow.home={tmp_path}/airflow"]) == 1
    assert "nothing to run: give --ds DATE" in capsys.readouterr().err
    assert not (tmp_path / "airflow").exists()
