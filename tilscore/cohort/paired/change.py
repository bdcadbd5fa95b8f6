"""Tests of the change at each time point: adjusted for the sampling, and the naive ones beside them, marked as such."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, Measure
from tilscore.cohort.paired.sampling import Covariates, confounded, covariates
from tilscore.stats.aligned import aligned_signed_rank, column_basis
from tilscore.stats.clustered import fit_clustered
from tilscore.stats.paired import adjust_p, minimum_detectable, minimum_detectable_normal, signed_rank

Floats = NDArray[np.float64]
COLUMNS = [
    *("timepoint", "measure", "test", "role", "flag", "n_pairs", "n_effective", "unit", "estimate", "low", "high"),
    *("ratio", "ratio_low", "ratio_high", "statistic", "df", "p", "p_holm", "p_bh", "method"),
    *("adjusted_for", "not_adjusted_for", "status", "reason"),
]
UNITS = {"log": "log ratio", "points": "points"}


def change_tests(pairs: pd.DataFrame, cfg: AnalyseConfig) -> pd.DataFrame:
    """All tests of every measure at every time point, one row each (columns: `COLUMNS`).

    `wilcoxon_adjusted` (primary) and `mean_adjusted` use all pairs and adjust for what differs in the sampling;
    `wilcoxon_same_specimen` uses pairs of one specimen type; `wilcoxon_naive` ignores the sampling and is flagged
    `naive, confounded` where anything differs.
    """
    rows = []
    for timepoint, group in pairs.groupby("timepoint", sort=False):
        for measure in (m for m in MEASURES if m.delta in pairs):
            known = group[group[measure.delta].notna()]
            rows += [{"timepoint": timepoint, **row} for row in _tests_of(known, measure, cfg)]
    return with_multiplicity(pd.DataFrame(rows).reindex(columns=COLUMNS))


def with_multiplicity(tests: pd.DataFrame) -> pd.DataFrame:
    """Holm's and Benjamini-Hochberg's p over the time points of each measure and test."""
    out = tests.copy()
    for _, group in out.groupby(["measure", "test"], sort=False):
        p = [None if pd.isna(v) else float(v) for v in group["p"]]
        out.loc[group.index, "p_holm"] = pd.Series(adjust_p(p, "holm"), index=group.index, dtype=float)
        out.loc[group.index, "p_bh"] = pd.Series(adjust_p(p, "bh"), index=group.index, dtype=float)
    return out


def _tests_of(pairs: pd.DataFrame, measure: Measure, cfg: AnalyseConfig) -> list[dict[str, Any]]:
    same = pairs[pairs["same_specimen"]]
    return [
        rank_row(pairs, measure, cfg) | {"test": "wilcoxon_adjusted", "role": "primary"},
        mean_row(pairs, measure, cfg) | {"test": "mean_adjusted", "role": "supporting"},
        rank_row(same, measure, cfg) | {"test": "wilcoxon_same_specimen", "role": "supporting"},
        _naive_row(pairs, measure, cfg),
    ]


def rank_row(pairs: pd.DataFrame, measure: Measure, cfg: AnalyseConfig) -> dict[str, Any]:
    """Signed-rank test and Hodges-Lehmann estimate adjusted for what differs; the exact test where nothing does."""
    found = covariates(pairs, cfg)
    row = _row(pairs, measure, found)
    reason = unusable(pairs, measure, found, cfg)
    if reason is not None:
        return row | {"status": "not_evaluable", "reason": reason}
    delta = pairs[measure.delta].to_numpy(float)
    if not found.names:
        return row | _plain(delta, measure, cfg)
    test = aligned_signed_rank(delta, found.x, cfg.level)
    return row | {
        "n_effective": test.n_effective,
        **estimated(test.estimate, test.low, test.high, measure),
        "statistic": test.z,
        "p": test.p,
        "method": "aligned signed ranks, Hodges-Lehmann",
    }


def _plain(delta: np.ndarray, measure: Measure, cfg: AnalyseConfig) -> dict[str, Any]:
    test = signed_rank(delta, cfg.level)
    return {
        "n_effective": float(test.n),
        **estimated(test.estimate, test.low, test.high, measure),
        "statistic": test.statistic,
        "p": test.p,
        "method": f"signed ranks ({test.method}), Hodges-Lehmann",
    }


def mean_row(pairs: pd.DataFrame, measure: Measure, cfg: AnalyseConfig) -> dict[str, Any]:
    """Mean change where the sampling is equal: least squares on the changes, HC2 errors, Bell-McCaffrey t."""
    found = covariates(pairs, cfg)
    row = _row(pairs, measure, found)
    reason = unusable(pairs, measure, found, cfg)
    if reason is not None:
        return row | {"status": "not_evaluable", "reason": reason}
    delta = pairs[measure.delta].to_numpy(float)
    basis = column_basis(found.x)
    x = np.column_stack([np.ones(len(delta)), basis])
    fit = fit_clustered(delta, x, np.arange(len(delta)))
    mean = fit.contrast(np.eye(x.shape[1])[0], cfg.level)
    if is_rounding(mean.se, delta):
        return row | {"status": "not_evaluable", "reason": "no_spread: the changes do not differ once adjusted"}
    return row | {
        "n_effective": n_effective(found),
        **estimated(mean.estimate, mean.low, mean.high, measure),
        "statistic": mean.estimate / mean.se,
        "df": mean.df,
        "p": mean.p,
        "method": "least squares, HC2, Bell-McCaffrey t",
    }


def is_rounding(sd: float, values: Floats) -> bool:
    """Whether a spread is that of the computer's rounding alone: 0, but for the last digits of the values."""
    return sd <= 1e-9 * float(np.abs(values).max())


