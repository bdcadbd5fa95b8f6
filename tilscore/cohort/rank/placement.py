"""Where patients stand in a reference cohort: percentiles adjusted and plain, robust z, flags."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, Measure, build_pairs, is_known, to_scale
from tilscore.cohort.rank.regression import (
    RobustFit,
    Terms,
    choose_terms,
    fit_robust,
    matrix,
    unsupported,
)
from tilscore.inputs.words import several
from tilscore.stats.percentile import median_and_spread, place

Floats = NDArray[np.float64]
Z95 = 1.959964
ROUNDED = 6e-4
"""A patient's value in the reference is the one that is placed where they differ by less: a reference that is handed on
has four digits. Taken for another value, it would pull what is expected of it a second time."""
OUTLIER_Z = 3.5
"""Robust z beyond which a value is an outlier (Iglewicz & Hoaglin 1993); 1 normal value in 2,000 is."""


@dataclass(frozen=True)
class RankConfig:
    """Settings of the ranking."""

    level: float = 0.95
    """Level of the intervals of percentiles."""
    timepoint: str = "baseline"
    """Biopsies that are placed; changes are placed at every later time point."""
    measure: str = "density"
    """`density` (log scale), `stil` or `calibrated` (points)."""
    adjust: tuple[str, ...] = ("specimen", "area", "site")
    """Factors adjusted for, the most important first; `centre` can be added."""
    n_min_reference: int = 10
    """Fewest reference patients; the interval of a percentile then still spans some 25 points or more."""
    n_min_level: int = 5
    """Fewest reference patients of a specimen or site that is adjusted for."""
    n_per_term: int = 8
    """Reference patients wanted for each coefficient."""
    density_offset_per_mm2: float = 5.0
    """TILs/mm2 added before the logarithm, as in the paired analysis."""

    @property
    def what(self) -> Measure:
        """The measure by its name."""
        return next(m for m in MEASURES if m.name == self.measure)


def level_table(biopsies: pd.DataFrame, cfg: RankConfig) -> pd.DataFrame:
    """Biopsies at the time point with `y`, `y_low`, `y_high` on the measure's scale; those without are left out."""
    here = biopsies[biopsies["timepoint"] == cfg.timepoint].reset_index(drop=True)
    scale = AnalyseConfig(density_offset_per_mm2=cfg.density_offset_per_mm2)
    for name, column in (("y", cfg.what.column), ("y_low", cfg.what.low), ("y_high", cfg.what.high)):
        values = here[column] if column in here else pd.Series(np.nan, index=here.index)
        here[name] = to_scale(values, cfg.what, scale)
    return here[here["y"].notna()].reset_index(drop=True)


def change_table(biopsies: pd.DataFrame, cfg: RankConfig) -> pd.DataFrame:
    """Pairs against baseline with the change as `y`, `y_low`, `y_high`; empty where there are none."""
    known = biopsies[pd.to_numeric(biopsies.get(cfg.what.column), errors="coerce").notna()]
    pairs = build_pairs(known, AnalyseConfig(density_offset_per_mm2=cfg.density_offset_per_mm2), [cfg.what])
    if cfg.what.delta not in pairs:
        return pairs.iloc[:0].assign(y=[], y_low=[], y_high=[])
    delta = cfg.what.delta
    pairs = pairs.assign(y=pairs[delta], y_low=pairs[f"{delta}_low"], y_high=pairs[f"{delta}_high"])
    return pairs[pairs["y"].notna()].reset_index(drop=True)


@dataclass(frozen=True)
class Reference:
    """A reference prepared for placing one kind of value.

    Attributes
    ----------
    table : rows with `patient_id`, `y`. fit : regression of the rows `fitted`; None without adjustment.
    sides : of the regression's columns. spread : median and robust SD of `y`. signal_variance : robust variance of what
    is left, less that of the typical measurement error.
    """

    table: pd.DataFrame
    terms: Terms
    fit: RobustFit | None
    fitted: NDArray[np.intp]
    sides: Mapping[str, int]
    spread: tuple[float, float]
    signal_variance: float


