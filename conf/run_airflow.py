"""Run Airflow over this project's DAGs; it keeps its files below `airflow.home` and listens on loopback only.

Reads the settings and dags/. Writes to <airflow.home>: Airflow's database, logs and configuration, and all settings as
one file under settings/, which every task of the DAGs gets as its --conf. Tasks write everything else.

Arguments after -- go to Airflow's command line, once its database and pools are ready:

  python -m conf.run_airflow -- dags test nightly 2024-05-14        # the night of a day, without a scheduler
  python -m conf.run_airflow --ds 2024-05-14                        # the same
  python -m conf.run_airflow --serve                                # scheduler and pages, on loopback, until stopped
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from conf import command_line
from conf.errors import ActionableError
from conf.settings import Settings

ROOT = Path(__file__).parents[1]


class AirflowError(ActionableError):
    """Airflow ended with an error, which its output explains."""


def write_settings(settings: Settings) -> Path:
    """Write all settings to one file, named by its hash, so that a run under way keeps its settings."""
    text = yaml.safe_dump(_plain(settings.model_dump(warnings=False)), sort_keys=False)
    file = Path(settings.airflow.home) / "settings" / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def environment(settings: Settings, settings_file: Path) -> dict[str, str]:
    """Environment variables for Airflow and its tasks: the only configuration that all parts of Airflow read."""
    home = Path(settings.airflow.home)
    bin_folder = str(Path(sys.executable).parent)
    variables = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",  # its pages are on loopback
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _absolute(settings.airflow.database_uri),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.airflow.port),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{settings.airflow.port}/execution/",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": settings.spark.master}),
        # The settings that a deployment's DAGs are made with: Airflow passes DAG files nothing but the environment.
        "MARQUEE_CONF": str(settings_file),
        # `spark-submit` and `python` of this environment.
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    return {**os.environ, **variables}


def prepare(settings: Settings, variables: Mapping[str, str]) -> None:
    """Create Airflow's database and pools, unless this version of Airflow has created them already."""
    home = Path(settings.airflow.home)
    pools = {
        "spark": {"slots": settings.airflow.spark_slots, "description": "Spark jobs", "include_deferred": False},
        "training": {"slots": settings.airflow.training_slots, "description": "GPUs", "include_deferred": False},
    }
    state = json.dumps([version("apache-airflow"), settings.airflow.database_uri, pools])
    mark = home / "prepared.json"
    if mark.exists() and mark.read_text(encoding="utf-8") == state and _has_database(settings):
        return
    home.mkdir(parents=True, exist_ok=True)
    _airflow(["db", "migrate"], variables, home / "prepare.log")
    pools_file = home / "pools.json"
    pools_file.write_text(json.dumps(pools), encoding="utf-8")
    _airflow(["pools", "import", str(pools_file)], variables, home / "prepare.log")
    mark.write_text(state, encoding="utf-8")


def _airflow(arguments: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
    """Run an Airflow command with its output in the file `log`. Raises AirflowError if it fails."""
    with log.open("a", encoding="utf-8") as output:
        command = [sys.executable, "-m", "airflow", *arguments]
        process = subprocess.run(command, env=dict(variables), cwd=ROOT, stdout=output, stderr=output)
    if process.returncode:
        raise AirflowError(f"airflow {' '.join(arguments)} ended with code {process.returncode}; see {log}")


def _has_database(settings: Settings) -> bool:
    path = _absolute(settings.airflow.database_uri).removeprefix("sqlite:///")
    return "://" in path or Path(path).exists()


def _absolute(database_uri: str) -> str:
    """The URI with an absolute path to a SQLite file: Airflow refuses a relative one."""
    path = database_uri.removeprefix("sqlite:///")
    return database_uri if path == database_uri else f"sqlite:///{Path(path).absolute()}"


def _plain(value: Any) -> Any:
    """The value in plain dicts and lists: YAML cannot write the read-only kinds."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def serve(settings: Settings, variables: Mapping[str, str]) -> int:
    """Run the parts of Airflow until one ends or the user stops them; then end all.

    `airflow standalone` would serve logs on all addresses; here the pages read them from files.
    """
    commands = (["scheduler", "--skip-serve-logs"], ["dag-processor"], ["api-server"])
    log = Path(settings.airflow.home) / "serve.log"
    with log.open("a", encoding="utf-8") as output:
        parts = [
            subprocess.Popen(
                [sys.executable, "-m", "airflow", *command], env=dict(variables), cwd=ROOT, stdout=output, stderr=output
            )
            for command in commands
        ]
        text = f"Airflow: http://127.0.0.1:{settings.airflow.port} in half a minute; log: {log}; Ctrl-C ends it"
        command_line.console().print(text, soft_wrap=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the parts, as Ctrl-C does
        try:
            while all(part.poll() is None for part in parts):
                time.sleep(1)
        except KeyboardInterrupt:
            return 0
        finally:
            for part in parts:
                part.terminate()
            for part in parts:
                part.wait()
    raise AirflowError(f"a part of Airflow ended by itself; see {log}")


def work(settings: Settings, arguments: Namespace) -> int:
    """Prepare, then become Airflow's command; its exit code is ours."""
    airflow_arguments = arguments.airflow
    if arguments.ds:
        airflow_arguments = ["dags", "test", "nightly", arguments.ds, *airflow_arguments]
    if not airflow_arguments and not arguments.serve:
        raise AirflowError("nothing to run: give --ds DATE, --serve, or Airflow's own arguments after --")
    variables = environment(settings, write_settings(settings))
    prepare(settings, variables)
    if arguments.serve:
        return serve(settings, variables)
    return subprocess.run([sys.executable, "-m", "airflow", *airflow_arguments], env=variables, cwd=ROOT).returncode


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--ds", metavar="DATE", help="run the night of this day, without a scheduler")
    parser.add_argument("--serve", action="store_true", help="run scheduler, DAG processor and pages until stopped")
    parser.add_argument("airflow", nargs="*", metavar="ARGUMENT", help="after --: Airflow's own command line")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