def _naive_row(pairs: pd.DataFrame, measure: Measure, cfg: AnalyseConfig) -> dict[str, Any]:
    found = covariates(pairs, cfg)
    differs = found.used + found.dropped
    row = _row(pairs, measure, Covariates(found.x, [], [], differs, found.unknown))
    row |= {"test": "wilcoxon_naive", "role": "naive", "flag": "naive, confounded" if differs else row["flag"]}
    reason = unusable(pairs, measure, Covariates(np.zeros((len(pairs), 0))), cfg)
    if reason is not None:
        return row | {"status": "not_evaluable", "reason": reason}
    return row | _plain(pairs[measure.delta].to_numpy(float), measure, cfg)


def _row(pairs: pd.DataFrame, measure: Measure, found: Covariates) -> dict[str, Any]:
    return {
        "measure": measure.name,
        "n_pairs": len(pairs),
        "unit": UNITS[measure.scale],
        **adjustment(found.told, found.lacking),
        "status": "ok",
        "reason": None,
    }


def adjustment(used: Sequence[str], lacking: Sequence[str], flag: str = "") -> dict[str, str | None]:
    """What a test is and is not adjusted for; what it is not stands in its flag too, after another one."""
    flags = [flag, f"not adjusted for {', '.join(lacking)}" if lacking else ""]
    return {
        "flag": "; ".join(f for f in flags if f) or None,
        "adjusted_for": ";".join(used) or None,
        "not_adjusted_for": ";".join(lacking) or None,
    }


def estimated(value: float, low: float, high: float, measure: Measure) -> dict[str, Any]:
    """Estimate and limits, each also as a ratio; a limit that does not exist is empty with a reason, never 0."""
    limits = {"low": low, "high": high}
    out: dict[str, Any] = {"estimate": value} | {k: v if math.isfinite(v) else None for k, v in limits.items()}
    lacks = [name for name, v in (("lower", low), ("upper", high)) if not math.isfinite(v)]
    if lacks:
        out["reason"] = (
            f"no_finite_interval: these pairs reject no change, however large, on the {' or '.join(lacks)} side"
        )
    if measure.scale == "log":
        known = {"ratio": value, "ratio_low": out["low"], "ratio_high": out["high"]}
        out |= {name: None if v is None else math.exp(v) for name, v in known.items()}
    return out


def n_effective(found: Covariates) -> float:
    """Pairs that would tell as much if nothing differed in their sampling: sum of (M 1)^2 (see `stats.aligned`)."""
    basis = column_basis(found.x)
    return float(len(found.x) - np.sum(basis.sum(0) ** 2))


