"""The tables of the lake, in order of dependency, and the jobs that make them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import SparkSession

from conf.settings import Settings
from jobs import clean_consents, clean_events, clean_offers, clean_titles, erasures, feed_loads, rejected_rows
from jobs.tables import Table


@dataclass(frozen=True)
class DailyJob:
    """A job whose feed has a folder per day: `run` takes any set of days at once."""

    feed: str
    table: Table
    run: Callable[[SparkSession, Settings, Sequence[date]], None]


@dataclass(frozen=True)
class SnapshotJob:
    """A job whose feed is whole every time: a range of days needs one run, for its last day."""

    feed: str
    table: Table
    run: Callable[[SparkSession, Settings, date], None]


# The staging tables do not read one another, so a backfill builds them side by side.
JOBS: tuple[DailyJob | SnapshotJob, ...] = (
    DailyJob("events", clean_events.TABLE, clean_events.run),
    SnapshotJob("titles", clean_titles.TABLE, clean_titles.run),
    SnapshotJob("offers", clean_offers.TABLE, clean_offers.run),
    SnapshotJob("consents", clean_consents.TABLE, clean_consents.run),
)

TABLES: tuple[Table, ...] = (*[job.table for job in JOBS], rejected_rows.TABLE, feed_loads.TABLE, erasures.TABLE)
