"""Load the settings: local.yaml, the overrides of `--conf`, then every `--set`; errors name the file and the key.

A file of overrides may say `over: FILE`, another one beside it that it is laid over.
"""

import difflib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from conf.settings import Settings

DEFAULT_CONF = Path(__file__).parent / "local.yaml"
_OVER = "over"


class ConfigError(ValueError):
    """A configuration that can't be used; the message names the file (or `--set`) and the key."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice, where the standard loader silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise ConfigError(f"{node.start_mark.name}: key given twice: {', '.join(twice)}")
        return super().construct_mapping(node, deep)


def load_settings(conf: str | Path = DEFAULT_CONF, overrides: Sequence[str] = ()) -> Settings:
    """Settings from `conf` laid over local.yaml, then `key.path=value` overrides, the last one winning.

    Raises ConfigError for a file that is missing, no YAML mapping or laid over itself, an unknown key, a wrong type or
    an impossible value.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    layers = _read_layers(Path(conf).absolute())
    if DEFAULT_CONF not in layers:
        layers = {DEFAULT_CONF: _read_yaml(DEFAULT_CONF), **layers}
    for path, changes in layers.items():
        _lay_over(values, changes, str(path), sources)
    for override in overrides:
        _lay_over(values, _parse_override(override), f"--set {override}", sources)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = [_describe(dict(problem), sources) for problem in error.errors()]
        raise ConfigError("; ".join(problems)) from None


def _read_layers(top: Path) -> dict[Path, dict[str, Any]]:
    """What `top` and the files below it hold, the lowest first."""
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


def _describe(problem: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    parts = [str(part) for part in problem["loc"]]
    key = ".".join(parts)
    # A rule over a whole section is broken by the last source that touched the section or a key in it.
    inside = [source for name, source in sources.items() if name == key or name.startswith(f"{key}.")]
    around = [sources[k] for k in (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)) if k in sources]
    source = [*around[::-1], *inside][-1] if inside or around else str(DEFAULT_CONF)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(parts[-1], _keys_of_section(parts[:-1]), n=1)
        hint = f"; did you mean '{'.'.join([*parts[:-1], near[0]])}'?" if near else ""
        return f"{source}: unknown key '{key}'{hint}"
    if problem["type"] == "missing":
        return f"{source}: missing key '{key}'"
    message = problem["msg"].removeprefix("Value error, ")
    came = "" if isinstance(problem["input"], Mapping | BaseModel) else f", not {problem['input']!r}"
    return f"{source}: {key}: {message}{came}"


def _keys_of_section(parts: Sequence[str]) -> list[str]:
    model: Any = Settings
    for part in parts:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return list(getattr(model, "model_fields", {}))
