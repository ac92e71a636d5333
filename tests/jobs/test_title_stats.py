"""Title stats: counts per window, days on which a count has a row, and builds that continue from the day before."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from pyspark.sql import DataFrame, SparkSession

from jobs import interactions, title_stats
from jobs.store import change_rows
from tests import arrow_frames

POSITIVE_MIN_WEIGHT = 0.25
NEVER = 100_000  # days to a checkpoint
FIRST = date(2024, 5, 3)  # day 19846 since 1970
# (title_id, country, day, interactions ever, positives of 1 and 28 days and ever); day 1 is the first.
Stats = tuple[int, str, int, int, tuple[int, ...]]


def _day(day: int) -> date:
    return FIRST + timedelta(days=day - 1)


def _days(first: int, last: int) -> list[date]:
    return [_day(day) for day in range(first, last + 1)]


def _daily(spark: SparkSession, *known: tuple[int, str, int, float]) -> DataFrame:
    """Daily counts of interactions: title, country, day from which it is known (it happened on day 1), weight."""
    noon = datetime(2024, 5, 3, 12, tzinfo=UTC)
    rows = [
        (f"u{n}", title_id, _day(1), _day(day), weight, False, noon, noon, country, 1)
        for n, (title_id, country, day, weight) in enumerate(known)
    ]
    frame = arrow_frames.frame(spark, interactions.TABLE.schema, rows)
    return title_stats.daily_counts(frame, POSITIVE_MIN_WEIGHT)


def _build(
    daily: DataFrame, days: Sequence[date], before: DataFrame | None = None, checkpoint_days: int = NEVER
) -> DataFrame:
    spark = daily.sparkSession
    nothing = arrow_frames.frame(spark, title_stats.TABLE.schema, [])
    return title_stats.build_stats(daily, before or nothing, days, checkpoint_days)


def _collect(stats: DataFrame, country: str | None = None) -> list[Stats]:
    """Rows in order; those of one country if it is given."""
    assert set(stats.columns) == set(title_stats.TABLE.schema.fieldNames())
    rows = []
    for row in stats.collect():
        counts = [row[name] for name in title_stats.COUNTS]
        day = (row["ds"] - FIRST).days + 1
        rows.append((row["title_id"], row["country"], day, counts[0], tuple(counts[1:])))
    return sorted(row for row in rows if country in (None, row[1]))


def test_positives_leave_their_windows(spark: SparkSession) -> None:
    # Known from day 1: out of 1 day on day 2, out of 28 on day 29, and no row between.
    daily = _daily(spark, (1, "DE", 1, 1.0))
    per_country = [(1, 1, (1, 1, 1)), (2, 1, (0, 1, 1)), (29, 1, (0, 0, 1))]
    expected = [(1, country, *row) for country in ("*", "DE") for row in per_country]
    assert _collect(_build(daily, _days(1, 40))) == expected


def test_interaction_without_a_positive_has_one_row(spark: SparkSession) -> None:
    # It is in no window, so that nothing changes on days 2 and 29.
    daily = _daily(spark, (1, "DE", 1, 0.0))
    assert _collect(_build(daily, _days(1, 40)), "DE") == [(1, "DE", 1, 1, (0, 0, 0))]


def test_positives_that_enter_and_leave_a_window_on_one_day(spark: SparkSession) -> None:
    daily = _daily(spark, (1, "DE", 1, 1.0), (1, "DE", 2, 1.0), (1, "DE", 2, 0.0), (1, "DE", 29, 1.0))
    assert _collect(_build(daily, _days(1, 30)), "DE") == [
        (1, "DE", 1, 1, (1, 1, 1)),
        # Day 1 leaves the window of 1 day as another enters: 1 - 1 + 1.
        (1, "DE", 2, 3, (1, 2, 2)),
        (1, "DE", 3, 3, (0, 2, 2)),
        # Day 1 leaves the window of 28 days as another enters: 2 - 1 + 1.
        (1, "DE", 29, 4, (1, 2, 3)),
        # Day 2 leaves, two interactions of which one is a positive.
        (1, "DE", 30, 4, (0, 1, 3)),
    ]


def test_positives_begin_at_their_least_weight(spark: SparkSession) -> None:
    weights = (-1.0, 0.0, 0.2, 0.25, 1.0)
    daily = _daily(spark, *[(1, "DE", 1, weight) for weight in weights])
    # All five are interactions, the last two are positives.
    assert _collect(_build(daily, _days(1, 1)), "DE") == [(1, "DE", 1, 5, (2, 2, 2))]


def test_all_countries_are_the_sum_of_each(spark: SparkSession) -> None:
    daily = _daily(spark, (1, "DE", 1, 1.0), (1, "FR", 1, 0.0), (1, "FR", 2, 1.0), (2, "FR", 2, 1.0))
    stats = _build(daily, _days(1, 2))
    assert _collect(stats) == [
        (1, "*", 1, 2, (1, 1, 1)),
        (1, "*", 2, 3, (1, 2, 2)),
        (1, "DE", 1, 1, (1, 1, 1)),
        (1, "DE", 2, 1, (0, 1, 1)),
        (1, "FR", 1, 1, (0, 0, 0)),
        (1, "FR", 2, 2, (1, 1, 1)),
        (2, "*", 2, 1, (1, 1, 1)),
        (2, "FR", 2, 1, (1, 1, 1)),
    ]


def test_checkpoint_day_has_a_row_for_every_title(spark: SparkSession) -> None:
    # Every 5 days: days 5 (19850 = 5 * 3970) and 10. Title 2 has its first interaction on day 6, after day 5.
    daily = _daily(spark, (1, "DE", 1, 1.0), (2, "DE", 6, 1.0))
    stats = _build(daily, _days(1, 10), checkpoint_days=5)
    assert _collect(stats, "DE") == [
        (1, "DE", 1, 1, (1, 1, 1)),
        (1, "DE", 2, 1, (0, 1, 1)),
        (1, "DE", 5, 1, (0, 1, 1)),
        (1, "DE", 10, 1, (0, 1, 1)),
        (2, "DE", 6, 1, (1, 1, 1)),
        (2, "DE", 7, 1, (0, 1, 1)),
        (2, "DE", 10, 1, (0, 1, 1)),
    ]
    # Day 9 is read back to day 5, which has all titles with interactions by then.
    assert _collect(change_rows.as_of(stats, title_stats.KEYS, _day(9), 5), "DE") == [
        (1, "DE", 5, 1, (0, 1, 1)),
        (2, "DE", 7, 1, (0, 1, 1)),
    ]


def test_build_continues_from_the_day_before(spark: SparkSession) -> None:
    # A positive of day 6 leaves the window of 1 day on day 7, the first of the second build.
    daily = _daily(spark, (1, "DE", 1, 1.0), (2, "FR", 2, 1.0), (1, "DE", 6, 1.0))
    for checkpoint_days in (5, NEVER):
        whole = _build(daily, _days(1, 30), checkpoint_days=checkpoint_days)
        first = _build(daily, _days(1, 6), checkpoint_days=checkpoint_days)
        before = change_rows.as_of(first, title_stats.KEYS, _day(6), checkpoint_days)
        second = _build(daily, _days(7, 30), before, checkpoint_days)
        assert sorted(_collect(first) + _collect(second)) == _collect(whole)
    # Nothing enters or leaves a window on days 4 and 5.
    assert _collect(_build(daily, _days(4, 5), change_rows.as_of(whole, title_stats.KEYS, _day(3), NEVER))) == []
