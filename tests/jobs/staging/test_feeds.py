"""Listing of feed files, refusal of misplaced ones, and lines read byte for byte."""

import gzip
import hashlib
import os
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf.settings import Settings
from jobs.errors import JobError
from jobs.staging import feeds
from jobs.staging.feeds import FeedFile

FIRST, SECOND = date(2024, 5, 1), date(2024, 5, 2)
WriteFeed = Callable[..., Path]


def _lines(spark: SparkSession, files: list[FeedFile]) -> list[tuple[Any, ...]]:
    # As bytes, since a line may not be valid UTF-8.
    rows = feeds.read_lines(spark, files).selectExpr("CAST(line AS BINARY)", "feed_date", "file").collect()
    return sorted((bytes(row[0]), row[1], row[2]) for row in rows)


def test_events_are_found_by_day_and_path(spark: SparkSession, settings: Settings, write_feed: WriteFeed) -> None:
    for path in ("event_date=2024-05-02/b.jsonl.gz", "event_date=2024-05-02/a.jsonl", "event_date=2024-05-01/c.jsonl"):
        write_feed(settings, f"events/{path}", "{}")
    write_feed(settings, "events/event_date=2024-05-03/other_day.jsonl", "{}")
    files = feeds.list_events(spark, settings.feeds.root, [FIRST, SECOND])
    assert [(file.path, file.day) for file in files] == [
        ("events/event_date=2024-05-01/c.jsonl", FIRST),
        ("events/event_date=2024-05-02/a.jsonl", SECOND),
        ("events/event_date=2024-05-02/b.jsonl.gz", SECOND),
    ]
    assert feeds.first_and_last_day(spark, settings.feeds.root) == (FIRST, date(2024, 5, 3))


def test_many_days_are_found_by_one_listing(spark: SparkSession, settings: Settings, write_feed: WriteFeed) -> None:
    write_feed(settings, "events/event_date=2024-05-01/a.jsonl", "{}")
    write_feed(settings, "events/event_date=2023-05-01/too_early.jsonl", "{}")
    days = [FIRST + timedelta(days=n) for n in range(101)]
    files = feeds.list_events(spark, settings.feeds.root, days)
    assert [file.path for file in files] == ["events/event_date=2024-05-01/a.jsonl"]


def test_hidden_files_and_success_marks_are_ignored(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed
) -> None:
    for name in ("a.jsonl", "_SUCCESS", ".a.jsonl.crc"):
        write_feed(settings, f"titles/{name}", "{}")
    files = feeds.list_snapshot(spark, settings.feeds.root, "titles")
    assert [(file.path, file.day, file.size_bytes) for file in files] == [("titles/a.jsonl", None, 3)]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl.bz2", "a.jsonl.gz.part", "notes.txt"])
def test_file_with_another_name_is_refused(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed, name: str
) -> None:
    write_feed(settings, f"events/event_date=2024-05-01/{name}", "{}")
    message = f"event_date=2024-05-01/{name}: expected \\*.jsonl or \\*.jsonl.gz; move it out of the feed"
    with pytest.raises(JobError, match=message):
        feeds.list_events(spark, settings.feeds.root, [FIRST])


@pytest.mark.parametrize("folder", ["event_date=2024-5-1", "event_date=2024-02-30", "event_date=today"])
def test_folder_that_is_no_day_is_refused_when_all_are_listed(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed, folder: str
) -> None:
    write_feed(settings, f"events/{folder}/a.jsonl", "{}")
    message = f"events/{folder}/a.jsonl: expected a folder like event_date=2024-05-01, found {folder}"
    with pytest.raises(JobError, match=message):
        feeds.first_and_last_day(spark, settings.feeds.root)


@pytest.mark.parametrize(
    "path", ["event_date=2024-05-01/part/a.jsonl", "ds=2024-05-01/a.jsonl", "a.jsonl", "event_date=2024-5-1/a.jsonl"]
)
def test_misplaced_events_are_refused(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed, path: str
) -> None:
    write_feed(settings, "events/event_date=2024-05-01/a.jsonl", "{}")
    write_feed(settings, f"events/{path}", "{}")
    with pytest.raises(JobError, match=path.split("/")[0]):
        feeds.list_events(spark, settings.feeds.root, [FIRST])


def test_missing_feed_is_no_empty_day(spark: SparkSession, settings: Settings, write_feed: WriteFeed) -> None:
    write_feed(settings, "events/event_date=2024-05-01/empty.jsonl")
    feeds.require_days(spark, settings.feeds.root, [FIRST, SECOND])  # one of them is there
    with pytest.raises(JobError, match=r"no events for ds=2024-05-02: expected .*/events/event_date=2024-05-02/"):
        feeds.require_days(spark, settings.feeds.root, [SECOND])
    with pytest.raises(JobError, match="no events for 2024-05-02 to 2024-05-03: expected"):
        feeds.require_days(spark, settings.feeds.root, [SECOND, date(2024, 5, 3)])


def test_feed_without_any_day_is_an_error(spark: SparkSession, settings: Settings) -> None:
    with pytest.raises(JobError, match=r"no events: expected .*/events/event_date=DATE/\*.jsonl\[.gz\]"):
        feeds.first_and_last_day(spark, settings.feeds.root)
    assert feeds.list_events(spark, settings.feeds.root, [FIRST]) == []
    assert feeds.list_snapshot(spark, settings.feeds.root, "titles") == []


