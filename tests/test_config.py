"""Typed settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tilscore.config import as_values, load_config, parse_config
from tilscore.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    radius_um: float = 3.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    parts: tuple[Inner, ...] = ()
    n_blocks: int = 2


def test_there_and_back() -> None:
    cfg = Outer(Inner(2.5, ("a",)), (Inner(1.0),), 7)
    assert parse_config(Outer, as_values(cfg), where="x") == cfg


@pytest.mark.parametrize(
    ("values", "near"),
    [({"n_block": 1}, "n_blocks"), ({"inner": {"radius": 1}}, "radius_um"), ({"parts": [{"nmes": []}]}, "names")],
)
def test_an_unknown_key_names_the_nearest(values: dict, near: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{near}'"):
        parse_config(Outer, values, where="x.yaml")


@pytest.mark.parametrize("values", [{"n_blocks": "many"}, {"inner": {"radius_um": "wide"}}, {"inner": 3}, [1]])
def test_a_value_of_another_type_is_an_error(values: object) -> None:
    with pytest.raises(ConfigError):
        parse_config(Outer, values, where="x.yaml")


@pytest.mark.parametrize("text", ["a: [", "\x00", "inner: {radius_um: 1"])
def test_not_yaml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_config(Outer, path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Outer, tmp_path / "none.yaml")
