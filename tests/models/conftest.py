"""A lake of two tastes, small enough to train on in a second, and one model trained on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import WriterProperties, write_deltalake

from conf.loader import load_settings
from conf.settings import Settings, with_changes

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
LIKES = 6  # of each user, of which the last one is held back
HISTORY, USER_HISTORY = 4, 8
IDS, VECTOR = pa.list_(pa.int32()), pa.list_(pa.float32())

Columns = Mapping[str, tuple[pa.DataType, Sequence[Any]]]


def write(root: Path, name: str, columns: Columns, by: Sequence[str] = ()) -> None:
    rows = pa.table({column: pa.array(values, type_) for column, (type_, values) in columns.items()})
    groups = WriterProperties(max_row_group_size=32)
    write_deltalake(str(root / name), rows, mode="overwrite", partition_by=list(by) or None, writer_properties=groups)


def padded(values: Sequence[Any], length: int) -> list[Any]:
    return [*values, *[0] * length][:length]


@dataclass(frozen=True)
class TinyLake:
    """Users of even number like titles of even id, the others the odd ones. The last `cold` titles nobody liked yet.

    Title n has id 100 + n, user n is u00n, from DE or FR.
    """

    root: Path
    users: int = 48
    titles: int = 18
    cold: int = 2
    seed: int = 1

    @property
    def warm(self) -> int:
        return self.titles - self.cold

    def write(self) -> "TinyLake":
        titles = range(self.titles)
        random = np.random.default_rng(self.seed)
        # What a plot is about is its title's side, and some noise.
        plots = random.normal(size=(self.titles, 4)) * 0.2 + [[1, 0, 0, 0] if n % 2 else [0, 1, 0, 0] for n in titles]
        features: Columns = {
            "title_id": (pa.int64(), [100 + n for n in titles]),
            "title_index": (pa.int32(), [n + 2 for n in titles]),
            "is_listed": (pa.bool_(), [True] * self.titles),
            "object_type_id": (pa.int32(), [2] * self.titles),
            "language_id": (pa.int32(), [1] * self.titles),
            "genre_ids": (IDS, [[2 + n % 2, 0] for n in titles]),
            **{name: (IDS, [[0]] * self.titles) for name in ("theme_ids", "cast_ids", "director_ids")},
            "release_date": (pa.date32(), [date(2024, 1, 1) + timedelta(days=n) for n in titles]),
            "release_year": (pa.int32(), [2024] * self.titles),
            "title_embedding": (VECTOR, [None] * self.titles),
            "plot_embedding": (VECTOR, plots.tolist()),
            "poster_embedding": (VECTOR, [None] * self.titles),
        }
        write(self.root, "title_features", features)
        tokens = [("genre", "even", 2), ("genre", "odd", 3), ("country", "DE", 2), ("country", "FR", 3)]
        kinds, words, numbers = zip(*tokens, strict=True)
        write(
            self.root,
            "vocabularies",
            {"kind": (pa.string(), kinds), "token": (pa.string(), words), "id": (pa.int32(), numbers)},
        )
        likes = [random.permutation(np.arange(n % 2, self.warm, 2))[:LIKES] + 100 for n in range(self.users)]
        self._write_examples(likes)
        self._write_users(likes)
        self.write_click_ranks([])
        return self

    def write_click_ranks(self, rows: Sequence[tuple[int, date, bool, int, int, int]]) -> None:
        """Title, day, whether in random order, rank, impressions, clicks."""
        names = ("title_id", "ds", "is_random", "rank", "count_impressions", "count_clicks")
        types = (pa.int64(), pa.date32(), pa.bool_(), pa.int32(), pa.int64(), pa.int64())
        values = zip(*rows, strict=True) if rows else [()] * len(names)
        write(self.root, "click_ranks", dict(zip(names, zip(types, values, strict=True), strict=True)))

    def _write_examples(self, likes: Sequence[np.ndarray]) -> None:
        counts = np.bincount(np.concatenate([own[:-1] for own in likes]) - 100, minlength=self.titles)
        rows = []
        for user, own in enumerate(likes):
            for order, title in enumerate(own.tolist()):
                before = own[:order][::-1]
                is_last = order == len(own) - 1
                rows.append(
                    {
                        "user_id": f"u{user:03}",
                        "title_id": title,
                        "event_time": NOON + timedelta(days=order),
                        "country": country_of(user),
                        "weight": 1.0,
                        "sampling_probability": float(counts[title - 100] / counts.sum()),
                        **history(before, HISTORY),
                        "split": "validation" if is_last else "train",
                    }
                )
        types = {
            "user_id": pa.string(),
            "title_id": pa.int64(),
            "event_time": pa.timestamp("us", "UTC"),
            "country": pa.string(),
            "weight": pa.float32(),
            "sampling_probability": pa.float32(),
            **HISTORY_TYPES,
            "split": pa.string(),
        }
        columns = {name: (type_, [row[name] for row in rows]) for name, type_ in types.items()}
        write(self.root, "training_examples", columns, ["split"])

    def _write_users(self, likes: Sequence[np.ndarray]) -> None:
        rows = [history(own[:-1][::-1], USER_HISTORY) for own in likes]
        columns = {
            "user_id": (pa.string(), [f"u{user:03}" for user in range(self.users)]),
            "country": (pa.string(), [country_of(user) for user in range(self.users)]),
            **{name: (type_, [row[name] for row in rows]) for name, type_ in HISTORY_TYPES.items()},
        }
        write(self.root, "training_users", columns)


HISTORY_TYPES = {
    "history_title_ids": pa.list_(pa.int64()),
    "history_weights": pa.list_(pa.float32()),
    "history_ages_days": pa.list_(pa.float32()),
}


def history(newest_first: np.ndarray, length: int) -> dict[str, list[Any]]:
    count = len(newest_first)
    return {
        "history_title_ids": padded(newest_first.tolist(), length),
        "history_weights": padded([1.0] * count, length),
        "history_ages_days": padded([float(n + 1) for n in range(count)], length),
    }


def country_of(user: int) -> str:
    return "DE" if user % 3 else "FR"


@pytest.fixture(scope="session")
def tiny_lake() -> Callable[..., TinyLake]:
    """`tiny_lake(folder, users=48, titles=18, cold=2, seed=1)` writes a lake of two tastes to a folder."""

    def make(root: Path, **changes: int) -> TinyLake:
        return TinyLake(root, **changes).write()

    return make


@pytest.fixture(scope="session")
def tiny_options() -> Callable[[Path, Path], dict[str, Any]]:
    """Settings by dotted key for a lake, and a folder for all that a training writes."""

    def make(lake_root: Path, work: Path) -> dict[str, Any]:
        return {
            "lake.root": str(lake_root),
            "mlflow.tracking_uri": f"sqlite:///{work}/mlflow.db",
            "mlflow.artifacts_root": str(work / "artifacts"),
            "training.checkpoints": str(work / "checkpoints"),
            "examples.history_titles": HISTORY,
            "examples.user_history_titles": USER_HISTORY,
            "baselines.als.factors": 4,
            "baselines.als.regularization": 0.1,
            "baselines.als.alpha": 2.0,
            "model.dim": 8,
            # All parts but content are in it, whatever the defaults leave out.
            "model.temperature": 0.15,
            "model.ease.regularization": 5.0,
            "model.weights.ease": 0.5,
            "model.weights.content": 0.0,
            "model.weights.als": 0.5,
            "model.cold_start.scale": 1.2,
            "training.epochs": 5,
            "training.users_per_batch": 16,
            "training.examples_per_batch": 32,
            "training.uniform_negatives": 4,
            "training.learning_rate": 0.02,
            "training.shuffle_buffer_rows": 64,
            "training.reader_threads": 1,
            "evaluation.k": [2],
            "evaluation.resamples": 50,
        }

    return make


@pytest.fixture(scope="session")
def tiny_settings(tiny_options: Callable[[Path, Path], dict[str, Any]]) -> Callable[..., Settings]:
    """`tiny_settings(lake_root, work, **{"training.epochs": 2})`."""

    def make(lake_root: Path, work: Path, **changes: Any) -> Settings:
        plain = tiny_options(lake_root, work) | {"content.blocks": {"genres": 1.0, "plot": 1.0}}
        return with_changes(load_settings(), plain | changes)

    return make


@dataclass(frozen=True)
class Trained:
    """A training of the towers with EASE and ALS beside them: what it was made of and came to."""

    lake: TinyLake
    settings: Settings
    inputs: Any  # models.training.Inputs
    model: Any  # models.two_tower.TwoTower
    results: Sequence[Any]  # models.fitting.EpochResult


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_lake: Callable[..., TinyLake],
    tiny_settings: Callable[..., Settings],
) -> Trained:
    from models import training  # TensorFlow is slow to import, and not all tests here need it

    work = tmp_path_factory.mktemp("trained")
    settings = tiny_settings(tiny_lake(work / "lake").root, work)
    inputs = training.read_inputs(settings, training.pin(settings.lake.root))
    results: list[Any] = []
    model = training.train_model(settings, inputs, work / "checkpoints", results.append)
    return Trained(TinyLake(work / "lake"), settings, inputs, model, results)


@pytest.fixture(scope="session")
def registered(trained: Trained) -> Settings:
    """The settings under which `trained` is registered, as the challenger that came of a run."""
    import mlflow

    from models import registry, tracking

    settings = trained.settings
    with tracking.start_run(settings, None, "tests") as run:
        folder = Path(settings.training.checkpoints) / "registered"
        trained.model.save(folder)
        mlflow.log_artifacts(str(folder), f"model/artifacts/{registry.FOLDER}")
        uri = f"{run.info.artifact_uri}/model"
    version = registry.register(settings, uri, run.info.run_id, trained.inputs.versions, "tests")
    registry.point(settings, registry.CHALLENGER, version)
    return settings


@pytest.fixture(scope="session")
def tiny_command(tiny_options: Callable[[Path, Path], dict[str, Any]], registered: Settings) -> list[str]:
    """Arguments that give a command the settings of `registered`."""
    work = Path(registered.training.checkpoints).parent
    plain = tiny_options(Path(registered.lake.root), work)
    blocks = {f"content.blocks.{name}": 0.0 for name in ("people", "language", "year", "poster")}
    return [part for key, value in {**plain, **blocks}.items() for part in ("--set", f"{key}={value}")]
