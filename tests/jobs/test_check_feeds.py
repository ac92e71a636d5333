"""Completeness of a day's feeds, by names and times of files alone."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from conf.settings import Settings
from jobs import check_feeds

NIGHT = date(2024, 5, 14)
NEVER = timedelta(0)


def missing(settings: Settings, settled: timedelta = NEVER, later: timedelta = NEVER) -> list[str]:
    return check_feeds.missing(settings, NIGHT, settled, datetime.now(UTC) + later)


@pytest.fixture
def complete(settings: Settings, write_feed: Callable[..., Path]) -> Settings:
    for path in ("events/event_date=2024-05-14/a.jsonl.gz", "titles/a.jsonl", "offers/a.jsonl.gz"):
        write_feed(settings, path)
    return settings


def test_complete_feeds_are_there(complete: Settings) -> None:
    assert missing(complete) == []


def test_each_missing_feed_is_named(settings: Settings, write_feed: Callable[..., Path]) -> None:
    write_feed(settings, "titles/a.jsonl")
    write_feed(settings, "offers/_SUCCESS")
    write_feed(settings, "events/event_date=2024-05-13/a.jsonl")
    root = settings.feeds.root
    assert missing(settings) == [
        f"expected {root}/events/event_date=2024-05-14/*.jsonl[.gz], found none",
        f"expected {root}/offers/*.jsonl[.gz], found none",
    ]


def test_offers_are_expected_once_any_were_loaded(settings: Settings, write_feed: Callable[..., Path]) -> None:
    for path in ("events/event_date=2024-05-14/a.jsonl.gz", "titles/a.jsonl"):
        write_feed(settings, path)
    assert missing(settings) == []
    for rows, expected in (([], 0), ([1, 2], 1)):
        offers = pa.table({"title_id": pa.array(rows, pa.int64())})
        write_deltalake(f"{settings.lake.root}/stg_offers", offers, mode="append")
        assert len(missing(settings)) == expected


def test_files_that_just_changed_may_still_be_written(complete: Settings) -> None:
    hour = timedelta(hours=1)
    assert len(missing(complete, settled=hour)) == 3
    assert missing(complete, settled=hour, later=timedelta(hours=2)) == []


def test_newest_day_is_printed(
    settings: Settings, write_feed: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    roots = ["--set", f"feeds.root={settings.feeds.root}"]
    assert check_feeds.main(["--newest", *roots]) == 1
    for day in ("2024-05-13", "2024-05-14", "2024-05-02"):
        write_feed(settings, f"events/event_date={day}/a.jsonl")
    assert check_feeds.main(["--newest", *roots]) == 0
    assert capsys.readouterr().out == "2024-05-14\n"


def test_command_ends_with_one_line(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_feeds.main(["--ds", "2024-05-14", "--set", f"feeds.root={settings.feeds.root}"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "feeds for ds=2024-05-14 are not complete: expected" in line
