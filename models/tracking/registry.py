"""Registered models in MLflow: versions of `marquee`, and the aliases `challenger` and `champion`."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from conf.settings import Settings
from lake.model_names import REGISTERED_MODEL
from models.errors import ModelError

log = logging.getLogger("marquee")

ALIASES = (CHALLENGER, CHAMPION) = ("challenger", "champion")
FOLDER = "two_tower"  # folder that TwoTower.save wrote, among the artifacts of the logged model

# Tags of a version: the tables it was trained on, as `delta_version.training_examples` = "17". `jobs.maintain` reads
# these too.
_DELTA_VERSION = "delta_version."
_TRAINING_KEY = "training_key"


@dataclass(frozen=True)
class Registered:
    """A version of the model; `folder` is what TwoTower.load takes."""

    version: int
    run_id: str | None  # None where it was registered by hand
    folder: Path
    delta_versions: Mapping[str, int]


def fetch(settings: Settings, model: str) -> Registered:
    """The version that `model` names, a number or an alias. Raises ModelError where there is none."""
    return _fetched(settings, _find_version(client(settings), model))


def run_of(settings: Settings, model: str) -> str | None:
    """The run of a version, named as for `fetch`; None for one that was registered by hand."""
    return _find_version(client(settings), model).run_id or None


def champion_or_none(settings: Settings) -> Registered | None:
    """The champion, or None before the first one."""
    mlflow_client = client(settings)
    version = _version_by_alias(mlflow_client, CHAMPION)
    return None if version is None else _fetched(settings, version)


def find_trained(settings: Settings, training_key: str) -> int | None:
    """The newest version of a training with this key; None before the first."""
    versions = client(settings).search_model_versions(f"name = '{REGISTERED_MODEL}'")
    return max(
        (int(version.version) for version in versions if version.tags.get(_TRAINING_KEY) == training_key), default=None
    )


def register(
    settings: Settings, model_uri: str, run_id: str, delta_versions: Mapping[str, int], training_key: str
) -> int:
    """Register a logged model as the next version; returns its number."""
    mlflow_client = client(settings)
    try:
        mlflow_client.get_registered_model(REGISTERED_MODEL)
    except MlflowException:
        mlflow_client.create_registered_model(REGISTERED_MODEL)
    tags = {f"{_DELTA_VERSION}{table}": str(version) for table, version in delta_versions.items()}
    created = mlflow_client.create_model_version(
        REGISTERED_MODEL, model_uri, run_id, tags={**tags, _TRAINING_KEY: training_key}
    )
    return int(created.version)


def point(settings: Settings, alias: str, version: int) -> None:
    """Make `alias` name `version` from now on."""
    client(settings).set_registered_model_alias(REGISTERED_MODEL, alias, str(version))
    log.info("registry: %s is version %d", alias, version)


def keep_text(settings: Settings, model: str, file: str, text: str) -> bool:
    """Write a text file to the run of a version, replacing one of that name; False for a version without a run."""
    run_id = run_of(settings, model)
    if run_id is not None:
        client(settings).log_text(run_id, text, file)
    return run_id is not None


def kept_text(settings: Settings, model: str, file: str) -> str | None:
    """A text file of the run of a version; None where there is no such file, or no run."""
    run_id = run_of(settings, model)
    if run_id is None:
        return None
    mlflow_client = client(settings)
    folder_of_file = file.rpartition("/")[0] or None
    if not any(artifact.path == file for artifact in mlflow_client.list_artifacts(run_id, folder_of_file)):
        return None
    with TemporaryDirectory() as folder:
        return Path(mlflow_client.download_artifacts(run_id, file, folder)).read_text(encoding="utf-8")


def client(settings: Settings) -> MlflowClient:
    """Client of the tracking store that the settings name, which holds the registry too; creates SQLite's folder."""
    uri = settings.mlflow.tracking_uri
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).absolute().parent.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _find_version(mlflow_client: MlflowClient, model: str) -> mlflow.entities.model_registry.ModelVersion:
    if not model.isdigit():
        version = _version_by_alias(mlflow_client, model)
        if version is None:
            raise ModelError(
                f"no {model} is registered as {REGISTERED_MODEL!r} at {mlflow_client.tracking_uri};"
                " run models.train first"
            )
        return version
    try:
        return mlflow_client.get_model_version(REGISTERED_MODEL, model)
    except MlflowException as error:
        raise ModelError(
            f"{REGISTERED_MODEL!r} has no version {model} at {mlflow_client.tracking_uri}: {error.message}"
        ) from error


def _version_by_alias(mlflow_client: MlflowClient, alias: str) -> mlflow.entities.model_registry.ModelVersion | None:
    try:
        return mlflow_client.get_model_version_by_alias(REGISTERED_MODEL, alias)
    except MlflowException:
        return None


def _fetched(settings: Settings, version: mlflow.entities.model_registry.ModelVersion) -> Registered:
    client(settings)  # downloads go by the global address
    folder = Path(mlflow.artifacts.download_artifacts(version.source)) / "artifacts" / FOLDER
    pinned = {
        tag.removeprefix(_DELTA_VERSION): int(value)
        for tag, value in version.tags.items()
        if tag.startswith(_DELTA_VERSION)
    }
    return Registered(int(version.version), version.run_id, folder, pinned)
