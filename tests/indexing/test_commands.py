"""The commands: output, exit codes, one clear last line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexing import build, publish, reproduce, retention, rollback, verify
from indexing.bundle.bundle import Bundle
from models.tracking import registry
from models.tracking.registry import Registered

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, small_lake: Path, small_model: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(command, argument, ...)` over the small lake, where version 7 of the model is the champion."""
    made = Registered(7, "run7", tmp_path, {"training_examples": 3})
    monkeypatch.setattr(registry, "fetch", lambda _settings, model: {"champion": made, "7": made}[model])
    for command in (build, reproduce):
        monkeypatch.setattr(command.TwoTower, "load", lambda _folder: small_model)
    settings = {"lake.root": small_lake, "bundles.root": tmp_path / "bundles", "index.queries": 32}
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return lambda command, *arguments: command.main([*overrides, *arguments])


def test_build_publish_verify_and_reproduce(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = tmp_path / "dial.json"
    chosen.write_text(json.dumps({"minimum": -1, "maximum": 1, "settings": {"balanced": 0, "gems": -0.3}}))
    assert run(build, "--dial", str(chosen), "--ds", "2024-05-20") == 0
    version = capsys.readouterr().out.split("built ")[1].split()[0]
    assert run(publish) == 0
    assert f"{version} is live: change 1 of {tmp_path}/bundles" in capsys.readouterr().out
    assert run(verify) == 0
    assert f"{version} is good: 17 files of " in capsys.readouterr().out

    manifest = Bundle.open(tmp_path / "bundles" / version).manifest
    assert manifest.dial.settings == {"balanced": 0, "gems": -0.3}
    assert manifest.dial.source == "chosen: dial.json"
    assert manifest.as_of.isoformat() == "2024-05-20"

    assert run(reproduce) == 0
    assert f"{version} was built again: the same titles" in capsys.readouterr().out


def test_reproduction_that_differs_fails_by_name(
    run: Run,
    small_bundle: Bundle,
    small_model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundles" / small_bundle.version)
    # The same version number, but another model, with other vectors.
    monkeypatch.setattr(reproduce.TwoTower, "load", lambda _folder: type(small_model)(seed=9))
    assert run(reproduce, folder.name) == 1
    assert capsys.readouterr().err.strip().endswith("the rebuilt bundle differs: vectors.npy has other vectors")


def test_verify_needs_only_a_folder(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(small_bundle.folder)]) == 0
    assert "320 titles, 300 of them candidates; model marquee version 7;" in capsys.readouterr().out


def test_damaged_bundle_fails_with_one_line(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "copy")
    (folder / "offers.parquet").unlink()
    assert verify.main([str(folder)]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith("copy: files are missing: offers.parquet")


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (verify, ("no/folder",), "no/folder: no bundle here: No such file or directory"),
        (verify, (), "nothing is published; run indexing.build, then indexing.publish"),
        (verify, ("v9",), "no bundle 'v9'; there are none"),
        (publish, (), "there is no bundle to publish; run indexing.build"),
        (rollback, (), "nothing is published, so nothing can be rolled back"),
        (build, ("--dial", "no.json"), "No such file or directory: 'no.json'"),
        (build, ("--set", "lake.root=/nowhere"), "/nowhere/title_features: the newest version can't be read"),
    ],
)
def test_impossible_request_ends_with_one_clear_line(
    run: Run, capsys: pytest.CaptureFixture[str], command: Any, arguments: tuple[str, ...], message: str
) -> None:
    assert run(command, *arguments) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_dial_beyond_its_range_is_refused(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dial.json").write_text('{"minimum": -1, "maximum": 1, "settings": {"gems": -2}}')
    assert run(build, "--dial", str(tmp_path / "dial.json")) == 1
    assert "settings ['gems'] lie outside of -1.0 to 1.0" in capsys.readouterr().err


def test_retention_says_what_it_removed(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(retention) == 0
    assert capsys.readouterr().out == f"removed 0 bundles of {tmp_path}/bundles\n"
