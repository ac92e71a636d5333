"""Ids of tokens: the most frequent first, given once, in the order of nights."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings, with_changes
from jobs import stg_offers, vocabularies
from jobs.errors import JobError

MAY_1, MAY_2 = date(2024, 5, 1), date(2024, 5, 2)
# A person needs two titles for an id.
PERSONS_OF_TWO = {"vocabulary_min_counts.person": 2}
TITLES: tuple[dict[str, Any], ...] = (
    {"title_id": 1, "genres": ["Drama", "War"], "cast": ["Cy"], "directors": ["Cy", "Al"]},
    {"title_id": 2, "genres": ["War", "War", "Comedy"], "cast": ["Al", "Bo", "Cy"], "original_language": "fr"},
)
IdsOf = Callable[[Settings, str], dict[str, int]]


@pytest.fixture(scope="module")
def first_night(
    spark: SparkSession,
    settings_in: Callable[[Path], Settings],
    titles_stager: Callable[[Settings], Callable[..., None]],
    write_table: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """A lake after its first night, May 1. Not to be changed."""
    settings = with_changes(settings_in(tmp_path_factory.mktemp("first_night")), PERSONS_OF_TWO)
    titles_stager(settings)(MAY_1, {**TITLES[0], "production_countries": ["DE"]}, TITLES[1])
    offer = {"monetization_type": "rent", "country": "FR", "first_ds": MAY_1}
    offers = [{**offer, "title_id": 1, "provider_id": "8"}, {**offer, "title_id": 2, "provider_id": "9"}]
    write_table(settings, stg_offers.TABLE, *offers, {**offers[0], "title_id": 3})
    vocabularies.run(spark, settings, MAY_1)
    return settings


@pytest.fixture(scope="module")
def second_night(
    spark: SparkSession,
    first_night: Settings,
    settings_in: Callable[[Path], Settings],
    titles_stager: Callable[[Settings], Callable[..., None]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """The lake after May 2 too, whose catalogue has three titles and lacks those of May 1. Not to be changed."""
    settings = copy_of(first_night, settings_in(tmp_path_factory.mktemp("second_night")))
    stage_titles = titles_stager(settings)
    stage_titles(MAY_1, *TITLES)
    stage_titles(MAY_2, *[{"title_id": n, "genres": ["Drama", "Opera"], "cast": ["Bo"]} for n in range(3, 6)])
    vocabularies.run(spark, settings, MAY_2)
    return settings


@pytest.fixture
def copied(first_night: Settings, settings: Settings) -> Settings:
    """A copy of the lake after its first night."""
    return copy_of(first_night, settings)


def copy_of(lake: Settings, settings: Settings) -> Settings:
    """`settings` for a copy of `lake` in their own folder."""
    shutil.copytree(lake.lake.root, settings.lake.root)
    return with_changes(settings, PERSONS_OF_TWO)


@pytest.fixture(scope="module")
def ids(read_rows: Callable[..., Any]) -> IdsOf:
    """`ids(settings, kind)`: the ids of a kind."""

    def read(settings: Settings, kind: str) -> dict[str, int]:
        rows = read_rows(settings, vocabularies.TABLE, "kind", "token", "id")
        return {token: number for found, token, number in rows if found == kind}

    return read


def test_most_frequent_token_comes_first_then_the_alphabet(first_night: Settings, ids: IdsOf) -> None:
    # A title that names a genre twice counts once: War 2, the others 1 each. 0 pads and 1 is unknown.
    assert ids(first_night, "genre") == {"War": 2, "Comedy": 3, "Drama": 4}
    # Who acts and directs in the same title counts once, too: Al 2 and Cy 2.
    assert ids(first_night, "person") == {"Al": 2, "Cy": 3}
    assert ids(first_night, "language") == {"fr": 2}
    # The whole catalogue has ids, those without an interaction as well.
    assert ids(first_night, "title") == {"1": 2, "2": 3}


def test_countries_and_providers_come_from_offers_too(first_night: Settings, ids: IdsOf) -> None:
    # France has three offers, Germany one title.
    assert ids(first_night, "country") == {"FR": 2, "DE": 3}
    assert ids(first_night, "provider") == {"8": 2, "9": 3}


def test_ids_are_kept_and_new_tokens_are_appended(second_night: Settings, ids: IdsOf) -> None:
    # Drama is the most frequent now, and War is gone: neither changes an id.
    assert ids(second_night, "genre") == {"War": 2, "Comedy": 3, "Drama": 4, "Opera": 5}
    assert ids(second_night, "title") == {"1": 2, "2": 3, "3": 4, "4": 5, "5": 6}


def test_token_below_the_minimum_waits_until_it_is_frequent_enough(
    first_night: Settings, second_night: Settings, ids: IdsOf
) -> None:
    # Bo acted in one title of the first night, in four of both.
    assert ids(first_night, "person") == {"Al": 2, "Cy": 3}
    assert ids(second_night, "person") == {"Al": 2, "Cy": 3, "Bo": 4}


def test_night_before_the_newest_is_refused_and_changes_nothing(
    spark: SparkSession, first_night: Settings, read_rows: Callable[..., Any]
) -> None:
    before = read_rows(first_night, vocabularies.TABLE)
    with pytest.raises(JobError, match=r"vocabularies for ds=2024-04-30: ids were given as of 2024-05-01 already"):
        vocabularies.run(spark, first_night, date(2024, 4, 30))
    assert read_rows(first_night, vocabularies.TABLE) == before


def test_running_a_night_again_gives_the_same_ids_and_adds_what_came_since(
    spark: SparkSession, copied: Settings, stage_titles: Callable[..., None], ids: IdsOf
) -> None:
    vocabularies.run(spark, copied, MAY_1)
    assert ids(copied, "genre") == {"War": 2, "Comedy": 3, "Drama": 4}
    # The catalogue was delivered again for the same night, with more in it.
    stage_titles(MAY_1, *TITLES, {"title_id": 3, "genres": ["Drama", "Action"]})
    vocabularies.run(spark, copied, MAY_1)
    assert ids(copied, "genre") == {"War": 2, "Comedy": 3, "Drama": 4, "Action": 5}
