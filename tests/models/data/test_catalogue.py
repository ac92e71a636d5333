"""The catalogue as arrays, in the order of the titles' index."""

import numpy as np

from models.data.catalogue import Catalogue


def test_titles_are_in_the_order_of_their_index(catalogue: Catalogue) -> None:
    assert catalogue.title_ids.tolist() == [30, 10, 20]
    assert catalogue.is_listed.tolist() == [True, True, False]
    assert catalogue.object_types == [None, "movie", "show"]
    assert catalogue.rows(np.array([10, 99, 30, 20, 5])).tolist() == [1, -1, 0, 2, -1]


def test_genres_are_named_and_unknown_ones_are_absent(catalogue: Catalogue) -> None:
    assert catalogue.genre_names == ["drama", "comedy"]
    assert catalogue.genres.toarray().tolist() == [[0, 1], [1, 1], [0, 0]]
    assert catalogue.content.present["genres"].tolist() == [True, True, False]


def test_release_is_the_date_or_the_middle_of_the_year(catalogue: Catalogue) -> None:
    # 1971-07-01 is 365 + 181 days after 1970-01-01.
    assert np.array_equal(catalogue.release_days, [np.nan, 10, 546], equal_nan=True)


def test_taken_titles_keep_their_values(catalogue: Catalogue) -> None:
    # The order is 30, 10, 20.
    taken = catalogue.take(np.array([2, 0]))
    assert taken.title_ids.tolist() == [20, 30]
    assert taken.is_listed.tolist() == [False, True]
    assert taken.object_types == ["show", None]
    assert taken.genres.toarray().tolist() == catalogue.genres.toarray()[[2, 0]].tolist()
    assert np.allclose(taken.content.blocks["plot"], [[0, 0], [1, 0]])
    assert taken.content.present["plot"].tolist() == [False, True]
    assert taken.rows(np.array([10, 30])).tolist() == [-1, 1]
