"""Every baseline on a catalogue with known answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from lake.arrays import NO_TITLE
from models.baselines.content_neighbours import ContentNeighbours
from models.baselines.marec import Marec
from models.baselines.popularity import Popularity
from models.baselines.ridge import AlsRidge, ContentRidge, EaseRidge
from models.data.content import Content
from models.linear.als import Als
from models.linear.ease import Ease
from models.recommender import Recommender, recommend

Make = Callable[[], Recommender]


def _als() -> Als:
    return Als(factors=4, regularization=5, alpha=10, iterations=15, seed=3)


def _ease() -> Ease:
    return Ease(regularization=50, max_titles=100)


RIDGE = ContentRidge(noise=0.1, max_titles=100)

UNPERSONAL: dict[str, Make] = {"popularity": Popularity}
WITHOUT_CONTENT: dict[str, Make] = {"als": _als, "ease": _ease}
WITH_CONTENT: dict[str, Make] = {
    "content_neighbours": ContentNeighbours,
    "als_ridge": lambda: AlsRidge(_als(), RIDGE),
    "ease_ridge": lambda: EaseRidge(_ease(), RIDGE),
    "marec": lambda: Marec(regularization=50, alignment=1, max_titles=100),
}
PERSONAL = WITHOUT_CONTENT | WITH_CONTENT
ALL = UNPERSONAL | PERSONAL


def _cases(makes: dict[str, Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", makes.values(), ids=makes.keys())


def _fitted(make: Make, catalogue: Any) -> Recommender:
    model = make()
    model.fit(catalogue.liked, catalogue.content)
    return model


@_cases(PERSONAL)
def test_titles_of_the_user_s_taste_come_first(make: Make, catalogue: Any) -> None:
    lists = recommend(_fitted(make, catalogue), catalogue.histories, 6, candidates=~catalogue.is_cold)
    for taste, row in enumerate(lists):
        # 10 warm titles of the taste less the 4 of the history
        assert set(row.tolist()) == catalogue.others(taste) - catalogue.cold(taste)


@_cases(WITH_CONTENT)
def test_cold_titles_of_the_user_s_taste_come_before_titles_of_other_tastes(make: Make, catalogue: Any) -> None:
    lists = recommend(_fitted(make, catalogue), catalogue.histories, 8)
    for taste, row in enumerate(lists):
        assert set(row.tolist()) == catalogue.others(taste)


@_cases(WITHOUT_CONTENT | UNPERSONAL)
def test_without_content_cold_titles_score_nothing(make: Make, catalogue: Any) -> None:
    scores = _fitted(make, catalogue).score(catalogue.histories)
    assert not scores[:, catalogue.is_cold].any()


@_cases(ALL)
def test_empty_history_gets_popular_titles(make: Make, catalogue: Any) -> None:
    empty = sparse.csr_matrix((1, catalogue.liked.shape[1]), dtype=np.float32)
    titles = recommend(_fitted(make, catalogue), empty, 10, candidates=~catalogue.is_cold)[0]
    # 90 of 190 users are of taste 0, which has 10 warm titles.
    assert set(titles.tolist()) == catalogue.others(0) - catalogue.cold(0) | set(
        catalogue.histories[0].indices.tolist()
    )


@_cases(ALL)
def test_scores_of_a_user_do_not_depend_on_the_others(make: Make, catalogue: Any) -> None:
    model = _fitted(make, catalogue)
    empty = sparse.csr_matrix((1, catalogue.liked.shape[1]), dtype=np.float32)
    histories = sparse.csr_matrix(sparse.vstack([catalogue.liked[:9], empty, catalogue.histories]))
    together = model.score(histories)
    assert together.dtype == np.float32
    assert together.shape == histories.shape
    alone = np.concatenate([model.score(histories[row]) for row in range(histories.shape[0])])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@_cases(ALL)
def test_same_seed_and_data_give_the_same_scores(make: Make, catalogue: Any) -> None:
    first, second = (_fitted(make, catalogue).score(catalogue.histories) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@_cases(ALL)
def test_likes_may_be_of_any_number_type(make: Make, catalogue: Any) -> None:
    expected = _fitted(make, catalogue).score(catalogue.histories)
    for dtype in (np.bool_, np.int8, np.float64):
        model = make()
        model.fit(catalogue.liked.astype(dtype), catalogue.content)
        np.testing.assert_allclose(model.score(catalogue.histories.astype(dtype)), expected, rtol=1e-5, atol=1e-6)


@_cases(ALL)
def test_fitting_changes_neither_likes_nor_content(make: Make, catalogue: Any) -> None:
    likes, plots = catalogue.liked.toarray(), np.array(catalogue.content.blocks["plot"])
    genres = catalogue.content.blocks["genres"].toarray()
    _fitted(make, catalogue).score(catalogue.histories)
    np.testing.assert_array_equal(catalogue.liked.toarray(), likes)
    np.testing.assert_array_equal(catalogue.content.blocks["plot"], plots)
    np.testing.assert_array_equal(catalogue.content.blocks["genres"].toarray(), genres)


@_cases(PERSONAL)
def test_similar_titles_are_of_the_same_taste(make: Make, catalogue: Any) -> None:
    model = _fitted(make, catalogue)
    for position in np.flatnonzero(~catalogue.is_cold):
        titles = model.similar_titles(int(position), 4)
        assert position not in titles
        assert set(catalogue.taste[titles]) == {catalogue.taste[position]}


@_cases(WITH_CONTENT)
def test_titles_similar_to_a_cold_one_are_of_its_taste(make: Make, catalogue: Any) -> None:
    model = _fitted(make, catalogue)
    for position in np.flatnonzero(catalogue.is_cold):
        titles = model.similar_titles(int(position), 4)
        assert set(catalogue.taste[titles]) == {catalogue.taste[position]}


@_cases(WITHOUT_CONTENT)
def test_nothing_is_similar_to_a_title_without_likes(make: Make, catalogue: Any) -> None:
    model = _fitted(make, catalogue)
    cold = int(np.flatnonzero(catalogue.is_cold)[0])
    assert model.similar_titles(cold, 3).tolist() == [NO_TITLE] * 3
    warm = int(np.flatnonzero(~catalogue.is_cold)[0])
    # 36 titles less 6 cold ones and itself
    titles = model.similar_titles(warm, 40)
    assert (titles == NO_TITLE).tolist() == [False] * 29 + [True] * 11
    assert not catalogue.is_cold[titles[:29]].any()


@_cases(WITH_CONTENT)
def test_content_of_another_catalogue_is_refused(make: Make, catalogue: Any) -> None:
    content = Content({"x": np.ones((5, 2), dtype=np.float32)}, {"x": np.ones(5, dtype=bool)})
    with pytest.raises(ValueError, match="positives have 36 titles and content 5"):
        make().fit(catalogue.liked, content)


@_cases({name: make for name, make in ALL.items() if name != "content_neighbours"})
def test_nothing_to_learn_from_is_refused(make: Make, catalogue: Any) -> None:
    with pytest.raises(ValueError, match="none of 4 users likes any of 36 titles"):
        make().fit(sparse.csr_matrix((4, 36), dtype=np.float32), catalogue.content)
