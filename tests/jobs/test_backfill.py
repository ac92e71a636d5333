"""A backfill's promises: the same tables however it is cut up, killed, repeated or run beside another."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from conf.loader import load_settings
from conf.settings import Settings, with_changes
from jobs import backfill, stg_events
from jobs.backfill import FeedAccount
from jobs.command import days_between
from jobs.errors import JobError
from jobs.sources.simulate import simulate
from jobs.staging import feed_loads, feeds, rejected_rows
from jobs.store import tables
from tests.processes import with_small_java

FIRST, LAST = date(2024, 5, 1), date(2024, 5, 3)
DAYS = days_between(FIRST, LAST)
EVENTS_ONLY = ("stg_events",)
FOLDER = "events/event_date=2024-05-0"
WriteFeed = Callable[..., Path]
ReadRows = Callable[..., list[tuple[Any, ...]]]
Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated days, with late, copied and malformed lines."""
    root = tmp_path_factory.mktemp("simulated") / "feeds"
    small = {"users": 60, "titles": 150, "days": len(DAYS), "late_share": 0.05, "duplicated_share": 0.05}
    changes = {f"simulate.{key}": value for key, value in small.items()} | {"simulate.malformed_share": 0.02}
    simulate(with_changes(load_settings(), changes), root)
    return root


@pytest.fixture
def day_by_day(settings: Settings, simulated: Path) -> Settings:
    """Settings under which each day is a Spark run of its own."""
    return with_changes(settings, {"feeds.root": str(simulated), "backfill.max_chunk_days": 1})


@pytest.fixture(scope="module")
def event_rows(read_rows: ReadRows) -> Callable[[Settings], Rows]:
    """Every row of the tables that the events feed fills, in an order of its own."""
    filled = (stg_events.TABLE, rejected_rows.TABLE, feed_loads.TABLE)
    return lambda settings: {table.name: read_rows(settings, table) for table in filled}


@pytest.fixture(scope="module")
def undisturbed(
    spark: SparkSession,
    simulated: Path,
    event_rows: Callable[[Settings], Rows],
    tmp_path_factory: pytest.TempPathFactory,
) -> Rows:
    """What the tables hold after one backfill of all days at once."""
    changes = {"feeds.root": str(simulated), "lake.root": str(tmp_path_factory.mktemp("undisturbed"))}
    settings = with_changes(load_settings(), changes)
    backfill.run(spark, settings, DAYS, EVENTS_ONLY)
    return event_rows(settings)


