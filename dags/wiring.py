"""Shared parts of the DAGs: tasks that run a job or a command as a process, their arguments, and alerts.

Imports only Airflow and conf/; the work is done in the processes that tasks start.
"""

import json
import logging
import os
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import Asset, BaseOperator, BaseSensorOperator, Context, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from spark_provider import SparkSubmitHook, SparkSubmitOperator

from conf import night_folder
from conf.loader import DEFAULT_CONF, load_settings

ROOT = Path(__file__).parents[1]
# DAG files have no arguments: only the environment can tell deployments apart.
CONF_FILE = os.environ.get("MARQUEE_CONF", str(DEFAULT_CONF))
SETTINGS = load_settings(CONF_FILE)
# Delay before a task is tried again; doubled with each retry, up to the maximum.
RETRY_DELAY = timedelta(minutes=1)
MAX_RETRY_DELAY = timedelta(minutes=30)

FAILED, WRONG_ARGUMENTS, REJECTED_BY_GATE = 1, 2, 3  # exit codes of every command

log = logging.getLogger("marquee")

PARAMS = {
    "conf": Param(CONF_FILE, type="string", description="settings file, applied over conf/local.yaml"),
    "overrides": Param([], type="array", items={"type": "string"}, description="key.path=value, applied over both"),
}
DAY_PARAM = Param(None, type=["null", "string"], format="date", description="the day to run for; default: {{ ds }}")

Template = Callable[..., list[str]]


def day_of(context: Context | Mapping[str, Any]) -> str:
    """The day of a run: its parameter `ds`, by default that of its data interval."""
    return str(context["params"].get("ds") or context["ds"])


def arguments(*fixed: str, chosen: Callable[[Mapping[str, Any]], Sequence[str]] = lambda _: ()) -> Template:
    """A template of a command's arguments, rendered when the task runs.

    They are the `fixed` ones with `{ds}` replaced, those that `chosen` makes from the run's parameters, and the run's
    settings. They are a list, never a shell's command line, since the user who starts a run sets its parameters.
    """

    def render(context: Context, jinja_env: Any) -> list[str]:
        params = context["params"]
        changes = [part for change in params["overrides"] for part in ("--set", change)]
        rendered = [text.replace("{ds}", day_of(context)) for text in fixed]
        return [*rendered, *chosen(params), "--conf", params["conf"], *changes]

    return render


def failure(code: int, last_line: str) -> AirflowException:
    """The exception for a process by its exit code and its last line of output.

    The line is the reason, unless the process was killed, out of memory for example. Wrong arguments are not retried.
    """
    if code == FAILED and last_line:
        return AirflowException(last_line)
    if code == WRONG_ARGUMENTS:
        return AirflowFailException(last_line)
    how = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return AirflowException(f"{how}; its last line: {last_line}")


class Command(BaseOperator):
    """Runs `python -m <module>` as a process. Exit code 3 skips the tasks downstream; exit code 2 is not retried."""

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, module: str, arguments: Template, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = arguments
        self._process = SubprocessHook()

    def execute(self, context: Context) -> None:
        """Run the command; raises AirflowException with its last line, which says what went wrong."""
        command = [sys.executable, "-m", self.module, *self.arguments]
        ended = self._process.run_command(command, cwd=str(ROOT))
        if ended.exit_code == REJECTED_BY_GATE:
            raise AirflowSkipException(ended.output)
        if ended.exit_code:
            raise failure(ended.exit_code, ended.output)

    def on_kill(self) -> None:
        """End the process and its children."""
        self._process.send_sigterm()


class _ListeningHook(SparkSubmitHook):
    """Keeps the last line of spark-submit's output: the job's reason for failing."""

    last_line = ""

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        def remembered() -> Iterator[Any]:
            for line in itr:
                self.last_line = line.strip() or self.last_line
                yield line

        super()._process_spark_submit_log(remembered())


class SparkJob(SparkSubmitOperator):
    """Fails with the job's last line; the operator itself reports only its command and the exit code."""

    def execute(self, context: Context) -> None:
        """Run the job; raises AirflowException with its last line, AirflowFailException for wrong arguments."""
        try:
            super().execute(context)
        except AirflowException as error:
            last_line = self._hook.last_line if isinstance(self._hook, _ListeningHook) else ""
            code = re.search(r"Error code is: (-?\d+)", str(error))
            raise failure(int(code[1]) if code else 1, last_line or str(error)) from error

    def _get_hook(self) -> SparkSubmitHook:
        hook = super()._get_hook()
        # The operator passes its two dozen arguments only to a hook that it creates itself.
        hook.__class__ = _ListeningHook
        return hook


