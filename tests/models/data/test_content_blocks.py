"""Blocks of content, with flags of the titles that have each."""

import numpy as np
import pyarrow as pa
import pytest

from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue, read_catalogue
from models.data.content_blocks import content_blocks
from models.errors import ModelError

IDS = pa.list_(pa.int32())


def test_a_person_in_two_roles_counts_once(catalogue: Catalogue) -> None:
    people = catalogue.content.blocks["people"].toarray()
    # Person 6, since person 5 is in one title only.
    assert people.tolist() == [[1], [1], [0]]
    assert catalogue.content.present["people"].tolist() == [True, True, False]


def test_pairs_of_genres_are_those_of_one_title(catalogue: Catalogue) -> None:
    pairs = catalogue.content.blocks["genre_pairs"].toarray()
    # Ids 1, 2 and 3 with padding are columns of which drama is 0 and comedy 1: 30 is a comedy, 10 is both.
    width = int(np.sqrt(pairs.shape[1]))
    assert np.flatnonzero(pairs[0]).tolist() == [width + 1]
    assert np.flatnonzero(pairs[1]).tolist() == [0, 1, width + 1]
    assert not pairs[2].any()


def test_credits_distinguish_parts(catalogue: Catalogue) -> None:
    credits = catalogue.content.blocks["credits"].toarray()
    # Person 6 plays in 30 and in 10 and directs one of them; no other person has one part in two titles.
    assert credits.tolist() == [[1], [1], [0]]


def test_credits_are_of_length_one() -> None:
    columns = {"cast_ids": [[2, 3], [2, 3], [3, 0]], "director_ids": [[4], [0], [4]]}
    rows = pa.table({name: pa.array(ids, IDS) for name, ids in columns.items()})
    credits = content_blocks(rows, {"credits": 1.0}).blocks["credits"].toarray()
    assert (credits**2).sum(axis=1) == pytest.approx(1)
    assert credits[0] == pytest.approx(3**-0.5)
    assert credits[1] == pytest.approx([0.5**0.5, 0.5**0.5, 0])


def test_month_is_that_of_the_release(catalogue: Catalogue) -> None:
    assert np.argwhere(catalogue.content.blocks["month"]).tolist() == [[1, 0]]
    assert catalogue.content.present["month"].tolist() == [False, True, False]


def test_lead_is_the_first_of_the_cast(catalogue: Catalogue) -> None:
    # 30 is led by person 6 and 10 by person 5: each leads one title.
    assert catalogue.content.blocks["lead"].shape == (3, 0)
    rows = pa.table({"cast_ids": pa.array([[5, 6], [5, 7], [6, 5]], IDS)})
    assert content_blocks(rows, {"lead": 1.0}).blocks["lead"].toarray().tolist() == [[1], [1], [0]]


def test_fame_is_the_number_of_parts_of_a_title_s_people(catalogue: Catalogue) -> None:
    # Person 6 is in the cast of two titles and directs one, person 5 is in one: three parts and one. 30 is played by 6;
    # 10 by 5, who leads it, and 6, and 6 directs it; 20 has no cast. 30 has one genre, 10 two, 20 no known one.
    counts = np.array([[3, 3, 0, 3], [4, 3, 3, 1], [0, 0, 0, 0]])
    expected = np.column_stack([np.log1p(counts), [1, 2, 0]])
    expected = (expected - expected.mean(axis=0)) / expected.std(axis=0)
    assert catalogue.content.blocks["fame"] == pytest.approx(expected, abs=1e-6)
    assert catalogue.content.present["fame"].all()


def test_weekday_is_that_of_the_release(catalogue: Catalogue) -> None:
    # The 11th of January 1970 was a Sunday.
    assert np.argwhere(catalogue.content.blocks["weekday"]).tolist() == [[1, 6]]


def test_absent_embeddings_are_rows_of_zeros_and_flagged(catalogue: Catalogue) -> None:
    plots = catalogue.content.blocks["plot"]
    assert np.allclose(plots, [[1, 0], [0.6, 0.8], [0, 0]])
    assert catalogue.content.present["plot"].tolist() == [True, True, False]


def test_catalogue_without_any_embedding_of_a_kind_has_an_empty_block(snapshot: LakeSnapshot) -> None:
    posters = read_catalogue(snapshot, {"poster": 1.0}).content
    assert posters.blocks["poster"].shape == (3, 0)
    assert not posters.present["poster"].any()


def test_near_years_are_similar_and_far_ones_not(catalogue: Catalogue) -> None:
    none, first, second = catalogue.content.blocks["year"]
    assert not none.any()
    assert catalogue.content.present["year"].tolist() == [False, True, True]
    # A year at the middle of a bin is wholly in it, and by exp(-1/2) in those a decade away.
    assert sorted(first)[-3:] == pytest.approx([np.exp(-0.5), np.exp(-0.5), 1])
    assert np.linalg.norm(first - second) < 0.2


def test_unknown_block_is_named(snapshot: LakeSnapshot) -> None:
    with pytest.raises(ModelError, match="no block 'smell'; there are genres, themes"):
        read_catalogue(snapshot, {"smell": 1.0})
