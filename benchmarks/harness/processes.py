"""Runs of measured jobs in their own processes: `run_apart` starts one, `answer_job` is its main function."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from jobs.errors import JobError


def run_apart(job: Any, limit_s: float) -> dict[str, Any]:
    """Run a job in a new process and return its answer. The module of its class must end in `answer_job`.

    Raises JobError where it failed or took longer than `limit_s`. Its log is shown as it comes.
    """
    spec = json.dumps({"job": type(job).__name__, **asdict(job)})
    command = [sys.executable, "-m", type(job).__module__, spec]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=limit_s)
    except subprocess.CalledProcessError as error:
        raise JobError(f"{type(job).__name__}: its process ended with code {error.returncode}; see above") from None
    except subprocess.TimeoutExpired:
        raise JobError(f"{type(job).__name__}: took longer than {limit_s:.0f} s; give a larger --limit") from None
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def answer_job(kinds: Sequence[type[Any]], argv: Sequence[str]) -> int:
    """Run the job described by the only argument and print its answer; `run_apart` calls this in a new process."""
    spec = json.loads(argv[0])
    job = {kind.__name__: kind for kind in kinds}[spec.pop("job")](**spec)
    print(json.dumps(job.run()), flush=True)
    return 0
