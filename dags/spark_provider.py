"""The Spark provider's operator and hook, where Airflow itself would not let them be imported.

Provider 5.4 takes WEB_COLORS from airflow.settings. Airflow 3.3 has it no more: a shim stands in, except in the
processes that parse DAGs and run tasks, which replace it when they shut DAGs out of the database.
"""

from airflow import settings

vars(settings).setdefault("WEB_COLORS", {"LIGHTORANGE": "#FF9933"})

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook  # noqa: E402
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator  # noqa: E402

__all__ = ["SparkSubmitHook", "SparkSubmitOperator"]
