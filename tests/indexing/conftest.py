"""A bundle of 300 titles, made in seconds by what makes real ones: a small lake, a small trained model."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
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
from models.query_tower import QueryParameters
from models.two_tower import ColdRidge, LearntTitles, ModelCard, TwoTower

LISTED, LEFT, LEARNT = 300, 20, 280
DIM, TOWER, FACTORS = 12, 8, 4
COUNTRIES = ("DE", "FR", "US")
PROVIDERS = ("alpha", "beta", "gamma")
AS_OF = date(2024, 5, 14)
VERSION = "20240514T000000Z-m7"


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


def make_model(seed: int = 2) -> TwoTower:
    """Knows the first LEARNT titles, and gives the others vectors from genres and plots."""
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32) / np.float32(np.sqrt(shape[-1] if shape else 1))

    titles = LearntTitles(
        title_ids=np.arange(LEARNT) + 1000,
        counts=(2000 / (1 + np.arange(LEARNT))).astype(np.int64) + 1,
        vectors=draw(LEARNT, DIM),
        tower=draw(LEARNT, TOWER),
        linear=0.3 * draw(LEARNT, DIM),
        factors=draw(LEARNT, FACTORS),
    )
    query = QueryParameters(
        tower={
            "of_vector": draw(TOWER),
            "of_age": np.float32(-0.1),
            "of_weight": np.float32(0.5),
            "everybody": draw(TOWER),
            "countries": draw(len(COUNTRIES) + 2, TOWER),
        },
        tower_projection=draw(TOWER, DIM),
        factor_projection=draw(FACTORS, DIM),
        system=(np.eye(FACTORS) * 10).astype(np.float32),
        alpha=5.0,
        usual_user=draw(FACTORS),
        positive_min_weight=0.25,
    )
    cold = ColdRidge(max_titles=1000, noise=0.3, noise_power=0.25, length_scale=1.0, scale=1.2)
    return TwoTower(titles, query, ModelCard(20, ("genres", "plot"), COUNTRIES, cold))


@pytest.fixture(scope="session")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a lake with the tables that a bundle is made of. Not to be changed."""
    root = tmp_path_factory.mktemp("lake")
    write_lake(root)
    return root


@pytest.fixture(scope="session")
def small_model() -> TwoTower:
    return make_model()


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
    tmp_path_factory: pytest.TempPathFactory, small_model: TwoTower, make_plan: Callable[..., Plan]
) -> Bundle:
    """A bundle of 300 candidates and 20 titles that left the guide. Not to be changed: copy its folder."""
    return assembly.build(small_model, make_plan(), tmp_path_factory.mktemp("bundles"), VERSION)
