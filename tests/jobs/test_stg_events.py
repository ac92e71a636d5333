"""Events: which lines are taken, where they land, which copy stays, and that every line is accounted for."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings, with_changes
from jobs import stg_events
from jobs.errors import JobError
from jobs.staging import erasures, feed_loads, feed_staging, rejected_rows
from jobs.staging.feed_staging import DayCounts
from jobs.store import tables
from tests import arrow_frames

WriteFeed = Callable[..., Path]
ReadRows = Callable[..., list[tuple[Any, ...]]]
Rows = list[tuple[Any, ...]]

TYPES = "impression, detail_view, clickout, watchlist_add, seen, like, dislike, rating"
TIME = "expected an RFC 3339 time from 1990-01-01 to 1 days after its feed day, found"


def _day(day: int) -> date:
    return date(2024, 5, day)


def _event(event_id: str, without: str = "", **changes: Any) -> str:
    """An event's line; `without` names a field that it lacks."""
    event = {
        **{"event_id": event_id, "user_id": "u1", "title_id": 1, "event_type": "like"},
        **{"event_time": "2024-05-01T12:00:00Z", "country": "DE"},
        **changes,
    }
    return json.dumps({name: value for name, value in event.items() if name != without})


REJECTED = {
    "no title": (_event("e", without="title_id"), "title_id: missing"),
    "id beyond 64 bits": (
        _event("e", title_id=2**63),
        "title_id: expected a 64-bit integer from 0, found 9223372036854775808",
    ),
    "unknown type": (_event("e", event_type="hug"), f"event_type: expected one of {TYPES}, found hug"),
    "type in capitals": (_event("e", event_type="LIKE"), f"event_type: expected one of {TYPES}, found LIKE"),
    "rating without one": (_event("e", event_type="rating"), "rating: missing"),
    "rating that is null": (_event("e", event_type="rating", rating=None), "rating: missing"),
    "rating too low": (
        _event("e", event_type="rating", rating=0.4),
        "rating: expected a number from 0.5 to 5.0, found 0.4",
    ),
    "rating too high": (_event("e", rating=5.5), "rating: expected a number from 0.5 to 5.0, found 5.5"),
    "rank 0": (_event("e", rank=0), "rank: expected an integer from 1, found 0"),
    "country of three letters": (_event("e", country="DEU"), "country: expected an ISO 3166-1 alpha-2 code, found DEU"),
    "a letter that is two in capitals": (
        _event("e", country="ß"),
        "country: expected an ISO 3166-1 alpha-2 code, found ß",
    ),
    "day that no calendar has": (
        _event("e", event_time="2024-02-30T12:00:00Z"),
        f"event_time: {TIME} 2024-02-30T12:00:00Z",
    ),
    "hour 24": (_event("e", event_time="2024-05-01T24:00:00Z"), f"event_time: {TIME} 2024-05-01T24:00:00Z"),
    "time without offset": (_event("e", event_time="2024-05-01T12:00:00"), f"event_time: {TIME} 2024-05-01T12:00:00"),
    "time without seconds": (_event("e", event_time="2024-05-01T12:00Z"), f"event_time: {TIME} 2024-05-01T12:00Z"),
    "date without time": (_event("e", event_time="2024-05-01"), f"event_time: {TIME} 2024-05-01"),
    "seconds since 1970": (_event("e", event_time=1714564800), f"event_time: {TIME} 1714564800"),
    "offset of a day": (
        _event("e", event_time="2024-05-01T12:00:00+24:00"),
        f"event_time: {TIME} 2024-05-01T12:00:00+24:00",
    ),
    "year 1800": (_event("e", event_time="1800-05-01T12:00:00Z"), f"event_time: {TIME} 1800-05-01T12:00:00Z"),
    "year 9999": (_event("e", event_time="9999-12-31T23:59:59Z"), f"event_time: {TIME} 9999-12-31T23:59:59Z"),
    "year 10000 in UTC": (
        _event("e", event_time="9999-12-31T23:59:59-05:00"),
        f"event_time: {TIME} 9999-12-31T23:59:59-05:00",
    ),
    "last moment of 1989": (_event("e", event_time="1989-12-31T23:59:59Z"), f"event_time: {TIME} 1989-12-31T23:59:59Z"),
    "two days ahead": (_event("e", event_time="2024-05-03T00:00:00Z"), f"event_time: {TIME} 2024-05-03T00:00:00Z"),
    "two days ahead in UTC alone": (
        _event("e", event_time="2024-05-02T23:30:00-05:00"),
        f"event_time: {TIME} 2024-05-02T23:30:00-05:00",
    ),
}

