"""Training on a lake of two tastes: it learns them, is reproducible, and can start from an earlier model."""

import dataclasses
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable, write_deltalake
from scipy import sparse

from conf.loader import load_settings
from lake.snapshot import LakeSnapshot
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.model_tables import TRAINING_TABLES
from models.errors import ModelError
from models.fit import training
from models.fit.epochs import EpochResult
from models.fit.inputs import Inputs, read_inputs
from models.fit.network import loss_for, make_network
from models.fit.training import within_budget
from models.recommender import recommend


def train(settings: Any, folder: Path, **more: Any) -> tuple[TwoTower, list[EpochResult], Inputs]:
    inputs = read_inputs(settings, LakeSnapshot.pin(settings.lake.root, TRAINING_TABLES))
    results: list[EpochResult] = []
    model = training.train_model(settings, inputs, folder, results.append, **more)
    return model, results, inputs


def recommended(model: TwoTower, inputs: Inputs, count: int) -> np.ndarray:
    """[users, count]: rows of titles, by each user's likes in training."""
    return recommend(CatalogueModel(model, inputs.catalogue), inputs.train.liked, count)


def is_own_taste(lists: np.ndarray) -> np.ndarray:
    return lists % 2 == np.arange(len(lists))[:, None] % 2


def test_it_learns_tastes_and_the_taste_of_new_titles(trained: Any) -> None:
    # Of the eight titles of their taste users liked five; one new title is of it too.
    lists = recommended(trained.model, trained.inputs, 4)
    assert is_own_taste(lists).mean() > 0.98
    assert (lists >= 16).mean() == pytest.approx(0.25, abs=0.02)
    losses = [result.loss for result in trained.results]
    assert losses[-1] < losses[0]
    assert [result.epoch for result in trained.results] == [0, 1, 2, 3, 4]
    assert all(0 < result.validation <= 1 for result in trained.results)


