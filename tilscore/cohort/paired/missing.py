"""Who lacks a pair, why, and whether that depends on the baseline."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tilscore.cohort.manifest.pool import later_timepoints, scored
from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, to_scale
from tilscore.stats.twosample import rank_sum

Floats = NDArray[np.float64]
N_MIN_GROUP = 3
"""Fewer patients on one side tell nothing of a dependence."""


def missing_pairs(biopsies: pd.DataFrame) -> pd.DataFrame:
    """One row for each patient and later time point without a pair, and which side lacks.

    Parameters
    ----------
    biopsies : all biopsies of the manifest, those without a score too (column `status`).

    Returns
    -------
    DataFrame : patient_id, timepoint, baseline, later (each `ok`, `no_slide`, `failed`, `not_evaluable`, `unscored`).
    """
    state = biopsies["status"].where(biopsies["status"] != "ok", "no_density")
    state = state.where(~biopsies.index.isin(scored(biopsies).index), "ok")
    table = biopsies.assign(state=state).pivot(index="patient_id", columns="timepoint", values="state")
    table = table.astype(object).where(table.notna(), "no_slide")
    baseline = table["baseline"] if "baseline" in table else pd.Series("no_slide", index=table.index)
    rows = []
    for timepoint in later_timepoints(biopsies):
        lacks = (baseline != "ok") | (table[timepoint] != "ok")
        for patient in table.index[lacks]:
            rows.append((patient, timepoint, baseline[patient], table.loc[patient, timepoint]))
    return pd.DataFrame(rows, columns=["patient_id", "timepoint", "baseline", "later"])


def missing_tests(biopsies: pd.DataFrame, cfg: AnalyseConfig) -> list[dict[str, Any]]:
    """Does lacking a later biopsy depend on the baseline density? Two rows a time point, as in the tests table.

    `missing_rank` is the Mann-Whitney test of baselines with against without a pair, its estimate the chance that a
    patient who lacks one has the higher baseline; `missing_logistic` gives the odds ratio of lacking one for a doubling
    of the baseline density, with likelihood-ratio p. A p above 0.05 does not prove that data are missing at random.
    """
    have = scored(biopsies)
    first = have[have["timepoint"] == "baseline"].set_index("patient_id")
    level = to_scale(first["til_density_per_mm2"], MEASURES[0], cfg)
    rows = []
    for timepoint in later_timepoints(biopsies):
        paired = set(have.loc[have["timepoint"] == timepoint, "patient_id"])
        lacks = (~first.index.isin(list(paired))).astype(float)
        n_lack, n = int(lacks.sum()), len(lacks)
        common = {"timepoint": timepoint, "measure": "missingness", "role": "diagnostic", "n_pairs": n - n_lack}
        values = level.to_numpy(float)
        reason = None
        if min(n_lack, n - n_lack) < N_MIN_GROUP:
            reason = f"too_few: {n_lack} of {n} patients lack the pair"
        elif np.ptp(values) == 0:
            reason = "no_spread: all baseline densities are equal"
        common |= {"status": "ok" if reason is None else "not_evaluable", "reason": reason}
        if reason is not None:
            rows += [common | {"test": t} for t in ("missing_rank", "missing_logistic")]
            continue
        rows.append(common | {"test": "missing_rank"} | _rank(values[lacks == 1], values[lacks == 0]))
        rows.append(common | {"test": "missing_logistic"} | _logistic(values / math.log(2), lacks, cfg))
    return rows


def _rank(lack: Floats, paired: Floats) -> dict[str, Any]:
    test = rank_sum(lack, paired)
    found = {"statistic": test.statistic, "p": test.p, "estimate": test.share, "unit": "probability"}
    return found | {"method": f"Mann-Whitney ({test.method}), {lack.size} without against {paired.size} with a pair"}


def _logistic(doublings: Floats, lacks: Floats, cfg: AnalyseConfig) -> dict[str, Any]:
    """Odds ratio with a profile-free Wald interval and the likelihood-ratio test."""
    import statsmodels.api as sm

    x = sm.add_constant(doublings - doublings.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told below as not converged
        try:
            fit = sm.Logit(lacks, x).fit(disp=0, maxiter=100)
        except Exception as err:  # statsmodels: perfect separation and singular matrices have types of their own
            return {"status": "not_evaluable", "reason": f"no_convergence: {err}"}
    slope, se = float(fit.params[1]), float(fit.bse[1])
    if not fit.mle_retvals["converged"] or not math.isfinite(se) or se > 20:
        return {"status": "not_evaluable", "reason": "no_convergence: the baseline separates the two groups"}
    reach = float(stats.norm.ppf(0.5 + cfg.level / 2)) * se
    limits = (slope, slope - reach, slope + reach)
    ratios = dict(zip(("ratio", "ratio_low", "ratio_high"), map(math.exp, limits), strict=True))
    found = dict(zip(("estimate", "low", "high"), limits, strict=True)) | ratios | {"unit": "log odds ratio"}
    found |= {"statistic": float(fit.llr), "df": 1.0, "p": float(fit.llr_pvalue)}
    return found | {"method": "logistic regression per doubling of baseline density, Wald interval, likelihood-ratio p"}
