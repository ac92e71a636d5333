"""From staged events to training rows: as the oracle has it, in whatever order days are built, and nothing too early.

One small random world is built in two ways: all days at once, and as its feeds come in, by nights and after an outage
of three days. The tables must be those of tests/jobs/oracle.py, and the same each way.
"""

import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings, with_changes
from jobs import interactions, stg_events, stg_titles, title_stats, training_examples, training_users, user_histories
from jobs.errors import JobError
from jobs.features import splits
from jobs.staging import feed_loads
from jobs.store import built_days, change_rows, tables
from jobs.store.tables import Table
from tests import arrow_frames, stored_rows
from tests.jobs import oracle
from tests.jobs.oracle import Interaction, Rules

SettingsIn = Callable[[Path], Settings]
Event = dict[str, Any]
Rows = list[tuple[Any, ...]]
Lake = dict[str, Rows]
Deliver = Callable[..., None]

# In order of dependency.
JOBS = (interactions, title_stats, user_histories, training_examples)
SMALL = {
    "histories.max_titles": 6,
    "examples.history_titles": 4,
    "examples.user_history_titles": 5,
}
KIND_WEIGHTS = {
    **{"impression": 2, "detail_view": 5, "clickout": 3, "watchlist_add": 2, "seen": 2},
    **{"like": 3, "dislike": 3, "rating": 5},
}


@pytest.fixture(scope="module", autouse=True)
def every_third_day_is_a_checkpoint() -> Iterator[None]:
    """Days 3 and 6 are checkpoint days: 2024-05-05 is day 19848 since 1970, and 19848 = 3 * 6616."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(change_rows, "CHECKPOINT_DAYS", 3)
        yield


def _day(day: int) -> date:
    return date(2024, 5, 2) + timedelta(days=day)


def _at(day: int, hour: float) -> datetime:
    return datetime(2024, 5, 2, tzinfo=UTC) + timedelta(days=day, hours=hour)


DAYS = [_day(day) for day in range(1, 7)]
# Two nights, three days that are built together after an outage, and a night again.
EARLY, OUTAGE, NEWEST = DAYS[:2], DAYS[2:5], DAYS[5]


def _event(event_id: str, user_id: str, title_id: int, event_type: str, when: datetime, **changes: Any) -> Event:
    return {
        **{"event_id": event_id, "user_id": user_id, "title_id": title_id, "event_type": event_type},
        **{"event_time": when, "country": "DE", "rating": None, "ds": when.date(), "feed_date": when.date()},
        **changes,
    }


def _random_event(rng: random.Random, event_id: str, feed_day: int) -> Event:
    """An event that comes in on `feed_day`: some of days before it, some of the day after."""
    lag = rng.choices([0, 1, 2, 3, 4, -1], [70, 8, 6, 4, 4, 8])[0]
    event_type = rng.choices(list(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))[0]
    # Few moments, so that many events share one; the last is a microsecond before midnight.
    hour = rng.choice([0, 3, 3.5, 12, 18, 18.25, 24 - 1 / 3_600_000_000])
    return _event(
        event_id,
        # Some users are busier than others, some titles more popular.
        f"u{min(rng.randrange(12), rng.randrange(12))}",
        min(rng.randrange(15), rng.randrange(15)),
        event_type,
        _at(feed_day - lag, hour),
        country=rng.choice(["DE", "DE", "FR", "US"]),
        rating=rng.choice([0.5, 1.0, 2.5, 3.0, 3.5, 4.0, 5.0]) if event_type == "rating" else None,
        feed_date=_day(feed_day),
    )


def _feed(rng: random.Random, name: str, feed_day: int, count: int) -> list[Event]:
    return [_random_event(rng, f"{name}-{feed_day}-{n}-{rng.randrange(1000)}", feed_day) for n in range(count)]


@pytest.fixture(scope="module")
def world() -> list[Event]:
    """What the feeds of six days held; two users have one event each."""
    rng = random.Random(7)
    events = [event for day in range(1, 7) for event in _feed(rng, "e", day, 70)]
    once = [
        _event("once-1", "once", 3, "like", _at(4, 12)),
        _event("once-2", "once late", 3, "like", _at(2, 12), feed_date=_day(5)),
    ]
    return events + once


@pytest.fixture(scope="module")
def changed_world(world: list[Event]) -> list[Event]:
    """The same world, but that day 2's feed held something else."""
    return [event for event in world if event["feed_date"] != _day(2)] + _feed(random.Random(8), "c", 2, 40)


