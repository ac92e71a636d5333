"""What the DAGs share: how a job becomes a Spark task and a command a process of its own, and whom a failure tells.

Imports Airflow and the settings, nothing heavy: what tasks do is done in the processes that they start.
"""

import json
import logging
import os
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import Asset, BaseOperator, BaseSensorOperator, Context, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from spark_provider import SparkSubmitHook, SparkSubmitOperator

from conf.loader import DEFAULT_CONF, load_settings

ROOT = Path(__file__).parents[1]
# Airflow gives the files of its DAGs nothing but the environment to tell deployments apart.
CONF_FILE = os.environ.get("MARQUEE_CONF", str(DEFAULT_CONF))
SETTINGS = load_settings(CONF_FILE)
# Before a task is tried again; doubled with each retry, up to the maximum.
RETRY_DELAY = timedelta(minutes=1)
MAX_RETRY_DELAY = timedelta(minutes=30)

FAILED, WRONG_ARGUMENTS, GATE_SAID_NO = 1, 2, 3  # exit codes of every command

log = logging.getLogger("marquee")

PARAMS = {
    "conf": Param(CONF_FILE, type="string", description="settings laid over conf/local.yaml"),
    "overrides": Param([], type="array", items={"type": "string"}, description="key.path=value, laid over both"),
}
DAY_PARAM = Param(None, type=["null", "string"], format="date", description="the day to run for; default: {{ ds }}")

Template = Callable[..., list[str]]


def day_of(context: Context | Mapping[str, Any]) -> str:
    """The day that a run is for: its parameter `ds`, or else its data interval's."""
    return str(context["params"].get("ds") or context["ds"])


def arguments(*own: str, chosen: Callable[[Mapping[str, Any]], Sequence[str]] = lambda _: ()) -> Template:
    """A command's arguments, made when the task runs: `own`, `{ds}` in them replaced, then the run's settings.

    `chosen` makes further ones of the run's parameters. A list that no shell sees: parameters come from whoever starts
    a run.
    """

    def render(context: Context, jinja_env: Any) -> list[str]:
        params = context["params"]
        changes = [part for change in params["overrides"] for part in ("--set", change)]
        given = [text.replace("{ds}", day_of(context)) for text in own]
        return [*given, *chosen(params), "--conf", params["conf"], *changes]

    return render


def failure(code: int, said: str) -> AirflowException:
    """The exception for a process that ended with an exit code, having said something last.

    That is the reason, unless it was killed: for want of memory, say. Wrong arguments are not tried again.
    """
    if code == FAILED and said:
        return AirflowException(said)
    if code == WRONG_ARGUMENTS:
        return AirflowFailException(said)
    how = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return AirflowException(f"{how}; it said last: {said}")


class Command(BaseOperator):
    """Runs `python -m <module>` as a process of its own. Exit code 3 skips what depends on it, 2 is not tried again."""

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, module: str, arguments: Template, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = arguments
        self._process = SubprocessHook()

    def execute(self, context: Context) -> None:
        """Raises AirflowException with the command's last line, which says what went wrong."""
        command = [sys.executable, "-m", self.module, *self.arguments]
        ended = self._process.run_command(command, cwd=str(ROOT))
        if ended.exit_code == GATE_SAID_NO:
            raise AirflowSkipException(ended.output)
        if ended.exit_code:
            raise failure(ended.exit_code, ended.output)

    def on_kill(self) -> None:
        """End the process and all that it started."""
        self._process.send_sigterm()


class _ListeningHook(SparkSubmitHook):
    """Remembers what spark-submit said last: the job's own line of why it failed."""

    said_last = ""

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        def heard() -> Iterator[Any]:
            for line in itr:
                self.said_last = line.strip() or self.said_last
                yield line

        super()._process_spark_submit_log(heard())


