"""Click ranks: how often titles were shown and clicked at each rank, by kind of order, from the day it is known."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings, with_changes
from jobs import backfill, click_ranks, interactions, stg_events
from jobs.errors import JobError
from tests import arrow_frames

MAY_1, MAY_2, MAY_3 = date(2024, 5, 1), date(2024, 5, 2), date(2024, 5, 3)


def _event(event_type: str, rank: int | None, variant: str | None = "control", **changes: Any) -> dict[str, Any]:
    event = {
        **{"event_id": "e", "user_id": "u", "title_id": 1, "event_type": event_type, "rank": rank, "variant": variant},
        **{"event_time": datetime(2024, 5, 1, 9, tzinfo=UTC), "country": "DE", "ds": MAY_1, "feed_date": MAY_1},
    }
    return {**event, **changes}


def _build(spark: SparkSession, *events: dict[str, Any]) -> list[tuple[Any, ...]]:
    schema = stg_events.TABLE.schema
    frame = arrow_frames.frame(spark, schema, [tuple(e.get(name) for name in schema.fieldNames()) for e in events])
    rows = click_ranks.build_click_ranks(interactions.with_known_ds(frame), "explore")
    return sorted(tuple(row) for row in rows.collect())


def test_impressions_and_clicks_are_counted_by_title_order_and_rank(spark: SparkSession) -> None:
    assert _build(
        spark,
        *[_event("impression", 1)] * 3,
        _event("detail_view", 1),
        _event("impression", 2),
        _event("impression", 2, variant="explore"),
        _event("detail_view", 2, variant="explore"),
        _event("impression", 2, variant=None),
        _event("impression", 1, title_id=7),
        # Without a rank, or neither an impression nor a detail view.
        _event("detail_view", None),
        _event("like", 1),
        _event("clickout", 1),
    ) == [
        (1, MAY_1, False, 1, 3, 1),
        (1, MAY_1, False, 2, 2, 0),
        (1, MAY_1, True, 2, 1, 1),
        (7, MAY_1, False, 1, 1, 0),
    ]


def test_late_event_counts_from_the_day_it_came(spark: SparkSession) -> None:
    late = _event("detail_view", 1, feed_date=MAY_3)
    ahead = _event("detail_view", 1, ds=MAY_2)
    assert _build(spark, _event("impression", 1), late, ahead) == [
        (1, MAY_1, False, 1, 1, 0),
        (1, MAY_2, False, 1, 0, 1),
        (1, MAY_3, False, 1, 0, 1),
    ]


def test_a_day_is_built_anew_where_its_inputs_changed(
    spark: SparkSession, settings: Settings, write_feed: Callable[..., Path], read_rows: Callable[..., Any]
) -> None:
    def line(event_id: str, variant: str) -> str:
        fields = {"title_id": 1, "event_type": "impression", "event_time": f"{MAY_1}T12:00:00Z", "country": "FR"}
        return json.dumps({"event_id": event_id, "user_id": "u", "rank": 3, "variant": variant, **fields})

    write_feed(settings, f"events/event_date={MAY_1}/a.jsonl", line("a", "explore"), line("b", "control"))
    with pytest.raises(JobError, match=r"click_ranks for ds=2024-05-01: stg_events has no such feed day"):
        click_ranks.plan(settings, [MAY_1], True)
    backfill.run(spark, settings, [MAY_1], only=["stg_events", "click_ranks"])
    assert read_rows(settings, click_ranks.TABLE, "is_random", "count_impressions") == [(False, 1), (True, 1)]
    assert click_ranks.plan(settings, [MAY_1], True) == []

    # A setting of training makes no day stale; the setting that names the random order does.
    assert click_ranks.plan(with_changes(settings, {"position_bias.max_weight": 9.0}), [MAY_1], True) == []
    other = with_changes(settings, {"position_bias.random_variant": "control"})
    assert click_ranks.plan(other, [MAY_1], True) == [MAY_1]
