"""The calibrated sTIL %: a monotone curve from one of the numbers to what pathologists state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tilscore.errors import ConfigError
from tilscore.files import sha256

INPUTS = ("til_density_per_mm2", "stil_area_pct", "infiltrated_area_pct")
"""Numbers that a calibration can start from."""


@dataclass(frozen=True)
class Calibration:
    """A piecewise linear, rising curve; flat beyond its ends.

    Parameters
    ----------
    input : which number it starts from, of `INPUTS`.
    x, y : knots. low, high : the curve's interval at the knots; None where the file gives none.
    """

    input: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    ident: str

    def at(self, value: float) -> tuple[float, float | None, float | None]:
        """Calibrated value with its interval, in %."""
        y, low, high = (
            None if k is None else float(np.clip(np.interp(value, self.x, k), 0, 100))
            for k in (self.y, self.low, self.high)
        )
        assert y is not None
        return y, low, high


def read_calibration(path: Path) -> Calibration:
    """Read a calibration: `input`, `knots_x`, `knots_y`, and `low_y` with `high_y` or the half-widths `interval`.

    Raises
    ------
    ConfigError : no such file, or not a rising curve, within its limits, from a known number.
    """
    do = "write it with `tilscore cohort calibrate`"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        name = str(values["input"])
        x, y = (tuple(float(v) for v in values[k]) for k in ("knots_x", "knots_y"))
        low, high = (tuple(float(v) for v in values[k]) if values.get(k) else None for k in ("low_y", "high_y"))
        if low is None and values.get("interval"):
            half = tuple(float(v) for v in values["interval"])
            low, high = (tuple(a + s * h for a, h in zip(y, half, strict=True)) for s in (-1, 1))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise ConfigError("is not a calibration", where=path, found=err, do=do) from err
    if name not in INPUTS:
        raise ConfigError("is a calibration of another number", where=path, found=name, do=f"fit {', '.join(INPUTS)}")
    lengths = {len(k) for k in (x, y, low, high) if k is not None}
    finite = all(np.isfinite(k).all() for k in (x, y, low, high) if k is not None)
    if lengths != {len(x)} or len(x) < 2 or not finite or (low is None) != (high is None):
        raise ConfigError("is not a calibration", where=path, found=f"{len(x)} knots", do=do)
    if not (np.diff(x) > 0).all() or not (np.diff(y) >= 0).all():
        raise ConfigError("a calibration that does not rise", where=path, do=do)
    if low is not None and high is not None and not all(a <= v <= b for a, v, b in zip(low, y, high, strict=True)):
        raise ConfigError("a calibration whose limits do not hold its curve", where=path, do=do)
    return Calibration(name, x, y, low, high, f"{path.name}@{sha256(path)[:12]}")
