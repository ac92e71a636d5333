"""The trained model: vectors for today's catalogue, queries for histories, saved and loaded again."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from lake.snapshot import LakeSnapshot
from models.blend.two_tower import CatalogueModel, LearntTitles, ModelCard, TwoTower
from models.data.catalogue import Catalogue
from models.data.content import Content
from models.data.model_tables import TRAINING_TABLES
from models.data.padded_histories import pad_newest_first
from models.errors import ModelError
from models.evaluation.evaluation_set import EvaluationSet
from models.fit import training
from models.fit.inputs import read_inputs
from models.linear import cold_ridge
from models.linear.als import Als
from models.linear.cold_ridge import ColdRidge
from models.linear.content_kernel import features, select
from models.linear.ease import Ease
from models.towers.query_module import QueryParameters
from tests.fixtures.query_parts import with_prior

LEARNT, DIM, DIMS, FACTORS, PLOT = 30, 4, 6, 3, 8
IDS = np.arange(LEARNT)[::-1] * 10 + 1000  # not in ascending order


def plots() -> np.ndarray:
    """[learnt titles and ten more, width]: the last ten are nearly the first ten."""
    random = np.random.default_rng(1)
    known = random.normal(size=(LEARNT, PLOT))
    return np.vstack([known, known[:10] + 0.01 * random.normal(size=(10, PLOT))]).astype(np.float32)


def catalogue(ids: Sequence[int], rows: np.ndarray, name: str = "plot") -> Catalogue:
    count = len(ids)
    return Catalogue(
        title_ids=np.array(ids),
        is_listed=np.ones(count, dtype=np.bool_),
        object_types=["movie"] * count,
        genre_names=[],
        genres=sparse.csr_matrix((count, 0)),
        release_days=np.full(count, np.nan),
        content=Content({name: rows}, {name: np.ones(count, dtype=np.bool_)}, {name: 1.0}),
    )


@pytest.fixture(scope="module")
def model() -> TwoTower:
    """A model whose title vectors are a smooth function of plots, so that a ridge can predict them."""
    random = np.random.default_rng(2)

    def of_plots(width: int) -> np.ndarray:
        return np.tanh(plots()[:LEARNT] @ random.normal(size=(PLOT, width))).astype(np.float32)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    tower = of_plots(DIM)
    titles = LearntTitles(
        title_ids=IDS,
        counts=np.arange(1, LEARNT + 1),
        vectors=of_plots(DIMS),
        tower=(tower / np.linalg.norm(tower, axis=1, keepdims=True)).astype(np.float32),
        linear=of_plots(DIMS),
        factors=of_plots(FACTORS),
    )
    query = QueryParameters(
        tower={
            "of_vector": normal(DIM),
            "of_age": normal(),
            "of_weight": normal(),
            "everybody": normal(DIM),
            "countries": normal(4, DIM),
        },
        tower_projection=normal(DIM, DIMS),
        factor_projection=normal(FACTORS, DIMS),
        part_weights={"towers": 1.0, "linear": 0.5, "als": 0.5},
        system=np.eye(FACTORS, dtype=np.float32),
        alpha=3.0,
        cold_user_query=normal(DIMS),
        positive_min_weight=0.25,
    )
    cold = ColdRidge(max_titles=100, noise=1e-3, noise_power=0.0, length_scale=1.4, scale=1.0)
    return TwoTower(titles, query, ModelCard(5, {"plot": 1.0}, ["DE", "FR"], cold))


@pytest.fixture(scope="module")
def today() -> Catalogue:
    """The learnt titles in another order, less three of them, with ten new ones in between."""
    order = np.random.default_rng(3).permutation(np.arange(3, LEARNT + 10))
    ids = np.concatenate([IDS, np.arange(10) + 5000])[order]
    return catalogue(ids, plots()[order])


def histories(of: Catalogue, *title_ids: Sequence[int]) -> sparse.csr_matrix:
    matrix = np.zeros((len(title_ids), len(of)), dtype=np.float32)
    for user, titles in enumerate(title_ids):
        matrix[user, of.rows(np.array(titles, dtype=np.int64))] = 1
    return sparse.csr_matrix(matrix)


def test_learnt_titles_keep_their_vectors_at_any_row(model: TwoTower, today: Catalogue) -> None:
    whole = model.title_vectors(catalogue(IDS, plots()[:LEARNT]))
    vectors = model.title_vectors(today)
    assert vectors.dtype == np.float32
    rows = today.rows(IDS)
    assert (rows < 0).sum() == 3
    np.testing.assert_array_equal(vectors[rows[rows >= 0]], whole[rows >= 0])


def test_new_titles_get_vectors_predicted_from_content(model: TwoTower, today: Catalogue) -> None:
    """New title n has nearly the content of learnt title n, and so nearly its vector, but for shrinkage."""
    vectors = model.title_vectors(today)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    learnt = today.rows(IDS[3:])
    rows, counts = features(today.content), np.isin(today.title_ids, IDS).astype(np.int64)
    _, fitted = cold_ridge.fit(model.learnt_vectors(today), counts, rows, model.card.cold)
    for number in range(3, 10):
        new, twin = today.rows(np.array([5000 + number, IDS[number]]))
        [predicted] = fitted.predict_new(select(rows, np.array([new])))
        assert np.linalg.norm(predicted - vectors[twin]) < 0.1 * np.linalg.norm(vectors[twin])
        cosines = unit[learnt] @ unit[new]
        assert cosines.argmax() == number - 3
        assert cosines.max() > 0.95


def test_vectors_of_new_titles_are_scaled(model: TwoTower, today: Catalogue) -> None:
    card = replace(model.card, cold=replace(model.card.cold, scale=1.3))
    longer = TwoTower(model._titles, model._query, card).title_vectors(today)
    is_new = today.title_ids >= 5000
    np.testing.assert_allclose(longer[is_new], 1.3 * model.title_vectors(today)[is_new], rtol=1e-5)
    np.testing.assert_array_equal(longer[~is_new], model.title_vectors(today)[~is_new])


def test_length_power_evens_out_lengths_of_new_titles(model: TwoTower, today: Catalogue) -> None:
    is_new = today.title_ids >= 5000
    promised = model.title_vectors(today)
    lengths = np.linalg.norm(promised, axis=1, keepdims=True)
    for power in (0.5, 1.0):
        card = replace(model.card, cold=replace(model.card.cold, scale=1.3, length_power=power))
        vectors = TwoTower(model._titles, model._query, card).title_vectors(today)
        expected = 1.3 * promised * (lengths[is_new].mean() / lengths) ** power
        np.testing.assert_allclose(vectors[is_new], expected[is_new], rtol=1e-5)
        np.testing.assert_array_equal(vectors[~is_new], promised[~is_new])


def test_a_new_title_in_a_history_gives_the_query_of_a_similar_one(model: TwoTower, today: Catalogue) -> None:
    bound = CatalogueModel(model, today)
    liked = histories(today, [5004, 1070], [IDS[4], 1070])
    new, twin = bound.queries(pad_newest_first(liked, None, None, 5))
    assert new @ twin / np.linalg.norm(new) / np.linalg.norm(twin) > 0.99


def test_scores_are_inner_products_of_queries_and_vectors(model: TwoTower, today: Catalogue) -> None:
    bound = CatalogueModel(model, today)
    liked = histories(today, [1000, 1010], [], [5001])
    padded = pad_newest_first(liked, None, None, model.history_length)
    expected = bound.queries(padded) @ model.title_vectors(today).T
    np.testing.assert_allclose(bound.score(liked), expected, atol=1e-5)
    assert bound.score(liked[:0]).shape == (0, len(today))


def test_a_long_history_is_cut_to_its_newest_titles(model: TwoTower, today: Catalogue) -> None:
    ids = today.title_ids[:8]
    evaluation_set = evaluation_set_of(today, [ids], ages=[8.0, 7, 6, 5, 4, 3, 2, 1], countries=["DE"])
    newest = evaluation_set_of(today, [ids[3:]], ages=[5.0, 4, 3, 2, 1], countries=["DE"])
    bound = CatalogueModel(model, today)
    whole, cut = (bound.recommend_for(one, len(today)) for one in (evaluation_set, newest))
    left_out = {-1, *today.rows(ids)}
    assert [title for title in cut[0] if title not in left_out] == [title for title in whole[0] if title >= 0]


def evaluation_set_of(
    of: Catalogue, liked: Sequence[Sequence[int]], ages: Sequence[float], countries: Sequence[str | None]
) -> EvaluationSet:
    """An evaluation set of these histories, with the age of each entry in the order of the catalogue."""
    liked_matrix = histories(of, *liked)
    relevant = sparse.csr_matrix(np.eye(len(liked), len(of), dtype=np.float32))
    nothing = sparse.csr_matrix(liked_matrix.shape, dtype=np.float32)
    everything = np.ones(len(of), dtype=np.bool_)
    return EvaluationSet(
        "t", ["u"] * len(liked), countries, liked_matrix, np.array(ages), relevant, nothing, np.zeros(1), everything
    )


def test_ages_and_countries_change_the_list(model: TwoTower, today: Catalogue) -> None:
    two = today.title_ids[:2]
    bound = CatalogueModel(model, today)
    lists = [
        bound.recommend_for(evaluation_set_of(today, [two], ages, [country]), 20).tolist()
        for ages, country in (([0.0, 500.0], "DE"), ([500.0, 0.0], "DE"), ([0.0, 500.0], "FR"), ([0.0, 500.0], None))
    ]
    assert len({tuple(titles[0]) for titles in lists}) == 4
    assert not {0, 1} & set(np.concatenate(lists).ravel())


def test_countries_have_ids_of_the_vocabulary(model: TwoTower) -> None:
    assert model.country_ids(["FR", None, "DE", "XX"]).tolist() == [3, 0, 2, 1]


def test_similar_titles_have_the_largest_cosines(model: TwoTower, today: Catalogue) -> None:
    vectors = model.title_vectors(today)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit[7]
    cosines[7] = -2
    assert CatalogueModel(model, today).similar_titles(7, 5).tolist() == np.argsort(-cosines)[:5].tolist()


def test_loaded_model_equals_the_saved_one(model: TwoTower, today: Catalogue, tmp_path: Path) -> None:
    model.save(tmp_path / "made" / "here")
    loaded = TwoTower.load(tmp_path / "made" / "here")
    assert loaded.card == model.card
    assert (loaded.dim, loaded.history_length) == (DIMS, 5)
    np.testing.assert_array_equal(loaded.title_vectors(today), model.title_vectors(today))
    liked = histories(today, [1000, 1010, 5003], [])
    np.testing.assert_array_equal(CatalogueModel(loaded, today).score(liked), CatalogueModel(model, today).score(liked))


def test_folder_without_a_model_is_refused(model: TwoTower, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model can be read here"):
        TwoTower.load(tmp_path)
    model.save(tmp_path)
    file = tmp_path / "model.json"
    known = file.read_text()
    file.write_text(known.replace('"schema_version": 4', '"schema_version": 99'))
    with pytest.raises(ModelError, match="a model of schema 99, but this version reads 4"):
        TwoTower.load(tmp_path)
    file.write_text(known[: len(known) // 2])
    with pytest.raises(ModelError, match="no model can be read here"):
        TwoTower.load(tmp_path)
    file.write_text(known)
    arrays = tmp_path / "arrays.npz"
    arrays.write_bytes(arrays.read_bytes()[:1000])
    with pytest.raises(ModelError, match="no model can be read here"):
        TwoTower.load(tmp_path)


def test_a_catalogue_without_content_that_it_needs_is_refused(model: TwoTower) -> None:
    other = catalogue([*IDS, 5000], plots()[: LEARNT + 1], name="poster")
    with pytest.raises(ModelError, match=r"without content \['plot'\], which the model was trained with"):
        model.title_vectors(other)
    # A catalogue of learnt titles alone needs no prediction.
    assert len(model.title_vectors(catalogue(IDS, plots()[:LEARNT], name="poster"))) == LEARNT


def test_a_catalogue_of_other_titles_is_refused(model: TwoTower) -> None:
    with pytest.raises(ModelError, match="none of the 30 titles"):
        model.query_tower(catalogue([1, 2], plots()[:2]))


def test_learnt_titles_are_recommended_by_id(model: TwoTower) -> None:
    known = catalogue(IDS, plots()[:LEARNT])
    history_ids = np.array([[1000, 1010, -1], [-1, -1, -1], [4, 1010, 1000]])  # title 4 is unknown
    lists = model.recommend_learnt(history_ids, LEARNT)
    scores = CatalogueModel(model, known).score(histories(known, [1000, 1010], []))
    best = IDS[np.argsort(-scores[0])]
    assert lists[0].tolist() == [*[title for title in best if title not in (1000, 1010)], -1, -1]
    assert lists[1].tolist() == IDS[np.argsort(-scores[1])].tolist()
    assert lists[2].tolist() == lists[0].tolist()


def test_it_can_not_be_fitted_again(model: TwoTower, today: Catalogue) -> None:
    with pytest.raises(ValueError, match=r"trained by models\.train"):
        CatalogueModel(model, today).fit(histories(today, [1000]), today.content)


def standardised(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)


def test_at_full_rank_scores_are_the_sum_of_the_parts(
    trained: Any, tiny_settings: Callable[..., Any], tmp_path: Path
) -> None:
    """Each part's scores at standard deviation 1 over the liked titles: towers, half of EASE, half of ALS."""
    alone = {"model.weights.ease": 0.0, "model.weights.als": 0.0}
    settings = tiny_settings(trained.lake.root, tmp_path, **alone)
    inputs = read_inputs(settings, LakeSnapshot.pin(settings.lake.root, TRAINING_TABLES))
    towers = training.train_model(settings, inputs, tmp_path, lambda result: None)
    liked, content = inputs.positives, inputs.catalogue.content
    options = trained.settings.model.ease
    ease = Ease(options.regularization, 99, dropout=options.dropout, history_power=options.history_power)
    ease.fit(liked, content)
    als = Als(4, 0.1, 2.0, trained.settings.model.als.iterations, settings.seed)
    als.fit(liked, content)
    scores, of_towers = (
        CatalogueModel(with_prior(made, 0.0), inputs.catalogue).score(inputs.train.liked)[:, inputs.warm]
        for made in (trained.model, towers)
    )
    weights = trained.settings.model.weights
    expected = weights.towers * standardised(of_towers)
    expected = expected + weights.ease * standardised(liked @ ease.weights)
    expected = expected + weights.als * standardised(als.user_vectors(liked) @ als.title_vectors.T)
    np.testing.assert_allclose(scores, expected, atol=2e-3)
