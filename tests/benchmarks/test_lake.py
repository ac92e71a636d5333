"""Staging in DuckDB and Polars, on lines whose outcome is worked out by hand; feeds, meter and report."""

import gzip
import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from benchmarks.harness.feeds import make_feeds
from benchmarks.harness.meter import Meter
from benchmarks.harness.report import Report
from benchmarks.lake import outcome
from benchmarks.lake_bench.other_engines import ENGINES, Rules
from conf.loader import load_settings

RULES = Rules(
    event_types=("detail_view", "rating"),
    min_rating=0.5,
    max_rating=5.0,
    min_event_date="1990-01-01",
    max_days_ahead=1,
    max_line_bytes=400,
    partition_by=("ds", "feed_date"),
)
MAY_1, MAY_2, MAY_3 = date(2024, 5, 1), date(2024, 5, 2), date(2024, 5, 3)


def line(event_id: str = '"e"', time: str = "2024-05-02T10:00:00Z", end: str = "", title_id: str = "7") -> str:
    """A line with a good event; `event_id`, `title_id` and `end` are JSON as the line has it."""
    return (
        f'{{"event_id":{event_id},"user_id":"u","country":"de","title_id":{title_id},"event_type":"detail_view",'
        f'"event_time":"{time}"{end}}}'
    )


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def stage(engine: str, folder: Path, days: dict[date, list[str | bytes]]) -> Path:
    """Stage one file per feed day, gzipped on the first and plain on the others."""
    files = []
    for number, (day, lines) in enumerate(days.items()):
        content = b"".join((text.encode() if isinstance(text, str) else text) + b"\n" for text in lines)
        file = folder / "feeds" / "events" / f"event_date={day}" / ("part.jsonl" if number else "part.jsonl.gz")
        file.parent.mkdir(parents=True)
        file.write_bytes(content if number else gzip.compress(content))
        files.append(file)
    ENGINES[engine](files, folder / "out", RULES)
    return folder / "out"


def events(out: Path, columns: str = "event_id, CAST(ds AS DATE)") -> list[tuple[object, ...]]:
    query = f"SELECT {columns} FROM read_parquet('{out}/events/**/*.parquet') ORDER BY ALL"
    return duckdb.sql(query).fetchall()


def reasons(out: Path) -> list[tuple[object, ...]]:
    return duckdb.sql(f"SELECT feed_date, reason FROM '{out}/rejected.parquet' ORDER BY ALL").fetchall()


def test_events_lie_in_their_utc_day_with_their_values(engine: str, tmp_path: Path) -> None:
    full = ',"rating":4,"rank":2,"surface":" home ","variant":"","unknown":{"rank":"x"}'
    lines: list[str | bytes] = [
        line('"late"', "2024-05-02t01:30:00.1234567+02:00"),  # 23:30 UTC on 1 May
        line("12", "2024-05-02 23:59:59Z", full),  # a number is taken where text is expected
        "",
        "   ",
    ]
    out = stage(engine, tmp_path, {MAY_2: lines})

    shown = "event_id, title_id, country, rating, rank, surface, variant, CAST(ds AS DATE), CAST(feed_date AS DATE)"
    assert events(out, shown) == [
        ("12", 7, "DE", 4.0, 2, "home", None, MAY_2, MAY_2),
        ("late", 7, "DE", None, None, None, None, MAY_1, MAY_2),
    ]
    times = events(out, "epoch_us(event_time), event_id")
    expected = [datetime(2024, 5, 1, 23, 30, 0, 123456, UTC), datetime(2024, 5, 2, 23, 59, 59, 0, UTC)]
    assert times == [(round(expected[0].timestamp() * 1e6), "late"), (round(expected[1].timestamp() * 1e6), "12")]
    assert reasons(out) == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line()[:40], "line: not one JSON object"),
        (line() + "{}", "line: not one JSON object"),
        ("[1]", "line: not one JSON object"),
        ("null", "line: not one JSON object"),
        (line('""'), "event_id: missing"),
        (line("null"), "event_id: missing"),
        (line('{"a":1}'), 'event_id: expected an id, found {"a":1}'),
        (line(title_id='"7"'), "title_id: expected a 64-bit integer from 0, found 7"),
        (line(title_id="-1"), "title_id: expected a 64-bit integer from 0, found -1"),
        (line(title_id="true"), "title_id: expected a 64-bit integer from 0, found true"),
        (
            line(time="2024-05-02T25:61:00Z"),
            "event_time: expected an RFC 3339 time in range, found 2024-05-02T25:61:00Z",
        ),
        (
            line(time="2024-02-30T10:00:00Z"),
            "event_time: expected an RFC 3339 time in range, found 2024-02-30T10:00:00Z",
        ),
        (
            line(time="2024-05-04T00:00:00Z"),
            "event_time: expected an RFC 3339 time in range, found 2024-05-04T00:00:00Z",
        ),
        (
            line(time="1989-12-31T23:59:59Z"),
            "event_time: expected an RFC 3339 time in range, found 1989-12-31T23:59:59Z",
        ),
        (line(time="2024-05-02T10:00:00"), "event_time: expected an RFC 3339 time in range, found 2024-05-02T10:00:00"),
        (line(end=',"rank":0'), "rank: expected an integer from 1, found 0"),
        (line(end=',"rank":2147483648'), "rank: expected an integer from 1, found 2147483648"),
        (line(end=',"rating":5.5'), "rating: expected a number in the range of ratings, found 5.5"),
        (line(end=',"rating":"4"'), "rating: expected a number in the range of ratings, found 4"),
        (line().replace("detail_view", "rating"), "rating: missing"),
        (line().replace("detail_view", "hover"), "event_type: expected a known event type, found hover"),
        (line().replace('"de"', '"deu"'), "country: expected an ISO 3166-1 alpha-2 code, found deu"),
        (line('""', title_id="-1"), "event_id: missing; title_id: expected a 64-bit integer from 0, found -1"),
    ],
)
def test_a_bad_line_is_rejected_with_its_reason(engine: str, tmp_path: Path, bad: str, reason: str) -> None:
    out = stage(engine, tmp_path, {MAY_2: [line('"good"'), bad]})

    assert events(out) == [("good", MAY_2)]
    assert reasons(out) == [(MAY_2, reason)]