class WaitFor(BaseSensorOperator):
    """Waits until `python -m <module>` ends with code 0; on a timeout its last line is the reason."""

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, module: str, arguments: Template, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = arguments
        self._reason = ""

    def poke(self, context: Context) -> bool:
        """Run the command once; raises AirflowFailException for wrong arguments, which waiting won't mend."""
        ended = SubprocessHook().run_command([sys.executable, "-m", self.module, *self.arguments], cwd=str(ROOT))
        if ended.exit_code == WRONG_ARGUMENTS:
            raise AirflowFailException(ended.output)
        self._reason = ended.output
        return ended.exit_code == 0

    def execute(self, context: Context) -> Any:
        """Wait; raises AirflowSensorTimeout with the command's last line."""
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise AirflowSensorTimeout(f"{self._reason} (waited {self.timeout / 60:.0f} minutes)") from error


def spark_task(task_id: str, job: str, job_arguments: Template, makes: Sequence[str] = (), **kwargs: Any) -> SparkJob:
    """A task that runs `spark-submit jobs/<job>.py`; `makes` are the tables it writes."""
    return SparkJob(
        task_id=task_id,
        application=str(ROOT / "jobs" / f"{job}.py"),
        application_args=job_arguments,
        conf=dict(SETTINGS.spark.conf),
        name=f"marquee-{task_id}",
        pool="spark",
        outlets=[table(name) for name in makes],
        **kwargs,
    )


def command_task(task_id: str, module: str, fixed: Sequence[str] = (), **kwargs: Any) -> Command:
    """A task that runs `python -m <module>`."""
    return Command(task_id=task_id, module=module, arguments=arguments(*fixed), **kwargs)


def training_task(task_id: str, module: str, fixed: Sequence[str] = (), **kwargs: Any) -> Command:
    """A `command_task` on the queue `airflow.training_queue`, whose workers may have GPUs."""
    return command_task(
        task_id,
        module,
        fixed,
        queue=SETTINGS.airflow.training_queue,
        pool="training",
        execution_timeout=timedelta(minutes=SETTINGS.airflow.training_timeout_minutes),
        **kwargs,
    )


def table(name: str) -> Asset:
    """A table of the lake as an Airflow asset, which can trigger other DAGs."""
    return Asset(name, group="marquee")


def alert(context: Context) -> None:
    """Report a failed task in one log line, and to `airflow.alert_webhook` if it is set."""
    task = context["ti"]
    text = f"{task.dag_id} for {day_of(context)}: {task.task_id} failed: {context.get('exception')}"
    log.error(text)
    if SETTINGS.airflow.alert_webhook is None:
        return
    body = json.dumps({"text": text, "dag": task.dag_id, "task": task.task_id, "run": task.run_id}).encode()
    request = urllib.request.Request(SETTINGS.airflow.alert_webhook, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass


def note_stage(state: str) -> Callable[[Context], None]:
    """A callback that writes how a task ended and how long it took to a file, for the night's report."""

    def note(context: Context) -> None:
        task, ended = context["ti"], datetime.now(UTC)
        stage = {
            "run": task.run_id,
            "task": task.task_id,
            "state": state,
            "started_at": task.start_date.isoformat(),
            "seconds": round((ended - task.start_date).total_seconds(), 1),
            "tries": task.try_number,
            "reason": str(context.get("exception") or ""),
        }
        run_settings = load_settings(context["params"]["conf"], context["params"]["overrides"])
        folder = night_folder.stages(run_settings, date.fromisoformat(day_of(context)))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{task.task_id}.json").write_text(json.dumps(stage), encoding="utf-8")

    return note


def default_args() -> dict[str, Any]:
    """Arguments of every task: retries with growing delays, a timeout, and callbacks."""
    options = SETTINGS.airflow
    return {
        "retries": options.retries,
        "retry_delay": RETRY_DELAY,
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": MAX_RETRY_DELAY,
        "execution_timeout": timedelta(minutes=options.task_timeout_minutes),
        "do_xcom_push": False,
        "on_failure_callback": [note_stage("failed"), alert],
        "on_success_callback": note_stage("success"),
        "on_skipped_callback": note_stage("skipped"),
    }
