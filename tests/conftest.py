"""What the tests share: one local Spark, settings whose folders are the test's own, feed files, tables as tuples."""

import gzip
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from conf.loader import load_settings
from conf.settings import Settings, with_changes
from tests import import_graph

if TYPE_CHECKING:  # Spark is slow to import, and `pytest --light` does without it
    from pyspark.sql import SparkSession

    from jobs.staging.feed_staging import FeedSpec

pytest_plugins = ["tests.fixtures.tiny_lake", "tests.fixtures.taste_groups"]
# Files that take longest come first: then no process waits for another's last file. The very first warms up Spark, with
# files beside it that need none.
LONGEST_FIRST = (
    *("jobs/test_point_in_time.py", "dags/test_night.py", "models/test_train.py", "jobs/test_command_lines.py"),
    *("test_documented_commands.py", "jobs/test_title_features.py", "benchmarks/test_features.py"),
    *("jobs/test_backfill.py", "jobs/test_stg_events.py", "jobs/test_erase.py", "models/fit/test_training.py"),
    *("jobs/sources/test_simulate.py", "jobs/test_maintain.py", "jobs/test_vocabularies.py"),
    *("jobs/test_stg_titles.py", "jobs/test_recommend.py"),
)
HEAVY_PLUGINS = ("tests.fixtures.small_bundle", "tests.fixtures.literal_tables")
SPARK_ADDRESS = "MARQUEE_TESTS_SPARK"  # variable of the environment: the file that says where a run's JVM is
OFFERED_SPARK = pytest.StashKey[tuple[Thread, Event]]()  # the thread that has the JVM, and what ends it
FIXTURE_FILES = [Path(__file__), *sorted((Path(__file__).parent / "fixtures").glob("*.py"))]


def pytest_addoption(parser: pytest.Parser) -> None:
    help_text = "only tests that start neither Spark nor TensorFlow"
    parser.addoption("--light", action="store_true", help=help_text)


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--light"):
        for name in HEAVY_PLUGINS:
            config.pluginmanager.import_plugin(name)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the Spark of a run of several processes, while these are still importing."""
    is_controller = session.config.getoption("numprocesses", None) and not hasattr(session.config, "workerinput")
    if is_controller and not session.config.getoption("--light"):
        address = Path(tempfile.mkdtemp()) / "spark.json"
        os.environ[SPARK_ADDRESS] = str(address)
        run_ended = Event()
        thread = Thread(target=_offer_spark, args=(address, run_ended))
        session.config.stash[OFFERED_SPARK] = (thread, run_ended)
        thread.start()


def _offer_spark(address: Path, run_ended: Event) -> None:
    from tests import shared_spark

    with small_spark() as session:
        shared_spark.announce(session, address)
        run_ended.wait()


def pytest_unconfigure(config: pytest.Config) -> None:
    if offered := config.stash.get(OFFERED_SPARK, None):
        thread, run_ended = offered
        run_ended.set()
        thread.join()
        shutil.rmtree(Path(os.environ.pop(SPARK_ADDRESS)).parent)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if is_test and config.getoption("--light") and import_graph.is_heavy_test(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    if config.getoption("--light"):
        heavy = import_graph.heavy_fixtures(FIXTURE_FILES)
        left_out = [item for item in items if heavy.intersection(getattr(item, "fixturenames", ()))]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.getoption("--light") and (loaded := import_graph.heavy_libraries_in_use()):
        terminalreporter.write_line(f"ERROR --light loaded {', '.join(sorted(loaded))}: see tests/import_graph.py")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of light tests that has started Spark or loaded TensorFlow after all."""
    if session.config.getoption("--light") and import_graph.heavy_libraries_in_use():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def spark() -> "Iterator[SparkSession]":
    """The session that jobs get, but small; processes of one run share its JVM."""
    if address := os.environ.get(SPARK_ADDRESS):
        from tests import shared_spark

        yield shared_spark.connect(Path(address))
    else:
        with small_spark() as session:
            yield session


