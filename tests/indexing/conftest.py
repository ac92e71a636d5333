"""A bundle of 300 titles, made in seconds by what makes real ones: a small lake and a small model."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from conf.loader import load_settings
from conf.settings import Settings, with_changes
from indexing import assembly, lake_inputs
from indexing.assembly import Plan
from indexing.bundle import Bundle
from indexing.manifest import ModelSource
from models.lake import Catalogue
from models.legacy_keras import tf

LISTED, LEFT = 300, 20
DIM = 12
COUNTRIES = ("DE", "FR", "US")
PROVIDERS = ("alpha", "beta", "gamma")
AS_OF = date(2024, 5, 14)
VERSION, OTHER_VERSION = "20240514T000000Z-m7", "20240515T000000Z-m8"


def _write(root: Path, name: str, columns: Mapping[str, tuple[pa.DataType, Sequence[Any]]]) -> None:
    rows = pa.table({column: pa.array(list(values), type_) for column, (type_, values) in columns.items()})
    write_deltalake(str(root / name), rows)


def write_lake(root: Path, seed: int = 1) -> None:
    """Title n of the vocabulary has id 1000 + n; every 16th left the guide. Popularity falls with n, as ages do."""
    random = np.random.default_rng(seed)
    count = LISTED + LEFT
    ids = np.arange(count) + 1000
    listed = np.arange(count) % 16 != 15
    text, number, names = pa.string(), pa.int64(), pa.list_(pa.int32())
    padded = [[2 + n % 5, 2 + n % 3, 0] for n in range(count)]
    positives = (2000 / (1 + np.arange(count))).astype(int)
    features = {
        "title_id": (number, ids),
        "title_index": (pa.int32(), np.arange(count) + 2),
        "is_listed": (pa.bool_(), listed),
        "object_type_id": (pa.int32(), 2 + np.arange(count) % 2),
        "language_id": (pa.int32(), [2] * count),
        "genre_ids": (names, padded),
        "theme_ids": (names, [[2 + n % 7, 1] for n in range(count)]),
        "cast_ids": (names, [[2 + n % 11, 0] for n in range(count)]),
        "director_ids": (names, [[2 + n % 13] for n in range(count)]),
        "release_date": (pa.date32(), [AS_OF - timedelta(days=10 * (count - n) - 40) for n in range(count)]),
        "release_year": (pa.int32(), [2024] * count),
        "title_embedding": (pa.list_(pa.float32()), [None] * count),
        "plot_embedding": (pa.list_(pa.float32()), random.normal(size=(count, 6)).tolist()),
        "poster_embedding": (pa.list_(pa.float32()), [None] * count),
        "count_positives_28d": (number, positives // 2),
        "count_positives_ever": (number, positives),
        "updated_ds": (pa.date32(), [AS_OF] * count),
    }
    _write(root, "title_features", features)
    tokens = {"genre": 5, "theme": 7, "person": 13}
    rows = [(kind, f"{kind} {n}", n + 2) for kind, width in tokens.items() for n in range(width)]
    rows += [("country", code, n + 2) for n, code in enumerate(COUNTRIES)]
    kinds, words, numbers = zip(*rows, strict=True)
    _write(root, "vocabularies", {"kind": (text, kinds), "token": (text, words), "id": (pa.int32(), numbers)})
    _write(root, "stg_titles", {"title_id": (number, ids), "title": (text, [f"Title {n}" for n in ids])})
    offers = [
        (int(title_id), country, PROVIDERS[(title_id + n) % 3], "flatrate" if title_id % 2 else "rent")
        for title_id in ids
        for n, country in enumerate(COUNTRIES)
        if title_id % (n + 2) == 0
    ]
    columns = zip(("title_id", "country", "provider_id", "monetization_type"), zip(*offers, strict=True), strict=True)
    _write(root, "stg_offers", {name: (number if name == "title_id" else text, values) for name, values in columns})
    _write_histories(root, ids, random)


def _write_histories(root: Path, ids: np.ndarray, random: np.random.Generator) -> None:
    moment = datetime(2024, 5, 14, 12, tzinfo=UTC)
    entry = pa.struct(
        [
            ("event_time", pa.timestamp("us", "UTC")),
            ("title_id", pa.int64()),
            ("weight", pa.float32()),
            ("country", pa.string()),
        ]
    )
    histories = []
    for _ in range(100):
        titles = random.choice(ids, random.integers(1, 12), replace=False).tolist()
        made = [(moment - timedelta(days=n), title, 1.0 if n % 3 else 0.4) for n, title in enumerate(titles)]
        histories.append([dict(zip(entry.names, (*own, "DE"), strict=True)) for own in made])
    _write(root, "user_histories", {"entries": (pa.list_(entry), histories)})


class SmallTower(tf.Module):
    """The mean of what a history likes by weight and age, a vector of everybody's, and one of the country."""

    def __init__(self, vectors: np.ndarray, everybody: np.ndarray, countries: np.ndarray) -> None:
        super().__init__()
        self._vectors = tf.Variable(np.pad(vectors, ((1, 0), (0, 0))), trainable=False)
        self._everybody = tf.Variable(everybody, trainable=False)
        self._countries = tf.Variable(countries, trainable=False)

    @tf.function(
        input_signature=(
            tf.TensorSpec([None, None], tf.int64, "history_rows"),
            tf.TensorSpec([None, None], tf.float32, "history_weights"),
            tf.TensorSpec([None, None], tf.float32, "history_ages_days"),
            tf.TensorSpec([None], tf.int64, "country"),
        )
    )
    def __call__(self, rows: tf.Tensor, weights: tf.Tensor, ages_days: tf.Tensor, country: tf.Tensor) -> tf.Tensor:
        # As the trained tower does: what is known of a history stands first.
        counts = tf.reduce_sum(tf.cast(rows > 0, tf.int32), axis=1)
        cut = tf.reduce_max(counts)
        shares = tf.nn.relu(weights[:, :cut]) * tf.exp(-ages_days[:, :cut] / 365)
        summed = tf.einsum("bl,bld->bd", shares, tf.gather(self._vectors, rows[:, :cut]))
        mean = summed / tf.cast(1 + counts, tf.float32)[:, None]
        return mean + self._everybody + tf.gather(self._countries, country)


