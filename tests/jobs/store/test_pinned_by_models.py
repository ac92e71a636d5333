"""A registry that can't be read stops maintenance with one clear line, before any file is touched."""

from contextlib import nullcontext

import pytest

from conf.settings import Settings
from jobs import maintain
from jobs.errors import JobError
from jobs.store.pinned_by_models import pinned_versions
from tests.ports import free_port


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an MLflow server that is down; the client does not try again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return f"http://127.0.0.1:{free_port()}"


def test_unreachable_registry_is_named_with_what_to_do(unreachable: str) -> None:
    with pytest.raises(JobError, match=rf"^mlflow.tracking_uri {unreachable}: .*; start MLflow or correct"):
        pinned_versions(unreachable)


def test_maintenance_without_a_registry_ends_with_one_line(
    settings: Settings, unreachable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(maintain, "spark_session", lambda *_: nullcontext())
    options = (f"lake.root={settings.lake.root}", f"bundles.root={settings.bundles.root}")
    changes = [part for change in (*options, f"mlflow.tracking_uri={unreachable}") for part in ("--set", change)]
    assert maintain.main(changes) == 1
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert f"mlflow.tracking_uri {unreachable}: the registry can't be read" in last_line