def prepare(table: pd.DataFrame, sides: Mapping[str, int], cfg: RankConfig) -> Reference:
    """Fit what the reference lets expect."""
    terms, fitted = _supported(table, sides, cfg)
    y = table["y"].to_numpy(float)
    fit = None
    spread = median_and_spread(y) if len(y) else (0.0, 0.0)
    if terms.columns and len(fitted) <= cfg.n_min_reference:
        reason = f"only {len(fitted)} reference rows are alike enough"
        terms = Terms([], terms.rare, terms.dropped | dict.fromkeys(terms.used, reason))
    if terms.columns:
        fit = fit_robust(_with_intercept(matrix(table.iloc[fitted], terms.columns, sides)), y[fitted])
    sd = fit.sd if fit is not None else spread[1]
    errors = error_sd(table)
    typical = float(np.median(errors[np.isfinite(errors)] ** 2)) if np.isfinite(errors).any() else 0.0
    return Reference(table, terms, fit, fitted, sides, spread, max(sd**2 - typical, 0.1 * sd**2))


def _supported(table: pd.DataFrame, sides: Mapping[str, int], cfg: RankConfig) -> tuple[Terms, NDArray[np.intp]]:
    """The terms, and the rows that have all of them.

    A factor may vary in rows of rare levels alone, which are not fitted: the terms are chosen again without these.
    """
    fitted = np.arange(len(table))
    rare: list[tuple[str, str]] = []
    dropped: dict[str, str] = {}
    while True:
        terms = choose_terms(table.iloc[fitted], cfg.adjust, sides, n_level=cfg.n_min_level, n_per_term=cfg.n_per_term)
        rare, dropped = [*rare, *terms.rare], dropped | terms.dropped
        terms = Terms(terms.columns, rare, {f: why for f, why in dropped.items() if f not in terms.used})
        if not terms.columns:
            return terms, np.arange(len(table))
        n_before = len(fitted)
        fitted = np.flatnonzero([not why for why in unsupported(table, terms, table, sides)])
        x = _with_intercept(matrix(table.iloc[fitted], terms.columns, sides))
        if len(fitted) == n_before or np.linalg.matrix_rank(x) == x.shape[1]:
            return terms, fitted


def _with_intercept(x: Floats) -> Floats:
    return np.column_stack([np.ones(len(x)), x])


def error_sd(table: pd.DataFrame) -> Floats:
    """Standard error of each row's own measurement, from its 95 % interval; NaN where it has none."""
    return np.asarray((table["y_high"] - table["y_low"]) / (2 * Z95), np.float64)


def place_all(targets: pd.DataFrame, reference: Reference, cfg: RankConfig) -> list[dict[str, Any]]:
    """Place each row of `targets` in the reference; its own patient never counts as reference.

    Returns
    -------
    One dict a row, in order: `n_reference`, `percentile`, `percentile_adjusted`, `percentile_alike` (reference of the
    same specimen and site, where both are known) each with `_low`, `_high`; `robust_z`, `robust_z_sure`, `shrunk_z`,
    `outlier`, what was adjusted for, `status` and `reason`.
    """
    why = unsupported(targets, reference.terms, reference.table, reference.sides)
    x = matrix(targets, reference.terms.columns, reference.sides)
    ids = reference.table["patient_id"].to_numpy()
    errors = error_sd(targets)
    return [
        _place_one(row, np.flatnonzero(ids == row["patient_id"]), why[i], x[i], float(errors[i]), reference, cfg)
        for i, row in enumerate(targets.to_dict("records"))
    ]


