"""Erasing a person: out of every table, out of the files' history, and not back with the next load."""

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings, with_changes
from jobs import (
    backfill,
    erase,
    interactions,
    stg_consents,
    stg_events,
    title_stats,
    training_examples,
    training_users,
    user_histories,
)
from jobs.erase import Erased
from jobs.errors import JobError
from jobs.staging import erasures, feed_loads, rejected_rows
from jobs.store import tables
from lake import night_files

DAY, NEXT_DAY = date(2024, 5, 1), date(2024, 5, 2)
LEAVER = "leaver-7"


def event(event_id: str, user_id: str, day: date = DAY) -> str:
    """A valid line."""
    fields = {"title_id": 1, "event_type": "like", "event_time": f"{day}T12:00:00Z", "country": "FR"}
    return json.dumps({"event_id": event_id, "user_id": user_id, **fields})


@pytest.fixture(scope="module")
def delivered(
    spark: SparkSession,
    settings_in: Callable[[Path], Settings],
    write_feed: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of two days of events, and consents, that name the leaver and others; bad lines and a copy among them.

    Not to be changed.
    """
    folder = tmp_path_factory.mktemp("delivered")
    settings = settings_in(folder)
    stayers = [event(f"s{n}", f"stayer-{n}") for n in range(40)]
    # A broken line that names the leaver, one that names somebody whose id only begins alike, and a copy.
    bad = [f'{{"user_id":"{LEAVER}"', f'{{"user_id":"{LEAVER}7"']
    write_feed(settings, f"events/event_date={DAY}/a.jsonl", *stayers, event("l1", LEAVER), event("l1", LEAVER), *bad)
    write_feed(settings, f"events/event_date={NEXT_DAY}/a.jsonl", event("l2", LEAVER, NEXT_DAY))
    consents = [json.dumps({"user_id": user, "marketing": True}) for user in (LEAVER, "stayer-1", "stayer-2")]
    write_feed(settings, "consents/a.jsonl", *consents)
    backfill.run(spark, settings, [DAY, NEXT_DAY], only=["stg_events", "stg_consents"])
    request = {"user_id": LEAVER, "requested_at": "2024-05-02T08:00:00Z"}
    write_feed(settings, "erasures/a.jsonl", json.dumps(request))
    return folder


@pytest.fixture
def loaded(delivered: Path, tmp_path: Path, settings: Settings) -> Settings:
    """A copy of what was delivered and loaded."""
    shutil.copytree(delivered, tmp_path, dirs_exist_ok=True)
    return settings


def files_naming(root: str, text: str) -> list[str]:
    """Every file below `root`, data or log, in which `text` can be read (tables of tests are not compressed away)."""
    import pyarrow.parquet as pq

    found = []
    for path in Path(root).rglob("*"):
        if path.suffix == ".parquet":
            content = repr(pq.read_table(path, partitioning=None).to_pylist())
        elif path.is_file():
            content = path.read_bytes().decode("latin-1")
        else:
            continue
        if text in content.replace(f"{text}7", ""):
            found.append(str(path.relative_to(root)))
    return found


def test_person_leaves_every_table_and_every_file(
    spark: SparkSession, loaded: Settings, read_rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    assert files_naming(loaded.lake.root, LEAVER) != []

    done = erase.run(spark, loaded, NEXT_DAY)

    # l1 and l2; the consent; the copy of l1 and the broken line.
    assert [(entry.table, entry.rows_removed) for entry in done] == [
        ("stg_events", 2),
        ("stg_consents", 1),
        ("rejected_rows", 2),
        (erase.NIGHT_LISTS, 0),
    ]
    assert files_naming(loaded.lake.root, LEAVER) == []
    assert len(read_rows(loaded, stg_events.TABLE)) == 40
    assert read_rows(loaded, stg_consents.TABLE, "user_id") == [("stayer-1",), ("stayer-2",)]
    assert read_rows(loaded, rejected_rows.TABLE, "line") == [(f'{{"user_id":"{LEAVER}7"',)]
    assert [account.adds_up for account in backfill.account(spark, loaded, [DAY, NEXT_DAY])] == [True, True]
    columns = ("feed", "ds", "count_lines", "count_loaded", "count_rejected", "count_duplicates", "count_erased")
    assert read_rows(loaded, feed_loads.TABLE, *columns) == [
        ("consents", NEXT_DAY, 3, 2, 0, 0, 1),
        ("events", DAY, 44, 40, 1, 0, 3),
        ("events", NEXT_DAY, 1, 0, 0, 0, 1),
    ]


def test_person_leaves_the_derived_tables(
    spark: SparkSession, loaded: Settings, read_rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    derived = [interactions.TABLE, user_histories.TABLE, training_examples.TABLE, training_users.TABLE]
    loaded = with_changes(loaded, {"examples.split": "none"})
    names = [title_stats.TABLE.name, *[table.name for table in derived]]
    backfill.run(spark, loaded, [DAY, NEXT_DAY], only=names)
    stayers = {table.name: [row for row in read_rows(loaded, table) if LEAVER not in row] for table in derived}

    done = {entry.table: entry.rows_removed for entry in erase.run(spark, loaded, NEXT_DAY)}

    # They liked one title on two days: two interactions and histories, and one example, since a re-watch makes none.
    assert [done[table.name] for table in derived] == [2, 2, 1, 1]
    assert files_naming(loaded.lake.root, LEAVER) == []
    assert {table.name: read_rows(loaded, table) for table in derived} == stayers

    # What was built while they were there is not stale: the days are not built again, and are the same if they are.
    assert user_histories.plan(loaded, [DAY, NEXT_DAY], True) == []
    backfill.run(spark, loaded, [DAY, NEXT_DAY], only=names)
    assert files_naming(loaded.lake.root, LEAVER) == []
    assert {table.name: read_rows(loaded, table) for table in derived} == stayers


def test_person_leaves_the_lists_of_past_nights(spark: SparkSession, loaded: Settings) -> None:
    for night in (DAY, NEXT_DAY):
        night_files.lists(loaded, night).mkdir(parents=True)
    with_leaver = night_files.lists(loaded, DAY) / "marquee@1.parquet"
    without = night_files.lists(loaded, NEXT_DAY) / "als.parquet"
    rows = {"user_id": ["stayer-1", LEAVER, LEAVER, "stayer-1"], "title_id": [1, 1, 2, 2], "rank": [1, 1, 2, 2]}
    pd.DataFrame(rows).to_parquet(with_leaver, index=False)
    pd.DataFrame(rows).query("user_id == 'stayer-1'").to_parquet(without, index=False)
    untouched = without.stat().st_mtime_ns

    done = erase.run(spark, loaded, NEXT_DAY)

    assert done[-1] == Erased(erase.NIGHT_LISTS, 2, 1, 1)
    assert files_naming(loaded.report.root, LEAVER) == []
    assert pd.read_parquet(with_leaver).values.tolist() == [["stayer-1", 1, 1], ["stayer-1", 2, 2]]
    assert without.stat().st_mtime_ns == untouched


def test_erased_person_does_not_come_back_with_a_rerun(
    spark: SparkSession, loaded: Settings, read_rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    erase.run(spark, loaded, NEXT_DAY)
    backfill.run(spark, loaded, [DAY, NEXT_DAY], only=["stg_events", "stg_consents"])
    assert len(read_rows(loaded, stg_events.TABLE)) == 40
    assert read_rows(loaded, stg_consents.TABLE, "user_id") == [("stayer-1",), ("stayer-2",)]
    assert read_rows(loaded, feed_loads.TABLE, "feed", "ds", "count_loaded", "count_erased") == [
        ("consents", NEXT_DAY, 2, 1),
        ("events", DAY, 40, 2),
        ("events", NEXT_DAY, 0, 1),
    ]


def test_request_of_a_later_day_waits(
    spark: SparkSession, loaded: Settings, read_rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    done = erase.run(spark, loaded, DAY)
    names = ("stg_events", "stg_consents", "rejected_rows", erase.NIGHT_LISTS)
    assert done == [Erased(name, 0, 0, 0) for name in names]
    assert read_rows(loaded, erasures.TABLE) == []
    assert len(read_rows(loaded, stg_events.TABLE)) == 42


def test_bad_requests_are_refused(spark: SparkSession, settings: Settings, write_feed: Callable[..., Path]) -> None:
    write_feed(settings, "erasures/a.jsonl", '{"user_id":"u1","requested_at":"yesterday"}')
    with pytest.raises(JobError, match=r"erasures for ds=2024-05-01: 1 of 1 lines are bad"):
        erase.run(spark, settings, DAY)
    assert not tables.read(spark, settings, erasures.TABLE).take(1)


@pytest.mark.parametrize(
    ("line", "is_theirs"),
    [
        ('{"user_id":"u1","title_id":1}', True),
        ('{"user_id":"u2","surface":"u1"}', False),
        ('{"user_id":"u1"', True),
        ('{"user_id":"u12"', False),
        ('{"user_id":"x-u1"', False),
        ("u1", True),
        ("", False),
    ],
)
def test_rejected_line_is_theirs_by_id_or_by_word(spark: SparkSession, line: str, is_theirs: bool) -> None:
    rows = spark.range(1).select(erase.names_user(F.lit(line), F.lit("u1")))
    assert rows.collect()[0][0] is is_theirs
