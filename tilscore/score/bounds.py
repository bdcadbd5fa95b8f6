"""The 95 % intervals of the numbers, and whether they are wide."""

from __future__ import annotations

import math
from typing import Any

from tilscore.score.calibration import Calibration, read_calibration
from tilscore.score.config import ScoreConfig
from tilscore.score.interval import Interval, density_interval, share_interval
from tilscore.score.numbers import Numbers
from tilscore.score.parts import Parts


def make_intervals(numbers: Numbers, parts: Parts, cfg: ScoreConfig) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Intervals by number, and reason codes: `wide_interval`, `no_interval`, `beyond_calibration`."""
    density = _density(numbers, parts, cfg)
    area = density.scaled(numbers.area_per_til_um2 / 1e4)
    share = _share(numbers, parts, cfg)
    found = {"til_density_per_mm2": density, "stil_area_pct": area, "infiltrated_area_pct": share}
    made = {name: interval.as_values() for name, interval in found.items()}
    for name in ("stil_area_pct", "infiltrated_area_pct"):
        for end in ("low", "high"):
            if made[name][end] is not None:
                made[name][end] = min(made[name][end], 100.0)
    doubts = _doubts(density, numbers, cfg)
    if cfg.calibration is not None:
        curve = read_calibration(cfg.calibration)
        made["calibrated_stil_pct"] = _calibrated(made, numbers, curve)
        if not curve.x[0] <= numbers.values[curve.input] <= curve.x[-1]:
            doubts = (*doubts, "beyond_calibration")
    return made, doubts


def _density(numbers: Numbers, parts: Parts, cfg: ScoreConfig) -> Interval:
    """Interval of the count's density. The doubt about each cell enters by its probability, which gives the interval
    of the expected count; it is scaled to the count, so that the number lies in its own interval."""
    tils = numbers.stroma_tils
    made = density_interval(tils.x_um, tils.y_um, tils.prob, parts.stroma(), parts.grid, cfg.interval, seed=cfg.seed)
    expected = float(tils.prob.sum())
    return made.scaled(len(tils) / expected) if expected > 0 else made


def _share(numbers: Numbers, parts: Parts, cfg: ScoreConfig) -> Interval:
    """Interval of the infiltrated share. It is made of whole pixels, and scaled to the number, which counts parts of
    them."""
    disc_um2 = math.pi * cfg.infiltrated.radius_um**2
    stroma, grid = parts.stroma(), parts.grid
    made = share_interval(numbers.covered, stroma, grid, cfg.interval, area_per_til_um2=disc_um2, seed=cfg.seed)
    value = numbers.values["infiltrated_area_pct"]
    return made.scaled(value / made.estimate) if made.estimate and value else made


def _calibrated(made: dict[str, Any], numbers: Numbers, curve: Calibration) -> dict[str, Any]:
    """The curve's own prediction interval at the slide's value, which holds the slide's sampling error too; where the
    file gives none, what the curve makes of the ends of its input's interval."""
    if curve.low is not None:
        _, low, high = curve.at(numbers.values[curve.input])
        return {"low": low, "high": high, "method": f"prediction interval of {curve.ident}"}
    ends = {end: None if (v := made[curve.input][end]) is None else curve.at(v)[0] for end in ("low", "high")}
    return {**ends, "method": f"{curve.ident} at the interval of {curve.input}"}


def _doubts(density: Interval, numbers: Numbers, cfg: ScoreConfig) -> tuple[str, ...]:
    if density.low is None or density.high is None:
        return ("no_interval",)
    half, value = (density.high - density.low) / 2, numbers.values["til_density_per_mm2"]
    return ("wide_interval",) if half > max(cfg.wide_interval_frac * value, cfg.wide_interval_per_mm2) else ()