def _place_one(
    row: dict[str, Any], own: NDArray[np.intp], why: str, x: Floats, error: float, ref: Reference, cfg: RankConfig
) -> dict[str, Any]:
    y = float(row["y"])
    others = np.delete(ref.table["y"].to_numpy(float), own)
    out: dict[str, Any] = {"n_reference": others.size}
    if others.size < cfg.n_min_reference:
        reason = f"too_few_reference: {several(others.size, 'reference patient')}, {cfg.n_min_reference} are needed"
        return out | {"status": "not_evaluable", "reason": reason}
    down, up = (abs(y - row[k]) / Z95 if math.isfinite(row[k]) else 0.0 for k in ("y_low", "y_high"))
    out |= _named("percentile", y, others, down, up, cfg)
    out |= _alike(row, own, y, down, up, ref, cfg)
    out["interval_from"] = "own interval and reference" if math.isfinite(error) else "reference only"
    value, rest, center_sd, basis = y, others, 0.0, "plain"
    if ref.fit is not None and not why:
        value, rest, center_sd = _residual(ref, own, y, np.concatenate([[1.0], x]))
        down_all, up_all = math.hypot(down, center_sd), math.hypot(up, center_sd)
        out |= _named("percentile_adjusted", value, rest, down_all, up_all, cfg)
        out |= {"n_reference_adjusted": rest.size, "adjusted_for": "+".join(ref.terms.used)}
        basis = "adjusted"
    out["not_adjusted_because"] = why or "; ".join(f"{f}: {r}" for f, r in ref.terms.dropped.items())
    out["z_basis"] = basis
    return out | _robust(value, rest, math.hypot(down if value > np.median(rest) else up, center_sd), error, ref)


def _named(name: str, value: float, reference: Floats, down: float, up: float, cfg: RankConfig) -> dict[str, float]:
    at = place(value, reference, down=down, up=up, level=cfg.level)
    return {name: at.percentile, f"{name}_low": at.low, f"{name}_high": at.high}


def _alike(
    row: dict[str, Any], own: NDArray[np.intp], y: float, down: float, up: float, ref: Reference, cfg: RankConfig
) -> dict[str, Any]:
    """Percentile among reference rows of the same specimens and sites alone; nothing where one is not known."""
    words = {f + side: row.get(f + side) for f in ("specimen", "site") for side in ref.sides}
    if not all(name in ref.table and is_known(word) for name, word in words.items()):
        return {}
    same = np.logical_and.reduce([ref.table[name] == word for name, word in words.items()])
    same[own] = False
    alike = ref.table["y"].to_numpy(float)[same]
    enough = alike.size >= cfg.n_min_reference
    return {"n_alike": int(alike.size)} | (_named("percentile_alike", y, alike, down, up, cfg) if enough else {})


def _residual(ref: Reference, own: NDArray[np.intp], y: float, x: Floats) -> tuple[float, Floats, float]:
    """Residual of the row, those of the others, and the SD of what is expected of it; what differs by the rounding of
    the computer alone is a tie."""
    assert ref.fit is not None
    at = np.flatnonzero(np.isin(ref.fitted, own))
    if at.size == 1 and math.isclose(ref.table["y"].iloc[ref.fitted[at[0]]], y, rel_tol=ROUNDED, abs_tol=ROUNDED):
        value, others, sd = ref.fit.inside(int(at[0]))
    else:
        value, others, sd = ref.fit.without(at).added(x, y)
    return round(value, 9), np.round(others, 9), sd


def _robust(value: float, rest: Floats, toward: float, error: float, ref: Reference) -> dict[str, Any]:
    """Robust z, its end nearer to the median, its shrunken value, and the flag."""
    middle, sd = median_and_spread(rest)
    if sd <= 1e-9:
        return {"status": "ok", "reason": "no_robust_z: over half of the reference values are equal"}
    z = (value - middle) / sd
    sure = math.copysign(max(0.0, abs(z) - Z95 * toward / sd), z) + 0.0 if math.isfinite(error) else None
    own_error = error if math.isfinite(error) else math.sqrt(ref.signal_variance)
    shrunk = z * ref.signal_variance / (ref.signal_variance + own_error**2)
    flag = "" if abs(z) <= OUTLIER_Z else "high" if z > 0 else "low"
    is_sure = bool(flag) and sure is not None and abs(sure) > OUTLIER_Z
    rest_ = {"robust_z": z, "robust_z_sure": sure, "shrunk_z": shrunk, "outlier": flag, "outlier_sure": is_sure}
    return rest_ | {"status": "ok", "reason": ""}
