"""Clinical outcome by the score: Kaplan-Meier with log-rank test, Cox regression with its assumption tested."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tilscore.cohort.assays.outcomes import NO_UNIT
from tilscore.cohort.assays.tests import adjustable, not_evaluable
from tilscore.cohort.rank.regression import LEVEL_SIDES, matrix
from tilscore.stats.survival import kaplan_meier_curve, proportional_hazards_p

N_EVENTS_LOGRANK = 5
"""Fewest events for a log-rank test."""
N_EVENTS_PER_TERM = 10
"""Events wanted for each coefficient of a Cox model (Peduzzi et al. 1995)."""
N_MIN_GROUP = 5
"""Fewest patients of a Kaplan-Meier curve."""
_TO_THE_END = {"precision": 1e-12, "r_precision": 1e-15}
"""Of the steps to the coefficients, so that all digits that are written hold."""
KM_COLUMNS = ["outcome", "group", "n", "time", "unit", "n_at_risk", "n_events", "survival", "low", "high"]
COX_COLUMNS = [
    *("outcome", "model", "term", "n", "n_events", "coefficient", "se", "hazard_ratio", "low", "high", "p", "ph_p"),
    *("concordance", "adjusted_for", "status", "reason"),
]


def split(frame: pd.DataFrame, n_groups: int) -> pd.Series:
    """Groups by the median (2) or tertiles (3) of the score: `low`, `middle`, `high`; equal scores stay together."""
    y = frame["y"].to_numpy(float)
    cuts = np.quantile(y, np.arange(1, n_groups) / n_groups)
    names = ["low", "high"] if n_groups == 2 else ["low", "middle", "high"]
    return pd.Series(np.array(names, dtype=object)[np.searchsorted(cuts, y, side="left")], index=frame.index)


def kaplan_meier(
    frame: pd.DataFrame, outcome: str, n_groups: int, unit: str = NO_UNIT
) -> tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]:
    """Curves with log-log (exponential Greenwood) intervals, the log-rank test, and a summary of each group.

    Parameters
    ----------
    frame : one row a patient with `y`, `shown`, `time`, `event`, all known. unit : of the time, such as `months`.
    """
    test: dict[str, Any] = {"test": "log_rank", "n": len(frame), "method": "groups by the score's quantiles"}
    if len(frame) < n_groups * N_MIN_GROUP or np.ptp(frame["y"]) == 0:
        return [], test | not_evaluable(f"too_few: {len(frame)} patients"), []
    from lifelines.statistics import multivariate_logrank_test

    group = split(frame, n_groups)
    rows, summary = [], []
    for name in dict.fromkeys(w for w in ("low", "middle", "high") if (group == w).any()):
        part = frame[group == name]
        curve = kaplan_meier_curve(part["time"], part["event"])
        for i, time in enumerate(curve.time.tolist()):
            at = {"outcome": outcome, "group": name, "n": len(part), "time": time, "unit": unit}
            at |= {"n_at_risk": int(curve.n_at_risk[i]), "n_events": int(curve.n_events[i])}
            limits = {"low": float(curve.low[i]), "high": float(curve.high[i])}
            rows.append(at | {"survival": float(curve.survival[i])} | limits)
        medians = dict(zip(("median", "median_low", "median_high"), map(_finite, curve.median), strict=True))
        summary.append(
            {"outcome": outcome, "group": name, "n": len(part), "n_events": int(part["event"].sum())}
            | medians
            | {"least": part["shown"].min(), "most": part["shown"].max(), "unit": unit}
        )
    n_events = int(frame["event"].sum())
    small = [s["group"] for s in summary if s["n"] < N_MIN_GROUP]
    test["groups"] = "; ".join(f"{s['group']}: {s['n_events']} of {s['n']}" for s in summary)
    if n_events < N_EVENTS_LOGRANK or small or len(summary) < 2:
        reason = f"too_few_events: {n_events}, {N_EVENTS_LOGRANK} are needed" if not small else "a group is too small"
        return rows, test | not_evaluable(reason), summary
    found = multivariate_logrank_test(frame["time"], group, frame["event"])
    p = float(found.p_value)
    return rows, test | {"statistic": float(found.test_statistic), "p": p, "status": "ok", "reason": ""}, summary


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def cox(frame: pd.DataFrame, outcome: str, unit: str) -> list[dict[str, Any]]:
    """Hazard ratio per unit of `x`, alone and given specimen, area and site as far as the events suffice.

    Parameters
    ----------
    frame : one row a patient with `x` (such as log2 of the density), `time`, `event`, all known, and the factors.
    unit : of `x` in words, the name of its term.
    """
    n_events = int(frame["event"].sum())
    about = {"outcome": outcome, "n": len(frame), "n_events": n_events}
    if n_events < N_EVENTS_PER_TERM:
        reason = f"too_few_events: {n_events}, {N_EVENTS_PER_TERM} are needed"
        return [about | {"model": m, "term": unit} | not_evaluable(reason) for m in ("alone", "adjusted")]
    table = frame[["time", "event"]].assign(**{unit: frame["x"]})
    rows = [about | {"model": "alone"} | row for row in fit_cox(table, "time", "event")]
    known, terms, out = adjustable(frame, 1, lambda left: int(left["event"].sum()) // N_EVENTS_PER_TERM - 1)
    dropped = "; ".join([*(f"not adjusted for {f}: {why}" for f, why in terms.dropped.items()), *filter(None, [out])])
    if not terms.columns:
        return [*rows, about | {"model": "adjusted", "term": unit} | not_evaluable(dropped or "nothing to adjust for")]
    table = table.loc[known.index]
    for (factor, word), values in zip(terms.columns, matrix(known, terms.columns, LEVEL_SIDES).T, strict=True):
        table[f"{factor}: {word}" if word else f"log {factor}"] = values
    used = {"adjusted_for": "+".join(terms.used), "n": len(known), "n_events": int(known["event"].sum())}
    for row in fit_cox(table, "time", "event"):
        rows.append(about | {"model": "adjusted"} | row | used)
        rows[-1]["reason"] = "; ".join(filter(None, [row["reason"], dropped]))
    return rows


def fit_cox(table: pd.DataFrame, time: str, event: str) -> list[dict[str, Any]]:
    """Cox regression (ties by Efron) on all other columns; one row a coefficient.

    `ph_p` tests proportional hazards (Grambsch & Therneau 1994; see `stats.survival`).

    Parameters
    ----------
    table : numbers only, none missing.
    """
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError

    terms = [c for c in table.columns if c not in (time, event)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = CoxPHFitter().fit(table, time, event, fit_options=_TO_THE_END)
            beta = fit.params_[terms]
            concordance = float(fit.concordance_index_)  # none where all events are at the last time
        except (ConvergenceError, np.linalg.LinAlgError, ValueError, ZeroDivisionError) as err:
            return [{"term": t} | not_evaluable(f"the model cannot be fitted: {_first_line(err)}") for t in terms]
    said = sorted({_first_line(w.message) for w in caught if "onverge" in type(w.message).__name__ + str(w.message)})
    if said:
        return [{"term": t} | not_evaluable(f"the model did not converge: {said[0]}") for t in terms]
    found = fit.summary
    constant = proportional_hazards_p(table[terms], table[time], table[event], beta)
    rows = []
    for term, ph in zip(terms, constant.tolist(), strict=True):
        one = found.loc[term]
        row: dict[str, Any] = {"term": term, "coefficient": one["coef"], "se": one["se(coef)"], "p": one["p"]}
        row |= {"hazard_ratio": one["exp(coef)"], "low": one["exp(coef) lower 95%"], "high": one["exp(coef) upper 95%"]}
        row |= {"ph_p": ph, "concordance": concordance, "status": "ok"}
        row["reason"] = "its hazard ratio changes over time (ph_p < 0.05): read it as an average" if ph < 0.05 else ""
        rows.append(row)
    return rows


def _first_line(message: object) -> str:
    return next(iter(str(message).strip().splitlines()), "")[:200]


def patients(
    frame: pd.DataFrame, time: Sequence[float] | pd.Series, event: Sequence[float] | pd.Series
) -> pd.DataFrame:
    """Rows with a score, a time above 0 or 0, and an event or censoring; columns `time` and `event` added."""
    both = frame.assign(time=time, event=event)
    return both[both["y"].notna() & both["time"].notna() & both["event"].notna() & (both["time"] >= 0)]


def negative_times(frame: pd.DataFrame, outcomes: Sequence[tuple[str, str, str]]) -> list[str]:
    """A note on each outcome that has times below 0, which no test can use."""
    below = {outcome: int((pd.to_numeric(frame[time], errors="coerce") < 0).sum()) for outcome, time, _ in outcomes}
    end = "a negative time, which cannot be: they are left out of its survival tests."
    return [f"{outcome}: {n} of {len(frame)} patients have {end}" for outcome, n in below.items() if n]