def test_fingerprint_is_the_hash_of_names_sizes_and_times() -> None:
    file = FeedFile("titles/a.jsonl", "file:/titles/a.jsonl", None, 3, 1714521600000)
    as_hashed = "titles/a.jsonl\t3\t1714521600000\n"
    assert feeds.fingerprint([file]) == hashlib.sha256(as_hashed.encode()).hexdigest()
    assert feeds.fingerprint([file, file]) == hashlib.sha256(2 * as_hashed.encode()).hexdigest()


def test_fingerprint_changes_when_a_file_of_equal_size_is_written_later(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed
) -> None:
    path = write_feed(settings, "titles/a.jsonl", "{}")
    before = feeds.fingerprint(feeds.list_snapshot(spark, settings.feeds.root, "titles"))
    assert feeds.fingerprint(feeds.list_snapshot(spark, settings.feeds.root, "titles")) == before
    later = path.stat().st_mtime + 60
    os.utime(path, (later, later))
    assert feeds.fingerprint(feeds.list_snapshot(spark, settings.feeds.root, "titles")) != before


def test_lines_are_read_from_plain_gzipped_and_empty_files(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed
) -> None:
    folder = "events/event_date=2024-05-01"
    write_feed(settings, f"{folder}/plain.jsonl", "p1", "p2")
    write_feed(settings, f"{folder}/zipped.jsonl.gz", "z1", "z2")
    write_feed(settings, f"{folder}/empty.jsonl")
    write_feed(settings, f"{folder}/empty_zipped.jsonl.gz")
    write_feed(settings, f"{folder}/no_bytes.jsonl.gz").write_bytes(b"")
    write_feed(settings, f"{folder}/two_members.jsonl.gz").write_bytes(gzip.compress(b"m1\n") + gzip.compress(b"m2\n"))
    write_feed(settings, "events/event_date=2024-05-02/next_day.jsonl", "n1")
    files = feeds.list_events(spark, settings.feeds.root, [FIRST, SECOND])
    assert len(files) == 7
    assert _lines(spark, files) == [
        (b"m1", FIRST, f"{folder}/two_members.jsonl.gz"),
        (b"m2", FIRST, f"{folder}/two_members.jsonl.gz"),
        (b"n1", SECOND, "events/event_date=2024-05-02/next_day.jsonl"),
        (b"p1", FIRST, f"{folder}/plain.jsonl"),
        (b"p2", FIRST, f"{folder}/plain.jsonl"),
        (b"z1", FIRST, f"{folder}/zipped.jsonl.gz"),
        (b"z2", FIRST, f"{folder}/zipped.jsonl.gz"),
    ]


def test_line_ends_and_blank_lines_of_every_usual_kind(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed
) -> None:
    # A byte order mark, Windows line ends, blank lines, broken UTF-8, U+2028 (no line end), no end at the last line.
    data = b"\xef\xbb\xbffirst\r\n\r\n  \n\t\nb\xffd\na\xe2\x80\xa8b\nlast"
    write_feed(settings, "titles/a.jsonl").write_bytes(data)
    files = feeds.list_snapshot(spark, settings.feeds.root, "titles")
    assert _lines(spark, files) == [
        (line, None, "titles/a.jsonl") for line in (b"a\xe2\x80\xa8b", b"b\xffd", b"first", b"last")
    ]


@pytest.mark.parametrize("name", ["a b.jsonl", "50%25.jsonl", "a+b.jsonl", "é.jsonl", "part=1.jsonl", "a[1].jsonl"])
def test_odd_file_names_are_read_and_named_as_they_are(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed, name: str
) -> None:
    write_feed(settings, f"titles/{name}", "mine")
    if "[" in name:
        write_feed(settings, "titles/a1.jsonl", "matches the name read as a pattern")
    files = [
        file for file in feeds.list_snapshot(spark, settings.feeds.root, "titles") if file.path != "titles/a1.jsonl"
    ]
    assert _lines(spark, files) == [(b"mine", None, f"titles/{name}")]


@pytest.mark.parametrize("damage", ["truncated", "no gzip at all", "garbage inside"])
def test_broken_gzip_raises(spark: SparkSession, settings: Settings, write_feed: WriteFeed, damage: str) -> None:
    path = write_feed(settings, "titles/a.jsonl.gz", *[hashlib.sha256(b"%d" % n).hexdigest() for n in range(2000)])
    data = path.read_bytes()
    half = len(data) // 2
    broken = {
        "truncated": data[:half],
        "no gzip at all": b"plain text\n",
        "garbage inside": data[:half] + b"\x00" * 50 + data[half + 50 :],
    }
    path.write_bytes(broken[damage])
    files = feeds.list_snapshot(spark, settings.feeds.root, "titles")
    with pytest.raises((PySparkException, Py4JJavaError), match=r"a\.jsonl\.gz"):
        feeds.read_lines(spark, files).count()


def test_no_files_are_no_lines(spark: SparkSession) -> None:
    lines = feeds.read_lines(spark, [])
    assert (lines.columns, lines.collect()) == (["line", "feed_date", "file"], [])