GOOD = {
    "plain": _event("e"),
    "lower-case country": _event("e", country="de"),
    "rating": _event("e", event_type="rating", rating=0.5),
    "rating beside another type": _event("e", rating=5),
    "first rank": _event("e", event_type="impression", rank=1),
    "text ids that are numbers": _event("e", user_id=17, provider_id=8),
    "first moment of 1990": _event("e", event_time="1990-01-01T00:00:00Z"),
    "last moment of the next day": _event("e", event_time="2024-05-02T23:59:59.999999999Z"),
    "day before 1990 but not in UTC": _event("e", event_time="1989-12-31T23:00:00-01:00"),
    "small letters and a blank": _event("e", event_time="2024-05-01 12:00:00.5z"),
    "29 February": _event("e", event_time="2024-02-29T12:00:00+05:45"),
}


@pytest.fixture(scope="module")
def verdicts(
    spark: SparkSession, settings_in: Callable[[Path], Settings], judge: Callable[..., dict[str, str | None]]
) -> dict[str, str | None]:
    lines = {**{name: line for name, (line, _) in REJECTED.items()}, **GOOD}
    return judge(stg_events.feed_spec(settings_in(Path("/nowhere")).staging), lines, _day(1))


@pytest.mark.parametrize("name", REJECTED)
def test_bad_event_is_rejected_with_its_reason(verdicts: dict[str, str | None], name: str) -> None:
    assert verdicts[name] == REJECTED[name][1]


@pytest.mark.parametrize("name", GOOD)
def test_good_event_is_taken(verdicts: dict[str, str | None], name: str) -> None:
    assert verdicts[name] is None


def test_time_is_read_to_the_microsecond_in_utc(spark: SparkSession) -> None:
    texts = [
        "2024-05-01T23:30:00-05:00",
        "2024-05-01T00:00:00Z",
        "2024-05-01T00:00:00+00:01",
        "2024-05-01T23:59:59.999999999Z",
        "2024-05-01T12:00:00",
        "tomorrow",
    ]
    frame = arrow_frames.frame(spark, "text string", [(text,) for text in texts])
    # As text: a timestamp that is collected is shown in the zone of this machine.
    times = frame.select(stg_events.parse_time(frame.text).cast("string")).collect()
    assert [row[0] for row in times] == [
        "2024-05-02 04:30:00",
        "2024-05-01 00:00:00",
        "2024-04-30 23:59:00",
        "2024-05-01 23:59:59.999999",
        None,
        None,
    ]


def _incoming(spark: SparkSession, *rows: tuple[str, int, int, str, str]) -> DataFrame:
    """Frame of (event_id, feed day, hour of event_time, line, file)."""
    columns = "event_id string, feed_date date, event_time timestamp, line string, file string"
    values = [(i, _day(day), datetime(2024, 5, 1, hour, tzinfo=UTC), *rest) for i, day, hour, *rest in rows]
    return arrow_frames.frame(spark, columns, values)


def _known(spark: SparkSession, *rows: tuple[str, int]) -> DataFrame:
    """Frame of (event_id, feed day)."""
    return arrow_frames.frame(spark, "event_id string, feed_date date", [(i, _day(day)) for i, day in rows])


