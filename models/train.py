"""Train the two towers on the lake and register the model as the challenger.

Reads title_features, vocabularies, click_ranks, training_examples and training_users in <lake.root>, at their newest
versions. Writes an MLflow run and a model version, to which the alias `challenger` then points, and checkpoints in
training.checkpoints while it works.

The same training is not repeated: if a version was trained with the same settings and data, `challenger` points to it.
A training that was killed resumes after its last epoch when it is started again.

With training.strategy=multi_worker the same command is started on several machines, and TF_CONFIG tells each its
index in the cluster. They need the same lake, MLflow and training.checkpoints. The first one registers.
"""

import json
import logging
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow.exceptions import MlflowException
from rich.progress import Progress

from conf import command_line
from conf.settings import Settings, with_changes
from lake.snapshot import LakeSnapshot
from models.blend.two_tower import TwoTower
from models.data.model_tables import TRAINING_TABLES
from models.fit import training, workers
from models.fit.epochs import EpochResult
from models.fit.inputs import Inputs, read_inputs
from models.tracking import registry, runs
from models.tracking.model_card import write_card

log = logging.getLogger("marquee")

_RUN = "run.json"


def work(settings: Settings, arguments: Namespace) -> None:
    snapshot = LakeSnapshot.pin(settings.lake.root, TRAINING_TABLES)
    inputs = read_inputs(settings, snapshot)
    champion = registry.champion_or_none(settings) if settings.training.warm_start else None
    if champion:
        settings = with_changes(settings, {"training.epochs": settings.training.warm_start_epochs})
    key = runs.training_key(settings, snapshot.versions, inputs.data_hash, champion.version if champion else None)
    known = registry.find_trained(settings, key)
    if known is not None:
        log.info("version %d was trained with the same settings and data: nothing to train", known)
        registry.point(settings, registry.CHALLENGER, known)
        return
    checkpoints = Path(settings.training.checkpoints) / key
    checkpoints.mkdir(parents=True, exist_ok=True)
    if not workers.is_chief(settings.training):
        training.help_train(settings, inputs, checkpoints, TwoTower.load(champion.folder) if champion else None)
        log.info("this worker is done; the first one registers the model")
        return
    with runs.start_run(settings, _unfinished_run(checkpoints), arguments.name) as run:
        (checkpoints / _RUN).write_text(json.dumps({"run_id": run.info.run_id}), encoding="utf-8")
        runs.log_settings(settings, snapshot.versions, inputs.data_hash)
        uri = _train(settings, inputs, checkpoints, champion)
        version = registry.register(settings, uri, run.info.run_id, snapshot.versions, key)
    registry.point(settings, registry.CHALLENGER, version)
    shutil.rmtree(checkpoints)
    log.info("version %d was trained in run %s", version, run.info.run_id)


def _train(settings: Settings, inputs: Inputs, checkpoints: Path, champion: registry.Registered | None) -> str:
    """Train, and log the model; returns its address."""
    warm_start = TwoTower.load(champion.folder) if champion else None
    results: list[EpochResult] = []
    with _progress(settings.training.epochs) as show:

        def on_epoch(result: EpochResult) -> None:
            results.append(result)
            runs.log_epoch(result)
            show(result)

        model = training.train_model(settings, inputs, checkpoints, on_epoch, warm_start)
    if results:
        runs.log_curves(results)
    return runs.log_model(model, write_card(settings, inputs, model, results))


def _unfinished_run(checkpoints: Path) -> str | None:
    """Id of the run of a killed training, which goes on in the same run; None for a new training."""
    file = checkpoints / _RUN
    return json.loads(file.read_text(encoding="utf-8"))["run_id"] if file.exists() else None


@contextmanager
def _progress(count_epochs: int) -> Iterator[Callable[[EpochResult], None]]:
    """Yields a function that shows an epoch's result: as a bar in a terminal, as a log line elsewhere."""
    if not sys.stderr.isatty():
        yield lambda result: log.info("epoch %d of %d: %s", result.epoch + 1, count_epochs, _format_result(result))
        return
    with Progress() as bar:
        task = bar.add_task("training", total=count_epochs)
        yield lambda result: bar.update(task, completed=result.epoch + 1, description=_format_result(result))


def _format_result(result: EpochResult) -> str:
    measured = "" if result.validation is None else f", NDCG@20 {result.validation:.4f}"
    return f"loss {result.loss:.4f}{measured}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--name", default="train", metavar="NAME", help="name of the run in MLflow; default: train")
    return command_line.run(parser, work, argv, (MlflowException,))


if __name__ == "__main__":
    sys.exit(main())
