"""How centres differ: the level of each against all others, so that a stain or a scanner is not taken for patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tilscore.cohort.rank.placement import RankConfig
from tilscore.cohort.rank.regression import HUBER, LEVEL_SIDES, choose_terms, matrix, unsupported
from tilscore.inputs.words import several

COLUMNS = ["centre", "n", "n_others", "n_reference", "estimate", "low", "high", "unit", "p", "adjusted_for", "reason"]
MAX_P = 0.05
"""Two-sided, times the number of centres (Bonferroni): below, a centre is said to differ."""


def centre_table(mine: pd.DataFrame, others: pd.DataFrame, cfg: RankConfig) -> pd.DataFrame:
    """One row a centre: its level against that of all others, patients and reference together (columns: `COLUMNS`).

    The estimate is a coefficient of a robust regression (Huber) on the factors of `cfg.adjust` besides the centre, as
    ratio of densities (with the offset added) or difference in points. Centres of fewer than `cfg.n_min_level` patients
    have a reason in its place. Empty where fewer than two centres are stated.

    Parameters
    ----------
    mine, others : as from `level_table`; a patient in both counts once.
    """
    here = _centres(mine)
    theirs = _centres(others)
    new = ~mine["patient_id"].isin(others["patient_id"]).to_numpy()
    both = pd.concat([others.assign(_centre=theirs), mine.assign(_centre=here)[new]], ignore_index=True)
    both = both[both["_centre"] != ""].reset_index(drop=True)
    names = sorted({*both["_centre"]})
    if len(names) < 2:
        return pd.DataFrame(columns=COLUMNS)
    factors = [f for f in cfg.adjust if f != "centre"]
    terms = choose_terms(both, factors, LEVEL_SIDES, n_level=cfg.n_min_level, n_per_term=cfg.n_per_term)
    fit_to = both[[not why for why in unsupported(both, terms, both, LEVEL_SIDES)]]
    x = np.column_stack([np.ones(len(fit_to)), matrix(fit_to, terms.columns, LEVEL_SIDES)])
    y = fit_to["y"].to_numpy(float)
    rows = []
    for name in names:
        own = (fit_to["_centre"] == name).to_numpy()
        row = {"centre": name, "n": int(own.sum()), "n_others": int((~own).sum()), "adjusted_for": "+".join(terms.used)}
        row |= {"n_reference": int((theirs == name).sum()), "unit": "ratio" if cfg.what.scale == "log" else "points"}
        rows.append(row | _against_others(y, x, own, cfg))
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _centres(levels: pd.DataFrame) -> pd.Series:
    stated = levels["centre"] if "centre" in levels else pd.Series("", index=levels.index)
    return stated.fillna("").astype(str).str.strip()


def _against_others(y: np.ndarray, x: np.ndarray, own: np.ndarray, cfg: RankConfig) -> dict[str, Any]:
    from statsmodels.robust.norms import HuberT
    from statsmodels.robust.robust_linear_model import RLM

    if min(own.sum(), (~own).sum()) < cfg.n_min_level:
        return {"reason": f"too_few: {cfg.n_min_level} patients are needed, of the centre and of the others"}
    full = np.column_stack([x, own.astype(float)])
    df = len(y) - full.shape[1]
    if df < cfg.n_min_level or np.linalg.matrix_rank(full) < full.shape[1]:
        return {"reason": "it cannot be told apart from the others' specimens and sites"}
    if np.ptp(y) < 1e-9:
        return {"reason": "no_spread: all values are equal"}
    fit = RLM(y, full, M=HuberT(HUBER)).fit()
    shift, error = float(fit.params[-1]), float(fit.bse[-1])
    if not error > 0:
        return {"reason": "no_spread: most values are what is expected"}
    ends = shift + np.array([0.0, -1.0, 1.0]) * stats.t.ppf(0.5 + cfg.level / 2, df) * error
    if cfg.what.scale == "log":
        ends = np.exp(ends)
    found = dict(zip(("estimate", "low", "high"), map(float, ends), strict=True))
    return found | {"p": float(2 * stats.t.sf(abs(shift) / error, df)), "reason": ""}


def centre_notes(centres: pd.DataFrame, cfg: RankConfig) -> list[str]:
    """Which centres differ from the others, by how much, and what to do; and what is not known of centres."""
    if centres.empty:
        return []
    notes = []
    known = centres[centres["p"].notna()]
    apart = known[known["p"] * len(known) < MAX_P]
    for row in apart.to_dict("records"):
        given = f", allowing for {row['adjusted_for'].replace('+', ', ')}" if row["adjusted_for"] else ""
        limits = f"{_shown(row, 'low')} to {_shown(row, 'high')}"
        who = f"{row['n']} patients against {row['n_others']}"
        what = "times the level" if row["unit"] == "ratio" else "points above the level"
        notes.append(
            f"Centre {row['centre']} reads {_shown(row, 'estimate')} {what} of the others ({limits}; {who}{given})."
        )
    if len(apart):
        do = "their mean levels are adjusted for where the reference holds the centre"
        if "centre" not in cfg.adjust:
            do = f"--adjust {' '.join((*cfg.adjust, 'centre'))} takes it away where the reference holds the centre"
        notes.append(f"Such a difference can be of stain or scanner, or of the patients: {do}.")
    same = known[known["p"] * len(known) >= MAX_P]
    if len(same):
        widest = same.loc[_width(same).idxmax()].to_dict()
        fits = (
            f"{_shown(widest, 'low')} to {_shown(widest, 'high')} {'times' if widest['unit'] == 'ratio' else 'points'}"
        )
        shown = "is not shown to differ" if len(same) == 1 else "are not shown to differ"
        who = several(len(same), "centre").removesuffix(" centres").removesuffix(" centre")
        notes.append(
            f"{who} of {several(len(centres), 'centre')} {shown} in level from the others; the least sure is "
            f"{widest['centre']} (anything from {fits} fits). centres.csv tells each."
        )
    return notes


def _width(rows: pd.DataFrame) -> pd.Series:
    ratio = rows["unit"].iloc[0] == "ratio"
    width = np.log(rows["high"] / rows["low"]) if ratio else rows["high"] - rows["low"]
    return pd.Series(width, index=rows.index, dtype=float)


def _shown(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.2f}" if row["unit"] == "ratio" else f"{row[name]:+.1f}"
