"""MLflow runs: settings, inputs, curves, model card and model of a training, and figures of evaluations."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from matplotlib.figure import Figure
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from conf.settings import Settings
from lake import provenance
from models.blend.two_tower import TwoTower
from models.evaluation import measurement, plots
from models.evaluation.measurement import Measurement
from models.evaluation.metric_registry import HEADLINE_METRICS
from models.fit.epochs import EpochResult
from models.tracking import registry

log = logging.getLogger("marquee")

EXPERIMENT = "marquee"
# Dimensions of the segments that an evaluation plots.
DIMENSIONS = ("popularity", "title_age_days", "history_titles")
_CODE = Path(__file__).parent / "logged_model.py"
# Sections of the settings that a model depends on.
_SECTIONS = ("seed", "model", "training", "content", "examples")


def start_run(settings: Settings, run_id: str | None, name: str) -> mlflow.ActiveRun:
    """A new run of the experiment, or the run `run_id` resumed; to be used as a context."""
    client = registry.client(settings)
    if client.get_experiment_by_name(EXPERIMENT) is None:
        client.create_experiment(EXPERIMENT, artifact_location=settings.mlflow.artifacts_root)
    mlflow.set_experiment(EXPERIMENT)
    return mlflow.start_run(run_id=run_id, run_name=None if run_id else name)


def log_settings(settings: Settings, versions: Mapping[str, int], data_hash: str) -> None:
    """Log all settings as a file, those a model depends on as params, and versions of code and data as tags."""
    resolved = settings.model_dump(mode="json", warnings=False)
    mlflow.log_dict(resolved, "settings.json")
    flat = flatten({name: resolved[name] for name in _SECTIONS})
    mlflow.log_params({key: str(value)[:500] for key, value in flat.items()})
    pinned = {f"delta_version.{table}": str(version) for table, version in versions.items()}
    mlflow.set_tags(
        {"git_commit": provenance.git_commit(), "data_hash": data_hash, "lake": settings.lake.root, **pinned}
    )


def log_epoch(result: EpochResult) -> None:
    """Log loss and validation figure of an epoch."""
    mlflow.log_metric("loss", result.loss, step=result.epoch + 1)
    if result.validation is not None:
        mlflow.log_metric("validation_ndcg_20", result.validation, step=result.epoch + 1)


def log_curves(results: Sequence[EpochResult]) -> None:
    """Log the training curves of the epochs as a plot."""
    epochs = [result.epoch + 1 for result in results]
    losses, validations = [result.loss for result in results], [result.validation for result in results]
    mlflow.log_figure(plots.training_curves(epochs, losses, validations), "curves.png")


def log_model(model: TwoTower, card: str) -> str:
    """Log the model with its card and signature; returns the address to register it by."""
    mlflow.log_text(card, "model_card.md")
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.int64), (-1, -1), "history_title_ids")]),
        outputs=Schema([TensorSpec(np.dtype(np.int64), (-1, 20), "title_ids")]),
    )
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / registry.FOLDER)
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_CODE),
            artifacts={registry.FOLDER: str(Path(folder) / registry.FOLDER)},
            signature=signature,
            input_example={"history_title_ids": np.array([[*model.title_ids[:2], -1]])},
            pip_requirements=["marquee"],
        )
    return str(logged.model_uri)


def log_measurements(
    settings: Settings,
    model: str,
    name: str,
    by_model: Mapping[str, Sequence[Measurement]],
    against: str,
    model_key: str = "",
) -> None:
    """Write measurements to the run of a registered `model`, under evaluation/`name`.

    All of `by_model` go to measured.csv and to plots of the models side by side: by popularity, age of the title and
    length of the history. Another plot has the model's differences to `against` by segment, if there are any. The
    model's figures over all users become metrics of the run, such as `name`.recall_20. `model_key` is the model's key
    in `by_model`, if not `model`.
    """
    run_id = registry.run_of(settings, model)
    if run_id is None:
        log.info("%s was registered without a run: its figures are not kept in MLflow", model)
        return
    client, folder = registry.client(settings), f"evaluation/{name}"
    model_key = model_key or model
    measurements = by_model[model_key]
    client.log_text(run_id, measurement.to_frame(by_model).to_csv(index=False), f"{folder}/measured.csv")
    for row in measurements:
        if row.dimension == "all":
            client.log_metric(run_id, f"{name}.{row.metric}_{row.k}", row.mean)
    k = settings.evaluation.k[0]
    for metric in HEADLINE_METRICS:
        for dimension in DIMENSIONS:
            figure = plots.by_segment(by_model, dimension, metric, k)
            client.log_figure(run_id, figure, f"{folder}/{metric}_{k}_by_{dimension}.png")
        if any(row.difference for row in measurements):
            figure = plots.differences(measurements, metric, k, f"{model_key} less {against}, {name}")
            client.log_figure(run_id, figure, f"{folder}/{metric}_{k}_against_{against}.png")
    log.info("figures of %s on %s are in MLflow, run %s", model_key, name, run_id)


def log_plot(settings: Settings, model: str, file: str, figure: Figure) -> None:
    """Write a plot to the run of a registered model; nothing for a version without a run."""
    run_id = registry.run_of(settings, model)
    if run_id is not None:
        registry.client(settings).log_figure(run_id, figure, file)


def training_key(settings: Settings, versions: Mapping[str, int], data_hash: str, warm_start: int | None) -> str:
    """Key of a training: equal keys give the same model. Names checkpoints, and marks trained versions."""
    resolved = settings.model_dump(mode="json", warnings=False)
    resolved["training"].pop("checkpoints")
    parts = [{name: resolved[name] for name in _SECTIONS}, dict(sorted(versions.items())), data_hash, warm_start]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`values` without nesting: keys of nested mappings joined by dots."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        flat |= flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat
