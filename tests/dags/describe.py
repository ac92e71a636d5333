"""Parse the DAGs and print a description of them, and the heavy modules that parsing imported, as JSON."""

import json
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk.execution_time.supervisor import block_orm_access

FOLDER = Path(__file__).parents[2] / "dags"
HEAVY = (
    "tensorflow",
    "pyspark",
    "delta",
    "pandas",
    "numpy",
    "mlflow",
    "pyarrow",
    "deltalake",
    "scann",
    "sklearn",
    "jobs",
)


def main() -> None:
    # Airflow's processes that parse DAGs and run tasks call this too.
    block_orm_access()
    bag = BundleDagBag(FOLDER, bundle_path=FOLDER, bundle_name="dags-folder")
    dags = {
        dag.dag_id: {
            "max_active_runs": dag.max_active_runs,
            "catchup": dag.catchup,
            "doc": dag.doc_md,
            "schedule": type(dag.timetable).__name__,
            "tasks": {task.task_id: describe(task) for task in dag.tasks},
        }
        for dag in bag.dags.values()
    }
    heavy = [name for name in HEAVY if name in sys.modules]
    sys.stdout.write(json.dumps({"errors": bag.import_errors, "heavy": heavy, "dags": dags}) + "\n")


def describe(task) -> dict[str, object]:
    return {
        "kind": type(task).__name__,
        "then": sorted(task.downstream_task_ids),
        "rule": str(task.trigger_rule.value),
        "retries": task.retries,
        "backoff": task.retry_exponential_backoff,
        "timeout": task.execution_timeout and task.execution_timeout.total_seconds(),
        "pool": task.pool,
        "queue": task.queue,
        "assets": [asset.name for asset in task.outlets],
        "has_failure_callback": bool(task.on_failure_callback),
    }


if __name__ == "__main__":
    main()
