"""Typed settings from YAML: frozen dataclasses, checked by pydantic; an unknown key names the nearest."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from tilscore.errors import ConfigError

T = TypeVar("T")
_MOST_VALUES = 100_000
"""Of one file, where each alias counts as all that it stands for: a few lines of aliases can stand for billions."""


def load_config(kind: type[T], path: Path) -> T:
    """Read a YAML file into the dataclass `kind`.

    Raises
    ------
    ConfigError : no such file, not YAML, an unknown key (the nearest is named), one that is there twice, a value
        of another type, or more values than settings can have.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        _check_once(yaml.compose(text, yaml.SafeLoader), path, {})
        values = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError("cannot be read", where=path, found=err) from err
    except (yaml.YAMLError, RecursionError) as err:
        raise ConfigError("is not YAML", where=path, found=err) from err
    return parse_config(kind, values, where=str(path))


def _check_once(node: Any, path: Path, seen: dict[int, int]) -> int:
    """How many values a YAML node stands for.

    Refuses a key that a table holds twice, as the later one would win unseen, and more than `_MOST_VALUES`.
    """
    if id(node) in seen or not isinstance(getattr(node, "value", None), list):
        return seen.get(id(node), 1)
    seen[id(node)] = _MOST_VALUES  # until it is counted: a node within itself has no end
    size = 1
    keys: set[tuple[str, str]] = set()
    for child in node.value:
        key, value = child if isinstance(child, tuple) else (None, child)
        if key is not None and isinstance(key.value, str):
            if (key.tag, key.value) in keys:
                where = f"{path} line {key.start_mark.line + 1}"
                raise ConfigError("key is there twice", where=where, found=key.value, do="put its values together")
            keys.add((key.tag, key.value))
        size += _check_once(value, path, seen)
    if size > _MOST_VALUES:
        raise ConfigError("holds too many values", where=path, do="write out what its aliases stand for")
    seen[id(node)] = size
    return size


def parse_config(kind: type[T], values: Any, *, where: str) -> T:
    """Make the dataclass `kind` from plain values; `where` is named in errors."""
    import pydantic

    _check_keys(kind, values, where)
    try:
        return pydantic.TypeAdapter(kind).validate_python(values)
    except pydantic.ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(p) for p in first["loc"])
        raise ConfigError(f"{key}: {first['msg']}", where=where, found=first.get("input")) from err
    except (TypeError, ValueError) as err:
        raise ConfigError(str(err), where=where) from err


def as_values(config: Any) -> dict[str, Any]:
    """A config as plain values that YAML and JSON can hold."""
    values: dict[str, Any] = _plain(dataclasses.asdict(config))
    return values


def check_ranges(config: Any, where: str, **ranges: tuple[float, float]) -> None:
    """Hold fields of a config against their lowest and highest value; each entry of a tuple or table, and no None.

    Raises
    ------
    ConfigError : a value is outside, or no number (NaN); it is named as a key of `where`.
    """
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        many = value if isinstance(value, tuple) else (value,)
        entries = value.items() if isinstance(value, Mapping) else (("", one) for one in many)
        for key, one in entries:
            if one is not None and not low <= one <= high:
                at = f"{where}.{name}.{key}" if key else f"{where}.{name}"
                raise ConfigError(f"must be {low:.15g} to {high:.15g}", where=at, found=one)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _check_keys(kind: Any, values: Any, where: str) -> None:
    """Walk `values` beside the type and refuse keys that the type does not have."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, tuple) and isinstance(values, list) and args:
        for i, value in enumerate(values):
            _check_keys(args[0], value, f"{where}[{i}]")
    elif origin is not None and origin is not dict and args:
        for one in args:
            if dataclasses.is_dataclass(one):
                _check_keys(one, values, where)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return
    if not isinstance(values, dict):
        raise ConfigError("should be a table of keys and values", where=where, found=values)
    hints = typing.get_type_hints(kind)
    for key, value in values.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.0)
            raise ConfigError("unknown key", where=where, found=key, do=f"did you mean {near[0]!r}?" if near else None)
        _check_keys(hints[key], value, f"{where}: {key}")