class SparkJob(SparkSubmitOperator):
    """Fails with the job's last line, where the operator itself tells only its command and the exit code."""

    def execute(self, context: Context) -> None:
        """Raises AirflowException with that line; AirflowFailException for wrong arguments: trying again mends none."""
        try:
            super().execute(context)
        except AirflowException as error:
            said = self._hook.said_last if isinstance(self._hook, _ListeningHook) else ""
            found = re.search(r"Error code is: (-?\d+)", str(error))
            raise failure(int(found[1]) if found else 1, said or str(error)) from error

    def _get_hook(self) -> SparkSubmitHook:
        hook = super()._get_hook()
        # The operator hands its two dozen arguments only to a hook that it makes itself.
        hook.__class__ = _ListeningHook
        return hook


class WaitFor(BaseSensorOperator):
    """Waits until `python -m <module>` ends with code 0; what it said last is the reason when time is up."""

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, module: str, arguments: Template, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = arguments
        self._reason = ""

    def poke(self, context: Context) -> bool:
        """Raises AirflowFailException for wrong arguments: waiting mends none."""
        ended = SubprocessHook().run_command([sys.executable, "-m", self.module, *self.arguments], cwd=str(ROOT))
        if ended.exit_code == WRONG_ARGUMENTS:
            raise AirflowFailException(ended.output)
        self._reason = ended.output
        return ended.exit_code == 0

    def execute(self, context: Context) -> Any:
        """Raises AirflowSensorTimeout with the reason."""
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise AirflowSensorTimeout(f"{self._reason} (waited {self.timeout / 60:.0f} minutes)") from error


def spark_task(task_id: str, job: str, own: Template, makes: Sequence[str] = (), **kwargs: Any) -> SparkJob:
    """`spark-submit jobs/<job>.py`; `makes` are the tables it writes. The connection says on which cluster."""
    return SparkJob(
        task_id=task_id,
        application=str(ROOT / "jobs" / f"{job}.py"),
        application_args=own,
        conf=dict(SETTINGS.spark.conf),
        name=f"marquee-{task_id}",
        pool="spark",
        outlets=[table(name) for name in makes],
        **kwargs,
    )


def command_task(task_id: str, module: str, own: Sequence[str] = (), **kwargs: Any) -> Command:
    """`python -m <module>` on a worker."""
    return Command(task_id=task_id, module=module, arguments=arguments(*own), **kwargs)


def training_task(task_id: str, module: str, own: Sequence[str] = (), **kwargs: Any) -> Command:
    """The same on a worker with a GPU, where `airflow.training_queue` names a queue that has some."""
    return command_task(
        task_id,
        module,
        own,
        queue=SETTINGS.airflow.training_queue,
        pool="training",
        execution_timeout=timedelta(minutes=SETTINGS.airflow.training_timeout_minutes),
        **kwargs,
    )


def table(name: str) -> Asset:
    """A table of the lake, for DAGs that run when it changed."""
    return Asset(name, group="marquee")


def alert(context: Context) -> None:
    """Tell what failed, in one line of the log and to `airflow.alert_webhook`, where there is one."""
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
    """A callback that notes how a task ended and how long it took, for the night's report."""

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
        own = load_settings(context["params"]["conf"], context["params"]["overrides"])
        folder = Path(own.report.root) / day_of(context) / "stages"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{task.task_id}.json").write_text(json.dumps(stage), encoding="utf-8")

    return note


def default_args() -> dict[str, Any]:
    """What every task has: patience that grows, an end, and somebody who is told."""
    own = SETTINGS.airflow
    return {
        "retries": own.retries,
        "retry_delay": RETRY_DELAY,
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": MAX_RETRY_DELAY,
        "execution_timeout": timedelta(minutes=own.task_timeout_minutes),
        "do_xcom_push": False,
        "on_failure_callback": [note_stage("failed"), alert],
        "on_success_callback": note_stage("success"),
        "on_skipped_callback": note_stage("skipped"),
    }
