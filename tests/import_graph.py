"""The imports of this project's modules, read from their source without importing anything."""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("conf", "lake", "models", "indexing", "serving", "jobs", "review", "dags", "benchmarks")
# Libraries that start a JVM or take seconds to import.
HEAVY = frozenset(
    ("pyspark", "delta", "tensorflow", "tf_keras", "tensorflow_recommenders", "petastorm", "scann", "transformers")
)

OPAQUE = ("importlib", "subprocess")


def module_name(path: Path) -> str:
    """`lake/delta_log.py` is `lake.delta_log`, and `lake/__init__.py` is `lake`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imports_of(source: str) -> Iterator[str]:
    """Every name that a module's source imports, in functions too: `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def source_file(name: str) -> Path | None:
    """The file of this project, tests among them, that an imported name is in; None for other libraries."""
    while name:
        for folder in (ROOT, ROOT / "dags"):  # Airflow puts the DAGs' folder on the path
            path = folder.joinpath(*name.split("."))
            for candidate in (path.with_suffix(".py"), path / "__init__.py"):
                if candidate.is_file():
                    return candidate
        name = name.rpartition(".")[0]
    return None


@cache
def direct_imports(path: Path) -> tuple[str, ...]:
    return tuple(sorted(set(imports_of(path.read_text(encoding="utf-8")))))


def heavy_imports(names: Iterable[str]) -> set[str]:
    """The heavy libraries that importing `names` loads, directly or through modules of this project."""
    reached: set[str] = set()
    seen: set[Path] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        library = name.partition(".")[0]
        if library in HEAVY:
            reached.add(library)
        if name.startswith("airflow.providers.apache.spark."):  # it imports pyspark
            reached.add("pyspark")
        path = source_file(name)
        if path and path not in seen:
            seen.add(path)
            waiting.extend(direct_imports(path))
    return reached


def heavy_libraries_in_use() -> set[str]:
    """The heavy libraries that this process has loaded; PySpark only once its JVM runs, since MLflow imports it too."""
    loaded = set(HEAVY.intersection(sys.modules))
    context = sys.modules.get("pyspark.core.context")
    if context is None or context.SparkContext._gateway is None:
        loaded.discard("pyspark")
    return loaded


def is_heavy_test(path: Path) -> bool:
    """True where importing a file of tests, or running its tests, loads a heavy library.

    A file that starts processes, or imports modules by name, counts as heavy: its source does not say what it loads.
    """
    names = direct_imports(path)
    return bool(heavy_imports(names)) or any(name.partition(".")[0] in OPAQUE for name in names)


def heavy_fixtures(paths: Iterable[Path]) -> set[str]:
    """Fixtures of these files that load a heavy library, themselves or through their fixtures.

    A file that imports one at its top makes all its fixtures heavy; an import within a fixture makes that one heavy.
    """
    asks: dict[str, set[str]] = {}
    heavy: set[str] = set()
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        top_is_heavy = bool(heavy_imports(imports_of(ast.unparse(at_top))))
        for function in (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list):
            asks[function.name] = {argument.arg for argument in function.args.args}
            if top_is_heavy or heavy_imports(imports_of(ast.unparse(function))):
                heavy.add(function.name)
    while added := {name for name, arguments in asks.items() if arguments & heavy} - heavy:
        heavy |= added
    return heavy
