"""Airflow's schedules and limits, and how Spark is started: airflow, spark."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from conf.settings.section import FROZEN, Count, Location, Positive, Section

# Nothing ships the settings to workers: transforms get plain values, so that this need not be picklable.
SparkConf = Annotated[Mapping[str, str], *FROZEN]


class Airflow(Section):
    """Times of cron expressions are UTC."""

    home: Location
    database_uri: str
    port: Annotated[int, Field(ge=1, lt=65536)]  # of its pages, on loopback
    nightly_schedule: str  # runs for the day before the one on which it starts
    maintenance_schedule: str
    retries: Count
    feeds_poke_seconds: Positive  # how often a night looks whether its feeds are there
    feeds_timeout_seconds: Positive  # how long it waits for them
    feeds_settled_seconds: Count  # files that changed later than this ago may still be written
    task_timeout_minutes: Positive
    training_timeout_minutes: Positive
    spark_slots: Positive  # Spark jobs at a time
    training_slots: Positive  # trainings and index builds at a time
    training_queue: str  # the queue whose workers have a GPU
    alert_webhook: str | None  # what failed is sent there, as JSON


class Spark(Section):
    master: str
    conf: SparkConf  # further Spark settings; conf/spark-defaults.conf holds those of every environment
