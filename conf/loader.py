"""Load the settings: the default files, then the overrides of `--conf`, then every `--set`.

Errors name the file (or the `--set`) and the key. A file of overrides may name a file to be laid over: `over: FILE`,
relative to itself.
"""

import difflib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from conf.settings import Settings, moved

DEFAULT_CONF = Path(__file__).parent / "local.yaml"
SIMULATION_CONF = DEFAULT_CONF.with_name("simulation.yaml")
_OVER = "over"


class ConfigError(ValueError):
    """An unusable configuration; the message names the file (or `--set`) and the key."""


class _UniqueKeyLoader(yaml.CSafeLoader):
    """YAML that refuses a key given twice, where the standard loader silently keeps the last.

    Parsed in C, since every command and nearly every test begins with it: 5 ms in place of 22.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise ConfigError(f"{node.start_mark.name}: key given twice: {', '.join(twice)}")
        return super().construct_mapping(node, deep)


def load_settings(conf: str | Path = DEFAULT_CONF, overrides: Sequence[str] = ()) -> Settings:
    """Settings from `conf` laid over local.yaml, then `key.path=value` overrides; the last source of a key wins.

    Raises ConfigError for a file that is missing, is no YAML mapping or is laid over itself, and for a key that is
    unknown, has a wrong type or an impossible value.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    layers = _read_layers(Path(conf).absolute())
    defaults = {path: _read_yaml(path) for path in (SIMULATION_CONF, DEFAULT_CONF) if path not in layers}
    layers = {**defaults, **layers}
    for path, changes in layers.items():
        _lay_over(values, changes, str(path), sources)
    for override in overrides:
        _lay_over(values, _parse_override(override), f"--set {override}", sources)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = [text for problem in error.errors() for text in _describe(dict(problem), sources)]
        raise ConfigError("; ".join(problems)) from None


def _read_layers(top: Path) -> dict[Path, dict[str, Any]]:
    """The contents of `top` and of the files that it is laid over, the lowest first."""
    layers: dict[Path, dict[str, Any]] = {}
    path = top
    while True:
        values = _read_yaml(path)
        below = values.pop(_OVER, None)
        layers[path] = values
        if below is None:
            return dict(reversed(layers.items()))
        if not isinstance(below, str):
            raise ConfigError(f"{path}: {_OVER}: expected the name of a file, not {below!r}")
        path = (path.parent / below).resolve()
        if path in layers:
            raise ConfigError(f"{path}: is laid over itself")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as stream:
            loader = _UniqueKeyLoader(stream)
            values = loader.get_single_data()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # a ValueError is a date that no calendar has
        raise ConfigError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, found {type(values).__name__}")
    return values


def _parse_override(override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    parts = key.split(".")
    if not separator or not all(parts):
        raise ConfigError(f"--set {override}: expected key.path=value")
    # Spark's own keys have dots: all that follows spark.conf is one key.
    if parts[:2] == ["spark", "conf"] and len(parts) > 2:
        return {"spark": {"conf": {".".join(parts[2:]): text}}}
    try:
        value = yaml.load(text, _UniqueKeyLoader)
    except yaml.YAMLError:
        value = text
    except ValueError as error:  # a key given twice, or a date that no calendar has
        raise ConfigError(f"--set {override}: {str(error).removeprefix('<unicode string>: ')}") from None
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def _lay_over(
    base: dict[str, Any], changes: Mapping[str, Any], source: str, sources: dict[str, str], at: str = ""
) -> None:
    for name, value in changes.items():
        key = f"{at}{name}"
        if isinstance(value, Mapping) and isinstance(base.get(name), dict):
            _lay_over(base[name], value, source, sources, f"{key}.")
        else:
            base[name] = dict(value) if isinstance(value, Mapping) else value
            sources.pop(key, None)  # the last source to touch a key stands last
            sources[key] = source


def _describe(problem: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[str]:
    """The messages of one problem that pydantic reports; a section of moved keys has one for each key."""
    parts = [str(part) for part in problem["loc"]]
    key = ".".join(parts)
    if problem["type"] == "extra_forbidden":
        leaves = _leaves(problem["input"], key)
        if replaced := [(leaf, text) for leaf in leaves if (text := moved.replacement(leaf))]:
            yield from (f"{_source_of(leaf, sources)}: {text}" for leaf, text in replaced)
            return
        near = difflib.get_close_matches(parts[-1], _keys_of_section(parts[:-1]), n=1)
        hint = f"; did you mean '{'.'.join([*parts[:-1], near[0]])}'?" if near else ""
        yield f"{_source_of(key, sources)}: unknown key '{key}'{hint}"
    elif problem["type"] == "missing":
        yield f"{_source_of(key, sources)}: missing key '{key}'"
    else:
        message = problem["msg"].removeprefix("Value error, ")
        came = "" if isinstance(problem["input"], Mapping | BaseModel) else f", not {problem['input']!r}"
        yield f"{_source_of(key, sources)}: {key}: {message}{came}"


def _source_of(key: str, sources: Mapping[str, str]) -> str:
    """The source that set a key, or the last one that set a key of its section: it broke a rule over the section."""
    parts = key.split(".")
    inside = [source for name, source in sources.items() if name == key or name.startswith(f"{key}.")]
    around = [sources[k] for k in (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)) if k in sources]
    return [*around[::-1], *inside][-1] if inside or around else str(DEFAULT_CONF)


def _leaves(value: Any, key: str) -> list[str]:
    """The dotted keys of a value's leaves; of a value that is no mapping, its own key."""
    if not isinstance(value, Mapping):
        return [key]
    return [leaf for name, inner in value.items() for leaf in _leaves(inner, f"{key}.{name}")]


def _keys_of_section(parts: Sequence[str]) -> list[str]:
    model: Any = Settings
    for part in parts:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return list(getattr(model, "model_fields", {}))