@contextmanager
def small_spark() -> "Iterator[SparkSession]":
    """Spark with two cores and two shuffle partitions."""
    from jobs.store.session import spark_session

    conf = {
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.memory": "2g",
        # A few rows are not worth compiling for: the tests take half as long. Tests of commands run as users run them.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        # Nobody looks at plans and pages of these sessions, and each table has a file or two.
        "spark.sql.maxPlanStringLength": "0",
        "spark.sql.ui.retainedExecutions": "1",
        "spark.ui.retainedJobs": "10",
        "spark.ui.retainedStages": "10",
        "spark.ui.retainedTasks": "10",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.databricks.delta.writeChecksumFile.enabled": "false",
        # Serial, since the cores are taken; most of what a job makes is gone before 600 MB are full.
        "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:+UseSerialGC -Xmn600m",
        "spark.python.daemon.module": "tests.worker_daemon",
    }
    settings = with_changes(load_settings(), {"spark.master": "local[2]", "spark.conf": conf})
    with spark_session(settings, "tests") as session:
        session.sparkContext.setLogLevel("ERROR")
        yield session


@pytest.fixture(scope="session")
def settings_in() -> Callable[[Path], Settings]:
    """Make the default settings with everything that is read or written in a folder."""

    def make(folder: Path) -> Settings:
        changes = {
            "lake.root": str(folder / "lake"),
            "feeds.root": str(folder / "feeds"),
            "feeds.posters_dir": str(folder / "feeds" / "posters"),
            "bundles.root": str(folder / "lake" / "bundles"),
            "mlflow.tracking_uri": f"sqlite:///{folder}/mlflow.db",
            "report.root": str(folder / "reports"),
        }
        return with_changes(load_settings(), changes)

    return make


@pytest.fixture
def settings(tmp_path: Path, settings_in: Callable[[Path], Settings]) -> Settings:
    """The default settings, in the test's own folder."""
    return settings_in(tmp_path)


@pytest.fixture(scope="session")
def write_feed() -> Callable[..., Path]:
    """`write_feed(settings, "titles/a.jsonl.gz", line, ...)`: lines as text or bytes, gzipped if so named."""

    def write(settings: Settings, path: str, *lines: str | bytes) -> Path:
        target = Path(settings.feeds.root) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        data = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
        target.write_bytes(gzip.compress(data, mtime=0) if target.suffix == ".gz" else data)
        return target

    return write


@pytest.fixture(scope="session")
def read_rows() -> Callable[..., list[tuple[Any, ...]]]:
    """`read_rows(settings, TABLE, "title_id", ...)`: rows as tuples, ordered by their text; all columns if none."""
    from tests import stored_rows  # imports Spark's types

    return stored_rows.read


@pytest.fixture(scope="session")
def judge(spark: "SparkSession") -> Callable[..., dict[str, str | None]]:
    """`judge(feed, {name: line}, feed_date)`: for each name why its line is rejected, or None where it is good."""
    from jobs.staging import parsing
    from tests import arrow_frames

    def reasons(
        feed: "FeedSpec",
        lines: Mapping[str, str | bytes],
        feed_date: date = date(2024, 5, 1),
        max_line_bytes: int = 4096,
    ) -> dict[str, str | None]:
        rows = [(name, line.encode() if isinstance(line, str) else line, feed_date) for name, line in lines.items()]
        as_bytes = arrow_frames.frame(spark, "name string, line binary, feed_date date", rows)
        # A cast keeps bytes as they are, valid UTF-8 or not, as reading a file does.
        frame = as_bytes.selectExpr("name", "CAST(line AS STRING) AS line", "feed_date")
        parsed = parsing.parse_lines(frame, feed.fields, max_line_bytes).select("name", "is_good").collect()
        explained = parsing.explain(frame, feed.fields, max_line_bytes).select("name", "reason").collect()
        reason_of = {row["name"]: row["reason"] for row in explained}
        return {row["name"]: None if row["is_good"] else reason_of[row["name"]] for row in parsed}

    return reasons
