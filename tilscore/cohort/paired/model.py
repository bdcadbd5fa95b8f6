"""The mixed model of log density over time points, with robust small-sample errors and a plain fallback."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tilscore.cohort.paired.change import is_rounding
from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, to_scale
from tilscore.cohort.paired.sampling import core_number
from tilscore.inputs.words import order
from tilscore.stats.clustered import fit_clustered

Floats = NDArray[np.float64]
FALLBACK = "fallback_fixed_effects"
"""Kind of the model where the mixed one does not converge."""
OPTIMISERS = ("lbfgs", "bfgs", "powell")
"""Of the restricted likelihood, the fastest first; the last one needs no gradient."""
DF_MIN = 4.0
"""Below, Satterthwaite's t is not reliable (Pustejovsky & Tipton 2018)."""


@dataclass(frozen=True)
class Design:
    """Regressors of the model.

    Attributes
    ----------
    y : (n,) log density. x : (n, k) with the intercept first. names : the k terms. patient : (n,) integers.
    dropped : factors left out, with the reason. used : factors that have terms. reference : the level of a factor that
    its terms are against.
    """

    y: Floats
    x: Floats
    names: list[str]
    patient: NDArray[np.intp]
    dropped: dict[str, str] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    reference: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelResult:
    """Coefficients (one row a term), diagnostics as plain values, and what must be said aloud."""

    rows: list[dict[str, Any]]
    diagnostics: dict[str, Any]
    notes: list[str]


def fit_model(biopsies: pd.DataFrame, cfg: AnalyseConfig) -> ModelResult:
    """Fit log(density + offset) on time point, specimen, area, site and cores, patient as random intercept.

    Variances come from `statsmodels` MixedLM (REML). Coefficients are its generalised least squares, their errors CR2
    by patient with Satterthwaite's degrees of freedom, because slides differ in measurement variance (area, cores) and
    z tests are too bold with 40 patients. Where MixedLM does not converge, patients are fixed effects instead.

    Parameters
    ----------
    biopsies : one row a patient and time point.
    """
    design = model_design(biopsies, cfg)
    variances, warned = (None, []) if isinstance(design, str) else mixed_variances(design)
    if variances is None and not isinstance(design, str):
        design = model_design(biopsies, cfg, within=True)
    if isinstance(design, str):
        return ModelResult(
            [], {"status": "not_evaluable", "reason": design}, [f"The mixed model was not fitted: {design}."]
        )
    notes = [f"The model is not adjusted for {factor}: {why}." for factor, why in design.dropped.items()]
    if variances is None:
        why = "model_diagnostics.warnings tells why"
        notes.append(
            f"The mixed model did not converge; patients are fixed effects instead, errors by patient ({why})."
        )
        return _fixed_effects(design, cfg, notes, warned)
    between, within = variances
    n_rows = np.bincount(design.patient)
    shrink = 1 - np.sqrt(within / (within + n_rows * between))
    diagnostics: dict[str, Any] = {"kind": "mixed", "converged": True, "warnings": warned}
    diagnostics |= {
        "random_effect_variance": between,
        "residual_variance": within,
        "icc": between / (between + within),
        "random_effect_at_zero": bool(between < 1e-6 * within),
    }
    if diagnostics["random_effect_at_zero"]:
        notes.append(
            "The patients' random effect was estimated as 0: biopsies of one patient are no more alike than others."
        )
    return _robust(design, shrink, list(range(len(design.names))), cfg, diagnostics, notes)


