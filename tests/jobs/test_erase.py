"""Erasing a person: out of every table, out of the files' history, and not back with the next load."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
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
from jobs.store import built_days
from jobs.store.built_days import Built
from lake import night_files
from tests import arrow_frames

DAY, NEXT_DAY = date(2024, 5, 1), date(2024, 5, 2)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
LEAVER, WAITER = "leaver-7", "waiter-9"
STAYERS = [*[f"stayer-{n}" for n in range(40)], WAITER]
STAGED = (stg_events.TABLE, stg_consents.TABLE)
DERIVED = (interactions.TABLE, user_histories.TABLE, training_examples.TABLE, training_users.TABLE)
OPTIONS = {"examples.split": "none", "examples.history_titles": 2, "examples.user_history_titles": 2}
Rows = list[tuple[Any, ...]]
ReadRows = Callable[..., Rows]


def event(event_id: str, user_id: str, day: date = DAY) -> str:
    """A valid line."""
    fields = {"title_id": 1, "event_type": "like", "event_time": f"{day}T12:00:00Z", "country": "FR"}
    return json.dumps({"event_id": event_id, "user_id": user_id, **fields})


def deliver(settings: Settings, write_feed: Callable[..., Path]) -> None:
    """Two days of events, and consents, that name the leaver and others; bad lines and a copy among them."""
    stayers = [event(f"s{n}", user) for n, user in enumerate(STAYERS)]
    # A broken line that names the leaver, one that names somebody whose id only begins alike, and a copy.
    bad = [f'{{"user_id":"{LEAVER}"', f'{{"user_id":"{LEAVER}7"']
    write_feed(settings, f"events/event_date={DAY}/a.jsonl", *stayers, event("l1", LEAVER), event("l1", LEAVER), *bad)
    write_feed(settings, f"events/event_date={NEXT_DAY}/a.jsonl", event("l2", LEAVER, NEXT_DAY))
    consents = [json.dumps({"user_id": user, "marketing": True}) for user in (LEAVER, "stayer-1", WAITER)]
    write_feed(settings, "consents/a.jsonl", *consents)


def request_erasures(settings: Settings, write_feed: Callable[..., Path]) -> None:
    """The leaver's request of the second day, and one of the day after it."""
    times = {LEAVER: "2024-05-02T08:00:00Z", WAITER: "2024-05-03T00:00:00Z"}
    requests = [json.dumps({"user_id": user, "requested_at": time}) for user, time in times.items()]
    write_feed(settings, "erasures/a.jsonl", *requests)


# Everybody liked title 1 on the first day, and the leaver again on the second.
LIKES = [*[(user_id, NOON) for user_id in (*STAYERS, LEAVER)], (LEAVER, NOON + timedelta(days=1))]
OF_LIKE = {"title_id": 1, "weight": 1.0, "is_opinion": True, "country": "FR"}


def interaction(user_id: str, time: datetime) -> dict[str, Any]:
    times = {"first_event_time": time, "last_event_time": time, "ds": time.date(), "known_ds": time.date()}
    return {"user_id": user_id, **OF_LIKE, **times, "count_events": 1}


def user_history(user_id: str, time: datetime) -> dict[str, Any]:
    entry = {"event_time": time, "opinion_time": time, **OF_LIKE}
    return {"user_id": user_id, "ds": time.date(), "entries": [entry], "count_interactions": time.day}  # one a day


def example(user_id: str) -> dict[str, Any]:
    """The example of a first like: nothing was known before it, of the user or of the title."""
    moment = {"ds": DAY, "known_ds": DAY, "event_time": NOON, "country": "FR", "split": "train"}
    no_history = {"history_title_ids": [-1] * 2, "history_weights": [0.0] * 2, "history_ages_days": [0.0] * 2}
    return {"user_id": user_id, "title_id": 1, **moment, **no_history, "history_length": 0, "sampling_probability": 1.0}


def training_user(user_id: str) -> dict[str, Any]:
    """The history at the end of the second day."""
    ages = [0.5 if user_id == LEAVER else 1.5, 0.0]
    padded = {"history_title_ids": [1, -1], "history_weights": [1.0, 0.0], "history_ages_days": ages}
    return {"user_id": user_id, "as_of_ds": NEXT_DAY, "country": "FR", **padded, "history_length": 1}


def write_derived_tables(spark: SparkSession, settings: Settings, write_table: Callable[..., None]) -> None:
    """What the jobs build of LIKES. The leaver has one example, since a re-watch makes none."""
    write_table(settings, interactions.TABLE, *[interaction(*like) for like in LIKES])
    write_table(settings, user_histories.TABLE, *[user_history(*like) for like in LIKES])
    write_table(settings, training_examples.TABLE, *[example(user_id) for user_id in (*STAYERS, LEAVER)])
    write_table(settings, training_users.TABLE, *[training_user(user_id) for user_id in (*STAYERS, LEAVER)])
    for job in (interactions, user_histories):
        built = {ds: Built(1, 1, inputs_hash) for ds, inputs_hash in job.inputs(settings).items()}
        built_days.enter(spark, settings, job.TABLE, built)


