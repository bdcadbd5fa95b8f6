"""Typed settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tilscore.config import as_values, load_config, parse_config
from tilscore.errors import ConfigError
from tilscore.run import RunConfig


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


@pytest.mark.parametrize(
    ("text", "line"),
    [("n_blocks: 1\nn_blocks: 2\n", 2), ("parts:\n- radius_um: 1\n- names: []\n  radius_um: 2\n  radius_um: 3\n", 5)],
)
def test_a_key_is_there_once(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"c\.yaml line {line}: key is there twice"):
        load_config(Outer, path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Outer, tmp_path / "none.yaml")


NAN, ENDLESS = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("score.area_per_til_um2", -5), ("score.min_prob", NAN), ("score.benign_band_um", -1), ("score.seed", -1),
        ("score.contact_um", ENDLESS), ("score.wide_interval_frac", NAN), ("score.bed.radius_um", -5),
        ("score.bed.join_um", NAN), ("score.cores.join_um", -100), ("score.cores.min_mm2", -1),
        ("score.aggregates.sigma_um", 0), ("score.infiltrated.radius_um", 0), ("score.compat.patch_um", 0),
        ("score.interval.max_block_um", 50), ("spatial.step_um", 0), ("spatial.mixing_um", [100, -1]),
        ("spatial.border.edges_um", [0, 50, 25]), ("spatial.hotspot_um", ENDLESS), ("overlay.width_px", -1),
        ("overlay.heat_alpha", 2), ("overlay.map.sigma_um", 0), ("overlay.fields.size_um", NAN),
        ("infer.origin_um", NAN), ("infer.max_unreadable_frac", -1),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named(key: str, value: object) -> None:
    values: object = value
    for part in reversed(key.split(".")):
        values = {part: values}
    with pytest.raises(ConfigError, match=f"{key}.*(must be|needs)"):
        parse_config(RunConfig, values, where="x.yaml")


def test_every_setting_of_a_run_may_be_written_down() -> None:
    assert parse_config(RunConfig, as_values(RunConfig()), where="x.yaml") == RunConfig()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in ("ab", "bc", "cd", "de", "ef")),
        "parts: &a [*a]",
    ],
)
def test_aliases_that_stand_for_billions_of_values_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match="too many values"):
        load_config(Outer, tmp_path / "c.yaml")
