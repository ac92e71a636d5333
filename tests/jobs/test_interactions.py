"""Interactions: the weight of a day's events with a title, and the day from which it is known."""

import struct
from datetime import UTC, date, datetime
from typing import Any

from pyspark.sql import SparkSession

from conf.loader import load_settings
from jobs import interactions, stg_events
from tests import arrow_frames

WEIGHTS = load_settings().interactions.model_copy(
    update={
        **{"impression": 0.0, "detail_view": 0.25, "clickout": 0.75, "watchlist_add": 0.8, "seen": 0.5, "like": 1.0},
        **{"dislike": -1.0, "rating_neutral": 3.0},
    }
)
MAX_RATING = 5.0
Event = dict[str, Any]


def _day(day: int) -> date:
    return date(2024, 5, day)


def _at(hour: int, minute: int = 0, day: int = 1) -> datetime:
    return datetime(2024, 5, day, hour, minute, tzinfo=UTC)


def _event(event_type: str, when: datetime, **changes: Any) -> Event:
    event = {
        **{"event_id": f"{event_type} {when}", "user_id": "u", "title_id": 1, "event_type": event_type},
        **{"event_time": when, "country": "DE", "ds": when.date(), "feed_date": when.date()},
    }
    return {**event, **changes}


def _row(weight: float, is_opinion: bool, first: datetime, last: datetime, count: int, **changes: Any) -> tuple[Any]:
    """A row as a tuple, its weight in 32 bits."""
    row = {
        **{"user_id": "u", "title_id": 1, "ds": first.date(), "known_ds": first.date()},
        **{"weight": struct.unpack("f", struct.pack("f", weight))[0], "is_opinion": is_opinion},
        **{"first_event_time": first, "last_event_time": last, "country": "DE", "count_events": count},
    }
    return tuple({**row, **changes}[name] for name in interactions.TABLE.schema.fieldNames())


def _build(spark: SparkSession, *events: Event, **weights: float) -> list[tuple[Any, ...]]:
    names = stg_events.TABLE.schema.fieldNames()
    frame = arrow_frames.frame(
        spark, stg_events.TABLE.schema, [tuple(event.get(name) for name in names) for event in events]
    )
    rows = interactions.build_interactions(
        interactions.with_known_ds(frame), WEIGHTS.model_copy(update=weights), MAX_RATING
    )
    assert rows.columns == interactions.TABLE.schema.fieldNames()
    values = [
        tuple(value.astimezone(UTC) if isinstance(value, datetime) else value for value in row)
        for row in rows.collect()
    ]
    return sorted(values, key=repr)


def test_strongest_of_the_days_events_counts(spark: SparkSession) -> None:
    assert _build(
        spark,
        _event("detail_view", _at(9)),
        _event("clickout", _at(10)),
        _event("seen", _at(23), country="FR"),
        _event("detail_view", _at(8), title_id=2),
        _event("detail_view", _at(8), title_id=2, event_id="once more"),
        _event("watchlist_add", _at(7), user_id="v"),
    ) == [
        _row(0.75, False, _at(9), _at(23), 3, country="FR"),
        _row(0.25, False, _at(8), _at(8), 2, title_id=2),
        _row(0.8, False, _at(7), _at(7), 1, user_id="v"),
    ]


def test_last_opinion_of_the_day_outweighs_other_events(spark: SparkSession) -> None:
    like, dislike, click = _event("like", _at(9)), _event("dislike", _at(10)), _event("clickout", _at(11))
    assert _build(spark, like, dislike, click) == [_row(-1, True, _at(9), _at(11), 3)]
    back = _event("like", _at(12), country="FR")
    assert _build(spark, dislike, click, back) == [_row(1, True, _at(10), _at(12), 3, country="FR")]


def test_rating_weighs_its_distance_from_neutral(spark: SparkSession) -> None:
    ratings = {1: 5.0, 2: 4.0, 3: 3.5, 4: 3.0, 5: 2.5, 6: 0.5}
    events = [_event("rating", _at(9), title_id=title_id, rating=rating) for title_id, rating in ratings.items()]
    # (rating - 3) / (5 - 3): a low one is a negative, a neutral one says 0 and is kept.
    weights = {1: 1.0, 2: 0.5, 3: 0.25, 4: 0.0, 5: -0.25, 6: -1.25}
    assert _build(spark, *events) == [
        _row(weight, True, _at(9), _at(9), 1, title_id=title_id) for title_id, weight in weights.items()
    ]
    # The rating of a like event is ignored; a low rating event after a like replaces it.
    assert _build(spark, _event("like", _at(9), rating=1.0)) == [_row(1, True, _at(9), _at(9), 1)]
    low = _event("rating", _at(10), rating=1.0)
    assert _build(spark, _event("like", _at(9)), low) == [_row(-1, True, _at(9), _at(10), 2)]


def test_event_without_weight_leaves_no_trace(spark: SparkSession) -> None:
    shown = _event("impression", _at(8), country="FR")
    assert _build(spark, shown) == []
    # Neither times, country nor count are those of the impressions around it.
    seen = _event("seen", _at(9))
    again = _event("impression", _at(10), country="FR")
    assert _build(spark, shown, seen, again) == [_row(0.5, False, _at(9), _at(9), 1)]
    assert _build(spark, seen, seen=0.0) == []
    assert _build(spark, shown, impression=0.5) == [_row(0.5, False, _at(8), _at(8), 1, country="FR")]


def test_midnight_utc_parts_two_days(spark: SparkSession) -> None:
    before, after = datetime(2024, 5, 1, 23, 59, 59, 999999, tzinfo=UTC), _at(0, day=2)
    assert _build(spark, _event("like", before), _event("dislike", after)) == [
        _row(1, True, before, before, 1),
        _row(-1, True, after, after, 1),
    ]


def test_late_event_is_known_from_the_day_it_came(spark: SparkSession) -> None:
    on_time = _event("like", _at(9))
    late = [_event("dislike", _at(10), feed_date=_day(3)), _event("seen", _at(11), feed_date=_day(3))]
    later = _event("clickout", _at(8), feed_date=_day(4))
    # Each delivery day has a row of its own, so that what was known before stays as it was.
    assert _build(spark, on_time, *late, later) == [
        _row(1, True, _at(9), _at(9), 1),
        _row(-1, True, _at(10), _at(11), 2, known_ds=_day(3)),
        _row(0.75, False, _at(8), _at(8), 1, known_ds=_day(4)),
    ]
    # An event dated after its feed day counts with those of its date.
    ahead = _event("dislike", _at(1, day=2), feed_date=_day(1))
    same_day = _event("seen", _at(2, day=2))
    assert _build(spark, ahead, same_day) == [_row(-1, True, _at(1, day=2), _at(2, day=2), 2)]


def test_events_of_one_moment_are_ordered_by_their_id(spark: SparkSession) -> None:
    like = _event("like", _at(9), event_id="b", country="FR")
    dislike = _event("dislike", _at(9), event_id="a")
    expected = [_row(1, True, _at(9), _at(9), 2, country="FR")]
    assert _build(spark, like, dislike) == expected
    assert _build(spark, dislike, like) == expected
