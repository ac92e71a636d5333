"""Delta versions that the registered models were trained on; these must stay readable."""

from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from jobs.errors import JobError

# A registered model version carries one tag per input table: `delta_version.training_examples` = "17".
TAG_PREFIX = "delta_version."
_SQLITE = "sqlite:///"


def pinned_versions(tracking_uri: str) -> dict[str, int]:
    """The oldest version per table that a registered model was trained on.

    Raises JobError where the registry can't be read: the pinned versions are unknown then.
    """
    if tracking_uri.startswith(_SQLITE) and not Path(tracking_uri.removeprefix(_SQLITE)).exists():
        return {}  # no run was ever tracked; a client would create the database
    oldest: dict[str, int] = {}
    try:
        for table, version in _pins(MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)):
            oldest[table] = min(version, oldest.get(table, version))
    except MlflowException as error:
        raise JobError(
            f"mlflow.tracking_uri {tracking_uri}: the registry can't be read, so the table versions that models need "
            f"are unknown; start MLflow or correct the address, then run this again ({' '.join(str(error).split())})"
        ) from error
    return oldest


def _pins(client: MlflowClient) -> Iterator[tuple[str, int]]:
    token: str | None = None
    while token is None or token:
        page = client.search_model_versions(page_token=token)
        for model_version in page:
            for tag, value in model_version.tags.items():
                if tag.startswith(TAG_PREFIX):
                    yield tag.removeprefix(TAG_PREFIX), int(value)
        token = page.token or ""
