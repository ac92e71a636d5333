"""The Spark session of a job, the same whether it was started by `spark-submit` or by `python -m`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from conf.settings import Settings

_DEFAULTS_FOLDER = Path(__file__).parents[2] / "conf"


@contextmanager
def spark_session(settings: Settings, name: str) -> Iterator[SparkSession]:
    """A session that ends with the block.

    Under `spark-submit` the master and all settings come from its command line and spark-defaults.conf; the `spark`
    section of the settings adds only keys that those lack. Under `python -m` the section decides.
    """
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    # Workers on this machine need the packages of this interpreter, not of the first python3 on the path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if "SPARK_HOME" not in os.environ:
        os.environ.setdefault("SPARK_CONF_DIR", str(_DEFAULTS_FOLDER))
    builder = SparkSession.builder.appName(name)
    if not is_submitted:
        builder = builder.master(settings.spark.master)
    given = _submitted_keys() if is_submitted else frozenset()
    for key, value in settings.spark.conf.items():
        if key not in given:
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


def hadoop_path(spark: SparkSession, location: str) -> tuple[Any, Any]:
    """Hadoop's file system and path of a location, local or on object storage, as JVM objects."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    return path.getFileSystem(spark._jsc.hadoopConfiguration()), path


def _submitted_keys() -> frozenset[str]:
    SparkContext._ensure_initialized()  # connects to the JVM that spark-submit started
    return frozenset(key for key, _ in SparkConf().getAll())
