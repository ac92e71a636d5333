"""Weekly maintenance: erase users on request, compact tables, remove old files, and rehearse a rollback.

`{{ ds }}` is the last day whose erasure requests are carried out. Erasure comes first, so that vacuum removes the older
files that still hold erased rows. The drill publishes and rolls back in a copy: what is served does not change.
"""

from datetime import UTC, datetime

from airflow.sdk import CronDataIntervalTimetable, dag
from wiring import DAY_PARAM, PARAMS, SETTINGS, arguments, command_task, default_args, spark_task


@dag(
    dag_id="maintenance",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(SETTINGS.airflow.maintenance_schedule, timezone="UTC"),
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    params={**PARAMS, "ds": DAY_PARAM},
    tags=["marquee"],
)
def maintenance() -> None:
    erase = spark_task("erase", "erase", arguments("--ds", "{ds}"), makes=("erasures",))
    maintain = spark_task("maintain", "maintain", arguments())
    drill = command_task("rollback_drill", "indexing.drill")
    erase >> maintain >> drill


maintenance()
