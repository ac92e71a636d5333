"""One JVM with Spark for all processes of a test run: each would spend minutes on warming up one of its own."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

_SECONDS = 120


def announce(session: SparkSession, address: Path) -> None:
    """Write to `address` where other processes reach the session's JVM, and have it print to a file beside that.

    It would print between the lines of the run what each process, with a JVM of its own, would keep to itself.
    """
    session.sparkContext.setLogLevel("OFF")
    jvm: Any = session._jvm
    jvm.java.lang.System.setOut(jvm.java.io.PrintStream(str(address.with_suffix(".out"))))
    gateway: Any = session.sparkContext._gateway
    parameters = gateway.gateway_parameters
    written = address.with_suffix(".part")
    written.write_text(json.dumps({"port": parameters.port, "secret": parameters.auth_token}))
    written.rename(address)


def connect(address: Path) -> SparkSession:
    """A new session in the JVM that is announced at `address`; it ends with the JVM."""
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it tells of every connection that ends with this process
    deadline = time.monotonic() + _SECONDS
    while not address.exists():
        assert time.monotonic() < deadline, "the test run's Spark did not start"
        time.sleep(0.1)
    told = json.loads(address.read_text())
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # as jobs.store.session has it
    with _gateway_in_environment(told["port"], told["secret"]):
        gateway = launch_gateway()
    context_class: Any = SparkContext
    context_class._gateway, context_class._jvm = gateway, gateway.jvm
    jvm = gateway.jvm
    shared = jvm.JavaSparkContext.fromSparkContext(jvm.org.apache.spark.SparkContext.getOrCreate())
    context = SparkContext(conf=SparkConf(_jconf=shared.sc().conf()), gateway=gateway, jsc=shared)
    return SparkSession(context, jvm.org.apache.spark.sql.classic.SparkSession.active().newSession())


@contextmanager
def _gateway_in_environment(port: int, secret: str) -> Iterator[None]:
    """PySpark's own way to find a JVM; not left there, since processes that tests start would use it too."""
    found = {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": secret}
    with mock.patch.dict(os.environ, found):
        yield
