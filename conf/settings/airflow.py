"""Airflow's schedules and limits, and how Spark is started: airflow, spark."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from conf.settings.section import FROZEN, Count, Location, Positive, Section

# Nothing ships the settings to workers: transforms get plain values, so that this need not be picklable.
SparkConf = Annotated[Mapping[str, str], *FROZEN]


class Airflow(Section):
    """Times of cron expressions are UTC."""

    home: Location = Field(description="folder of Airflow's logs and configuration, and of the settings files of runs")
    database_uri: str = Field(description="SQLAlchemy URI of Airflow's database")
    port: Annotated[int, Field(ge=1, lt=65536)] = Field(description="port of Airflow's web pages, on loopback")
    nightly_schedule: str = Field(
        description="cron expression of the nightly DAG, in UTC; a run processes the day before its start"
    )
    maintenance_schedule: str = Field(description="cron expression of the maintenance DAG, in UTC")
    retries: Count = Field(description="retries of a failed task")
    feeds_poke_seconds: Positive = Field(description="seconds between checks for the night's feeds")
    feeds_timeout_seconds: Positive = Field(description="seconds that a night waits for its feeds")
    feeds_settled_seconds: Count = Field(
        description="seconds without a change after which a feed file counts as complete"
    )
    task_timeout_minutes: Positive = Field(description="time limit of a task")
    training_timeout_minutes: Positive = Field(description="time limit of a task that trains or builds an index")
    spark_slots: Positive = Field(description="Spark jobs that run at the same time")
    training_slots: Positive = Field(description="trainings and index builds that run at the same time")
    training_queue: str = Field(description="queue of the workers with a GPU")
    alert_webhook: str | None = Field(description="URL to post failures to, as JSON; null for none")


class Spark(Section):
    master: str = Field(description="URL of the Spark master")
    conf: SparkConf = Field(
        description="additional Spark settings; conf/spark-defaults.conf has those of every environment"
    )
