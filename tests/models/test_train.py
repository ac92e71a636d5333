"""The command that trains: what MLflow keeps, one training of a kind, a killed one, and files that can't be read."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conf.loader import DEFAULT_CONF, load_settings
from conf.settings import Settings
from lake.model_names import REGISTERED_MODEL
from models import evaluate, train
from models.blend.two_tower import TwoTower
from models.errors import ModelError
from models.tracking import registry, runs

NO_BLOCKS = ("people", "language", "year", "poster")


@dataclass(frozen=True)
class Home:
    """A lake to train on, and the settings of a command that keeps all it writes in one folder."""

    lake: Path
    work: Path
    options: Sequence[str]  # of the command line

    @property
    def settings(self) -> Settings:
        return load_settings(DEFAULT_CONF, self.options[1::2])

    def train(self, *more: str) -> int:
        return train.main([*self.options, *more])

    def runs(self) -> list[Any]:
        client = registry.client(self.settings)
        experiment = client.get_experiment_by_name("marquee")
        return list(client.search_runs([experiment.experiment_id])) if experiment else []


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Callable[..., Any]) -> Path:
    """An empty tracking store: MLflow takes seconds to make one."""
    work = tmp_path_factory.mktemp("database")
    registry.client(tiny_settings(work, work)).search_experiments()
    return work / "mlflow.db"


@pytest.fixture(scope="module")
def home_of(database: Path, tiny_options: Callable[[Path, Path], dict[str, Any]]) -> Callable[[Path, Path], Home]:
    def make(lake_root: Path, work: Path) -> Home:
        work.mkdir(exist_ok=True)
        shutil.copy(database, work / "mlflow.db")
        values = tiny_options(lake_root, work) | {f"content.blocks.{name}": 0.0 for name in NO_BLOCKS}
        return Home(lake_root, work, [part for key, value in values.items() for part in ("--set", f"{key}={value}")])

    return make


@pytest.fixture(scope="module")
def home(trained: Any, home_of: Callable[[Path, Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Trained once, on the lake that `trained` learnt from, with the same settings."""
    made = home_of(trained.lake.root, tmp_path_factory.mktemp("home"))
    assert made.train("--name", "a night") == 0
    return made


def assert_same(model: TwoTower, trained: Any) -> None:
    catalogue = trained.inputs.catalogue
    np.testing.assert_allclose(model.title_vectors(catalogue), trained.model.title_vectors(catalogue), atol=1e-4)


def test_the_challenger_is_what_was_trained(home: Home, trained: Any) -> None:
    found = registry.fetch(home.settings, "challenger")
    assert found.version == 1
    assert found.delta_versions == trained.inputs.snapshot.versions
    assert_same(TwoTower.load(found.folder), trained)
    assert list((home.work / "checkpoints").iterdir()) == []


def test_mlflow_keeps_what_the_run_was_made_of_and_came_to(home: Home, trained: Any) -> None:
    [run] = home.runs()
    client = registry.client(home.settings)
    assert run.info.run_name == "a night"
    assert run.info.status == "FINISHED"
    assert run.data.params["model.dim"] == "8"
    assert run.data.params["seed"] == str(trained.settings.seed)
    assert run.data.tags["data_hash"] == trained.inputs.data_hash
    assert run.data.tags["delta_version.training_users"] == "0"
    assert run.data.tags["lake"] == str(home.lake)
    assert len(run.data.tags["git_commit"].removesuffix("-dirty")) == 40
    for name, values in {
        "loss": [result.loss for result in trained.results],
        "validation_ndcg_20": [result.validation for result in trained.results],
    }.items():
        curve = client.get_metric_history(run.info.run_id, name)
        assert [point.step for point in curve] == [1, 2, 3, 4, 5]
        assert [point.value for point in curve] == pytest.approx(values, rel=1e-4)
    kept = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"settings.json", "model_card.md", "curves.png"} <= kept
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/settings.json")["model"]["dim"] == 8
    card = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/model_card.md")
    # 48 users liked five titles each, of 16; two more are new.
    assert "240 likes by 48 users of 16 titles, out of\n18 in the catalogue" in card
    assert f"`{trained.inputs.data_hash}`" in card


