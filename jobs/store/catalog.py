"""The tables of the lake, in order of dependency, and the jobs that make them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import SparkSession

from conf.settings import Settings
from jobs import (
    click_ranks,
    interactions,
    stg_consents,
    stg_events,
    stg_offers,
    stg_titles,
    title_features,
    title_stats,
    training_examples,
    training_users,
    user_histories,
    vocabularies,
)
from jobs.features import text_encoder_terms
from jobs.serving import recommendations
from jobs.staging import erasures, feed_loads, rejected_rows
from jobs.store import built_days
from jobs.store.tables import Table
from lake import evaluations, gate_results


@dataclass(frozen=True)
class DailyJob:
    """A job whose feed has a folder per day; `run` takes any set of days at once."""

    feed: str
    table: Table
    run: Callable[[SparkSession, Settings, Sequence[date]], None]


@dataclass(frozen=True)
class SnapshotJob:
    """A job whose feed is delivered whole every time; a range of days needs one run, for its last day."""

    feed: str
    table: Table
    run: Callable[[SparkSession, Settings, date], None]


@dataclass(frozen=True)
class DerivedJob:
    """A job that builds a table day by day from other tables; `plan` returns the days that a request builds."""

    table: Table
    plan: Callable[[Settings, Sequence[date], bool], list[date]]
    run: Callable[[SparkSession, Settings, Sequence[date]], None]


@dataclass(frozen=True)
class AsOfJob:
    """A job that builds a table of the current state from other tables; it runs for the newest day only."""

    table: Table
    run: Callable[[SparkSession, Settings, date], None]


# The staging tables do not read one another, so a backfill builds them side by side.
STAGING_JOBS: tuple[DailyJob | SnapshotJob, ...] = (
    DailyJob("events", stg_events.TABLE, stg_events.run),
    SnapshotJob("titles", stg_titles.TABLE, stg_titles.run),
    SnapshotJob("offers", stg_offers.TABLE, stg_offers.run),
    SnapshotJob("consents", stg_consents.TABLE, stg_consents.run),
)

# Each job stands after the jobs whose tables it reads.
DERIVED_JOBS: tuple[DerivedJob | AsOfJob, ...] = (
    DerivedJob(interactions.TABLE, interactions.plan, interactions.run),
    DerivedJob(click_ranks.TABLE, click_ranks.plan, click_ranks.run),
    DerivedJob(title_stats.TABLE, title_stats.plan, title_stats.run),
    AsOfJob(vocabularies.TABLE, vocabularies.run),
    AsOfJob(title_features.TABLE, title_features.run),
    DerivedJob(user_histories.TABLE, user_histories.plan, user_histories.run),
    DerivedJob(training_examples.TABLE, training_examples.plan, training_examples.run),
    AsOfJob(training_users.TABLE, training_users.run),
)

TABLES: tuple[Table, ...] = (
    *[job.table for job in STAGING_JOBS],
    *[job.table for job in DERIVED_JOBS],
    text_encoder_terms.TABLE,
    recommendations.TABLE,
    rejected_rows.TABLE,
    feed_loads.TABLE,
    built_days.TABLE,
    erasures.TABLE,
)

# Written by models.evaluate_night, models.gate and indexing.promote.
NIGHT_TABLES = (evaluations.TABLE, gate_results.TABLE)
