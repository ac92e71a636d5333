"""Ids of tokens: the most frequent first, given once, in the order of nights."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings, with_changes
from jobs import stg_offers, vocabularies
from jobs.errors import JobError

MAY_1, MAY_2, MAY_3 = date(2024, 5, 1), date(2024, 5, 2), date(2024, 5, 3)


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setitem(vocabularies.MIN_COUNTS, "theme", 1)
    return with_changes(settings, {"vocabulary_min_counts.person": 1})


@pytest.fixture
def ids(settings: Settings, read_rows: Callable[..., Any]) -> Callable[[str], dict[str, int]]:
    """The ids of a kind."""

    def read(kind: str) -> dict[str, int]:
        rows = read_rows(settings, vocabularies.TABLE, "kind", "token", "id")
        return {token: number for found, token, number in rows if found == kind}

    return read


def test_most_frequent_token_comes_first_then_the_alphabet(
    spark: SparkSession, settings: Settings, stage_titles: Callable[..., None], ids: Callable[[str], dict[str, int]]
) -> None:
    stage_titles(
        MAY_1,
        {"title_id": 1, "genres": ["Drama", "War"], "cast": ["Cy"], "directors": ["Cy", "Al"]},
        {"title_id": 2, "genres": ["War", "War", "Comedy"], "original_language": "fr"},
    )
    vocabularies.run(spark, settings, MAY_1)
    # A title that names a genre twice counts once: War 2, the others 1 each. 0 pads and 1 is unknown.
    assert ids("genre") == {"War": 2, "Comedy": 3, "Drama": 4}
    # Who acts and directs in the same title counts once, too.
    assert ids("person") == {"Al": 2, "Cy": 3}
    assert ids("language") == {"fr": 2}
    # The whole catalogue has ids, those without an interaction as well.
    assert ids("title") == {"1": 2, "2": 3}


def test_ids_are_kept_and_new_tokens_are_appended(
    spark: SparkSession, settings: Settings, stage_titles: Callable[..., None], ids: Callable[[str], dict[str, int]]
) -> None:
    stage_titles(MAY_1, {"title_id": 1, "genres": ["Drama"]}, {"title_id": 2, "genres": ["Drama", "War"]})
    vocabularies.run(spark, settings, MAY_1)
    # War is the most frequent now, and Drama is gone: neither changes an id.
    more = [{"title_id": n, "genres": ["War", "Opera"]} for n in range(3, 6)]
    stage_titles(MAY_2, *more)
    vocabularies.run(spark, settings, MAY_2)
    assert ids("genre") == {"Drama": 2, "War": 3, "Opera": 4}
    assert ids("title") == {"1": 2, "2": 3, "3": 4, "4": 5, "5": 6}


def test_token_below_the_minimum_waits_until_it_is_frequent_enough(
    spark: SparkSession, settings: Settings, stage_titles: Callable[..., None], ids: Callable[[str], dict[str, int]]
) -> None:
    strict = with_changes(settings, {"vocabulary_min_counts.person": 2})
    stage_titles(MAY_1, {"title_id": 1, "cast": ["Al", "Bo"]}, {"title_id": 2, "cast": ["Bo"]})
    vocabularies.run(spark, strict, MAY_1)
    assert ids("person") == {"Bo": 2}
    stage_titles(MAY_2, {"title_id": 1, "cast": ["Al", "Bo"]}, {"title_id": 2, "cast": ["Al"]})
    vocabularies.run(spark, strict, MAY_2)
    assert ids("person") == {"Bo": 2, "Al": 3}


def test_night_before_the_newest_is_refused_and_changes_nothing(
    spark: SparkSession,
    settings: Settings,
    stage_titles: Callable[..., None],
    read_rows: Callable[..., Any],
) -> None:
    stage_titles(MAY_2, {"title_id": 1, "genres": ["Drama"]})
    vocabularies.run(spark, settings, MAY_2)
    before = read_rows(settings, vocabularies.TABLE)
    with pytest.raises(JobError, match=r"vocabularies for ds=2024-05-01: ids were given as of 2024-05-02 already"):
        vocabularies.run(spark, settings, MAY_1)
    assert read_rows(settings, vocabularies.TABLE) == before


def test_running_a_night_again_gives_the_same_ids_and_adds_what_came_since(
    spark: SparkSession, settings: Settings, stage_titles: Callable[..., None], ids: Callable[[str], dict[str, int]]
) -> None:
    stage_titles(MAY_1, {"title_id": 1, "genres": ["Drama"]})
    vocabularies.run(spark, settings, MAY_1)
    vocabularies.run(spark, settings, MAY_1)
    assert ids("genre") == {"Drama": 2}
    # The catalogue was delivered again for the same night, with more in it.
    stage_titles(MAY_1, {"title_id": 1, "genres": ["Drama", "Action"]}, {"title_id": 2, "genres": ["Action"]})
    vocabularies.run(spark, settings, MAY_1)
    assert ids("genre") == {"Drama": 2, "Action": 3}


def test_countries_and_providers_come_from_offers_too(
    spark: SparkSession,
    settings: Settings,
    stage_titles: Callable[..., None],
    write_table: Callable[..., None],
    ids: Callable[[str], dict[str, int]],
) -> None:
    offer = {"monetization_type": "rent", "country": "FR", "first_ds": MAY_1}
    offers = [{**offer, "title_id": 1, "provider_id": "8"}, {**offer, "title_id": 2, "provider_id": "9"}]
    write_table(settings, stg_offers.TABLE, *offers, {**offers[0], "title_id": 3})
    stage_titles(MAY_1, {"title_id": 1, "production_countries": ["DE"]})
    vocabularies.run(spark, settings, MAY_1)
    assert ids("country") == {"FR": 2, "DE": 3}
    assert ids("provider") == {"8": 2, "9": 3}
