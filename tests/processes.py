"""Processes that tests start."""

import os

# For a few rows: no compilation of queries, and none of methods beyond the first stage. The tests' Spark has them in
# its settings; a process gets them by its environment, so that its command line stays as users type it.
_JAVA = (
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=240m",
    "-XX:+UseSerialGC",
    "-Dspark.sql.codegen.wholeStage=false",
    "-Dspark.sql.codegen.factoryMode=NO_CODEGEN",
)


def with_small_java() -> dict[str, str]:
    """This process's environment, with options that make a JVM with Spark start and end sooner."""
    return {**os.environ, "JAVA_TOOL_OPTIONS": " ".join(_JAVA)}
