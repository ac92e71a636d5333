"""Imports go to a lower floor and never in a circle; only the rooms that need heavy libraries import them."""

from collections import Counter
from graphlib import TopologicalSorter

import pytest

from tests.import_graph import MODULES, PACKAGES, ROOT, direct_imports, imports_of

# From the ground up; packages of one floor don't import one another.
FLOORS = (
    ("conf",),
    ("lake",),
    ("models",),
    ("indexing",),
    ("serving",),
    ("jobs",),
    ("review", "dags", "benchmarks"),
)
FLOOR = {package: number for number, packages in enumerate(FLOORS) for package in packages}
# Spark's workers run the encoders and the recommender, so they alone load TensorFlow beside Spark.
JOBS_WITH_TENSORFLOW = ("jobs.features.encoders.", "jobs.serving.batch_inference")
TENSORFLOW = ("tensorflow", "tf_keras", "tensorflow_recommenders")
MAX_MODULES = 15
# One module per section of the settings file.
FULLER = {"conf/settings": 16, "lake": 16}
# Commands stay flat, because users type their names.
FLAT = ("jobs", "models", "benchmarks")


def project_module(name: str) -> str | None:
    """The module of this project that has `name`, itself or as a part of it; None for other libraries."""
    if name.partition(".")[0] not in FLOOR:
        return None
    while name not in MODULES:
        assert "." in name, f"no such module: {name}"
        name = name.rpartition(".")[0]
    return name


IMPORTS = {name: direct_imports(path) for name, path in MODULES.items()}
ARROWS = {
    name: {target for imported in imports if (target := project_module(imported)) and target != name}
    for name, imports in IMPORTS.items()
}


def package_of(module: str) -> str:
    return module.partition(".")[0]


def importers_of(libraries: tuple[str, ...], packages: tuple[str, ...]) -> set[str]:
    """Modules of `packages` that import one of `libraries` themselves."""
    return {
        name
        for name, imports in IMPORTS.items()
        if package_of(name) in packages and any(package_of(imported) in libraries for imported in imports)
    }


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b\nfrom c import d as e\ndef f():\n    from g.h import i\n    import j\n"
    assert list(imports_of(source)) == ["a.b", "c.d", "g.h.i", "j"]


def test_imported_names_belong_to_their_module() -> None:
    assert project_module("lake.delta_log.load") == "lake.delta_log"
    assert project_module("lake.delta_log") == "lake.delta_log"
    assert project_module("pyarrow.parquet") is None


def test_every_package_has_a_floor() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= set(FLOOR)
    assert set(PACKAGES) == set(FLOOR)


def test_no_module_imports_a_higher_floor() -> None:
    upward = {
        (name, target)
        for name, targets in ARROWS.items()
        for target in targets
        if package_of(target) != package_of(name) and FLOOR[package_of(target)] >= FLOOR[package_of(name)]
    }
    assert upward == set()


def test_dags_import_conf_and_nothing_else() -> None:
    wiring = {target for name, targets in ARROWS.items() if package_of(name) == "dags" for target in targets}
    assert {package_of(target) for target in wiring} <= {"conf", "dags"}


def test_floors_below_jobs_import_no_spark() -> None:
    assert importers_of(("pyspark", "delta"), ("lake", "models", "indexing", "serving")) == set()


def test_jobs_import_no_tensorflow_but_where_workers_run_models() -> None:
    importers = importers_of(TENSORFLOW, ("jobs",))
    assert {name for name in importers if not name.startswith(JOBS_WITH_TENSORFLOW)} == set()


def test_imports_make_no_circle() -> None:
    # Raises graphlib.CycleError, which names the circle.
    assert set(TopologicalSorter(ARROWS).static_order()) >= set(MODULES)


@pytest.mark.parametrize("folder", sorted({str(path.parent.relative_to(ROOT)) for path in MODULES.values()}))
def test_folder_holds_one_concept(folder: str) -> None:
    """At most about fifteen library modules; folders of commands are as full as there are commands."""
    files = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert folder in FLAT or files[ROOT / folder] <= FULLER.get(folder, MAX_MODULES)
