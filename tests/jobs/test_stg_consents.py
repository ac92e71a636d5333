"""Consents: which lines are taken, and that in doubt nobody has consented."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from conf.settings import Settings, with_changes
from jobs import stg_consents
from jobs.staging import erasures, feed_loads, rejected_rows
from jobs.store import tables

WriteFeed = Callable[..., Path]
ReadRows = Callable[..., list[tuple[Any, ...]]]

FIRST, SECOND = date(2024, 5, 1), date(2024, 5, 2)
EMAIL = "0123456789abcdef" * 4


def _consent(user_id: Any, marketing: Any, **more: Any) -> str:
    return json.dumps({"user_id": user_id, "marketing": marketing, **more})


def test_bad_consents_are_rejected_with_their_reasons(
    spark: SparkSession, judge: Callable[..., dict[str, str | None]]
) -> None:
    lines = {
        "plain": _consent("u", True),
        "with an email": _consent("u", False, hashed_email=EMAIL),
        "email in capitals": _consent("u", True, hashed_email=EMAIL.upper()),
        "nobody": _consent(None, True),
        "consent not said": _consent("u", None),
        "empty consent": _consent("u", ""),
        "consent as text": _consent("u", "true"),
        "consent as number": _consent("u", 1),
        "email that is no hash": _consent("u", True, hashed_email="a@example.com"),
        "hash of 63 digits": _consent("u", True, hashed_email=EMAIL[:-1]),
    }
    sha = "hashed_email: expected a SHA-256 in hex, found"
    verdicts = judge(stg_consents.feed_spec(), lines)
    # Missing or not true or false: either is said, depending on how empty text is read.
    assert verdicts.pop("empty consent") in ("marketing: missing", "marketing: expected true or false, found ")
    assert verdicts == {
        "plain": None,
        "with an email": None,
        "email in capitals": None,
        "nobody": "user_id: missing",
        "consent not said": "marketing: missing",
        "consent as text": "marketing: expected true or false, found true",
        "consent as number": "marketing: expected true or false, found 1",
        "email that is no hash": f"{sha} a@example.com",
        "hash of 63 digits": f"{sha} {EMAIL[:-1]}",
    }


def test_consents_follow_the_feed_and_in_doubt_nobody_has_consented(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed, read_rows: ReadRows
) -> None:
    settings = with_changes(settings, {"staging.max_rejected_share": 0.5})
    tables.ensure(spark, settings, erasures.TABLE)
    gone = [(hashlib.sha256(b"gone").hexdigest(), datetime(2024, 4, 1, tzinfo=UTC))]
    tables.replace(spark.createDataFrame(gone, erasures.TABLE.schema), settings, erasures.TABLE, "true")

    write_feed(
        settings,
        "consents/a.jsonl",
        *(_consent("refuses", False), _consent("changes", True), _consent("leaves", True), _consent("gone", True)),
    )
    # The refusal stays, though another file comes last.
    write_feed(
        settings,
        "consents/b.jsonl",
        *(_consent("refuses", True), _consent("same", True, hashed_email=EMAIL.upper()), _consent("bad", "yes")),
    )
    stg_consents.run(spark, settings, FIRST)
    assert read_rows(settings, stg_consents.TABLE) == [
        ("changes", True, None, FIRST),
        ("leaves", True, None, FIRST),
        ("refuses", False, None, FIRST),
        ("same", True, EMAIL, FIRST),
    ]
    assert read_rows(settings, rejected_rows.TABLE, "ds", "file", "reason", "line") == [
        (FIRST, "consents/b.jsonl", "marketing: expected true or false, found yes", _consent("bad", "yes")),
        (FIRST, "consents/b.jsonl", "user_id: a copy of another line", _consent("refuses", True)),
    ]

    write_feed(settings, "consents/a.jsonl", _consent("changes", False))
    write_feed(settings, "consents/b.jsonl", _consent("same", True, hashed_email=EMAIL), _consent("refuses", False))
    stg_consents.run(spark, settings, SECOND)
    assert read_rows(settings, stg_consents.TABLE) == [
        ("changes", False, None, SECOND),
        ("refuses", False, None, FIRST),
        ("same", True, EMAIL, FIRST),
    ]
    # ds; lines, loaded, rejected, duplicates among them, erased
    counts = ("ds", "count_lines", "count_loaded", "count_rejected", "count_duplicates", "count_erased")
    assert read_rows(settings, feed_loads.TABLE, *counts) == [(FIRST, 7, 4, 2, 1, 1), (SECOND, 3, 3, 0, 0, 0)]