@pytest.fixture(scope="module")
def make_settings(settings_in: SettingsIn, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """Make settings of an empty lake."""

    def make(**changes: Any) -> Settings:
        dotted = {f"examples.{key}": value for key, value in changes.items()}
        return with_changes(settings_in(tmp_path_factory.mktemp("lake")), {**SMALL, **dotted})

    return make


@pytest.fixture(scope="module")
def copy_of(make_settings: Callable[..., Settings]) -> Callable[..., Settings]:
    """Make settings of a lake that is a copy of another; changes are of the section `examples`."""

    def copy(lake: Settings, **changes: Any) -> Settings:
        settings = make_settings(**changes)
        shutil.copytree(lake.lake.root, settings.lake.root)
        return settings

    return copy


@pytest.fixture(scope="module")
def deliver(spark: SparkSession, write_table: Callable[..., None]) -> Deliver:
    """`deliver(settings, events, days)`: stage the feeds of `days`, and those that were staged before.

    Their files hold those of `events` with that feed day, and are told from others of these days by `content`.
    """

    def stage(settings: Settings, events: Sequence[Event], days: Sequence[date], content: str = "first") -> None:
        loads = []
        for ds in days:
            count = sum(event["feed_date"] == ds for event in events)
            files, counts = (1, 1, f"{content} {ds}"), (count, count, 0, 0, 0)
            loads.append(("events", ds, *files, *counts, []))
        feed_loads.replace(spark, settings, "events", days, loads)
        staged = {ds for (ds,) in stored_rows.read(settings, feed_loads.TABLE, "ds")}
        write_table(settings, stg_events.TABLE, *[event for event in events if event["feed_date"] in staged])

    return stage


def build(
    spark: SparkSession, settings: Settings, days: Sequence[date], skip_complete: bool = False
) -> dict[str, list[date]]:
    """Build `days` of all tables, as a backfill of one chunk does; returns the days that each job planned."""
    planned = {}
    for job in JOBS:
        wanted = job.plan(settings, days, skip_complete)
        if wanted:
            job.run(spark, settings, wanted)
        planned[job.TABLE.name] = wanted
    return planned


def _with_zone(value: Any) -> Any:
    """A value that Spark collected, with aware times, rows as tuples."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, tuple):
        return tuple(_with_zone(part) for part in value)
    return [_with_zone(part) for part in value] if isinstance(value, list) else value


def collect(rows: DataFrame) -> Rows:
    """All rows as plain tuples, ordered by their text."""
    return sorted((_with_zone(tuple(row)) for row in rows.collect()), key=repr)


def read(settings: Settings, table: Table, *columns: str) -> Rows:
    return sorted(map(_with_zone, stored_rows.read(settings, table, *columns)), key=repr)


def read_lake(settings: Settings) -> Lake:
    """Every row and column that the jobs wrote."""
    return {job.TABLE.name: read(settings, job.TABLE) for job in JOBS}


def without_split() -> list[str]:
    return [name for name in training_examples.TABLE.schema.fieldNames() if name != "split"]


def read_early_examples(settings: Settings) -> tuple[Rows, dict[date, tuple[int, int]]]:
    """The examples known on the early days, without their split, and the count and hash that the ledger has."""
    known_ds = without_split().index("known_ds")
    rows = [row for row in read(settings, training_examples.TABLE, *without_split()) if row[known_ds] <= EARLY[-1]]
    built = built_days.read(settings, training_examples.TABLE)
    return rows, {ds: (built[ds].count_rows, built[ds].rows_hash) for ds in EARLY}


@pytest.fixture(scope="module")
def at_once(
    spark: SparkSession, make_settings: Callable[..., Settings], world: list[Event], deliver: Deliver
) -> Settings:
    """A lake whose six days were built in one run; tests only read it."""
    settings = make_settings()
    deliver(settings, world, DAYS)
    build(spark, settings, DAYS)
    return settings


@dataclass(frozen=True)
class Nightly:
    """A lake that was built as its feeds came in, and what it was after the early nights."""

    settings: Settings
    early_examples: Rows
    early_ledger: dict[date, tuple[int, int]]


@pytest.fixture(scope="module")
def nightly(
    spark: SparkSession, make_settings: Callable[..., Settings], world: list[Event], deliver: Deliver
) -> Nightly:
    """A lake that knew nothing of later feeds in each of its nights; tests only read it."""
    settings = make_settings()
    for ds in EARLY:
        deliver(settings, world, [ds])
        build(spark, settings, [ds], skip_complete=True)
    early = read_early_examples(settings)
    deliver(settings, world, OUTAGE)
    assert build(spark, settings, [*EARLY, *OUTAGE], skip_complete=True) == {job.TABLE.name: OUTAGE for job in JOBS}
    deliver(settings, world, [NEWEST])
    build(spark, settings, [NEWEST], skip_complete=True)
    return Nightly(settings, *early)


def rules_of(settings: Settings) -> Rules:
    return Rules(
        weights={name: getattr(settings.interactions, name) for name in KIND_WEIGHTS if name != "rating"},
        rating_neutral=settings.interactions.rating_neutral,
        max_rating=settings.staging.max_rating,
        positive_min_weight=settings.interactions.positive_min_weight,
        max_titles=settings.histories.max_titles,
        history_titles=settings.examples.history_titles,
    )


@pytest.fixture(scope="module")
def rules(at_once: Settings) -> Rules:
    return rules_of(at_once)


@pytest.fixture(scope="module")
def met(world: list[Event], rules: Rules) -> list[Interaction]:
    """The interactions of the world that are known by its last day; one event is dated after it."""
    return [row for row in oracle.interactions(world, rules) if row.known_ds <= DAYS[-1]]


def _of_user(met: Sequence[Interaction]) -> dict[str, list[Interaction]]:
    return {user_id: [row for row in met if row.user_id == user_id] for user_id in {row.user_id for row in met}}


def expected_examples(met: Sequence[Interaction], rules: Rules, held_out: Sequence[int] = ()) -> Rows:
    rows = oracle.examples(met, DAYS, rules, held_out)
    return sorted((tuple(row[name] for name in without_split()) for row in rows), key=repr)


# --- the world and the oracle


def test_world_has_the_cases_that_matter(world: list[Event], met: list[Interaction], rules: Rules) -> None:
    late = [event for event in world if oracle.is_late(event)]
    ahead = [event for event in world if event["ds"] > event["feed_date"]]
    assert {(event["feed_date"] - event["ds"]).days for event in late} == {1, 2, 3, 4}
    assert len(ahead) > 20
    assert any(event["ds"] > DAYS[-1] for event in ahead)
    assert any(row.count_events > 1 and row.is_opinion for row in met)
    assert any(row.weight == 0.0 for row in met)  # a neutral rating
    assert any(row.weight < 0 for row in met)

    of_user = _of_user(met)
    titles_met = {user_id: len({row.title_id for row in own}) for user_id, own in of_user.items()}
    assert sum(count > rules.max_titles for count in titles_met.values()) > 5
    assert {user_id for user_id, own in of_user.items() if len(own) == 1} >= {"once", "once late"}
    # An opinion that came late, and is older than one that was known before it.
    opinions = [row for row in met if row.is_opinion]
    pairs = [(a, b) for a in opinions for b in opinions if (a.user_id, a.title_id) == (b.user_id, b.title_id)]
    assert any(a.last_event_time < b.last_event_time and a.known_ds > b.known_ds for a, b in pairs)

    positives = [row for row in met if oracle.is_positive(row, rules)]
    examples = oracle.examples(met, DAYS, rules)
    assert 50 < len(examples) < len(positives)  # some are re-watches
    assert {row["history_length"] for row in examples} == {0, 1, 2, 3, 4}
    assert any(row["known_ds"] > row["ds"] for row in examples)
    assert any(0 < min(row["history_ages_days"][: row["history_length"]], default=0) < 0.5 for row in examples)


def test_interactions_are_those_of_the_oracle(at_once: Settings, met: list[Interaction]) -> None:
    assert read(at_once, interactions.TABLE) == sorted((tuple(row) for row in met), key=repr)


def test_title_stats_are_those_of_the_oracle(
    spark: SparkSession, at_once: Settings, met: list[Interaction], rules: Rules
) -> None:
    expected = {
        (title_id, country, ds): counts
        for ds in DAYS
        for (title_id, country), counts in oracle.title_counts(met, ds, rules).items()
    }
    rows = tables.read(spark, at_once, title_stats.TABLE)
    keys = ("title_id", "country", "ds")
    stored = {row[:3]: row[3:] for row in collect(rows.select(*keys, *title_stats.COUNTS))}
    assert stored == {key: expected.get(key) for key in stored}

    checkpoint_days = change_rows.CHECKPOINT_DAYS
    daily = [
        change_rows.as_of(rows, title_stats.KEYS, ds, checkpoint_days).withColumn("ds", F.lit(ds)).select(rows.columns)
        for ds in DAYS
    ]
    every_day = collect(reduce(DataFrame.unionByName, daily).select(*keys, *title_stats.COUNTS))
    assert {row[:3]: row[3:] for row in every_day} == expected
    assert len(every_day) == len(expected)


def test_user_histories_are_those_of_the_oracle(
    spark: SparkSession, at_once: Settings, met: list[Interaction], rules: Rules
) -> None:
    expected = {
        (user_id, ds): (oracle.history(own, ds, rules), sum(row.known_ds <= ds for row in own))
        for user_id, own in _of_user(met).items()
        for ds in DAYS
        if any(row.known_ds <= ds for row in own)
    }
    fields = oracle.Entry._fields
    entries = F.transform("entries", lambda entry: F.struct(*[entry[name].alias(name) for name in fields]))
    rows = tables.read(spark, at_once, user_histories.TABLE).withColumn("entries", entries)
    columns = ("user_id", "ds", "entries", "count_interactions")
    stored = {row[:2]: row[2:] for row in collect(rows.select(*columns))}
    assert stored == {key: expected.get(key) for key in stored}

    checkpoint_days = change_rows.CHECKPOINT_DAYS
    daily = [
        change_rows.as_of(rows, user_histories.KEYS, ds, checkpoint_days).withColumn("ds", F.lit(ds)) for ds in DAYS
    ]
    every_day = collect(reduce(DataFrame.unionByName, daily).select(*columns))
    assert {row[:2]: row[2:] for row in every_day} == expected
    assert len(every_day) == len(expected)


def test_examples_are_those_of_the_oracle(at_once: Settings, met: list[Interaction], rules: Rules) -> None:
    assert read(at_once, training_examples.TABLE, *without_split()) == expected_examples(met, rules)


def test_oracle_knows_nothing_of_later_days(met: list[Interaction], rules: Rules) -> None:
    # What the second night knows is enough for all examples that are known by then.
    so_far = [row for row in met if row.known_ds <= EARLY[-1]]
    assert oracle.examples(so_far, EARLY, rules) == oracle.examples(met, EARLY, rules)


# --- any order of building gives the same


def test_nights_and_a_part_of_several_days_give_what_one_run_gives(at_once: Settings, nightly: Nightly) -> None:
    assert read_lake(nightly.settings) == read_lake(at_once)


def test_day_that_changes_is_built_again_with_all_that_goes_on_from_it(
    spark: SparkSession,
    at_once: Settings,
    make_settings: Callable[..., Settings],
    changed_world: list[Event],
    world: list[Event],
    deliver: Deliver,
) -> None:
    settings = make_settings()
    deliver(settings, changed_world, DAYS)
    build(spark, settings, DAYS[:-1])
    before = read_lake(settings)

    # The files of day 2 are replaced, and day 6 is new: the feed is now that of `world`.
    deliver(settings, world, [_day(2)], content="second")
    # A copy may be taken away as far as 7 days on, and an event dated ahead counts a day later: days 2 to 10, where
    # there are so many.
    assert interactions.plan(settings, DAYS, True) == DAYS[1:]
    interactions.run(spark, settings, DAYS[1:])
    for job in JOBS[1:]:
        # Whoever asks for the new night alone gets what it goes on from with it.
        wanted = job.plan(settings, [DAYS[-1]], True)
        assert wanted == DAYS[1:]
        job.run(spark, settings, wanted)
    after = read_lake(settings)
    assert after == read_lake(at_once)
    assert [name for name, rows in after.items() if set(map(repr, before[name])) <= set(map(repr, rows))] == []
    assert build(spark, settings, DAYS, skip_complete=True) == {job.TABLE.name: [] for job in JOBS}


# --- nothing too early


def test_later_nights_change_no_example(nightly: Nightly) -> None:
    rows, ledger = read_early_examples(nightly.settings)
    assert len(rows) > 40
    assert rows == nightly.early_examples
    assert ledger == nightly.early_ledger


def test_rebuilding_days_on_all_that_is_known_now_changes_nothing(
    spark: SparkSession, nightly: Nightly, copy_of: Callable[..., Settings], write_table: Callable[..., None]
) -> None:
    settings = copy_of(nightly.settings)
    before = read_lake(settings)
    ledger = {job.TABLE.name: built_days.read(settings, job.TABLE) for job in JOBS}
    title = {"title_id": 3, "title": "Alpha", "content_hash": "a", "first_ds": _day(1), "updated_ds": _day(1)}
    lists = ("production_countries", "genres", "themes", "cast", "directors")
    for genres, removed_ds in ((["drama"], None), (["comedy"], _day(6))):
        row = {**title, **{name: [] for name in lists}, "genres": genres, "removed_ds": removed_ds}
        write_table(settings, stg_titles.TABLE, row)
        # Nothing that is made of events is stale when the catalogue says something else.
        assert [job.plan(settings, DAYS, True) for job in JOBS] == [[]] * len(JOBS)
    # Days of which one is a checkpoint, and the newest.
    for days in (DAYS[:3], [NEWEST]):
        assert build(spark, settings, days) == {job.TABLE.name: days for job in JOBS}
        assert read_lake(settings) == before
        assert read_early_examples(settings) == (nightly.early_examples, nightly.early_ledger)
    assert {job.TABLE.name: built_days.read(settings, job.TABLE) for job in JOBS} == ledger


# --- days that are not there


def enter_as_built(spark: SparkSession, settings: Settings, table: Table, inputs: Mapping[date, str]) -> None:
    """Enter days in the ledger as if a job had built them without rows."""
    tables.ensure(spark, settings, table)
    built_days.enter(spark, settings, table, {ds: built_days.Built(0, 0, value) for ds, value in inputs.items()})


def test_gap_is_named_with_the_command_that_fills_it(
    spark: SparkSession, make_settings: Callable[..., Settings], world: list[Event], deliver: Deliver
) -> None:
    settings = make_settings()
    with pytest.raises(JobError, match=r"interactions for ds=2024-05-03: stg_events has no such feed day; .*stg_ev"):
        interactions.plan(settings, DAYS[:1], True)
    deliver(settings, world, DAYS[:4])
    command = r"python -m jobs\.stg_events --ds 2024-05-07"
    with pytest.raises(JobError, match=rf"interactions for ds=2024-05-07: .*run {command}"):
        interactions.plan(settings, DAYS[:5], False)
    with pytest.raises(JobError, match=r"ds=2024-05-04: its inputs are not built; run python -m jobs\.backfill"):
        title_stats.plan(settings, [_day(2)], True)

    enter_as_built(spark, settings, interactions.TABLE, interactions.inputs(settings))
    for job in (title_stats, user_histories):
        inputs = job.inputs(settings)
        enter_as_built(spark, settings, job.TABLE, {ds: inputs[ds] for ds in DAYS[:2]})
        message = rf"{job.TABLE.name} for ds=2024-05-06 .* ds=2024-05-05 is not built; run python -m jobs\.backfill "
        with pytest.raises(JobError, match=f"{message}--from 2024-05-05 --to 2024-05-06"):
            job.plan(settings, [_day(4)], False)
        assert job.plan(settings, [_day(3), _day(4)], True) == [_day(3), _day(4)]
    # Examples of a day need its counts and histories.
    assert training_examples.plan(settings, DAYS[:2], True) == DAYS[:2]
    with pytest.raises(JobError, match="training_examples for ds=2024-05-05: its inputs are not built"):
        training_examples.plan(settings, DAYS[:3], True)


def test_day_that_interactions_skipped_is_named(
    spark: SparkSession, make_settings: Callable[..., Settings], world: list[Event], deliver: Deliver
) -> None:
    settings = make_settings()
    deliver(settings, world, DAYS[:3])
    inputs = interactions.inputs(settings)
    enter_as_built(spark, settings, interactions.TABLE, {ds: inputs[ds] for ds in (_day(1), _day(3))})
    for job in (title_stats, user_histories):
        with pytest.raises(JobError, match=r"ds=2024-05-04 was never built, .* --from 2024-05-04"):
            job.plan(settings, [_day(3)], True)


# --- what a row is for


def _likes(user_id: str, *titles_on: tuple[int, int], hour: float = 12) -> list[Event]:
    """A like per (title, day), in the order given, an hour apart."""
    return [
        _event(f"{user_id} {title_id} {day}", user_id, title_id, "like", _at(day, hour + n / 10))
        for n, (title_id, day) in enumerate(titles_on)
    ]


TEN = ((1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (7, 4), (8, 5), (9, 6), (10, 6))
# Ten positives, one that came late, one user who only looked, one who came on the last day, one who saw a title twice.
SPLIT_EVENTS = [
    *_likes("ten", *TEN),
    _event("late", "late", 1, "like", _at(1, 6), feed_date=_day(6)),
    _event("look", "look", 4, "detail_view", _at(1, 6), country="FR"),
    *_likes("new", (2, 6)),
    *_likes("twice", (2, 1), (2, 3)),
]


@pytest.fixture(scope="module")
def unlabelled(spark: SparkSession, make_settings: Callable[..., Settings], deliver: Deliver) -> Settings:
    """Six days up to the histories and counts, without examples; tests only copy it."""
    settings = make_settings()
    deliver(settings, SPLIT_EVENTS, DAYS)
    for job in JOBS[:3]:
        job.run(spark, settings, job.plan(settings, DAYS, False))
    return settings


def label(spark: SparkSession, settings: Settings, days: Sequence[date]) -> dict[str, list[tuple[str, int]]]:
    """Build the examples of `days`; returns (user, title) of all that the table then has, by split."""
    training_examples.run(spark, settings, training_examples.plan(settings, days, True))
    by_split: dict[str, list[tuple[str, int]]] = {}
    for split, user_id, title_id in read(settings, training_examples.TABLE, "split", "user_id", "title_id"):
        by_split.setdefault(split, []).append((user_id, title_id))
    return {split: sorted(rows) for split, rows in by_split.items()}


def _ten(*titles: int) -> list[tuple[str, int]]:
    return [("ten", title_id) for title_id in titles]


def read_users(spark: SparkSession, settings: Settings) -> dict[str, tuple[Any, ...]]:
    """Per user of training_users the other columns, without the padding of the lists."""
    training_users.run(spark, settings, DAYS[-1])
    columns = ("user_id", "as_of_ds", "country", "history_title_ids", "history_weights", "history_ages_days")
    rows = read(settings, training_users.TABLE, *columns, "history_length")
    longest = settings.examples.user_history_titles
    assert {len(values) for row in rows for values in row[3:6]} == {longest}
    assert all(row[3][row[6] :] == [-1] * (longest - row[6]) for row in rows)
    return {row[0]: (row[1], row[2], *[values[: row[6]] for values in row[3:6]]) for row in rows}


def _ages(*ages_days: float) -> list[float]:
    return [oracle.float32(age) for age in ages_days]


def test_split_by_date_moves_on_as_nights_pass(
    spark: SparkSession, unlabelled: Settings, copy_of: Callable[..., Settings]
) -> None:
    settings = copy_of(unlabelled, split="by_date", validation_days=2, test_days=1)
    # Up to day 3: test 3, validation 1 and 2. The second like of `twice` is no row.
    assert label(spark, settings, DAYS[:3]) == {
        "validation": [*_ten(1, 2, 3, 4), ("twice", 2)],
        "test": _ten(5, 6),
    }
    # Up to day 4: test 4, validation 2 and 3, train 1.
    assert label(spark, settings, [_day(4)]) == {
        "train": [*_ten(1, 2), ("twice", 2)],
        "validation": _ten(3, 4, 5, 6),
        "test": _ten(7),
    }
    # Two more days in one run, up to day 6: test 6, validation 4 and 5. What came late goes by the day it came.
    assert label(spark, settings, DAYS[4:]) == {
        "train": [*_ten(1, 2, 3, 4, 5, 6), ("twice", 2)],
        "validation": _ten(7, 8),
        "test": [("late", 1), ("new", 2), *_ten(9, 10)],
    }
    # As of the end of day 3, the last of train. `ten` liked 6 at 12:30 and 5 at 12:24 of day 3: 11.5 and 11.6 hours
    # before its end; 4 and 3 at 12:18 and 12:12 of day 2, 2 at 12:06 of day 1; there is room for five.
    assert read_users(spark, settings) == {
        "ten": (
            _day(6),
            "DE",
            [6, 5, 4, 3, 2],
            [1.0] * 5,
            _ages(11.5 / 24, 11.6 / 24, 1 + 11.7 / 24, 1 + 11.8 / 24, 2 + 11.9 / 24),
        ),
        "look": (_day(6), "FR", [4], _ages(0.2), _ages(2.75)),
        "twice": (_day(6), "DE", [2], [1.0], _ages(11.9 / 24)),
    }


def test_split_by_last_share_is_of_each_user(
    spark: SparkSession, unlabelled: Settings, copy_of: Callable[..., Settings]
) -> None:
    settings = copy_of(unlabelled, split="last_share", validation_share=0.1, test_share=0.2)
    # Of ten, 10 * 0.2 = 2 are test, 10 * 0.1 = 1 before them validation; of one, floor(0.3) = 0 are kept back.
    after_five = label(spark, settings, DAYS[:5])
    # Of eight, floor(8 * 0.2) = 1 is test and floor(8 * 0.3) = 2 are kept back.
    assert after_five == {"train": [*_ten(1, 2, 3, 4, 5, 6), ("twice", 2)], "validation": _ten(7), "test": _ten(8)}
    assert label(spark, settings, [_day(6)]) == {
        "train": [("late", 1), ("new", 2), *_ten(1, 2, 3, 4, 5, 6, 7), ("twice", 2)],
        "validation": _ten(8),
        "test": _ten(9, 10),
    }
    # `ten` ends before the like of 8 (12:42 of day 5). Before it: 7 at 12:36 of day 4, 6 and 5 at 12:30 and 12:24 of
    # day 3, 4 and 3 at 12:18 and 12:12 of day 2. The others end with day 6.
    assert read_users(spark, settings) == {
        "ten": (
            _day(6),
            "DE",
            [7, 6, 5, 4, 3],
            [1.0] * 5,
            _ages(1 + 0.1 / 24, 2 + 0.2 / 24, 2 + 0.3 / 24, 3 + 0.4 / 24, 3 + 0.5 / 24),
        ),
        "late": (_day(6), "DE", [1], [1.0], _ages(5.75)),
        "look": (_day(6), "FR", [4], _ages(0.2), _ages(5.75)),
        "new": (_day(6), "DE", [2], [1.0], _ages(0.5)),
        "twice": (_day(6), "DE", [2], [1.0], _ages(3 + 11.9 / 24)),
    }


def test_history_before_ones_own_split_has_the_part_of_its_moment_that_is_trained_on(spark: SparkSession) -> None:
    """Titles 1 to 4 in one second, of which 3 is the first that is kept back; 5 came after; 9 long before."""
    moments = {9: _at(1, 8), **dict.fromkeys((1, 2, 3, 4), _at(2, 12)), 5: _at(3, 12)}
    rows = [("ann", title, moment, moment.date(), 1.0, False, "DE") for title, moment in moments.items()]
    columns = "user_id string, title_id long, last_event_time timestamp, ds date, weight float, is_opinion boolean"
    met = arrow_frames.frame(spark, f"{columns}, country string", [*rows, ("bob", *rows[0][1:])])
    splits = dict.fromkeys((9, 1, 2), "train") | {3: "validation", 5: "test"}
    labelled = [("ann", title, moments[title], split) for title, split in splits.items()]
    names = "user_id string, title_id long, event_time timestamp, split string"
    examples = arrow_frames.frame(spark, names, labelled)
    found = training_users.entries_before_cut(met, examples)
    titles = {row["user_id"]: sorted(entry["title_id"] for entry in row["entries"]) for row in found.collect()}
    # 4 was met in that second too, without liking.
    assert titles == {"ann": [1, 2, 4, 9], "bob": [9]}


def test_no_split_trains_on_everything(
    spark: SparkSession, unlabelled: Settings, copy_of: Callable[..., Settings]
) -> None:
    settings = copy_of(unlabelled, split="none")
    everything = [("late", 1), ("new", 2), *_ten(*range(1, 11)), ("twice", 2)]
    assert label(spark, settings, DAYS) == {"train": everything}
    users = read_users(spark, settings)
    # All who have a history by the end of day 6, when the newest of `ten` are 10, 9, 8, 7 and 6.
    assert {user_id: row[2] for user_id, row in users.items()} == {
        **{"ten": [10, 9, 8, 7, 6], "late": [1], "look": [4], "new": [2], "twice": [2]},
    }
    assert users["late"] == (_day(6), "DE", [1], [1.0], _ages(5.75))
    # Where somebody has moved the table away it is made anew, though the ledger has it as built.
    shutil.rmtree(tables.location(settings, training_users.TABLE))
    training_users.run(spark, settings, DAYS[-1])
    assert read_users(spark, settings) == users


def _held_out(spark: SparkSession, titles: Sequence[int], share: float, seed: int) -> set[int]:
    ids = spark.range(min(titles), max(titles) + 1).withColumnRenamed("id", "title_id")
    kept_out = ids.where(splits.is_held_out(F.col("title_id"), share, seed))
    return {row["title_id"] for row in kept_out.collect()}


def test_held_out_titles_are_neither_trained_on_nor_remembered(
    spark: SparkSession, at_once: Settings, met: list[Interaction], rules: Rules, copy_of: Callable[..., Settings]
) -> None:
    settings = copy_of(at_once, held_out_titles_share=0.3, split="by_date")
    kept_out = _held_out(spark, range(15), 0.3, settings.seed)
    # The same titles whatever else there is, more of them with a larger share, and none or all at its ends.
    assert 0 < len(kept_out) < 10
    assert _held_out(spark, range(5, 11), 0.3, settings.seed) == kept_out & set(range(5, 11))
    assert kept_out <= _held_out(spark, range(15), 0.6, settings.seed)
    assert _held_out(spark, range(15), 0.0, settings.seed) == set()
    assert _held_out(spark, range(15), 1.0, settings.seed) == set(range(15))
    assert _held_out(spark, range(15), 0.3, settings.seed + 1) != kept_out

    training_examples.run(spark, settings, training_examples.plan(settings, DAYS, True))
    training_users.run(spark, settings, DAYS[-1])
    assert read(settings, training_examples.TABLE, *without_split()) == expected_examples(met, rules, sorted(kept_out))
    # Validation 3 and 4, test 5 and 6: a title that is held out is a row of theirs as any other.
    splits = read(settings, training_examples.TABLE, "split", "title_id", "known_ds")
    by_date = dict.fromkeys(EARLY, "train") | {_day(3): "validation", _day(4): "validation"}
    by_date |= {_day(5): "test", _day(6): "test"}
    for split, title_id, known_ds in splits:
        is_kept_out = by_date[known_ds] == "train" and title_id in kept_out
        assert split == ("held_out" if is_kept_out else by_date[known_ds])
    assert {split for split, _, _ in splits} == {"train", "validation", "test", "held_out"}
    assert {title_id for split, title_id, _ in splits if split == "test"} & kept_out

    # Users are as of the end of day 2, the last of train.
    expected_users = {}
    for user_id, own in _of_user(met).items():
        entries = [entry for entry in oracle.history(own, _day(2), rules) if entry.title_id not in kept_out]
        if entries:
            columns = oracle.padded_history(entries, _at(3, 0), settings.examples.user_history_titles)
            expected_users[user_id] = (DAYS[-1], oracle.latest(entries, 1)[0].country, *columns.values())
    names = training_users.TABLE.schema.fieldNames()
    users = {row[0]: row[1:] for row in read(settings, training_users.TABLE, *names)}
    assert users == expected_users