@pytest.fixture(scope="module")
def two_days(
    spark: SparkSession,
    settings_in: Callable[[Path], Settings],
    write_feed: WriteFeed,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of a lake with events of the first and the last of three days. Not to be changed."""
    folder = tmp_path_factory.mktemp("two_days")
    settings = settings_in(folder)
    write_feed(settings, f"{FOLDER}1/a.jsonl", event("e1", "2024-05-01"), event("e2", "2024-05-01"))
    write_feed(settings, f"{FOLDER}3/a.jsonl", event("e3", "2024-05-03"))
    backfill.run(spark, settings, DAYS, EVENTS_ONLY)
    return folder


@pytest.fixture
def loaded(two_days: Path, tmp_path: Path, settings: Settings) -> Settings:
    """A copy of the lake of `two_days`."""
    shutil.copytree(two_days, tmp_path, dirs_exist_ok=True)
    return settings


def start_backfill(settings: Settings, *arguments: str) -> "subprocess.Popen[bytes]":
    """`python -m jobs.backfill` as a process group of its own, so that its JVM can be killed with it."""
    values = {
        "feeds.root": settings.feeds.root,
        "lake.root": settings.lake.root,
        "backfill.max_chunk_days": settings.backfill.max_chunk_days,
        "spark.conf.spark.driver.memory": "1g",
        "spark.conf.spark.sql.shuffle.partitions": 2,
    }
    changes = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "jobs.backfill", *arguments, *changes]
    return subprocess.Popen(
        command, env=with_small_java(), start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture
def started() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes that a test started; none outlives it."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline, "the backfill never got there"
        time.sleep(0.05)


def test_killed_backfill_run_again_leaves_the_tables_of_an_undisturbed_one(
    spark: SparkSession,
    day_by_day: Settings,
    undisturbed: Rows,
    event_rows: Callable[[Settings], Rows],
    read_rows: ReadRows,
    started: list["subprocess.Popen[bytes]"],
) -> None:
    process = start_backfill(day_by_day, "--only", "stg_events")
    started.append(process)
    log = Path(tables.location(day_by_day, stg_events.TABLE)) / "_delta_log"
    # Version 0 creates the table; after version 1 the first of three days is loaded and the second under way.
    wait_for((log / f"{1:020}.json").exists, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    loaded = set(read_rows(day_by_day, stg_events.TABLE, "feed_date"))
    assert 1 <= len(loaded) < len(DAYS)

    at_once = with_changes(day_by_day, {"backfill.max_chunk_days": len(DAYS)})
    backfill.run(spark, at_once, DAYS, EVENTS_ONLY, skip_complete=True)

    assert event_rows(day_by_day) == undisturbed


def test_overlapping_backfills_at_the_same_time_end_with_right_tables(
    spark: SparkSession,
    day_by_day: Settings,
    undisturbed: Rows,
    event_rows: Callable[[Settings], Rows],
    started: list["subprocess.Popen[bytes]"],
) -> None:
    other = start_backfill(day_by_day, "--from", "2024-05-02", "--to", "2024-05-03", "--only", "stg_events")
    started.append(other)
    wait_for((Path(tables.location(day_by_day, stg_events.TABLE)) / "_delta_log").exists, other)

    backfill.run(spark, day_by_day, days_between(FIRST, date(2024, 5, 2)), EVENTS_ONLY)
    _, errors = other.communicate(timeout=300)

    assert other.returncode == 0, errors.decode()
    assert event_rows(day_by_day) == undisturbed


def test_days_in_reverse_order_leave_the_same_tables(
    spark: SparkSession, day_by_day: Settings, undisturbed: Rows, event_rows: Callable[[Settings], Rows]
) -> None:
    for day in reversed(DAYS):
        stg_events.run(spark, day_by_day, [day])
    assert event_rows(day_by_day) == undisturbed


def test_counts_agree_with_what_the_simulator_wrote(simulated: Path, undisturbed: Rows) -> None:
    truth = json.loads((simulated / "truth" / "feed_counts.json").read_text())
    columns = feed_loads.TABLE.schema.fieldNames()
    loads = [dict(zip(columns, row, strict=True)) for row in undisturbed["feed_loads"]]
    loaded = {
        str(load["ds"]): (load["count_lines"], load["count_duplicates"], load["count_rejected"])
        for load in loads
        if load["feed"] == "events"
    }
    assert loaded == {
        day: (counts["lines"], counts["duplicates"], counts["duplicates"] + counts["malformed"])
        for day, counts in truth.items()
    }


def test_complete_days_are_left_out_until_their_files_change(
    spark: SparkSession, loaded: Settings, write_feed: WriteFeed
) -> None:
    def incomplete() -> list[date]:
        files = feeds.list_events(spark, loaded.feeds.root, DAYS)
        return backfill.incomplete_days(loaded, "events", DAYS, files)

    assert incomplete() == []
    version = tables.version(loaded, stg_events.TABLE)
    backfill.run(spark, loaded, DAYS, EVENTS_ONLY, skip_complete=True)
    assert tables.version(loaded, stg_events.TABLE) == version
    write_feed(loaded, f"{FOLDER}3/b.jsonl", event("e4", "2024-05-03"))
    assert incomplete() == [LAST]


def test_one_failing_day_fails_the_command_after_the_others(
    spark: SparkSession, settings: Settings, write_feed: WriteFeed, read_rows: ReadRows
) -> None:
    write_feed(settings, "events/event_date=2024-05-01/a.jsonl", "no event", event("e1", "2024-05-01"))
    write_feed(settings, "events/event_date=2024-05-02/a.jsonl", event("e2", "2024-05-02"))
    write_feed(settings, "titles/a.jsonl", '{"title_id":1,"title":"Heat"}')
    with pytest.raises(JobError, match=r"events for ds=2024-05-01: 1 of 2 lines are bad"):
        backfill.run(spark, settings, days_between(date(2024, 5, 1), date(2024, 5, 2)))
    assert read_rows(settings, stg_events.TABLE, "event_id") == [("e2",)]
    assert backfill.account(spark, settings, [date(2024, 5, 2)]) == [
        FeedAccount("events", lines=1, rows=1, rejected=0, duplicates=0, erased=0),
        FeedAccount("titles", lines=1, rows=1, rejected=0, duplicates=0, erased=0),
    ]


def test_loaded_day_whose_files_are_gone_is_not_emptied(
    spark: SparkSession, loaded: Settings, read_rows: ReadRows
) -> None:
    (Path(loaded.feeds.root) / f"{FOLDER}1" / "a.jsonl").unlink()
    with pytest.raises(JobError, match="ds=2024-05-01: 2 rows were loaded from files that are gone"):
        backfill.run(spark, loaded, DAYS, EVENTS_ONLY)
    assert read_rows(loaded, stg_events.TABLE, "event_id") == [("e1",), ("e2",), ("e3",)]


def test_a_lost_row_is_told(spark: SparkSession, loaded: Settings) -> None:
    DeltaTable(tables.location(loaded, stg_events.TABLE)).delete("event_id = 'e2'")
    accounts = backfill.account(spark, loaded, [FIRST])
    assert accounts == [FeedAccount("events", lines=2, rows=1, rejected=0, duplicates=0, erased=0)]
    with pytest.raises(JobError, match="lines of events do not add up"):
        backfill.print_accounts(accounts, [FIRST])


def test_a_range_without_any_feed_is_refused(spark: SparkSession, settings: Settings, write_feed: WriteFeed) -> None:
    write_feed(settings, "events/event_date=2024-05-01/a.jsonl", event("e1", "2024-05-01"))
    with pytest.raises(JobError, match=r"no events for 2024-06-01 to 2024-06-02: expected .*event_date=2024-06-01"):
        backfill.run(spark, settings, days_between(date(2024, 6, 1), date(2024, 6, 2)), only=EVENTS_ONLY)


def test_chunks_hold_to_days_and_bytes() -> None:
    days = days_between(date(2024, 5, 1), date(2024, 5, 6))
    sizes = {date(2024, 5, 1): 40, date(2024, 5, 2): 40, date(2024, 5, 3): 40, date(2024, 5, 5): 500}
    # 40 + 40 fit into 100 bytes and 120 do not; the empty 4th joins the 3rd; the 5th is larger than a chunk, and the
    # empty 6th would make it no smaller.
    assert [[day.day for day in chunk] for chunk in backfill.chunks(days, sizes, 100, 9)] == [[1, 2], [3, 4], [5], [6]]
    assert [[day.day for day in chunk] for chunk in backfill.chunks(days, {}, 100, 4)] == [[1, 2, 3, 4], [5, 6]]
    assert backfill.chunks([], sizes, 100, 4) == []


def event(event_id: str, day: str) -> str:
    """A valid line."""
    fields = {"user_id": "u1", "title_id": 1, "event_type": "like", "event_time": f"{day}T12:00:00Z", "country": "FR"}
    return json.dumps({"event_id": event_id, **fields})