def test_cold_users_get_titles_by_debiased_popularity(
    trained: Any, tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    popularity = np.random.default_rng(5).uniform(1, 9, len(trained.inputs.catalogue)).astype(np.float32)
    inputs = dataclasses.replace(trained.inputs, debiased_popularity=popularity)
    settings = tiny_settings(trained.lake.root, tmp_path, **{"training.epochs": 1, "model.cold_start.prior_likes": 0.0})
    model = CatalogueModel(training.train_model(settings, inputs, tmp_path, lambda result: None), inputs.catalogue)
    no_history = sparse.csr_matrix((1, len(popularity)))
    cold_user, *others = model.score(sparse.vstack([no_history, inputs.train.liked]))
    logs = np.log(popularity[inputs.warm])
    shown = cold_user[inputs.warm]
    np.testing.assert_allclose(shown / shown.std(), (logs - logs.mean()) / logs.std(), atol=1e-3)
    # As spread as other scores, so that the dial turns them as far.
    spreads = [scores[inputs.warm].std() for scores in others]
    assert min(spreads) < shown.std() < max(spreads)


def test_the_same_seed_gives_the_same_curve_and_vectors(trained: Any, tmp_path: Path) -> None:
    model, results, inputs = train(trained.settings, tmp_path)
    assert [result.loss for result in results] == [result.loss for result in trained.results]
    catalogue = inputs.catalogue
    np.testing.assert_array_equal(model.title_vectors(catalogue), trained.model.title_vectors(trained.inputs.catalogue))


def test_another_seed_gives_another_curve(trained: Any, tiny_settings: Callable[..., Any], tmp_path: Path) -> None:
    settings = tiny_settings(trained.lake.root, tmp_path, seed=7, **{"training.epochs": 1})
    _, results, _ = train(settings, tmp_path)
    assert results[0].loss != trained.results[0].loss


def test_a_sample_of_titles_trains_the_towers_too(
    trained: Any, tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    towers_alone = {"model.weights.popularity": 0.0, "model.weights.ease": 0.0}
    changes = {**towers_alone, "training.loss": "sampled_softmax", "training.epochs": 20}
    settings = tiny_settings(trained.lake.root, tmp_path, **changes)
    model, results, inputs = train(settings, tmp_path)
    assert is_own_taste(recommended(model, inputs, 3)).mean() > 0.9
    assert results[-1].loss < results[0].loss
    assert model.dim <= 9  # eight of the towers, and the cold-user query


@pytest.mark.parametrize(
    ("loss", "negatives", "expected"),
    [
        # A step over the catalogue takes as long as one over a sample of 0.4 of it: of 6.4 of the 16 titles.
        ("auto", 7, "user_softmax"),
        ("auto", 6, "sampled_softmax"),
        ("user_softmax", 1, "user_softmax"),
        ("sampled_softmax", 99, "sampled_softmax"),
    ],
)
def test_the_loss_is_the_faster_one_for_the_number_of_titles(
    loss: str, negatives: int, expected: str, trained: Any, tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    changes = {"training.loss": loss, "training.negatives": negatives}
    assert loss_for(tiny_settings(trained.lake.root, tmp_path, **changes), 16) == expected


def test_a_warm_start_continues_an_earlier_model_with_new_titles(
    trained: Any, tiny_lake: Callable[..., Any], tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    grown = tiny_lake(tmp_path / "lake", titles=22, seed=2)
    settings = tiny_settings(grown.root, tmp_path, **{"training.epochs": 1})
    _, cold, _ = train(settings, tmp_path / "cold")
    model, warm, inputs = train(settings, tmp_path / "warm", warm_start=trained.model)
    assert len(inputs.warm) == 20
    assert warm[0].loss < cold[0].loss
    assert is_own_taste(recommended(model, inputs, 5)).mean() > 0.98


def test_towers_of_a_sample_know_content_and_start_warm(
    trained: Any, tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    changes = {"training.loss": "sampled_softmax", "model.weights.popularity": 0.7, "training.epochs": 3}
    settings = tiny_settings(trained.lake.root, tmp_path, **changes)
    model, _, inputs = train(settings, tmp_path / "first")
    # Popularity, which the towers left out, comes back by its weight, and ALS with the same in it does not.
    weights = model._query.part_weights
    assert (weights["popularity"], weights["als"]) == (0.7, 0.0)
    assert trained.model._query.part_weights["popularity"] == 0.0
    assert model._titles.factors.shape[1] == 0
    network = make_network(settings, inputs, "sampled_softmax")
    assert network.titles.content.shape[0] == len(inputs.warm) + 1
    model.give_towers_to(network, inputs.title_ids)
    # Content explains what it can of the vectors, ids the rest.
    np.testing.assert_allclose(network.titles.table().numpy()[1:], model._titles.tower, atol=1e-5)
    features = network.titles.content.numpy()[1:]
    np.testing.assert_allclose(features.T @ network.titles.ids.numpy()[1:], 0, atol=1e-3)


def test_a_warm_start_from_another_width_is_refused(
    trained: Any, tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    settings = tiny_settings(trained.lake.root, tmp_path, **{"model.dim": 4})
    with pytest.raises(ModelError, match=r"towers of 4 dimensions .* of 8; set model\.dim"):
        train(settings, tmp_path, warm_start=trained.model)


def test_a_catalogue_without_likes_is_nothing_to_train_on(
    trained: Any, tiny_lake: Callable[..., Any], tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    lonely = tiny_lake(tmp_path / "lake", users=1)
    settings = tiny_settings(lonely.root, tmp_path)
    snapshot = LakeSnapshot.pin(settings.lake.root, TRAINING_TABLES)
    assert read_inputs(settings, snapshot).train.liked.nnz == 5
    # The liked titles have left the catalogue.
    later = dataclasses.replace(snapshot, versions={**snapshot.versions, "title_features": _written_anew(lonely.root)})
    with pytest.raises(ModelError, match="nothing to train on"):
        read_inputs(settings, later)


def test_likes_weigh_by_the_ranks_of_clicks_before_the_held_out_days(
    trained: Any,
    tiny_lake: Callable[..., Any],
    tiny_settings: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.debiasing.title_weights.MIN_CLICKS", 100)
    lake = tiny_lake(tmp_path / "lake")
    settings = tiny_settings(lake.root, tmp_path)
    last = date(1970, 1, 1) + timedelta(days=int(trained.inputs.train.days.max()))
    shown = [(101, last, True, 1, 1000, 100), (101, last, True, 4, 1000, 50)]
    clicked = [(100, last, False, 4, 10, 5), (101, last, False, 1, 10, 5)]
    lake.write_click_ranks([*shown, *clicked])
    inputs = read_inputs(settings, LakeSnapshot.pin(str(lake.root), TRAINING_TABLES))
    weights = inputs.title_weights
    assert weights is not None
    assert weights[0] > weights[2] > weights[1]  # clicked at rank 4, never, mostly at rank 1
    assert inputs.data_hash != trained.inputs.data_hash
    _, results, _ = train(settings, tmp_path / "checkpoints")
    assert results[0].loss != trained.results[0].loss
    # A held-out day changes nothing.
    lake.write_click_ranks([*shown, *clicked, (101, last + timedelta(days=1), False, 9, 10, 10)])
    np.testing.assert_array_equal(
        read_inputs(settings, LakeSnapshot.pin(str(lake.root), TRAINING_TABLES)).title_weights, weights
    )


def _written_anew(root: Path) -> int:
    table = DeltaTable(root / "title_features").to_pyarrow_table()
    ids = table.schema.get_field_index("title_id")
    other = table.set_column(ids, "title_id", [[n + 1000 for n in range(len(table))]])
    write_deltalake(str(root / "title_features"), other, mode="overwrite")
    return DeltaTable(root / "title_features").version()


def test_data_hash_does_not_depend_on_the_files(
    trained: Any, tiny_lake: Callable[..., Any], tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    hashes = []
    for name, seed in (("same", 1), ("other", 2)):
        settings = tiny_settings(tiny_lake(tmp_path / name, seed=seed).root, tmp_path)
        hashes.append(read_inputs(settings, LakeSnapshot.pin(settings.lake.root, TRAINING_TABLES)).data_hash)
    assert hashes[0] == trained.inputs.data_hash != hashes[1]


@pytest.mark.parametrize(
    ("steps", "max_steps", "expected"), [(10, 1000, (40, 10)), (10, 399, (39, 10)), (10, 9, (1, 9)), (10, 19, (1, 10))]
)
def test_a_training_makes_no_more_steps_than_its_budget(steps: int, max_steps: int, expected: tuple[int, int]) -> None:
    options = load_settings().training.model_copy(update={"epochs": 40, "max_steps": max_steps})
    budgeted, of_epoch = within_budget(options, steps)
    assert (budgeted.epochs, of_epoch) == expected
    assert budgeted.epochs * of_epoch <= max_steps
