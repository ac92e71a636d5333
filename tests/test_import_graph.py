"""Heavy tests, which start Spark or TensorFlow, are recognised by their source."""

from pathlib import Path

import pytest

from tests import import_graph
from tests.import_graph import ROOT

TESTS = ROOT / "tests"


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("lake.delta_log", set()),
        ("pyspark.sql.SparkSession", {"pyspark"}),
        ("jobs.store.tables.Table", {"pyspark", "delta"}),
        ("models.towers.legacy_keras.tf", {"tensorflow", "tf_keras", "tensorflow_recommenders"}),
        # As DAGs import it: Airflow puts their folder on the path.
        ("wiring.spark_task", {"pyspark"}),
        ("tests.ports.free_port", set()),
    ],
)
def test_imports_are_followed_through_modules(name: str, reached: set[str]) -> None:
    assert import_graph.heavy_imports([name]) == reached


@pytest.mark.parametrize(
    ("file", "is_heavy"),
    [
        ("lake/test_delta_files.py", False),
        ("models/linear/test_ease.py", False),
        ("test_import_graph.py", False),
        ("jobs/test_interactions.py", True),
        ("models/towers/test_networks.py", True),
        ("jobs/test_command_lines.py", True),  # imports modules by name
        ("dags/test_night.py", True),  # starts processes
    ],
)
def test_heavy_test_files_are_recognised(file: str, is_heavy: bool) -> None:
    assert import_graph.is_heavy_test(TESTS / file) is is_heavy


def test_fixture_is_heavy_by_its_imports_or_by_its_fixtures(tmp_path: Path) -> None:
    light = tmp_path / "light.py"
    light.write_text(
        "import pytest\n"
        "@pytest.fixture\ndef root(): return 1\n"
        "@pytest.fixture\ndef session(root):\n    from pyspark.sql import SparkSession\n"
        "@pytest.fixture\ndef rows(session): return 2\n"
    )
    heavy = tmp_path / "heavy.py"
    heavy.write_text("import tensorflow\nimport pytest\n@pytest.fixture\ndef tower(): return 3\n")
    assert import_graph.heavy_fixtures([light, heavy]) == {"session", "rows", "tower"}


def test_heavy_shared_fixtures_are_recognised() -> None:
    heavy = import_graph.heavy_fixtures([TESTS / "conftest.py", *(TESTS / "fixtures").glob("*.py")])
    assert heavy >= {"spark", "read_rows", "judge", "small_bundle", "trained", "registered", "tiny_command"}
    assert heavy.isdisjoint({"settings", "settings_in", "write_feed", "tiny_lake", "tiny_settings", "catalogue"})