def test_copies_are_ranked_by_feed_day_then_time_then_line(spark: SparkSession) -> None:
    incoming = _incoming(
        spark,
        ("single", 2, 1, "l", "f"),
        ("day", 3, 1, "l", "f"),
        ("day", 2, 9, "l", "f"),
        ("time", 2, 9, "a", "f"),
        ("time", 2, 1, "b", "f"),
        ("line", 2, 1, "b", "f"),
        ("line", 2, 1, "a", "f"),
        ("held before", 2, 1, "l", "f"),
        ("held after", 2, 1, "l", "f"),
    )
    known = _known(spark, ("held before", 1), ("held after", 4), ("elsewhere", 1))
    copies = stg_events.rank_copies(incoming, known)
    columns = ("event_id", "copy_rank", "feed_date", "line", "is_known", "first_feed_date")
    assert sorted((tuple(row) for row in copies.select(*columns).collect()), key=repr) == [
        ("day", 1, _day(2), "l", False, _day(2)),
        ("day", 2, _day(3), "l", False, _day(2)),
        ("held after", 1, _day(2), "l", False, _day(2)),
        ("held after", 2, _day(4), None, True, _day(2)),
        ("held before", 1, _day(1), None, True, _day(1)),
        ("held before", 2, _day(2), "l", False, _day(1)),
        ("line", 1, _day(2), "a", False, _day(2)),
        ("line", 2, _day(2), "b", False, _day(2)),
        ("time", 1, _day(2), "b", False, _day(2)),
        ("time", 2, _day(2), "a", False, _day(2)),
    ]


@pytest.mark.parametrize("files", [("a", "b"), ("b", "a")])
def test_equal_lines_are_ranked_by_file(spark: SparkSession, files: tuple[str, str]) -> None:
    # Which of two equal lines stands in rejected_rows must not depend on which was read first.
    incoming = _incoming(spark, *[("e", 2, 1, "l", file) for file in files])
    copies = stg_events.rank_copies(incoming, _known(spark))
    assert [row["file"] for row in stg_events.explain_copies(copies).collect()] == ["b"]


def test_first_copy_is_kept_unless_it_is_held_already(spark: SparkSession) -> None:
    incoming = _incoming(
        spark,
        ("single", 2, 1, "l", "f"),
        ("twice", 2, 9, "late", "f"),
        ("twice", 2, 1, "early", "f"),
        ("held before", 2, 1, "l", "f"),
        ("held after", 2, 1, "l", "f"),
    )
    copies = stg_events.rank_copies(incoming, _known(spark, ("held before", 1), ("held after", 4)))
    kept = stg_events.keep_first(incoming, copies)
    assert kept.columns == incoming.columns
    assert sorted((row["event_id"], row["line"]) for row in kept.collect()) == [
        ("held after", "l"),
        ("single", "l"),
        ("twice", "early"),
    ]
    explained = stg_events.explain_copies(copies).collect()
    assert sorted((tuple(row) for row in explained), key=repr) == [
        (_day(2), "f", "event_id: a copy of an event of feed day 2024-05-01", "l"),
        (_day(2), "f", "event_id: a copy of an event of feed day 2024-05-02", "late"),
    ]