def test_the_same_training_is_not_done_twice(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    client = registry.client(home.settings)
    client.delete_registered_model_alias(REGISTERED_MODEL, "challenger")
    with caplog.at_level(logging.INFO, "marquee"):
        assert home.train() == 0
    assert "version 1 was trained with the same settings and data: nothing to train" in caplog.text
    assert len(home.runs()) == 1
    assert registry.fetch(home.settings, "challenger").version == 1


def test_mlflow_loads_the_model_and_predicts_with_it(home: Home, trained: Any) -> None:
    registry.client(home.settings)
    loaded = mlflow.pyfunc.load_model("models:/marquee@challenger")
    asked = np.array([[100, 102, -1], [101, -1, -1]])
    found = loaded.predict(asked)
    # 16 titles were learnt of: those that are not in the history come first, then nothing.
    assert found.shape == (2, 20)
    assert set(found[0, :14]) == set(range(100, 116)) - {100, 102}
    assert (found[0, 14:] == -1).all()
    np.testing.assert_array_equal(found, trained.model.recommend_learnt(asked, 20))


def test_models_are_fetched_by_alias_and_by_number(home: Home) -> None:
    settings = home.settings
    assert registry.fetch(settings, "1").run_id == registry.fetch(settings, "challenger").run_id
    assert registry.champion_or_none(settings) is None
    with pytest.raises(ModelError, match=r"no champion is registered as 'marquee' .*; run models\.train first"):
        registry.fetch(settings, "champion")
    with pytest.raises(ModelError, match="'marquee' has no version 99"):
        registry.fetch(settings, "99")
    assert registry.find_trained(settings, "no such training") is None


def test_what_a_model_measures_like_is_kept_in_its_run(home: Home, tmp_path: Path) -> None:
    asked = ["--models", "challenger", "popularity", "--against", "popularity", "--out", str(tmp_path)]
    assert evaluate.main([*home.options, *asked]) == 0
    [run] = home.runs()
    client = registry.client(home.settings)
    kept = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "evaluation/validation")}
    by = {f"{metric}_2_by_{part}.png" for metric in ("recall", "ndcg") for part in runs.DIMENSIONS}
    against = {f"{metric}_2_against_popularity.png" for metric in ("recall", "ndcg")}
    assert kept == {"measured.csv"} | by | against
    table = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/evaluation/validation/measured.csv")
    assert table == (tmp_path / "measured.csv").read_text()
    rows = pd.read_csv(tmp_path / "measured.csv")
    everybody = rows[(rows["model"] == "challenger") & (rows["dimension"] == "all")].set_index("metric")
    assert everybody["difference_low"]["recall"] > 0
    assert run.data.metrics["validation.recall_2"] == pytest.approx(everybody["mean"]["recall"])
    assert run.data.metrics["validation.coverage_2"] == pytest.approx(everybody["mean"]["coverage"])