class SmallModel:
    """What an index asks of a trained model, as `models.two_tower.TwoTower` has it."""

    dim, history_length = DIM, 20

    def __init__(self, seed: int) -> None:
        self.card = SimpleNamespace(content_blocks={"genres": 1.0, "plot": 1.0})
        self._seed = seed

    def title_vectors(self, catalogue: Catalogue) -> np.ndarray:
        """By title, wherever it stands."""
        every = self._draw(0, 2000, DIM)
        return every[catalogue.title_ids]

    def query_tower(self, catalogue: Catalogue) -> SmallTower:
        countries = 0.3 * self._draw(2, len(COUNTRIES) + 2, DIM)
        return SmallTower(self.title_vectors(catalogue), self._draw(1, DIM), countries)

    def country_ids(self, countries: Sequence[str]) -> np.ndarray:
        """The model never met France."""
        known = {"DE": 2, "US": 4}
        return np.array([known.get(country, 1) for country in countries], dtype=np.int64)

    def _draw(self, stream: int, *shape: int) -> np.ndarray:
        values = np.random.default_rng((self._seed, stream)).normal(size=shape)
        return (values / np.sqrt(DIM)).astype(np.float32)


@pytest.fixture(scope="session")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a lake with the tables that a bundle is made of. Not to be changed."""
    root = tmp_path_factory.mktemp("lake")
    write_lake(root)
    return root


@pytest.fixture(scope="session")
def small_model() -> SmallModel:
    return SmallModel(seed=2)


@pytest.fixture(scope="session")
def small_settings(small_lake: Path) -> Settings:
    """The default settings over the small lake, with a few queries."""
    return with_changes(load_settings(), {"lake.root": str(small_lake), "index.queries": 32, "index.golden_users": 16})


@pytest.fixture(scope="session")
def make_plan(small_settings: Settings) -> Callable[..., Plan]:
    """`make_plan(**changes)`: how to build a bundle of the small lake, with settings of the index changed."""

    def make(**changes: Any) -> Plan:
        options = with_changes(small_settings, {f"index.{key}": value for key, value in changes.items()}).index
        root = small_settings.lake.root
        source = ModelSource(name="marquee", version=7, run_id="run7", delta_versions={"training_examples": 3})
        return Plan(source, root, lake_inputs.pin(root), options, None, None, small_settings.seed)

    return make


@pytest.fixture(scope="session")
def small_bundle(
    tmp_path_factory: pytest.TempPathFactory, small_model: SmallModel, make_plan: Callable[..., Plan]
) -> Bundle:
    """A bundle of 300 candidates and 20 titles that left the guide. Not to be changed: copy its folder."""
    return assembly.build(small_model, make_plan(), tmp_path_factory.mktemp("bundles"), VERSION)


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory, make_plan: Callable[..., Plan]) -> Bundle:
    """Of another model, with a searcher that hashes under a tree: what a large catalogue gets. Not to be changed."""
    changes = {"brute_force_below_titles": 0, "tree_from_titles": 0, "leaves_per_root": 1.0}
    return assembly.build(SmallModel(seed=3), make_plan(**changes), tmp_path_factory.mktemp("bundles"), OTHER_VERSION)