def unusable(pairs: pd.DataFrame, measure: Measure, found: Covariates, cfg: AnalyseConfig) -> str | None:
    """Why a test cannot be made, or None."""
    if len(pairs) < cfg.n_min_pairs:
        return f"too_few_pairs: {len(pairs)} of at least {cfg.n_min_pairs}"
    if (pairs[measure.delta] == 0).all():
        return "no_change: every change is exactly 0"
    if (reason := confounded(pairs, found.dropped, cfg)) is not None:
        return reason
    if n_effective(found) < cfg.n_min_effective:
        names = ", ".join(found.used)
        return f"confounded: too few pairs are alike in {names} to tell a change from the sampling"
    if len(pairs) - column_basis(found.x).shape[1] - 1 < 3:
        return "too_few_pairs: fewer than 3 degrees of freedom after adjustment"
    return None


def detectable(pairs: pd.DataFrame, planned: dict[str, int], cfg: AnalyseConfig) -> pd.DataFrame:
    """Smallest mean change found with the wanted power: planned, and with the pairs and spread at hand.

    Parameters
    ----------
    planned : pairs that the manifest promises, by time point.

    Returns
    -------
    DataFrame : timepoint, measure, stage (`before`, `after`), basis, n_pairs, sd_change, inflation, mde, mde_normal,
    ratio (of density), unit, status, reason.
    """
    rows = []
    for timepoint, n_planned in planned.items():
        group = pairs[pairs["timepoint"] == timepoint]
        for measure in (m for m in MEASURES if m.delta in pairs):
            known = group[group[measure.delta].notna()]
            for basis, n, sd, inflation, n_used in _spreads(known, n_planned, measure, cfg):
                stage = "after" if basis.startswith("observed") else "before"
                row = {"timepoint": timepoint, "measure": measure.name, "stage": stage, "basis": basis, "n_pairs": n}
                rows.append(row | _mde(n, sd, inflation, n_used, measure, cfg))
    return pd.DataFrame(rows)


def _spreads(
    pairs: pd.DataFrame, n_planned: int, measure: Measure, cfg: AnalyseConfig
) -> list[tuple[str, int, float, float, int]]:
    """(basis, pairs, SD of the change, inflation, coefficients) of each detectable effect."""
    found: list[tuple[str, int, float, float, int]] = []
    if measure.scale == "points":
        found += [(f"measurement SD {s:g}", n_planned, s * math.sqrt(2), 1.0, 1) for s in cfg.planned_sd_points]
    errors = pairs[f"{measure.name}_error_sd"].dropna().to_numpy(float)
    if errors.size:
        found.append(("slides' intervals", n_planned, float(np.sqrt(np.mean(errors**2))), 1.0, 1))
    adjust = covariates(pairs, cfg)
    x = np.column_stack([np.ones(len(pairs)), column_basis(adjust.x)])
    alone = n_effective(adjust) >= cfg.n_min_effective and confounded(pairs, adjust.dropped, cfg) is None
    if len(pairs) - x.shape[1] < 3 or not alone:
        return [*found, ("observed, adjusted", len(pairs), float("nan"), 1.0, x.shape[1])]
    delta = pairs[measure.delta].to_numpy(float)
    rest = delta - x @ np.linalg.lstsq(x, delta, rcond=None)[0]
    sd = math.sqrt(float(rest @ rest) / (len(delta) - x.shape[1]))
    sd = 0.0 if is_rounding(sd, delta) else sd
    return [*found, ("observed, adjusted", len(pairs), sd, len(pairs) / n_effective(adjust), x.shape[1])]


def _mde(n: int, sd: float, inflation: float, n_used: int, measure: Measure, cfg: AnalyseConfig) -> dict[str, Any]:
    out: dict[str, Any] = {"sd_change": sd, "inflation": inflation, "unit": UNITS[measure.scale]}
    if n < cfg.n_min_pairs or not sd > 0:
        return out | {"status": "not_evaluable", "reason": "too_few_pairs or no spread"}
    mde = minimum_detectable(n, sd, alpha=cfg.alpha, power=cfg.power, inflation=inflation, n_used=n_used)
    normal = minimum_detectable_normal(n, sd * math.sqrt(inflation), alpha=cfg.alpha, power=cfg.power)
    ratio = math.exp(mde) if measure.scale == "log" else None
    return out | {"mde": mde, "mde_normal": normal, "ratio": ratio, "status": "ok", "reason": None}