def test_other_settings_train_another_version_which_may_begin_with_the_champion(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    settings = home.settings
    registry.point(settings, registry.CHAMPION, 1)
    warm = ["--set", "training.warm_start=true", "--set", "training.warm_start_epochs=1"]
    with caplog.at_level(logging.INFO, "marquee"):
        assert home.train(*warm) == 0
    found = registry.fetch(settings, "challenger")
    assert found.version == 2
    assert registry.fetch(settings, "champion").version == 1
    client = registry.client(settings)
    first, then = (client.get_run(registry.fetch(settings, version).run_id).data for version in ("1", "2"))
    assert then.params["training.epochs"] == "1"
    # One epoch from where five had ended, and not from nothing: the learning rate falls, so it can't be far.
    assert then.metrics["loss"] == pytest.approx(first.metrics["loss"], abs=0.2)
    client.delete_registered_model_alias(REGISTERED_MODEL, "champion")
    registry.point(settings, registry.CHALLENGER, 1)


def test_a_model_registered_by_hand_has_no_run_to_keep_figures_in(home: Home) -> None:
    settings = home.settings
    client = registry.client(settings)
    version = client.create_model_version(REGISTERED_MODEL, str(home.work / "elsewhere")).version
    try:
        assert registry.run_of(settings, str(version)) is None
        assert registry.run_of(settings, "1") == registry.fetch(settings, "challenger").run_id
        runs.log_measurements(settings, str(version), "validation", {}, "als")
    finally:
        client.delete_model_version(REGISTERED_MODEL, version)


def test_a_training_killed_in_the_middle_goes_on_and_ends_as_if_it_had_not_been(
    trained: Any, home_of: Callable[[Path, Path], Home], tmp_path: Path
) -> None:
    home = home_of(trained.lake.root, tmp_path / "home")
    command = [sys.executable, "-m", "models.train", *home.options]
    project = Path(train.__file__).parents[1]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=project) as process:
        assert process.stderr
        for line in process.stderr:
            if "epoch 2 of 5" in line:
                process.send_signal(signal.SIGKILL)
                break
        process.stderr.read()
    assert process.returncode == -signal.SIGKILL
    [unfinished] = home.runs()
    assert unfinished.info.status == "RUNNING"
    with pytest.raises(ModelError, match="no challenger"):
        registry.fetch(home.settings, "challenger")

    assert home.train() == 0
    [finished] = home.runs()
    assert finished.info.run_id == unfinished.info.run_id
    assert finished.info.status == "FINISHED"
    curve = registry.client(home.settings).get_metric_history(finished.info.run_id, "loss")
    # An epoch that had been told of may be made again.
    assert sorted({point.step for point in curve}) == [1, 2, 3, 4, 5]
    expected = [result.loss for result in trained.results]
    assert [point.value for point in curve] == pytest.approx([expected[point.step - 1] for point in curve], rel=1e-4)
    assert_same(TwoTower.load(registry.fetch(home.settings, "challenger").folder), trained)


@pytest.fixture
def broken(tiny_lake: Callable[..., Any], home_of: Callable[[Path, Path], Home], tmp_path: Path) -> Home:
    """To be broken by a test."""
    return home_of(tiny_lake(tmp_path / "lake").root, tmp_path / "home")


def file_of(home: Home, table: str) -> Path:
    files = sorted((home.lake / table).rglob("*.parquet"))
    assert files
    return files[0]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert not any(line.startswith("Traceback") for line in lines)
    return lines[-1]


@pytest.mark.parametrize("table", ["training_users", "training_examples", "title_features"])
def test_a_truncated_file_is_named(table: str, broken: Home, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(broken, table)
    os.truncate(file, file.stat().st_size // 2)
    assert broken.train() == 1
    told = last_line(capsys)
    assert file.name in told
    assert "is it truncated or damaged?" in told
    assert registry.find_trained(broken.settings, "") is None


def test_a_missing_file_is_named(broken: Home, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(broken, "training_users")
    file.unlink()
    assert broken.train() == 1
    told = last_line(capsys)
    assert file.name in told
    assert "the file is missing" in told


def test_a_file_whose_rows_are_damaged_ends_the_training(broken: Home, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(broken, "training_users")
    damaged = bytearray(file.read_bytes())
    damaged[4 : len(damaged) // 3] = bytes(len(damaged) // 3 - 4)
    file.write_bytes(damaged)
    assert broken.train() == 1
    assert file.name in last_line(capsys)
    assert broken.runs() == []  # it was found before any run began


def test_a_loss_that_is_no_number_ends_the_training(broken: Home, capsys: pytest.CaptureFixture[str]) -> None:
    location = str(broken.lake / "training_users")
    rows = pa.table(DeltaTable(location).to_pyarrow_table())
    column = rows.schema.get_field_index("history_ages_days")
    nowhere = [[float("nan")] * len(ages) for ages in rows["history_ages_days"].to_pylist()]
    ages = pa.array(nowhere, rows.schema.field(column).type)
    write_deltalake(location, rows.set_column(column, rows.schema.field(column), ages), mode="overwrite")
    assert broken.train() == 1
    assert "epoch 1: the loss is nan" in last_line(capsys)
    assert [run.info.status for run in broken.runs()] == ["FAILED"]
    with pytest.raises(ModelError, match="no challenger"):
        registry.fetch(broken.settings, "challenger")


def test_a_lake_that_is_not_there_is_told(
    home_of: Callable[[Path, Path], Home], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home_of(tmp_path / "nowhere", tmp_path / "home").train() == 1
    assert "title_features" in last_line(capsys)
