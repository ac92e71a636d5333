"""Offers: which lines are taken, and that the table holds exactly the newest snapshot."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from jobs import stg_offers
from jobs.errors import JobError
from jobs.staging import feed_loads, parsing, rejected_rows
from tests import arrow_frames

WriteFeed = Callable[..., Path]
ReadRows = Callable[..., list[tuple[Any, ...]]]

KINDS = "flatrate, free, ads, rent, buy"
CODE = "country: expected an ISO 3166-1 alpha-2 code, found"
FIRST, SECOND = date(2024, 5, 1), date(2024, 5, 2)


def _offer(title_id: Any = 1, country: Any = "DE", provider_id: Any = "flix", monetization_type: Any = "rent") -> str:
    return json.dumps(
        {
            **{"title_id": title_id, "country": country},
            **{"provider_id": provider_id, "monetization_type": monetization_type},
        }
    )


def test_bad_offers_are_rejected_with_their_reasons(
    spark: SparkSession, judge: Callable[..., dict[str, str | None]]
) -> None:
    lines = {
        "plain": _offer(),
        "lower-case country": _offer(country="de"),
        "number for a provider": _offer(provider_id=8),
        "negative id": _offer(title_id=-1),
        "no provider": _offer(provider_id=None),
        "unknown type": _offer(monetization_type="gift"),
        "country by name": _offer(country="Germany"),
        "country with a line end": _offer(country="D\n"),
    }
    assert judge(stg_offers.feed_spec(), lines) == {
        "plain": None,
        "lower-case country": None,
        "number for a provider": None,
        "negative id": "title_id: expected a 64-bit integer from 0, found -1",
        "no provider": "provider_id: missing",
        "unknown type": f"monetization_type: expected one of {KINDS}, found gift",
        "country by name": f"{CODE} Germany",
        "country with a line end": f"{CODE} D\n",
    }


def test_line_end_is_no_part_of_a_country(spark: SparkSession) -> None:
    # Whether it is cut off or the line rejected: a country of three characters must not get into the table.
    lines = arrow_frames.frame(spark, "line string", [(_offer(country="DE\n"),)])
    parsed = parsing.parse_lines(lines, stg_offers.feed_spec().fields, max_line_bytes=4096)
    assert [row["country"] for row in parsed.where("is_good").collect() if row["country"] != "DE"] == []


def test_vanished_offer_is_deleted_and_the_others_keep_their_first_day(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed, read_rows: ReadRows
) -> None:
    write_feed(settings, "offers/a.jsonl", _offer(1), _offer(2), _offer(2, "AT"))
    write_feed(settings, "offers/b.jsonl.gz", _offer(1, "de"), _offer(1, monetization_type="buy"))
    stg_offers.run(spark, settings, FIRST)
    assert read_rows(settings, stg_offers.TABLE) == [
        (1, "DE", "flix", "buy", FIRST),
        (1, "DE", "flix", "rent", FIRST),
        (2, "AT", "flix", "rent", FIRST),
        (2, "DE", "flix", "rent", FIRST),
    ]
    # The line in the last file stays: `de` is the same key as `DE`.
    copy = "title_id, country, provider_id, monetization_type: a copy of another line"
    assert read_rows(settings, rejected_rows.TABLE, "file", "reason", "line") == [("offers/a.jsonl", copy, _offer(1))]

    # Two of four go: half of the rows is what one snapshot may take.
    write_feed(settings, "offers/a.jsonl", _offer(2), _offer(3))
    write_feed(settings, "offers/b.jsonl.gz", _offer(1))
    stg_offers.run(spark, settings, SECOND)
    second = [(1, "DE", "flix", "rent", FIRST), (2, "DE", "flix", "rent", FIRST), (3, "DE", "flix", "rent", SECOND)]
    assert read_rows(settings, stg_offers.TABLE) == second

    # Two of three are more than half.
    write_feed(settings, "offers/a.jsonl")
    with pytest.raises(JobError, match="stg_offers: the snapshot for ds=2024-05-02 would remove 2 of 3 rows"):
        stg_offers.run(spark, settings, SECOND)
    assert read_rows(settings, stg_offers.TABLE) == second
    loads = read_rows(settings, feed_loads.TABLE, "ds", "count_lines", "count_loaded", "count_rejected")
    assert loads == [(FIRST, 5, 4, 1), (SECOND, 3, 3, 0)]
