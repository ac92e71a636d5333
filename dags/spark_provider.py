"""Import of the Spark provider's operator and hook under Airflow 3.3.

Provider 5.4 reads WEB_COLORS from airflow.settings. Airflow 3.3 provides it only through a shim, and the processes that
parse DAGs and run tasks replace the shim when they block access to the database. So it is set here.
"""

from airflow import settings

vars(settings).setdefault("WEB_COLORS", {"LIGHTORANGE": "#FF9933"})

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook  # noqa: E402
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator  # noqa: E402

__all__ = ["SparkSubmitHook", "SparkSubmitOperator"]
