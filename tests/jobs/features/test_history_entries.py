"""Histories: the weight of a title after several interactions, and how a list is cut and padded."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import interactions
from jobs.features import history_entries
from tests import arrow_frames

Interaction = dict[str, Any]
# (event_time, title_id, weight, is_opinion, country)
Entry = tuple[datetime, int, float, bool, str]
ENTRY_FIELDS = ("event_time", "title_id", "weight", "is_opinion", "country")
# Weights, exact in 32 bits, and True for those of an opinion.
LIKE, DISLIKE = (1.0, True), (-1.0, True)
CLICK, VIEW = (0.75, False), (0.25, False)


def _at(day: int, hour: int = 12) -> datetime:
    return datetime(2024, 5, day, hour, tzinfo=UTC)


def _interaction(
    title_id: int, kind: tuple[float, bool], when: datetime, country: str = "DE", **changes: Any
) -> Interaction:
    """A row of interactions, of one event."""
    weight, is_opinion = kind
    return {
        **{"user_id": "u", "title_id": title_id, "ds": when.date(), "known_ds": when.date(), "weight": weight},
        **{"is_opinion": is_opinion, "first_event_time": when, "last_event_time": when, "country": country},
        **{"count_events": 1, **changes},
    }


def _entry(interaction: Interaction) -> Entry:
    """The entry of a title with one interaction."""
    return tuple(interaction["last_event_time" if name == "event_time" else name] for name in ENTRY_FIELDS)


def _frame(spark: SparkSession, rows: Sequence[Interaction]) -> DataFrame:
    schema = interactions.TABLE.schema
    return arrow_frames.frame(spark, schema, [tuple(row[name] for name in schema.fieldNames()) for row in rows])


def _lists(spark: SparkSession, *lists: Sequence[Interaction]) -> DataFrame:
    """One row with each list's entries in a column: a, b, …"""
    # An entry has no count of events, so here it holds the number of the row's list.
    marked = _frame(spark, [{**row, "count_events": n} for n, rows in enumerate(lists) for row in rows])
    return marked.agg(
        *[
            F.collect_list(F.when(F.col("count_events") == n, history_entries.interaction_entry())).alias("abc"[n])
            for n in range(len(lists))
        ]
    )


def _entries(frame: DataFrame, entries: Column) -> list[Entry]:
    """The entries of the only row."""
    fields = F.transform(entries, lambda entry: F.struct(*[entry[name].alias(name) for name in ENTRY_FIELDS]))
    values = frame.select(fields.alias("entries")).collect()[0]["entries"]
    return [(entry[0].astimezone(UTC), *entry[1:]) for entry in values]


def _merge(spark: SparkSession, older: Sequence[Interaction], newer: Sequence[Interaction]) -> list[Entry]:
    return sorted(_entries(_lists(spark, older, newer), history_entries.merge(F.col("a"), F.col("b"))))


def test_titles_of_both_lists_stay(spark: SparkSession) -> None:
    first, second, third = (
        _interaction(1, LIKE, _at(1)),
        _interaction(2, VIEW, _at(2)),
        _interaction(3, CLICK, _at(1, 9)),
    )
    both = [_entry(first), _entry(second)]
    assert _merge(spark, [first, second], [third]) == sorted([*both, _entry(third)])
    assert _merge(spark, [], [first, second]) == both
    assert _merge(spark, [first, second], []) == both
    assert _merge(spark, [], []) == []


def test_opinion_outweighs_other_events(spark: SparkSession) -> None:
    # Time and country are still those of the later interaction, whichever list it is in.
    expected = [(_at(3), 1, -1.0, True, "FR")]
    assert _merge(spark, [_interaction(1, DISLIKE, _at(1))], [_interaction(1, CLICK, _at(3), "FR")]) == expected
    assert _merge(spark, [_interaction(1, CLICK, _at(1))], [_interaction(1, DISLIKE, _at(3), "FR")]) == expected
    # An interaction that becomes known second may have happened first.
    assert _merge(spark, [_interaction(1, CLICK, _at(3), "FR")], [_interaction(1, DISLIKE, _at(1))]) == expected
    assert _merge(spark, [_interaction(1, DISLIKE, _at(3), "FR")], [_interaction(1, CLICK, _at(1))]) == expected


def test_later_opinion_wins_whichever_became_known_first(spark: SparkSession) -> None:
    like, dislike = _interaction(1, LIKE, _at(1)), _interaction(1, DISLIKE, _at(2), "FR")
    assert _merge(spark, [like], [dislike]) == [_entry(dislike)]
    assert _merge(spark, [dislike], [like]) == [_entry(dislike)]


def test_of_two_opinions_of_one_moment_the_one_known_later_wins(spark: SparkSession) -> None:
    like, dislike = _interaction(1, LIKE, _at(1), "FR"), _interaction(1, DISLIKE, _at(1))
    assert _merge(spark, [like], [dislike]) == [_entry(dislike)]
    assert _merge(spark, [dislike], [like]) == [_entry(like)]


def test_without_an_opinion_the_strongest_event_stays(spark: SparkSession) -> None:
    click, view = _interaction(1, CLICK, _at(1)), _interaction(1, VIEW, _at(2), "FR")
    expected = [(_at(2), 1, 0.75, False, "FR")]
    assert _merge(spark, [click], [view]) == expected
    assert _merge(spark, [view], [click]) == expected


