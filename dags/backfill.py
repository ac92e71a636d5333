"""Build a range of days again, by hand: for feeds that came late, for code that changed.

Parameters say which days and which tables; what is left open is all. One Spark run takes many days, a chunk at a time
and each chunk whole or not at all: a run that was killed is cleared, and with `skip_complete` goes on where it was.
`{{ ds }}` means nothing here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag
from wiring import PARAMS, arguments, default_args, spark_task

DAY = {"type": ["null", "string"], "format": "date"}


def chosen(params: Mapping[str, Any]) -> list[str]:
    """The days and tables of a run, as `jobs.backfill` takes them."""
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
        "skip_complete": Param(True, type="boolean", description="leave out days that are built and unchanged"),
    },
    tags=["marquee"],
)
def backfill() -> None:
    spark_task("backfill", "backfill", arguments(chosen=chosen))


backfill()