def write_night_lists(settings: Settings) -> None:
    """Lists of two nights, one of which names the leaver."""
    for night in (DAY, NEXT_DAY):
        night_files.lists(settings, night).mkdir(parents=True)
    rows = pd.DataFrame(
        {"user_id": ["stayer-1", LEAVER, LEAVER, "stayer-1"], "title_id": [1, 1, 2, 2], "rank": [1, 1, 2, 2]}
    )
    rows.to_parquet(night_files.lists(settings, DAY) / "marquee@1.parquet", index=False)
    without = rows.query("user_id == 'stayer-1'")
    without.to_parquet(night_files.lists(settings, NEXT_DAY) / "als.parquet", index=False)


@dataclass(frozen=True)
class Erasure:
    """A lake whose leaver was erased as of the second day, what it held before, and the result."""

    settings: Settings
    derived_before: dict[str, Rows]
    files_naming_before: list[str]
    lists_written_ns: int
    done: list[Erased]


@pytest.fixture(scope="module")
def erasure(
    spark: SparkSession,
    settings_in: Callable[[Path], Settings],
    write_feed: Callable[..., Path],
    write_table: Callable[..., None],
    read_rows: ReadRows,
    tmp_path_factory: pytest.TempPathFactory,
) -> Erasure:
    """A lake that was loaded, and erased from. Not to be changed."""
    settings = with_changes(settings_in(tmp_path_factory.mktemp("erasure")), OPTIONS)
    deliver(settings, write_feed)
    backfill.run(spark, settings, [DAY, NEXT_DAY], only=[table.name for table in STAGED])
    write_derived_tables(spark, settings, write_table)
    write_night_lists(settings)
    request_erasures(settings, write_feed)
    before = {table.name: read_rows(settings, table) for table in DERIVED}
    naming = files_naming(settings.lake.root, LEAVER)
    written_ns = untouched_list(settings).stat().st_mtime_ns
    return Erasure(settings, before, naming, written_ns, erase.run(spark, settings, NEXT_DAY))


