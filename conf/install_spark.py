"""Add Delta's JARs and this project's Spark settings to the Spark that pip installs.

In pyspark's own folder they serve every way to start Spark (`spark-submit`, `python -m`, a standalone cluster's
daemons), from any working directory and without the network, and no start has to resolve them again. `make` runs this
when it builds the environment.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pyspark

SPARK_HOME = Path(pyspark.__file__).parent
CONF = Path(__file__).parent.absolute()


def delta_coordinate() -> tuple[str, str, str]:
    """Maven group, artifact and version of the Delta for the installed pyspark and delta-spark."""
    spark_minor = ".".join(version("pyspark").split(".")[:2])
    return "io.delta", f"delta-spark_{spark_minor}_2.13", version("delta-spark")


def artifact_name(jar: str) -> str:
    """A JAR's name without its version: `delta-storage` for `delta-storage-4.3.1.jar`."""
    return re.sub(r"-\d[^/]*\.jar$", "", jar)


def install_jars() -> list[str]:
    """Resolve Delta with the Ivy that Spark ships, and copy each JAR that Spark lacks; the names of the copies."""
    ivy = next((SPARK_HOME / "jars").glob("ivy-*.jar"))
    with tempfile.TemporaryDirectory() as folder:
        pattern = f"{folder}/[artifact]-[revision](-[classifier]).[ext]"
        resolve = ["java", "-jar", str(ivy), "-m2compatible", "-warn", "-confs", "default", "-retrieve", pattern]
        result = subprocess.run([*resolve, "-dependency", *delta_coordinate()], capture_output=True, text=True)
        jars = sorted(Path(folder).glob("*.jar"))
        if result.returncode or not jars:
            raise SystemExit(f"Delta's JARs could not be resolved: {(result.stderr or result.stdout).strip()[-2000:]}")
        present = {artifact_name(jar.name) for jar in (SPARK_HOME / "jars").glob("*.jar")}
        missing = [jar for jar in jars if artifact_name(jar.name) not in present]
        for jar in missing:
            shutil.copy(jar, SPARK_HOME / "jars")
    return [jar.name for jar in missing]


def link_defaults() -> None:
    """Link the settings into the folder that Spark reads when SPARK_CONF_DIR is not set."""
    (SPARK_HOME / "conf").mkdir(exist_ok=True)
    for name in ("spark-defaults.conf", "log4j2.properties"):
        link = SPARK_HOME / "conf" / name
        link.unlink(missing_ok=True)
        link.symlink_to(CONF / name)


if __name__ == "__main__":
    link_defaults()
    print("Spark's JARs completed with:", ", ".join(install_jars()) or "nothing", file=sys.stderr)
