"""Compare training on one device, on two replicas and with two workers: accuracy and time.

Reads the lake of --set lake.root, which must be a folder; writes only to --work (default: a temporary folder, removed
at the end), and prints one JSON line per figure, then all as a table on standard error. Registers no model.

  one         training.strategy=none
  replicas    training.strategy=mirrored, on two logical devices that share the processor
  workers     training.strategy=multi_worker, two processes connected by loopback. Each reads a shard of the rows, so
              the training tables are first written again in row groups of --rows-per-group

All see the same batches, so after equally many epochs their NDCG@20 on held-out data must be about equal: the ratios
have a target. Two replicas on one processor are no faster than one device; the times show the cost of sharing.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, WriterProperties, write_deltalake

from benchmarks.harness.processes import answer_job
from benchmarks.harness.report import Report, reporting
from conf import command_line
from conf.loader import load_settings
from conf.settings import Settings
from lake.snapshot import LakeSnapshot
from models.data.model_tables import TRAINING_TABLES
from models.errors import ModelError
from models.fit import training, workers
from models.fit.epochs import EpochResult
from models.fit.inputs import read_inputs
from models.towers.legacy_keras import tf

_REGROUPED = {"training_users": None, "training_examples": ["split"]}


@dataclass(frozen=True)
class Train:
    """Train in this process and return each epoch's result; an empty answer where another process is the chief."""

    conf: str
    overrides: Sequence[str]
    devices: int

    def run(self) -> dict[str, Any]:
        if self.devices > 1:
            processor = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(
                processor, [tf.config.LogicalDeviceConfiguration() for _ in range(self.devices)]
            )
        settings = load_settings(self.conf, self.overrides)
        checkpoints = Path(settings.training.checkpoints)
        inputs = read_inputs(settings, LakeSnapshot.pin(settings.lake.root, TRAINING_TABLES))
        if not workers.is_chief(settings.training):
            training.help_train(settings, inputs, checkpoints)
            return {}
        epochs: list[tuple[EpochResult, float]] = []
        training.train_model(settings, inputs, checkpoints, lambda result: epochs.append((result, perf_counter())))
        return {
            "losses": [result.loss for result, _ in epochs],
            "ndcg": [result.validation for result, _ in epochs],
            "seconds": [later - earlier for (_, earlier), (_, later) in pairwise(epochs)],
        }


def regrouped(lake_root: Path, work: Path, rows_per_group: int) -> Path:
    """Copy a lake to `work`, its training tables in row groups of `rows_per_group` rows; other tables are links."""
    for table in TRAINING_TABLES:
        if table in _REGROUPED:
            rows = pa.table(DeltaTable(lake_root / table).to_pyarrow_table())
            groups = WriterProperties(max_row_group_size=rows_per_group)
            write_deltalake(str(work / table), rows, partition_by=_REGROUPED[table], writer_properties=groups)
        else:
            work.mkdir(parents=True, exist_ok=True)
            (work / table).symlink_to(lake_root / table)
    return work


def cluster_of(count: int) -> list[dict[str, Any]]:
    """TF_CONFIG of each of `count` workers, on free ports of loopback."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in sockets]
    for server in sockets:
        server.close()
    return [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": n}} for n in range(count)]


def run_together(jobs: Sequence[Train], configs: Sequence[Mapping[str, Any] | None], limit_s: float) -> dict[str, Any]:
    """Run jobs at the same time, each in its own process with its TF_CONFIG; returns the first one's answer.

    Raises ModelError if one fails, or if together they take longer than `limit_s`.
    """
    started = []
    for job, config in zip(jobs, configs, strict=True):
        spec = json.dumps({"job": type(job).__name__, **asdict(job)})
        environment = {**os.environ, **({"TF_CONFIG": json.dumps(config)} if config else {})}
        command = [sys.executable, "-m", "benchmarks.strategies", "--job", spec]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    try:
        printed = [process.communicate(timeout=limit_s)[0] for process in started]
    except subprocess.TimeoutExpired:
        raise ModelError(f"training took longer than {limit_s:.0f} s; give a larger --limit") from None
    finally:
        for process in started:
            process.kill()
    if codes := [process.returncode for process in started if process.returncode]:
        raise ModelError(f"a training's process ended with code {codes[0]}; see above")
    answer: dict[str, Any] = json.loads(printed[0].splitlines()[-1])
    return answer


def add_training(
    report: Report, name: str, answer: Mapping[str, Any], baseline: Mapping[str, Any], min_ratio: float
) -> None:
    """Add the figures of one training, compared with `baseline`, the training on one device."""
    losses = [round(loss, 4) for loss in answer["losses"]]
    report.add(f"{name}: loss of the last epoch", answer["losses"][-1], "nats", by_epoch=losses)
    figures = [round(value, 4) for value in answer["ndcg"]]
    report.add(f"{name}: NDCG@20 after the last epoch", answer["ndcg"][-1], "NDCG", by_epoch=figures)
    report.add(f"{name}: time of an epoch, median", statistics.median(answer["seconds"]), "s")
    if answer is not baseline:
        ratio = answer["ndcg"][-1] / baseline["ndcg"][-1]
        report.add(f"{name}: NDCG@20 over that on one device", ratio, "ratio", at_least=min_ratio)


def work(settings: Settings, arguments: Namespace) -> None:
    """Train in each way and show the table."""
    with reporting("strategies", ("tensorflow", "tf-keras"), arguments.work) as (report, folder):
        root = regrouped(Path(settings.lake.root), folder / "lake", arguments.rows_per_group)

        def job(name: str, strategy: str, devices: int = 1) -> Train:
            values = {
                "lake.root": root,
                "training.strategy": strategy,
                "training.epochs": arguments.epochs,
                "training.patience_epochs": arguments.epochs,
                "training.checkpoints": folder / name,
            }
            changes = [f"{key}={value}" for key, value in values.items()]
            return Train(arguments.conf, [*arguments.overrides, *changes], devices)

        one = run_together([job("one", "none")], [None], arguments.limit)
        add_training(report, "one", one, one, arguments.min_ratio)
        replicas = run_together([job("replicas", "mirrored", 2)], [None], arguments.limit)
        add_training(report, "replicas", replicas, one, arguments.min_ratio)
        both = [job("workers", "multi_worker")] * 2
        add_training(report, "workers", run_together(both, cluster_of(2), arguments.limit), one, arguments.min_ratio)


def _parser() -> ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows-per-group", type=int, default=200, metavar="ROWS")
    parser.add_argument("--min-ratio", type=float, default=0.95, help="target of NDCG@20 beside one device")
    parser.add_argument("--limit", type=float, default=1800.0, metavar="SECONDS", help="for one training")
    parser.add_argument("--work", metavar="FOLDER", help="an empty folder, which is kept")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return command_line.run(_parser(), work, argv)


if __name__ == "__main__":
    sys.exit(answer_job((Train,), sys.argv[2:]) if sys.argv[1:2] == ["--job"] else main())
