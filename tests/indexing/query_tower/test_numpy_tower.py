"""The query tower in NumPy gives the embeddings of the exported graph, for every form of model and history."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexing.ann.runtime import load_saved_model, save_module
from indexing.bundle import builder, checksums
from indexing.bundle.builder import BundleSpec
from indexing.bundle.bundle import Bundle
from indexing.bundle.coordinates import Balance
from indexing.publishing import publication
from indexing.query_tower import legacy_query_tower, query_export
from indexing.query_tower.numpy_tower import NumpyTower
from models.data.catalogue import Catalogue
from models.data.padded_histories import PaddedHistories
from models.towers.legacy_keras import tf
from models.towers.query_module import QueryModule
from tests.fixtures.query_parts import COUNTRIES, parameters, tables
from tests.fixtures.small_bundle import VERSION, SmallModel

TITLES, DIM, DIMS, FACTORS = 40, 5, 9, 4
USERS, LENGTH = 30, 12


def histories(random: np.random.Generator) -> PaddedHistories:
    """Random histories: the first is empty, the second has dislikes only, the third a gap for an unknown title."""
    lengths = random.integers(1, LENGTH, USERS)
    lengths[0] = 0
    is_title = np.arange(LENGTH) < lengths[:, None]
    rows = np.where(is_title, random.integers(1, TITLES + 1, (USERS, LENGTH)), 0)
    weights = np.where(is_title, random.choice([1.0, 0.8, 0.1, -1.0], (USERS, LENGTH)), 0).astype(np.float32)
    weights[1] = np.where(is_title[1], -1, 0)
    rows[2, :4] = [3, 0, 5, 7]
    weights[2, :4] = 1
    ages = np.where(is_title, np.sort(random.integers(0, 6, (USERS, LENGTH)), axis=1), 0).astype(np.float32)
    return PaddedHistories(rows, weights, ages, random.integers(0, COUNTRIES + 2, USERS))


@pytest.mark.parametrize(
    ("factors", "changes"),
    [
        (FACTORS, {}),
        (FACTORS, {"recency_half_life": 2.0, "recency_floor": 0.3}),
        (FACTORS, {"part_weights": {"towers": 1.5, "linear": 0.0, "als": 1.0}}),
        (0, {"part_weights": {"towers": 1.0, "linear": 0.5, "als": 0.0}}),
        (FACTORS, {"part_weights": {"towers": 1.0, "linear": 0.0, "als": 0.5, "popularity": 0.7}}),
    ],
    ids=["all parts", "newer likes count more", "without the linear part", "without factors", "popularity for all"],
)
def test_numpy_gives_the_embeddings_of_the_graph(tmp_path: Path, factors: int, changes: dict[str, Any]) -> None:
    random = np.random.default_rng(3)
    query_tables = tables(random, TITLES, DIM, DIMS, factors)
    module = QueryModule(query_tables, parameters(query_tables, random, **changes))
    factors_of = random.uniform(0.5, 2, DIMS).astype(np.float32)
    balance = Balance(random.permutation(DIMS), factors_of, factors_of)
    np.savez(tmp_path / "balance.npz", order=balance.order, factors=balance.factors)
    query_export.save_query_tower(module, balance, tmp_path)
    exported = load_saved_model(tmp_path / "query_tower")
    tower = NumpyTower.load(tmp_path)
    assert tower is not None
    padded = histories(random)
    expected = exported(padded.rows, padded.weights, padded.ages_days, padded.countries).numpy()
    assert expected.std() > 0.1
    embeddings = tower(padded)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected, atol=2e-5)
    # One user at a time, without padding, as serving calls it.
    for user in (0, 5, 11):
        one_user = padded.part(slice(user, user + 1))
        length = max(1, int((one_user.rows > 0).sum()))
        cut = PaddedHistories(
            one_user.rows[:, :length], one_user.weights[:, :length], one_user.ages_days[:, :length], one_user.countries
        )
        np.testing.assert_allclose(tower(cut), expected[user : user + 1], atol=2e-5)


class QueryModuleModel(SmallModel):
    """A model of the small lake whose query tower has the form of trained ones."""

    def query_tower(self, catalogue: Catalogue) -> tf.Module:
        random = np.random.default_rng(4)
        query_tables = tables(random, len(catalogue), DIM, SmallModel.dim, FACTORS)
        return QueryModule(query_tables, parameters(query_tables, random))


def test_bundle_without_the_arrays_is_served_from_its_saved_model(
    tmp_path: Path, make_spec: Callable[..., BundleSpec]
) -> None:
    model: Any = QueryModuleModel(seed=2)
    bundle = builder.build(model, make_spec(), tmp_path, VERSION)
    assert "query_tower.npz" in bundle.manifest.files
    assert bundle.manifest.schema_version == 1  # readers of older versions open it
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "older"))
    (folder / "query_tower.npz").unlink()
    for name in ("manifest.json", "manifest.json.sha256"):
        (folder / name).unlink()
    checksums.write_manifest(folder, bundle.manifest)
    older = Bundle.open(folder)
    assert "query_tower.npz" not in older.manifest.files
    padded = histories(np.random.default_rng(3))
    new_tower, old_tower = bundle.numpy_tower, older.numpy_tower
    assert new_tower is not None
    assert old_tower is not None
    assert np.shares_memory(old_tower.tower_table, np.asarray(older.query_tower._query_tower._tower_table.value()))
    np.testing.assert_array_equal(old_tower(padded), new_tower(padded))
    np.testing.assert_array_equal(older.embed(padded), bundle.embed(padded))
    assert publication.check(older) == bundle.manifest.parity


def test_a_model_of_another_form_has_no_numpy_tower(tmp_path: Path) -> None:
    class Other(tf.Module):
        @tf.function(input_signature=(tf.TensorSpec([None], tf.float32, "values"),))
        def __call__(self, values: tf.Tensor) -> tf.Tensor:
            return values

    save_module(Other(), tmp_path / "other")
    assert NumpyTower.load(tmp_path) is None
    assert legacy_query_tower.numpy_tower(load_saved_model(tmp_path / "other")) is None
