"""Pairs of biopsies: each patient's change against baseline, with its interval and how both biopsies were sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tilscore.cohort.manifest.pool import MADE_WITH, MIXED, scored
from tilscore.config import check_ranges
from tilscore.errors import ConfigError
from tilscore.inputs.words import order
from tilscore.stats.paired import mover, reliable_change

Floats = NDArray[np.float64]
UNKNOWN = "unknown"
"""Specimen or site that nobody stated."""


def is_known(word: object) -> bool:
    """Whether a specimen or site is one that two biopsies can have in common: not missing, unknown or mixed."""
    return isinstance(word, str) and word not in ("", UNKNOWN, MIXED)


@dataclass(frozen=True)
class Measure:
    """A score whose change is analysed."""

    name: str
    """Prefix of its columns in the tables."""
    column: str
    """Column of the biopsies table."""
    low: str
    """Column of the lower 95 % limit."""
    high: str
    """Column of the upper 95 % limit."""
    scale: str
    """`log`: change is a log ratio; `points`: change is a plain difference."""

    @property
    def delta(self) -> str:
        """Column of the pairs table that holds the change on this scale."""
        return f"{self.name}_{'log_ratio' if self.scale == 'log' else 'delta'}"


MEASURES = (
    Measure("density", "til_density_per_mm2", "til_density_low", "til_density_high", "log"),
    Measure("stil", "stil_area_pct", "stil_area_low", "stil_area_high", "points"),
    Measure("calibrated", "calibrated_stil_pct", "calibrated_stil_low", "calibrated_stil_high", "points"),
)


@dataclass(frozen=True)
class AnalyseConfig:
    """Settings of the paired analysis."""

    level: float = 0.95
    """Level of every interval that the analysis makes; the slides' own intervals are 95 %."""
    alpha: float = 0.05
    """Two-sided error of the detectable effect."""
    power: float = 0.8
    """Power of the detectable effect."""
    density_offset_per_mm2: float = 5.0
    """TILs/mm2 added before the logarithm, so that 0 has one: 1 TIL in 0.2 mm2, the least a small core shows."""
    measurement_sd_points: float | None = None
    """Known SD of repeated sTIL measurements (points); a smaller error is raised to it. None: intervals alone."""
    planned_sd_points: tuple[float, ...] = (5.0, 9.5)
    """Measurement SDs (points) for the detectable effect before the study; 9.5 is one pathologist in the FDA pilot."""
    n_min_pairs: int = 6
    """Fewer pairs cannot reach p < 0.05 in an exact signed-rank test."""
    n_min_effective: float = 5.0
    """Fewer pairs left after adjustment tell nothing: change and sampling cannot be told apart."""
    n_pairs_per_term: int = 8
    """Pairs wanted for each covariate; covariates beyond are left out in order of importance, and named."""
    by: tuple[str, ...] = ("response", "arm")
    """Columns of the manifest whose words are groups of patients that may change differently."""
    n_min_group: int = 5
    """Fewer pairs of a group are not held against others."""
    categories_pct: tuple[float, float] = (10.0, 40.0)
    """Upper limits of the low and middle sTIL category (%), both belonging to the category below."""

    def __post_init__(self) -> None:
        shares = {"level": (0.5, 0.999), "alpha": (0.001, 0.5), "power": (0.5, 0.999)}
        points = {"measurement_sd_points": (0, 100), "planned_sd_points": (0.01, 100)}
        numbers = {"n_min_pairs": (2, 1e6), "n_min_effective": (1, 1e6), "n_pairs_per_term": (1, 1e6)}
        numbers["n_min_group"] = (3, 1e6)
        scales = {"density_offset_per_mm2": (0.01, 1000), "categories_pct": (0, 100)}
        check_ranges(self, "analyse", **shares, **points, **numbers, **scales)
        if self.categories_pct[0] >= self.categories_pct[1]:
            raise ConfigError("must rise", where="analyse.categories_pct", found=self.categories_pct)


