"""Processes that tests start, ask and end."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# For a few rows: no compilation of queries, and none of methods beyond the first stage. The tests' Spark has them in
# its settings; a process gets them by its environment, so that its command line stays as users type it.
_JAVA = (
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=240m",
    "-XX:+UseSerialGC",
    "-Dspark.sql.codegen.wholeStage=false",
    "-Dspark.sql.codegen.factoryMode=NO_CODEGEN",
)


def with_small_java() -> dict[str, str]:
    """This process's environment, with options that make a JVM with Spark start and end sooner."""
    return {**os.environ, "JAVA_TOOL_OPTIONS": " ".join(_JAVA)}


def make(*arguments: str) -> list[str]:
    """Make, with the environment as it is: a lock file that is newer would have it built again under these tests."""
    return ["make", "-C", str(ROOT), "-o", ".venv/.built", *arguments]


def own_environment() -> dict[str, str]:
    """Without what a `make` around the tests tells its own children."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


@contextmanager
def started(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process, and whatever it starts, until the block ends: then told to end, and waited for."""
    told = {**own_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # a consumer that nobody asked for
    process = subprocess.Popen(
        words, cwd=ROOT, env=told, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        # A group of its own, which none of the tests' other processes is in, and which is gone where all of it ended.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def ask(process: subprocess.Popen[str], request: str | urllib.request.Request, seconds: float = 180) -> bytes:
    """What a process that is starting answers, once it does. Fails where it ended, or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return bytes(answer.read())
        except OSError:
            time.sleep(0.2)
        if process.poll() is not None:
            pytest.fail(f"it ended by itself: {process.communicate()[0]}")
    pytest.fail(f"no answer within {seconds} seconds")
