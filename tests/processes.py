"""Processes that tests start."""

import os

# For a few rows: no compilation of queries, and none of methods beyond the first stage. What the tests' own Spark has
# in its settings, as a process gets it whose command line is to stay as users type it.
_JAVA = (
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=240m",
    "-XX:+UseSerialGC",
    "-Dspark.sql.codegen.wholeStage=false",
    "-Dspark.sql.codegen.factoryMode=NO_CODEGEN",
)


def with_small_java() -> dict[str, str]:
    """This process's environment, and what makes a JVM with Spark in it start and end sooner."""
    return {**os.environ, "JAVA_TOOL_OPTIONS": " ".join(_JAVA)}
