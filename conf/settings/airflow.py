"""Airflow's schedules and limits, and how Spark is started: airflow, spark."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from conf.settings.section import FROZEN, Count, Location, Positive, Section

# Nothing ships the settings to workers: transforms get plain values, so that this need not be picklable.
SparkConf = Annotated[Mapping[str, str], *FROZEN]


class Airflow(Section):
    """Times of cron expressions are UTC."""

    home: Location = Field(description="folder of Airflow's logs, configuration and the settings files of runs")
    database_uri: str = Field(description="SQLAlchemy URI of Airflow's database")
    port: Annotated[int, Field(ge=1, lt=65536)] = Field(description="port of Airflow's pages, on loopback")
    nightly_schedule: str = Field(
        description="cron expression of the nightly DAG, in UTC; a run is for the day before its start"
    )
    maintenance_schedule: str = Field(description="cron expression of the maintenance DAG, in UTC")
    retries: Count = Field(description="retries of a failed task")
    feeds_poke_seconds: Positive = Field(description="seconds between two looks for the night's feeds")
    feeds_timeout_seconds: Positive = Field(description="seconds that a night waits for its feeds")
    feeds_settled_seconds: Count = Field(
        description="feed files that changed in the last so many seconds count as still being written"
    )
    task_timeout_minutes: Positive = Field(description="longest run of a task")
    training_timeout_minutes: Positive = Field(description="longest run of a task that trains or builds an index")
    spark_slots: Positive = Field(description="Spark jobs at a time")
    training_slots: Positive = Field(description="trainings and index builds at a time")
    training_queue: str = Field(description="queue whose workers have a GPU")
    alert_webhook: str | None = Field(description="URL that a failure is posted to, as JSON; null for none")


class Spark(Section):
    master: str = Field(description="Spark's master")
    conf: SparkConf = Field(
        description="further Spark settings; conf/spark-defaults.conf holds those of every environment"
    )