def model_design(biopsies: pd.DataFrame, cfg: AnalyseConfig, *, within: bool = False) -> Design | str:
    """Build the regressors, or say why there can be no model.

    Parameters
    ----------
    within : patients are fixed effects: who has but one biopsy tells nothing of specimen, area, site and cores, and
        gives no room for their coefficients. With a random intercept each patient does.
    """
    table = _usable(biopsies, cfg)
    later = sorted(set(table["timepoint"]) - {"baseline"}, key=order)
    if not later:
        return f"no later time point has at least {cfg.n_min_pairs} patients who also have a baseline"
    y = to_scale(table["til_density_per_mm2"], MEASURES[0], cfg).to_numpy(float)
    columns = {"intercept": np.ones(len(table))}
    columns |= {f"timepoint: {t}": (table["timepoint"] == t).to_numpy(float) for t in later}
    patient = pd.factorize(table["patient_id"])[0]
    room = (np.bincount(patient) > int(within)).sum() // cfg.n_pairs_per_term
    dropped: dict[str, str] = {}
    used: list[str] = []
    n_used = 0
    for factor in ("specimen", "area", "site", "cores"):
        new = _factor(table, factor)
        if n_used + len(new) > room:
            dropped[factor] = f"its coefficients ({len(new)}) are too many for the patients there are"
            continue
        columns |= new
        n_used += len(new)
        used += [factor] if new else []
    x = np.column_stack(list(columns.values()))
    if np.linalg.matrix_rank(x / np.sqrt((x**2).sum(0))) < x.shape[1]:
        return "time point and sampling (specimen, area, site, cores) cannot be told apart"
    reference = {"timepoint": "baseline"} | {f: _levels(table, f)[0] for f in used if f in ("specimen", "site")}
    return Design(y, x, list(columns), patient, dropped, used, reference)


def _usable(biopsies: pd.DataFrame, cfg: AnalyseConfig) -> pd.DataFrame:
    """Biopsies with a density, of time points with enough pairs."""
    density = pd.to_numeric(biopsies["til_density_per_mm2"], errors="coerce")
    table = biopsies[density.notna()].copy()
    with_baseline = set(table.loc[table["timepoint"] == "baseline", "patient_id"])
    paired = table[table["patient_id"].isin(with_baseline)]["timepoint"].value_counts()
    kept = [t for t in paired.index if paired[t] >= cfg.n_min_pairs or t == "baseline"]
    return table[table["timepoint"].isin(kept)].reset_index(drop=True)


def _words(table: pd.DataFrame, factor: str) -> pd.Series:
    values = table.get(factor, pd.Series("unknown", index=table.index)).astype(object)
    return values.where(values.notna() & (values != ""), "unknown")


def _levels(table: pd.DataFrame, factor: str) -> list[str]:
    """The words of a factor, the most common one, which the others are compared with, first."""
    counts = _words(table, factor).value_counts().sort_index()
    return list(counts.sort_values(ascending=False, kind="stable").index)


def _factor(table: pd.DataFrame, factor: str) -> dict[str, Floats]:
    """Columns of a factor, none where it does not vary."""
    if factor in ("specimen", "site"):
        values = _words(table, factor)
        return {f"{factor}: {w}": (values == w).to_numpy(float) for w in _levels(table, factor)[1:]}
    if factor == "area":
        area = pd.to_numeric(table.get("stroma_mm2"), errors="coerce").to_numpy(float)
        values = np.log(area) if np.isfinite(area).all() and (area > 0).all() else np.zeros(len(table))
        name = "log area"
    else:
        empty = pd.Series(np.nan, index=table.index)
        values, name = core_number(table.get("specimen", empty), table.get("n_cores", empty)), "log cores"
    return {name: values - values.mean()} if np.ptp(values) > 1e-12 else {}


def mixed_variances(design: Design) -> tuple[tuple[float, float] | None, list[str]]:
    """(between-patient, residual) variance by REML, or None where it did not converge; and statsmodels' warnings.

    `OPTIMISERS` are tried in turn: the gradient is not defined where the first step of `lbfgs` often lands, and does
    not vanish where the best between-patient variance is 0.
    """
    texts: set[str] = set()
    for method in OPTIMISERS:
        found, said = _restricted_likelihood(design, method)
        if found is not None:
            return found, sorted(said)
        texts |= said
    return None, sorted(texts)