def to_scale(values: pd.Series, measure: Measure, cfg: AnalyseConfig) -> pd.Series:
    """A measure on the scale where its change is analysed."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    return np.log(numbers + cfg.density_offset_per_mm2) if measure.scale == "log" else numbers


def build_pairs(biopsies: pd.DataFrame, cfg: AnalyseConfig, measures: Sequence[Measure] = MEASURES) -> pd.DataFrame:
    """One row a patient and later time point where both biopsies have a score.

    Parameters
    ----------
    biopsies : one row a patient and time point, as `tilscore.cohort.manifest.pool.pool_biopsies` gives it.

    Returns
    -------
    DataFrame : the sampling of both biopsies (`_before`, `_after`), what scored them, and for each measure
    its values, delta with interval and reliable-change index.
    """
    have = scored(biopsies)
    before = have[have["timepoint"] == "baseline"].drop(columns="timepoint")
    after = have[have["timepoint"] != "baseline"]
    both = before.merge(after, on="patient_id", suffixes=("_before", "_after"), validate="one_to_many")
    out = pd.DataFrame({"patient_id": both["patient_id"], "timepoint": both["timepoint"]})
    for name in dict.fromkeys(("centre", "arm", "response", *cfg.by)):
        out[name] = _of_patient(both, name)
    _add_sampling(out, both)
    for side in ("before", "after"):
        for name in MADE_WITH:
            out[f"{name}_{side}"] = pd.Series(both.get(f"{name}_{side}", ""), index=both.index).fillna("").astype(str)
    for measure in measures:
        if f"{measure.column}_before" in both and both[f"{measure.column}_before"].notna().any():
            _add_measure(out, both, measure, cfg)
    return out.sort_values(["timepoint", "patient_id"], key=_timepoint_key, kind="stable").reset_index(drop=True)


def _of_patient(both: pd.DataFrame, name: str) -> pd.Series:
    """What the manifest says at baseline, or where it says nothing there, at the later time point."""
    before, after = (both.get(f"{name}_{side}", pd.Series("", index=both.index)) for side in ("before", "after"))
    return before.where(before.notna() & (before != ""), after)


def _timepoint_key(column: pd.Series) -> pd.Series:
    return column.map(order) if column.name == "timepoint" else column


def _add_sampling(out: pd.DataFrame, both: pd.DataFrame) -> None:
    for name in ("specimen", "site"):
        for side in ("before", "after"):
            known = both.get(f"{name}_{side}", pd.Series(index=both.index, dtype=object)).astype(object)
            out[f"{name}_{side}"] = known.where(known.notna() & (known != ""), UNKNOWN)
        one_word = out[f"{name}_before"] == out[f"{name}_after"]
        out[f"same_{name}"] = one_word & out[f"{name}_before"].map(is_known).astype(bool)
    for name in ("stroma_mm2", "n_cores"):
        for side in ("before", "after"):
            values = both.get(f"{name}_{side}", pd.Series(index=both.index, dtype=float))
            out[f"{name}_{side}"] = pd.to_numeric(values, errors="coerce").astype(float)


def _add_measure(out: pd.DataFrame, both: pd.DataFrame, measure: Measure, cfg: AnalyseConfig) -> None:
    """Values, delta with MOVER interval, errors and reliable-change index of one measure."""
    sides: dict[str, list[pd.Series]] = {}
    errors: dict[str, pd.Series] = {}
    for side in ("before", "after"):
        value = pd.to_numeric(both[f"{measure.column}_{side}"], errors="coerce").astype(float)
        limits = [both.get(f"{c}_{side}", pd.Series(np.nan, index=both.index)) for c in (measure.low, measure.high)]
        sides[side] = [to_scale(v, measure, cfg) for v in (value, *limits)]
        errors[side] = _error(sides[side], measure, cfg)
        out[f"{measure.name}_{side}"] = value
    delta, low, high = mover(*sides["before"], *sides["after"])
    known = np.isfinite(low) & np.isfinite(high)
    out[measure.delta] = delta
    out[f"{measure.delta}_low"] = np.where(known, low, np.nan)
    out[f"{measure.delta}_high"] = np.where(known, high, np.nan)
    if measure.scale == "log":
        out[f"{measure.name}_ratio"] = np.exp(delta)
    out[f"{measure.name}_error_sd"] = np.hypot(errors["before"], errors["after"])
    out[f"{measure.name}_rci"] = reliable_change(delta, errors["before"], errors["after"])


def _error(values: list[pd.Series], measure: Measure, cfg: AnalyseConfig) -> pd.Series:
    """Standard error of a measurement on its scale: from its interval, not below the known measurement SD."""
    error = (values[2] - values[1]) / (2 * float(stats.norm.ppf(0.975)))
    if measure.scale == "points" and cfg.measurement_sd_points is not None:
        error = error.fillna(0.0).clip(lower=cfg.measurement_sd_points)
    return error


def category(values: pd.Series, cfg: AnalyseConfig) -> pd.Series:
    """sTIL category of a percentage: `0-10`, `10-40` or `>40`; None where there is no value."""
    low, high = cfg.categories_pct
    cut = pd.cut(values, [-math.inf, low, high, math.inf], labels=_category_names(cfg))
    return cut.astype(object).where(values.notna(), None)


def _category_names(cfg: AnalyseConfig) -> list[str]:
    low, high = cfg.categories_pct
    return [f"0-{low:g}", f"{low:g}-{high:g}", f">{high:g}"]


def shifts(pairs: pd.DataFrame, cfg: AnalyseConfig) -> pd.DataFrame:
    """Counts of patients by category before and after, for each time point and sTIL measure.

    Returns
    -------
    DataFrame : timepoint, measure, before, after, n_pairs, n_same_specimen (of these, how many had one specimen type).
    """
    rows = []
    names = _category_names(cfg)
    for measure in (m for m in MEASURES if m.scale == "points" and f"{m.name}_before" in pairs):
        for timepoint, group in pairs.groupby("timepoint", sort=False):
            sides = [category(group[f"{measure.name}_{side}"], cfg) for side in ("before", "after")]
            for before in names:
                for after in names:
                    here = (sides[0] == before) & (sides[1] == after)
                    same = int((here & group["same_specimen"]).sum())
                    rows.append((timepoint, measure.name, before, after, int(here.sum()), same))
    return pd.DataFrame(rows, columns=["timepoint", "measure", "before", "after", "n_pairs", "n_same_specimen"])
