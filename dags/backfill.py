"""Manual backfill: build a range of days again, after late feeds or a change of code.

Parameters choose the days and the tables; by default all of them. One Spark run builds many days, in chunks that are
each written completely or not at all. Clear a killed run to resume it: `skip_complete` leaves out finished days.
`{{ ds }}` is not used.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag
from wiring import PARAMS, arguments, default_args, spark_task

DAY = {"type": ["null", "string"], "format": "date"}


def chosen(params: Mapping[str, Any]) -> list[str]:
    """Arguments of `jobs.backfill` for the days and tables of a run."""
    days = [part for name in ("from", "to") if params[name] for part in (f"--{name}", params[name])]
    tables = ["--only", *params["tables"]] if params["tables"] else []
    return [*days, *(["--skip-complete"] if params["skip_complete"] else []), *tables]


@dag(
    dag_id="backfill",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    params={
        **PARAMS,
        "from": Param(None, **DAY, description="first day; default: the feed's first"),
        "to": Param(None, **DAY, description="last day, included; default: the feed's last"),
        "tables": Param([], type="array", items={"type": "string"}, description="default: all"),
        "skip_complete": Param(True, type="boolean", description="skip days that are complete and unchanged"),
    },
    tags=["marquee"],
)
def backfill() -> None:
    spark_task("backfill", "backfill", arguments(chosen=chosen))


backfill()