def test_unknown_fields_are_named_in_a_warning(
    spark: SparkSession, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    counts = {_day(1): DayCounts(lines=10, unknown_fields=("mood", "weather"))}
    with caplog.at_level(logging.WARNING, logger="marquee"):
        refused = feed_staging.refused_days(settings, stg_events.feed_spec(settings.staging), counts)
    assert refused == {}
    assert caplog.record_tuples == [
        ("marquee", logging.WARNING, "events: ds=2024-05-01: unknown fields, kept out: mood, weather")
    ]


def test_share_of_rejected_lines_may_be_reached_but_not_passed(spark: SparkSession, settings: Settings) -> None:
    # 5 % of 20 lines is one line; copies and erased lines are no rejects.
    counts = {
        _day(1): DayCounts(lines=20, rejected=1, duplicates=10, erased=5),
        _day(2): DayCounts(lines=20, rejected=2),
        _day(3): DayCounts(),
    }
    refused = feed_staging.refused_days(settings, stg_events.feed_spec(settings.staging), counts)
    assert refused == {
        _day(2): "events for ds=2024-05-02: 2 of 20 lines are bad, more than staging.max_rejected_share=0.05. "
        "Their reasons stand in rejected_rows"
    }


@dataclass(frozen=True)
class Staged:
    """What a run left behind."""

    settings: Settings
    error: str
    events: Rows
    rejected: Rows
    loads: Rows


LONG_LINE = _event("long", surface="x" * 10 * 2**20)
FOLDER = "events/event_date=2024-05-0"
LENIENT = {"staging.max_rejected_share": 0.5}


@pytest.fixture(scope="module")
def week(
    spark: SparkSession,
    settings_in: Callable[[Path], Settings],
    write_feed: WriteFeed,
    write_table: Callable[..., None],
    read_rows: ReadRows,
    tmp_path_factory: pytest.TempPathFactory,
) -> Staged:
    """One run over a week: a day with something of everything, empty days, days that are refused."""
    settings = with_changes(settings_in(tmp_path_factory.mktemp("week")), LENIENT)
    gone = {"user_hash": hashlib.sha256(b"gone").hexdigest(), "requested_at": datetime(2024, 4, 1, tzinfo=UTC)}
    write_table(settings, erasures.TABLE, gone)

    write_feed(
        settings,
        f"{FOLDER}1/a.jsonl.gz",
        _event("midnight", event_time="2024-05-01T00:00:00Z"),
        _event("next day in UTC", event_time="2024-05-01T23:30:00-05:00"),
        _event("late", event_time="2024-04-28T12:00:00Z"),
        _event("new field", country="de", mood="good", weather={"rain": True}),
        _event("twice", event_time="2024-05-01T10:00:00Z"),
        _event("twice", event_time="2024-05-01T09:00:00Z"),
        "",
    )
    write_feed(
        settings,
        f"{FOLDER}1/b.jsonl",
        _event("all", event_type="rating", rating=4.5, rank=3, provider_id="p", surface="s", variant="v")[:-1]
        + ', "recommender_version": "r"}',
        b'{"event_id": "caf\xe9"}',
        LONG_LINE,
        _event("of an erased person", user_id="gone"),
        _event("bad, of an erased person", user_id="gone", rank=0),
        _event("of nobody", user_id=None),
    )
    # No folder for day 2; nothing but empty files for day 3.
    write_feed(settings, f"{FOLDER}3/empty.jsonl")
    write_feed(settings, f"{FOLDER}3/no_bytes.jsonl.gz").write_bytes(b"")
    at_share = [_event("4a", event_time="2024-05-04T12:00:00Z"), "bad"]
    write_feed(settings, f"{FOLDER}4/a.jsonl", *at_share)
    lines_without_country = [_event("5a", without="country", land="DE"), _event("5b", without="country")]
    write_feed(settings, f"{FOLDER}5/a.jsonl", *lines_without_country)
    write_feed(settings, f"{FOLDER}6/a.jsonl", _event("6a"), "bad", "worse")
    write_feed(settings, f"{FOLDER}7/a.jsonl", _event("7a"))

    with pytest.raises(JobError) as error:
        stg_events.run(spark, settings, [_day(n) for n in range(1, 8)])
    return Staged(
        settings,
        str(error.value),
        read_rows(settings, stg_events.TABLE),
        read_rows(settings, rejected_rows.TABLE),
        read_rows(settings, feed_loads.TABLE),
    )


def test_events_land_in_their_own_utc_day_beside_the_day_they_came(week: Staged) -> None:
    # event_id, ds, feed_date
    assert [(row[0], row[12], row[13]) for row in week.events] == [
        ("4a", _day(4), _day(4)),
        ("7a", _day(1), _day(7)),
        ("all", _day(1), _day(1)),
        ("late", date(2024, 4, 28), _day(1)),
        ("midnight", _day(1), _day(1)),
        ("new field", _day(1), _day(1)),
        ("next day in UTC", _day(2), _day(1)),
        ("twice", _day(1), _day(1)),
    ]


def test_every_field_is_kept_and_country_is_in_capitals(week: Staged) -> None:
    by_id = {row[0]: row for row in week.events}
    assert by_id["all"][1:4] + by_id["all"][5:12] == ("u1", 1, "rating", "DE", "p", 4.5, "s", "v", "r", 3)
    assert by_id["new field"][1:4] + by_id["new field"][5:12] == ("u1", 1, "like", "DE", *[None] * 6)


def test_of_two_copies_in_a_file_the_earlier_event_stays(week: Staged) -> None:
    times = [row[4].astimezone(UTC) for row in week.events if row[0] == "twice"]
    assert times == [datetime(2024, 5, 1, 9, tzinfo=UTC)]


def test_rejected_rows_hold_every_line_that_became_no_row(week: Staged) -> None:
    small = [row[1:5] for row in week.rejected if "2024-05-01/b.jsonl" not in row[2]]
    copy = "event_id: a copy of an event of feed day 2024-05-01"
    assert small == [
        (_day(1), f"{FOLDER}1/a.jsonl.gz", copy, _event("twice", event_time="2024-05-01T10:00:00Z")),
        (_day(4), f"{FOLDER}4/a.jsonl", "line: not one JSON object", "bad"),
        (_day(5), f"{FOLDER}5/a.jsonl", "country: missing", _event("5a", without="country", land="DE")),
        (_day(5), f"{FOLDER}5/a.jsonl", "country: missing", _event("5b", without="country")),
        (_day(6), f"{FOLDER}6/a.jsonl", "line: not one JSON object", "bad"),
        (_day(6), f"{FOLDER}6/a.jsonl", "line: not one JSON object", "worse"),
    ]


def test_broken_utf_8_is_kept_readable_and_byte_by_byte(week: Staged) -> None:
    broken = [row[3:] for row in week.rejected if row[3] == "line: not valid UTF-8"]
    readable = '{"event_id": "caf\ufffd"}'
    assert broken == [("line: not valid UTF-8", readable, bytearray(b'{"event_id": "caf\xe9"}'))]
    assert [row[5] for row in week.rejected if row[3] != "line: not valid UTF-8"] == [None] * 8


def test_line_of_10_mb_is_rejected_and_kept_whole(week: Staged) -> None:
    reason = f"line: {len(LONG_LINE)} bytes, the limit is 1048576"
    assert len(LONG_LINE) > 10 * 2**20
    assert [row[4] == LONG_LINE for row in week.rejected if row[3] == reason] == [True]


def test_null_where_none_may_be_is_rejected(week: Staged) -> None:
    reasons = [(row[3], row[4]) for row in week.rejected if row[3].startswith("user_id")]
    assert reasons == [("user_id: missing", _event("of nobody", user_id=None))]


def test_feed_loads_account_for_every_line_of_every_day_that_was_loaded(week: Staged) -> None:
    # ds; files; lines, loaded, rejected, duplicates among them, erased; unknown fields. Size and fingerprint left out.
    assert [(row[1], row[2], *row[5:]) for row in week.loads] == [
        (_day(1), 2, 12, 6, 4, 1, 2, ["mood", "weather"]),
        (_day(2), 0, 0, 0, 0, 0, 0, []),
        (_day(3), 2, 0, 0, 0, 0, 0, []),
        (_day(4), 1, 2, 1, 1, 0, 0, []),
        (_day(7), 1, 1, 1, 0, 0, 0, []),
    ]


def test_size_of_a_day_is_that_of_its_files_as_stored(week: Staged) -> None:
    folder = Path(week.settings.feeds.root) / f"{FOLDER}1"
    assert week.loads[0][3] == sum(path.stat().st_size for path in folder.iterdir())


def test_day_without_a_required_column_is_refused_naming_what_was_found(week: Staged) -> None:
    # Day 5 is the first that was refused, day 6 the other.
    assert week.error == (
        "events for ds=2024-05-05: missing column 'country'; found ['event_id', 'user_id', 'title_id', 'event_type', "
        "'event_time', 'provider_id', 'rating', 'surface', 'variant', 'recommender_version', 'rank', 'land']. Mend "
        "the feed and run the day again. Nothing of it was loaded (1 more days were refused)"
    )


def _all_rows(read_rows: ReadRows, settings: Settings) -> list[Rows]:
    return [read_rows(settings, table) for table in (stg_events.TABLE, rejected_rows.TABLE, feed_loads.TABLE)]


def _copy_of(week: Staged, settings: Settings) -> Settings:
    """`settings`, whose folder now holds a copy of the week."""
    shutil.copytree(Path(week.settings.lake.root).parent, Path(settings.lake.root).parent, dirs_exist_ok=True)
    return settings


@pytest.fixture(scope="module")
def again(
    spark: SparkSession,
    week: Staged,
    settings_in: Callable[[Path], Settings],
    write_feed: WriteFeed,
    read_rows: ReadRows,
    tmp_path_factory: pytest.TempPathFactory,
) -> Staged:
    """The week run again, its last day first, after day 4 was delivered without its bad line."""
    settings = _copy_of(week, with_changes(settings_in(tmp_path_factory.mktemp("again")), LENIENT))
    write_feed(settings, f"{FOLDER}4/a.jsonl", _event("4a", event_time="2024-05-04T12:00:00Z"))
    with pytest.raises(JobError) as error:
        stg_events.run(spark, settings, [_day(n) for n in range(7, 0, -1)])
    return Staged(settings, str(error.value), *_all_rows(read_rows, settings))


def test_running_the_days_again_changes_no_row_of_any_table(week: Staged, again: Staged) -> None:
    def of_unchanged_days(rows: Rows) -> Rows:
        return [row for row in rows if row[1] != _day(4)]

    assert again.error == week.error
    assert again.events == week.events
    assert of_unchanged_days(again.rejected) == of_unchanged_days(week.rejected)
    assert of_unchanged_days(again.loads) == of_unchanged_days(week.loads)


def test_rejects_of_a_day_go_when_it_is_delivered_again_without_bad_lines(week: Staged, again: Staged) -> None:
    assert [row[4] for row in week.rejected if row[1] == _day(4)] == ["bad"]
    assert [row[4] for row in again.rejected if row[1] == _day(4)] == []
    # lines, loaded, rejected
    assert [row[5:8] for row in week.loads if row[1] == _day(4)] == [(2, 1, 1)]
    assert [row[5:8] for row in again.loads if row[1] == _day(4)] == [(1, 1, 0)]


def test_order_of_runs_does_not_matter_to_any_table(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed, read_rows: ReadRows, tmp_path: Path
) -> None:
    write_feed(
        settings, f"{FOLDER}1/a.jsonl", _event("1"), _event("both"), "bad", *[_event(f"1.{n}") for n in range(20)]
    )
    write_feed(settings, f"{FOLDER}2/a.jsonl", _event("2"), _event("both", country="FR"))
    write_feed(settings, f"{FOLDER}2/b.jsonl", _event("2"))
    lakes = {}
    for name, runs in {"forward": [[1], [2]], "backward": [[2], [1]], "together": [[2, 1]]}.items():
        lakes[name] = with_changes(settings, {"lake.root": str(tmp_path / name)})
        for days in runs:
            stg_events.run(spark, lakes[name], [_day(n) for n in days])
    forward = _all_rows(read_rows, lakes["forward"])
    assert [(row[0], row[5], row[13]) for row in forward[0] if not row[0].startswith("1.")] == [
        ("1", "DE", _day(1)),
        ("2", "DE", _day(2)),
        ("both", "DE", _day(1)),
    ]
    assert [(row[1], row[3]) for row in forward[1]] == [
        (_day(1), "line: not one JSON object"),
        (_day(2), "event_id: a copy of an event of feed day 2024-05-01"),
        (_day(2), "event_id: a copy of an event of feed day 2024-05-02"),
    ]
    # lines, loaded, rejected, duplicates among them, erased
    assert [row[5:10] for row in forward[2]] == [(23, 22, 1, 0, 0), (3, 1, 2, 2, 0)]
    assert _all_rows(read_rows, lakes["backward"]) == forward
    assert _all_rows(read_rows, lakes["together"]) == forward


# Where this fails it may go round for ever.
@pytest.mark.timeout(60)
def test_day_that_has_gone_bad_keeps_what_was_loaded(
    spark: SparkSession, week: Staged, settings: Settings, write_feed: WriteFeed, read_rows: ReadRows
) -> None:
    _copy_of(week, settings)
    assert (_day(7), 1, 1, 0) in [(row[1], *row[5:8]) for row in week.loads]  # lines, loaded, rejected
    write_feed(settings, f"{FOLDER}7/a.jsonl", _event("7a"), "bad")
    with pytest.raises(JobError, match="events for ds=2024-05-07: 1 of 2 lines are bad"):
        stg_events.run(spark, settings, [_day(7)])
    evidence = ("events", _day(7), f"{FOLDER}7/a.jsonl", "line: not one JSON object", "bad", None)
    expected = [week.events, sorted([*week.rejected, evidence], key=repr), week.loads]
    assert _all_rows(read_rows, settings) == expected

    # Day 3, empty before, holds a copy of an event of day 7, which can't be staged again to give it up.
    write_feed(settings, f"{FOLDER}3/a.jsonl", _event("7a"))
    with pytest.raises(JobError, match="events for ds=2024-05-07: 1 of 2 lines are bad"):
        stg_events.run(spark, settings, [_day(3)])
    assert _all_rows(read_rows, settings) == expected


def test_truncated_gzip_stops_the_run_before_anything_is_written(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed, read_rows: ReadRows
) -> None:
    path = write_feed(
        settings, f"{FOLDER}1/a.jsonl.gz", *[_event(hashlib.sha256(b"%d" % n).hexdigest()) for n in range(99)]
    )
    path.write_bytes(path.read_bytes()[:-200])
    write_feed(settings, f"{FOLDER}2/a.jsonl", _event("of a good day"))
    with pytest.raises((PySparkException, Py4JJavaError), match=r"a\.jsonl\.gz"):
        stg_events.run(spark, settings, [_day(1), _day(2)])
    assert read_rows(settings, stg_events.TABLE) == []
    assert [tables.exists(settings, table) for table in (rejected_rows.TABLE, feed_loads.TABLE)] == [False] * 2


def test_constraints_of_the_table_refuse_bad_rows(spark: SparkSession, settings: Settings) -> None:
    tables.ensure(spark, settings, stg_events.TABLE)
    good = {
        **{"event_id": "e", "user_id": "u", "title_id": 1, "event_type": "like", "country": "DE"},
        **{"event_time": datetime(2024, 5, 1, tzinfo=UTC), "ds": _day(1), "feed_date": _day(1)},
    }
    bad = {
        "event_type_is_known": {"event_type": "hug"},
        "ds_is_day_of_event_time": {"ds": _day(2)},
        "country_is_code": {"country": "de"},
        "title_id_from_0": {"title_id": -1},
        "rank_from_1": {"rank": 0},
        "rating_has_value": {"event_type": "rating"},
        "user_id": {"user_id": None},
    }
    schema = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in stg_events.TABLE.schema)
    for name, changes in bad.items():
        row = {**good, **changes}
        values = tuple(row.get(field) for field in stg_events.TABLE.schema.fieldNames())
        frame = arrow_frames.frame(spark, schema, [values])
        with pytest.raises((PySparkException, Py4JJavaError), match=name):
            tables.replace(frame, settings, stg_events.TABLE, "true")
    assert tables.version(settings, stg_events.TABLE) == 0