def _restricted_likelihood(design: Design, method: str) -> tuple[tuple[float, float] | None, set[str]]:
    """`mixed_variances` by one optimiser."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = MixedLM(design.y, design.x, groups=design.patient).fit(reml=True, method=method)
            between, within, converged = float(fit.cov_re[0, 0]), float(fit.scale), bool(fit.converged)
        except (np.linalg.LinAlgError, ValueError) as err:
            return None, {str(err)}
    sound = converged and math.isfinite(between) and math.isfinite(within) and within > 0 and between >= 0
    return ((between, within) if sound else None), {str(w.message) for w in caught}


def _fixed_effects(design: Design, cfg: AnalyseConfig, notes: list[str], warned: list[str]) -> ModelResult:
    """Least squares within patients: whole demeaning, no intercept, terms that vary within patients only."""
    inside = design.x - _patient_means(design.x, design.patient)
    kept = [j for j in range(1, len(design.names)) if np.abs(inside[:, j]).max() > 1e-12]
    diagnostics = {"kind": FALLBACK, "converged": False, "warnings": warned}
    return _robust(design, np.ones(design.patient.max() + 1), kept, cfg, diagnostics, notes)


def _patient_means(values: Floats, patient: NDArray[np.intp]) -> Floats:
    """Each row replaced by the mean of its patient's rows."""
    sums = np.zeros((patient.max() + 1, *values.shape[1:]))
    np.add.at(sums, patient, values)
    return np.asarray((sums.T / np.bincount(patient)).T[patient])


def _robust(
    design: Design, shrink: Floats, kept: list[int], cfg: AnalyseConfig, diagnostics: dict[str, Any], notes: list[str]
) -> ModelResult:
    """Coefficients and CR2 errors after taking `shrink` of each patient's mean away (1: fixed effects)."""
    share = shrink[design.patient]
    x = design.x[:, kept] - share[:, None] * _patient_means(design.x[:, kept], design.patient)
    y = design.y - share * _patient_means(design.y, design.patient)
    diagnostics |= {"n_biopsies": len(y), "n_patients": int(design.patient.max()) + 1}
    diagnostics |= {"adjusted_for": design.used, "not_adjusted_for": list(design.dropped)}
    diagnostics |= {"reference": design.reference}
    try:
        fit = fit_clustered(y, x, design.patient)
    except ValueError as err:
        reason = f"within patients, time point and sampling cannot be told apart ({err})"
        return ModelResult([], diagnostics | {"status": "not_evaluable", "reason": reason}, [*notes, reason])
    rows = []
    for i, j in enumerate(kept):
        one = fit.contrast(np.eye(len(kept))[i], cfg.level)
        row = {
            "term": design.names[j],
            "kind": diagnostics["kind"],
            "estimate": one.estimate,
            "se": one.se,
            "df": one.df,
        }
        if one.df < DF_MIN:
            rows.append(row | {"status": "not_evaluable", "reason": "fewer than 4 degrees of freedom"})
            continue
        if is_rounding(one.se, design.y):
            rows.append(row | {"status": "not_evaluable", "reason": "no_spread: it is the same in every patient"})
            continue
        row |= {"statistic": one.estimate / one.se, "p": one.p, "low": one.low, "high": one.high}
        ratios = {"ratio": math.exp(one.estimate), "ratio_low": math.exp(one.low), "ratio_high": math.exp(one.high)}
        rows.append(row | ratios | {"status": "ok", "reason": None})
    spread = {} if is_rounding(float(np.ptp(fit.residuals)), design.y) else _residuals(fit.residuals, notes)
    diagnostics |= {"status": "ok", "reason": None, **spread}
    return ModelResult(rows, diagnostics, notes)


def _residuals(residuals: Floats, notes: list[str]) -> dict[str, Any]:
    """Shape of the whitened residuals; the robust errors do not need them normal, a reader may want to know."""
    sample = residuals if residuals.size <= 5000 else np.random.default_rng(0).choice(residuals, 5000, replace=False)
    p = float(stats.shapiro(sample).pvalue)
    if p < 0.01:
        notes.append(f"The model's residuals are not normal (Shapiro-Wilk p = {p:.2g}); compare with the rank tests.")
    shape = {
        "residual_skewness": float(stats.skew(residuals)),
        "residual_excess_kurtosis": float(stats.kurtosis(residuals)),
    }
    return {"shapiro_p": p, **shape}