@pytest.mark.parametrize("bad", [line().encode().replace(b'"u"', b'"\xff\xfeu"'), line(end=',"x":"' + "y" * 400 + '"')])
def test_a_line_that_cannot_be_read_is_rejected(engine: str, tmp_path: Path, bad: bytes | str) -> None:
    out = stage(engine, tmp_path, {MAY_2: [line('"good"'), bad]})

    assert events(out) == [("good", MAY_2)]
    assert [(day, str(reason).split(":")[0]) for day, reason in reasons(out)] == [(MAY_2, "line")]


def test_copy_of_the_earliest_feed_day_then_time_then_line_stays(engine: str, tmp_path: Path) -> None:
    out = stage(
        engine,
        tmp_path,
        {
            MAY_2: [line('"a"', "2024-05-02T12:00:00Z"), line('"b"', end=',"rank":2'), line('"b"', end=',"rank":1')],
            MAY_3: [line('"a"', "2024-05-01T12:00:00Z"), line('"c"', "2024-05-03T00:00:01Z"), line('"c"')],
        },
    )

    assert events(out, "event_id, CAST(ds AS DATE), rank") == [("a", MAY_2, None), ("b", MAY_2, 1), ("c", MAY_2, None)]
    copy = "event_id: a copy of an event of feed day"
    assert reasons(out) == [(MAY_2, f"{copy} 2024-05-02"), (MAY_3, f"{copy} 2024-05-02"), (MAY_3, f"{copy} 2024-05-03")]


def test_a_text_that_begins_like_json_is_a_text(engine: str, tmp_path: Path) -> None:
    out = stage(engine, tmp_path, {MAY_2: [line('"[REC]"'), line('"a, \\"title_id\\":9"')]})

    assert events(out, "event_id, title_id") == [("[REC]", 7), ('a, "title_id":9', 7)]


def write_parquet(path: Path, query: str) -> str:
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return str(path)


def test_outcomes_are_equal_in_any_order_and_only_for_the_same_rows(tmp_path: Path) -> None:
    rejects = write_parquet(
        tmp_path / "r", "SELECT unnest(['rank: missing', 'event_id: a copy of an event']) AS reason"
    )
    rows = ["('a', DATE '2024-05-01')", "('b', DATE '2024-05-02')", "('b', DATE '2024-05-01')"]

    def outcome_of(name: str, *values: str) -> object:
        query = f"SELECT * FROM (VALUES {', '.join(values)}) AS t(event_id, ds)"
        return outcome([write_parquet(tmp_path / name, query)], [rejects])

    first = outcome(
        [write_parquet(tmp_path / "1", f"SELECT * FROM (VALUES {rows[0]}, {rows[1]}) t(event_id, ds)")], [rejects]
    )
    assert (first.good, first.rejected, first.copies) == (2, 2, 1)
    assert outcome_of("2", rows[1], rows[0]) == first
    assert outcome_of("3", rows[0], rows[2]) != first  # same ids, other day
    assert outcome_of("4", rows[1], rows[1]) != first  # one twice, the other not at all


def test_simulated_feeds_have_about_the_requested_lines(tmp_path: Path) -> None:
    settings = load_settings(overrides=["simulate.users=300", "simulate.titles=200"])
    feeds = make_feeds(settings, tmp_path / "feeds", lines=4000, days=2)

    assert feeds.days == ("2024-05-01", "2024-05-02")
    assert feeds.lines == pytest.approx(4000, rel=0.25)
    lines = sum(len(gzip.decompress(Path(file).read_bytes()).splitlines()) for file in feeds.files)
    assert lines == feeds.lines


@pytest.mark.parametrize("then", ["pass", "import os; os.fork()"])
def test_memory_of_a_started_process_counts_once_though_it_forks(then: str) -> None:
    with Meter() as before:
        pass
    child = f"x = b'x' * (400 * 2**20); {then}; print('ready', flush=True); import time; time.sleep(1)"
    with Meter() as cost:
        subprocess.run([sys.executable, "-c", child], check=True, stdout=subprocess.DEVNULL)

    # 400 MiB of text and a bare interpreter; twice that would be over 800.
    assert 400 < cost.answer()["peak_mib"] - before.answer()["peak_mib"] < 600


def test_a_missed_target_is_reported_as_missed(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("lake")
    report.add("ratio", 1.25, "ratio", 1.2, days=100)
    report.add("ratio", 1.2, "ratio", 1.2)
    report.show()

    printed = capsys.readouterr()
    assert [json.loads(text) for text in printed.out.splitlines()] == [
        {
            **{"benchmark": "lake", "figure": "ratio", "value": 1.25, "unit": "ratio", "days": 100},
            **{"target_at_most": 1.2, "verdict": "missed"},
        },
        {
            **{"benchmark": "lake", "figure": "ratio", "value": 1.2, "unit": "ratio"},
            **{"target_at_most": 1.2, "verdict": "met"},
        },
    ]
    assert "at most 1.2: missed" in printed.err
