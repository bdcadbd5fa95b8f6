"""Tests of the H&E score against other assays: rank correlation, agreement of densities, groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tilscore.cohort.rank.regression import LEVEL_SIDES, Terms, choose_terms, matrix
from tilscore.inputs.words import as_word, in_order
from tilscore.stats.agreement import Estimate, bland_altman, ccc, spearman
from tilscore.stats.paired import adjust_p
from tilscore.stats.twosample import rank_sum

Floats = NDArray[np.float64]
N_MIN = 10
"""Fewest patients of a test."""
N_MIN_GROUP = 3
"""Fewest patients of a group."""
N_LEVEL = 5
"""Fewest patients of a specimen or site that is adjusted for."""
FACTORS = ("specimen", "area", "site")
RATIOS = ("ratio", "ratio_limit_low", "ratio_limit_high", "slope_of_difference")
"""Tests of agreement by Bland and Altman."""
COLUMNS = [
    *("assay", "taken_as", "family", "test", "n", "estimate", "low", "high", "unit", "statistic", "p", "p_bh"),
    *("groups", "adjusted_for", "method", "status", "reason"),
]


class Adjustment(NamedTuple):
    """What a partial correlation is given.

    Attributes
    ----------
    rows : the patients that can be adjusted. x : (n, k), its columns. used : its factors, joined by `+`. said : who was
    left out, and what is not adjusted for. why : why there is nothing to adjust for, or "".
    """

    rows: pd.DataFrame
    x: Floats
    used: str
    said: str = ""
    why: str = ""


def not_evaluable(reason: str) -> dict[str, Any]:
    """Status and reason of a test that could not be made."""
    return {"status": "not_evaluable", "reason": reason}


def _figure(figure: Estimate) -> dict[str, Any]:
    if figure.value is None:
        return not_evaluable(figure.reason)
    return {"estimate": figure.value, "low": figure.low, "high": figure.high, "status": "ok", "reason": figure.reason}


def given_factors(known: pd.DataFrame) -> Adjustment:
    """Specimen, area and site of one biopsy a patient (see `adjustable`), one column for 10 patients."""
    here, terms, out = adjustable(known, n_per_term=10)
    x = matrix(here, terms.columns, LEVEL_SIDES)
    made = Adjustment(here, x, "+".join(terms.used), out)
    if not terms.columns or len(here) < N_MIN:
        return made._replace(why="; ".join(filter(None, ["nothing to adjust for, or too few patients", out])))
    if np.linalg.matrix_rank(design_of(x)) <= x.shape[1]:
        return made._replace(why="specimen, area and site cannot be told apart")
    return made


def design_of(x: Floats) -> Floats:
    """(n, k + 1) the columns with an intercept before them."""
    return np.column_stack([np.ones(len(x)), x])


def correlations(
    frame: pd.DataFrame, name: str, given: Callable[[pd.DataFrame], Adjustment] = given_factors
) -> list[dict[str, Any]]:
    """Spearman's correlation of the score with an assay, plain and given the sampling.

    Parameters
    ----------
    frame : one row a patient, with `y`, the column `name`, and what `given` needs.
    given : what the partial correlation is given; default: specimen, area and site.
    """
    known = frame[frame["y"].notna() & frame[name].notna()]
    rows: list[dict[str, Any]] = [{"test": test, "n": len(known)} for test in ("spearman", "spearman_partial")]
    y, x = known["y"].to_numpy(float), known[name].to_numpy(float)
    if len(known) < N_MIN or np.ptp(x) == 0 or np.ptp(y) == 0:
        why = f"too_few: {len(known)} patients, {N_MIN} are needed" if len(known) < N_MIN else "it does not vary"
        return [row | not_evaluable(why) for row in rows]
    r = spearman(y, x)
    rows[0] |= _figure(r) | {"p": float(stats.spearmanr(y, x).pvalue), "method": "Fisher z, Bonett & Wright 2000"}
    rows[1] |= _partial(given(known), name)
    return rows


def adjustable(
    frame: pd.DataFrame, n_per_term: int, room: Callable[[pd.DataFrame], int] | None = None
) -> tuple[pd.DataFrame, Terms, str]:
    """The patients that can be adjusted for specimen, area and site, the terms, and who was left out.

    A specimen or site of fewer than `N_LEVEL` patients has no coefficient; left in, its patients would count as if they
    were of the most common one.

    Parameters
    ----------
    n_per_term : patients wanted for each column. room : most columns for the patients left, instead.
    """
    out: list[str] = []
    while True:
        most = None if room is None else room(frame)
        terms = choose_terms(frame, FACTORS, LEVEL_SIDES, n_level=N_LEVEL, n_per_term=n_per_term, room=most)
        if not terms.rare:
            break
        rare = matrix(frame, terms.rare, LEVEL_SIDES) != 0
        out += [f"{f} {w.replace('_', ' ')} ({n})" for (f, w), n in zip(terms.rare, rare.sum(0), strict=True)]
        frame = frame[~rare.any(axis=1)]
    known = np.isfinite(matrix(frame, terms.columns, LEVEL_SIDES)).all(axis=1)
    return frame[known], terms, f"left out, fewer than {N_LEVEL} patients: {', '.join(out)}" if out else ""


def _partial(given: Adjustment, name: str) -> dict[str, Any]:
    """Correlation of what is left of both ranks after regression on the columns of the adjustment."""
    if given.why:
        return not_evaluable(given.why)
    here, design = given.rows, design_of(given.x)
    left = []
    for values in (here["y"].to_numpy(float), here[name].to_numpy(float)):
        ranks = stats.rankdata(values)
        left.append(ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0])
    if min(np.ptp(v) for v in left) < 1e-9:
        return not_evaluable("what is adjusted for explains all of it")
    n, k = len(here), int(np.linalg.matrix_rank(design)) - 1
    r = float(np.clip(np.corrcoef(*left)[0, 1], -1 + 1e-12, 1 - 1e-12))
    half = float(stats.norm.ppf(0.975)) * math.sqrt((1 + r * r / 2) / (n - k - 3))
    t = r * math.sqrt((n - 2 - k) / (1 - r * r))
    limits = {"low": math.tanh(math.atanh(r) - half), "high": math.tanh(math.atanh(r) + half)}
    found = {"n": n, "estimate": r, **limits, "p": float(2 * stats.t.sf(abs(t), n - 2 - k))}
    method = "Fisher z, Bonett & Wright 2000, n less the coefficients"
    return found | {"adjusted_for": given.used, "method": method, "status": "ok", "reason": given.said}


def agreement(frame: pd.DataFrame, name: str, offset: float) -> list[dict[str, Any]]:
    """Concordance and Bland-Altman of the H&E density with a density of another assay, as ratios (log scale).

    Parameters
    ----------
    frame : with `density` and the column `name`, both per mm2. offset : added to both before the logarithm, per mm2.
    """
    known = frame[frame["density"].notna() & frame[name].notna()]
    ours, theirs = known["density"].to_numpy(float), known[name].to_numpy(float)
    if len(known) >= N_MIN and (theirs < 0).any():
        return [{"test": t, "n": len(known)} | not_evaluable("negative densities") for t in ("ccc_log", "ccc", *RATIOS)]
    logs, *ratios = agreement_of_logs(np.log(ours + offset), np.log(np.maximum(theirs, 0) + offset), "H&E / assay")
    plain = _few(len(known)) or _figure(ccc(ours, theirs)) | {"method": "Lin 1989"}
    return [logs, {"test": "ccc", "n": len(known)} | plain, *ratios]


def agreement_of_logs(a: Floats, b: Floats, unit: str) -> list[dict[str, Any]]:
    """Concordance of two logs, and Bland-Altman of their ratio: `ccc_log` and `RATIOS`, a row each.

    Parameters
    ----------
    a, b : (n,), logs of the same patients. unit : of their ratio, in words.
    """
    rows: list[dict[str, Any]] = [{"test": test, "n": len(a)} for test in ("ccc_log", *RATIOS)]
    if few := _few(len(a)):
        return [row | few for row in rows]
    limits = bland_altman(a, b)
    figures = (ccc(a, b), limits.bias, limits.low_limit, limits.high_limit, limits.slope)
    for row, figure in zip(rows, figures, strict=True):
        row |= _figure(figure)
        if row["test"].startswith("ratio") and row["status"] == "ok":
            row |= {k: math.exp(row[k]) for k in ("estimate", "low", "high") if row[k] is not None}
            row["unit"] = unit
    rows[0]["method"] = "Lin 1989"
    for row in rows[1:4]:
        row["method"] = "Bland & Altman 1999 on logs, limits by Carkeet 2015"
    return rows


def _few(n: int) -> dict[str, Any]:
    return not_evaluable(f"too_few: {n} patients, {N_MIN} are needed") if n < N_MIN else {}


def groups(frame: pd.DataFrame, name: str, *, is_log: bool) -> dict[str, Any]:
    """The score in two groups (Mann-Whitney, Hodges-Lehmann shift) or several (Kruskal-Wallis).

    Parameters
    ----------
    frame : with `y`, `shown` and the column `name`. is_log : y is a log, so that shifts are ratios.
    """
    known, words, kept = kept_groups(frame, name)
    sizes = words.value_counts()
    samples = [known["y"].to_numpy(float)[words == word] for word in kept]
    raw = known["shown"].to_numpy(float)
    medians = {word: float(np.median(raw[words == word])) for word in in_order(sizes.index)}
    said = "; ".join(f"{w}: median {v:{'.0f' if v >= 1000 else '.4g'}} (n {sizes[w]})" for w, v in medians.items())
    out: dict[str, Any] = {"n": sum(map(len, samples)), "groups": said}
    out["test"] = "mann_whitney" if len(kept) <= 2 else "kruskal_wallis"
    if len(kept) < 2 or out["n"] < N_MIN:
        return out | not_evaluable(
            f"too_few: two groups of at least {N_MIN_GROUP}, {N_MIN} patients in all, are needed"
        )
    if np.ptp(np.concatenate(samples)) == 0:
        return out | not_evaluable("the score does not vary")
    left = [w for w in sizes.index if w not in kept]
    out |= {"status": "ok", "reason": f"left out, fewer than {N_MIN_GROUP}: {', '.join(left)}" if left else ""}
    if len(kept) == 2:
        test = rank_sum(samples[1], samples[0])
        values = [math.exp(v) if is_log else v for v in (test.shift, test.low, test.high)]
        unit = f"{kept[1]} / {kept[0]}" if is_log else f"{kept[1]} - {kept[0]}, points"
        out |= dict(zip(("estimate", "low", "high"), values, strict=True))
        return out | {
            "unit": unit,
            "statistic": test.statistic,
            "p": test.p,
            "method": f"Hodges-Lehmann, {test.method}",
        }
    kruskal = stats.kruskal(*samples)
    share = float(kruskal.statistic) / (out["n"] - 1)
    found = {"estimate": share, "unit": "epsilon squared", "statistic": float(kruskal.statistic)}
    return out | found | {"p": float(kruskal.pvalue), "method": "chi squared"}


def kept_groups(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    """The patients with a score and a group, their groups in words, and those of `N_MIN_GROUP` patients or more."""
    words = frame[name].map(as_word)
    known = frame[frame["y"].notna() & (words != "")]
    words = words[known.index]
    sizes = words.value_counts()
    return known, words, in_order(sizes.index[sizes >= N_MIN_GROUP])


def with_fdr(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table with Benjamini-Hochberg's p over each family."""
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    for _, part in table.groupby("family", sort=False):
        p = [None if pd.isna(v) else float(v) for v in part["p"]]
        table.loc[part.index, "p_bh"] = pd.Series(adjust_p(p, "bh"), index=part.index, dtype=float)
    return table