def test_title_0_is_a_title(spark: SparkSession) -> None:
    later = _interaction(0, DISLIKE, _at(2))
    assert _merge(spark, [_interaction(0, LIKE, _at(1))], [later]) == [_entry(later)]


def test_interactions_of_a_title_are_collected_into_one_entry(spark: SparkSession) -> None:
    # All become known together: of u, a like of day 1, a dislike of day 2 and a click of day 3 on one title.
    rows = [
        _interaction(1, CLICK, _at(3), "FR"),
        _interaction(1, LIKE, _at(1)),
        _interaction(1, DISLIKE, _at(2)),
        _interaction(2, VIEW, _at(2)),
        _interaction(2, CLICK, _at(1), "US"),
        _interaction(1, LIKE, _at(1), user_id="v"),
    ]
    collected = history_entries.collect_entries(_frame(spark, rows), ("user_id",))
    by_user = {
        user_id: sorted(_entries(collected.where(F.col("user_id") == user_id), F.col("entries")))
        for user_id in ("u", "v")
    }
    assert by_user == {
        "u": [(_at(2), 2, 0.75, False, "DE"), (_at(3), 1, -1.0, True, "FR")],
        "v": [(_at(1), 1, 1.0, True, "DE")],
    }
    assert collected.count() == 2


def test_late_opinion_replaces_an_earlier_one_despite_a_later_view(spark: SparkSession) -> None:
    # A like of day 1 and a view of day 3; on day 4 a dislike of day 2 is delivered, which is later than the like.
    late = _interaction(1, DISLIKE, _at(2), known_ds=date(2024, 5, 4))
    frame = _lists(spark, [_interaction(1, LIKE, _at(1))], [_interaction(1, VIEW, _at(3), "FR")], [late])
    a, b, c = F.col("a"), F.col("b"), F.col("c")
    expected = [(_at(3), 1, -1.0, True, "FR")]
    assert _entries(frame, history_entries.merge(history_entries.merge(a, b), c)) == expected


def test_late_opinion_does_not_replace_a_later_one(spark: SparkSession) -> None:
    # A like of day 2; on day 3 a view and a dislike of day 1 are delivered, which is earlier than the like.
    late = _interaction(1, DISLIKE, _at(1), known_ds=date(2024, 5, 3))
    older = _lists(spark, [_interaction(1, LIKE, _at(2))]).select(F.col("a"))
    newer = history_entries.collect_entries(_frame(spark, [_interaction(1, VIEW, _at(3), "FR"), late]), ("user_id",))
    both = older.crossJoin(newer.select(F.col("entries").alias("b")))
    assert _entries(both, history_entries.merge(F.col("a"), F.col("b"))) == [(_at(3), 1, 1.0, True, "FR")]


def test_latest_are_ordered_by_time_then_title(spark: SparkSession) -> None:
    old, new = _interaction(9, LIKE, _at(1)), _interaction(1, VIEW, _at(3))
    low, high = _interaction(2, LIKE, _at(2)), _interaction(3, DISLIKE, _at(2))
    frame = _lists(spark, [low, old, new, high])
    ordered = [_entry(interaction) for interaction in (new, high, low, old)]
    assert _entries(frame, history_entries.latest(F.col("a"), 9)) == ordered
    assert _entries(frame, history_entries.latest(F.col("a"), 2)) == ordered[:2]
    assert _entries(_lists(spark, []), history_entries.latest(F.col("a"), 2)) == []


def _pad(spark: SparkSession, rows: Sequence[Interaction], moment: datetime, length: int) -> tuple[Any, ...]:
    columns = history_entries.pad(history_entries.latest(F.col("a"), 99), F.lit(moment), length)
    row = _lists(spark, rows).select(*[column.alias(name) for name, column in columns.items()]).collect()[0]
    assert list(columns) == ["history_title_ids", "history_weights", "history_ages_days", "history_length"]
    return tuple(row)


def test_short_history_is_padded(spark: SparkSession) -> None:
    entries = [_interaction(0, LIKE, _at(2, 18)), _interaction(7, DISLIKE, _at(1, 12))]
    # From 18:00 to midnight is a quarter of a day, from noon of the day before a day and a half.
    expected = ([0, 7, -1, -1], [1.0, -1.0, 0.0, 0.0], [0.25, 1.5, 0.0, 0.0], 2)
    assert _pad(spark, entries, _at(3, 0), 4) == expected
    assert _pad(spark, [], _at(3, 0), 2) == ([-1, -1], [0.0, 0.0], [0.0, 0.0], 0)


def test_long_history_is_cut_to_its_latest(spark: SparkSession) -> None:
    entries = [_interaction(title_id, VIEW, _at(9 - title_id)) for title_id in (1, 2, 3)]
    assert _pad(spark, entries, _at(9), 2) == ([1, 2], [0.25, 0.25], [1.0, 2.0], 2)
    assert _pad(spark, entries, _at(9), 3) == ([1, 2, 3], [0.25] * 3, [1.0, 2.0, 3.0], 3)