@pytest.fixture(scope="module")
def rerun(
    spark: SparkSession,
    erasure: Erasure,
    settings_in: Callable[[Path], Settings],
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """A copy of the lake after the erasure, loaded and built again. Not to be changed."""
    folder = tmp_path_factory.mktemp("rerun")
    settings = with_changes(settings_in(folder), OPTIONS)
    shutil.copytree(Path(erasure.settings.lake.root).parent, folder, dirs_exist_ok=True)
    names = [table.name for table in (*STAGED, title_stats.TABLE, *DERIVED)]
    backfill.run(spark, settings, [DAY, NEXT_DAY], only=names)
    return settings


def untouched_list(settings: Settings) -> Path:
    return night_files.lists(settings, NEXT_DAY) / "als.parquet"


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


def test_person_leaves_every_table_and_every_file(spark: SparkSession, erasure: Erasure, read_rows: ReadRows) -> None:
    settings = erasure.settings
    assert erasure.files_naming_before != []
    # l1 and l2; the consent; two interactions and histories, one example and user; the copy of l1 and the broken line.
    assert [(entry.table, entry.rows_removed) for entry in erasure.done] == [
        ("stg_events", 2),
        ("stg_consents", 1),
        ("interactions", 2),
        ("user_histories", 2),
        ("training_examples", 1),
        ("training_users", 1),
        ("rejected_rows", 2),
        (erase.NIGHT_LISTS, 2),
    ]
    assert files_naming(settings.lake.root, LEAVER) == []
    assert len(read_rows(settings, stg_events.TABLE)) == len(STAYERS)
    assert read_rows(settings, stg_consents.TABLE, "user_id") == [("stayer-1",), (WAITER,)]
    assert read_rows(settings, rejected_rows.TABLE, "line") == [(f'{{"user_id":"{LEAVER}7"',)]
    assert [account.adds_up for account in backfill.account(spark, settings, [DAY, NEXT_DAY])] == [True, True]
    columns = ("feed", "ds", "count_lines", "count_loaded", "count_rejected", "count_duplicates", "count_erased")
    assert read_rows(settings, feed_loads.TABLE, *columns) == [
        ("consents", NEXT_DAY, 3, 2, 0, 0, 1),
        ("events", DAY, 45, 41, 1, 0, 3),
        ("events", NEXT_DAY, 1, 0, 0, 0, 1),
    ]


def test_person_leaves_the_derived_tables(erasure: Erasure, rerun: Settings, read_rows: ReadRows) -> None:
    stayers = {name: [row for row in rows if LEAVER not in row] for name, rows in erasure.derived_before.items()}
    assert {table.name: read_rows(erasure.settings, table) for table in DERIVED} == stayers

    # What was built while they were there is not stale: the days are not built again, and are the same if they are.
    assert user_histories.plan(erasure.settings, [DAY, NEXT_DAY], True) == []
    # A load that is run again rejects the broken line again, until the next erasure.
    naming = files_naming(rerun.lake.root, LEAVER)
    assert [file for file in naming if not file.startswith(rejected_rows.TABLE.name)] == []
    assert {table.name: read_rows(rerun, table) for table in DERIVED} == stayers


def test_person_leaves_the_lists_of_past_nights(erasure: Erasure) -> None:
    assert erasure.done[-1] == Erased(erase.NIGHT_LISTS, 2, 1, 1)
    assert files_naming(erasure.settings.report.root, LEAVER) == []
    with_leaver = night_files.lists(erasure.settings, DAY) / "marquee@1.parquet"
    assert pd.read_parquet(with_leaver).values.tolist() == [["stayer-1", 1, 1], ["stayer-1", 2, 2]]
    assert untouched_list(erasure.settings).stat().st_mtime_ns == erasure.lists_written_ns


def test_nothing_is_rewritten_where_nobody_is_due(
    spark: SparkSession,
    settings: Settings,
    write_feed: Callable[..., Path],
    write_table: Callable[..., None],
    read_rows: ReadRows,
) -> None:
    request_erasures(settings, write_feed)
    write_table(settings, stg_consents.TABLE, {"user_id": LEAVER, "marketing": True, "updated_ds": DAY})
    write_night_lists(settings)
    assert erase.run(spark, settings, DAY) == [
        Erased(name, 0, 0, 0) for name in ("stg_consents", "rejected_rows", erase.NIGHT_LISTS)
    ]
    assert read_rows(settings, erasures.TABLE) == []


def test_erased_person_does_not_come_back_with_a_rerun(rerun: Settings, read_rows: ReadRows) -> None:
    assert len(read_rows(rerun, stg_events.TABLE)) == len(STAYERS)
    assert read_rows(rerun, stg_consents.TABLE, "user_id") == [("stayer-1",), (WAITER,)]
    # The copy of l1 is erased with it; the broken line is rejected again.
    assert read_rows(rerun, feed_loads.TABLE, "feed", "ds", "count_loaded", "count_erased") == [
        ("consents", NEXT_DAY, 2, 1),
        ("events", DAY, 41, 2),
        ("events", NEXT_DAY, 0, 1),
    ]


def test_request_of_a_later_day_waits(erasure: Erasure, read_rows: ReadRows) -> None:
    names = [table.name for table in (*STAGED, *DERIVED)]
    assert [hash_ for (hash_,) in read_rows(erasure.settings, erasures.TABLE, "user_hash")] == [
        hashlib.sha256(LEAVER.encode()).hexdigest()
    ]
    rows = {table.name: read_rows(erasure.settings, table) for table in (*STAGED, *DERIVED)}
    assert {name: sum(WAITER in row for row in rows[name]) for name in names} == dict.fromkeys(names, 1)


def test_bad_requests_are_refused(
    spark: SparkSession, settings: Settings, write_feed: Callable[..., Path], read_rows: ReadRows
) -> None:
    write_feed(settings, "erasures/a.jsonl", '{"user_id":"u1","requested_at":"yesterday"}')
    with pytest.raises(JobError, match=r"erasures for ds=2024-05-01: 1 of 1 lines are bad"):
        erase.run(spark, settings, DAY)
    assert read_rows(settings, erasures.TABLE) == []


THEIRS = {
    '{"user_id":"u1","title_id":1}': True,
    '{"user_id":"u2","surface":"u1"}': False,
    '{"user_id":"u1"': True,
    '{"user_id":"u12"': False,
    '{"user_id":"x-u1"': False,
    "u1": True,
    "": False,
}


@pytest.fixture(scope="module")
def is_theirs(spark: SparkSession) -> dict[str, bool]:
    """The verdict on each line of THEIRS."""
    lines = arrow_frames.frame(spark, "line string", [(line,) for line in THEIRS])
    return {row[0]: row[1] for row in lines.select("line", erase.names_user(F.col("line"), F.lit("u1"))).collect()}


@pytest.mark.parametrize("line", THEIRS)
def test_rejected_line_is_theirs_by_id_or_by_word(is_theirs: dict[str, bool], line: str) -> None:
    assert is_theirs[line] is THEIRS[line]
