"""What a reference cohort lets expect of a biopsy (or a pair), given specimen, area and site; and what is left over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.stats.percentile import MAD_TO_SD

Floats = NDArray[np.float64]
HUBER = 1.345
"""Residuals beyond this many robust SDs count less (Huber; 95 % efficient for normal errors)."""
UNKNOWN = "unknown"
LEVEL_SIDES: Mapping[str, int] = {"": 1}
CHANGE_SIDES: Mapping[str, int] = {"_after": 1, "_before": -1}
"""Suffixes of the columns of a row, and their signs: a pair differs by after minus before."""


@dataclass(frozen=True)
class Terms:
    """Columns of the regression.

    Attributes
    ----------
    columns : (factor, word) of each; word is "" for a number. rare : levels with too few reference rows to adjust for.
    dropped : factors left out, with the reason. used : factors in it.
    """

    columns: list[tuple[str, str]]
    rare: list[tuple[str, str]] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)

    @property
    def used(self) -> list[str]:
        """Factors that are adjusted for."""
        return list(dict.fromkeys(factor for factor, _ in self.columns))


def choose_terms(
    reference: pd.DataFrame,
    factors: Sequence[str],
    sides: Mapping[str, int],
    *,
    n_level: int,
    n_per_term: int,
    room: int | None = None,
) -> Terms:
    """Columns for the factors that vary in the reference, in their order, as far as it has enough rows.

    Parameters
    ----------
    reference : with a column factor + side for each factor (`area` is `stroma_mm2`).
    n_level : fewest rows of a level. n_per_term : rows wanted for each column. room : most columns, instead.
    """
    room = len(reference) // n_per_term if room is None else room
    terms = Terms([])
    for factor in factors:
        new, rare = _columns_of(reference, factor, sides, n_level)
        if len(terms.columns) + len(new) > room:
            terms.dropped[factor] = f"its coefficients ({len(new)}) are too many for what there is"
            continue
        x = matrix(reference, [*terms.columns, *new], sides)
        full = np.column_stack([np.ones(len(x)), x])[np.isfinite(x).all(axis=1)]
        if new and np.linalg.matrix_rank(full / np.maximum(np.sqrt((full**2).sum(0)), 1e-300)) < full.shape[1]:
            terms.dropped[factor] = "it cannot be told apart from the others in the reference"
            continue
        terms.columns.extend(new)
        terms.rare.extend(rare)
    return terms


def _columns_of(
    reference: pd.DataFrame, factor: str, sides: Mapping[str, int], n_level: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    if factor == "area":
        values = matrix(reference, [("area", "")], sides)[:, 0]
        known = values[np.isfinite(values)]
        return ([("area", "")] if known.size and known.size >= 0.8 * len(values) and np.ptp(known) > 1e-9 else []), []
    words = pd.concat([_words(reference, factor + side) for side in sides])
    levels = list(words.value_counts().sort_index().sort_values(ascending=False, kind="stable").index)
    columns = [(factor, str(level)) for level in levels[1:]]
    n = (matrix(reference, columns, sides) != 0).sum(axis=0)
    enough = [c for c, k in zip(columns, n, strict=True) if k >= n_level]
    return enough, [c for c, k in zip(columns, n, strict=True) if k < n_level]


def _words(table: pd.DataFrame, column: str) -> pd.Series:
    words = table.get(column, pd.Series(UNKNOWN, index=table.index)).astype(object)
    return words.where(words.notna() & (words != ""), UNKNOWN)


def matrix(table: pd.DataFrame, columns: Sequence[tuple[str, str]], sides: Mapping[str, int]) -> Floats:
    """Values of the columns (n, k): signed indicators of words, log of areas; NaN where an area is not known."""
    x = np.zeros((len(table), len(columns)))
    for j, (factor, word) in enumerate(columns):
        for side, sign in sides.items():
            if factor == "area":
                area = pd.to_numeric(table.get(f"stroma_mm2{side}"), errors="coerce")
                area = np.asarray(area, np.float64) * np.ones(len(table))
                x[:, j] += sign * np.log(np.where(area > 0, area, np.nan))
            else:
                x[:, j] += sign * (_words(table, factor + side) == word).to_numpy(float)
    return x


def unsupported(table: pd.DataFrame, terms: Terms, reference: pd.DataFrame, sides: Mapping[str, int]) -> list[str]:
    """For each row why it cannot be adjusted, "" where it can: a level that the reference has not (enough), no area."""
    reasons = [""] * len(table)
    known = {
        factor: set(pd.concat([_words(reference, factor + side) for side in sides]))
        for factor in terms.used + [f for f, _ in terms.rare]
        if factor != "area"
    }
    for factor, words in known.items():
        here = pd.concat([_words(table, factor + side) for side in sides]).unique()
        new = [(factor, str(w)) for w in here if w not in words or (factor, str(w)) in terms.rare]
        for (_, word), column in zip(new, matrix(table, new, sides).T, strict=True):
            for i in np.flatnonzero(column):
                reasons[i] = reasons[i] or f"too few reference patients with {factor} {word.replace('_', ' ')}"
    if ("area", "") in terms.columns:
        for i in np.flatnonzero(~np.isfinite(matrix(table, [("area", "")], sides)[:, 0])):
            reasons[i] = reasons[i] or "its area of stroma is not known"
    return reasons


@dataclass(frozen=True)
class RobustFit:
    """A robust regression of the reference: weighted least squares with Huber's weights, found by `statsmodels`.

    Attributes
    ----------
    x : (n, k) with the intercept first. beta : (k,). residuals, weights : (n,). bread : inverse of x'wx. sd : robust.
    """

    x: Floats
    beta: Floats
    residuals: Floats
    weights: Floats
    bread: Floats
    sd: float

    @cached_property
    def reach(self) -> Floats:
        """Each row's x' bread x; times its weight, its leverage."""
        return np.asarray(np.einsum("ij,jk,ik->i", self.x, self.bread, self.x), np.float64)

    def without(self, rows: NDArray[np.intp]) -> RobustFit:
        """The fit made anew without some rows, as those of a patient who is placed with another value: what is
        expected of the patient must not rest on the older one."""
        if not rows.size:
            return self
        x, y = (np.delete(values, rows, axis=0) for values in (self.x, self.x @ self.beta + self.residuals))
        return fit_robust(x, y)

    def inside(self, i: int) -> tuple[float, Floats, float]:
        """Row i of the reference against the others: its residual, theirs, and the SD of what was expected of it."""
        leverage = self.weights * self.reach
        scaled = self.residuals / np.sqrt(np.maximum(1 - leverage, 1e-9))
        return float(scaled[i]), np.delete(scaled, i), self.sd * float(np.sqrt(leverage[i]))

    def added(self, x0: Floats, y0: float) -> tuple[float, Floats, float]:
        """A new row, the same figures after it has joined the fit, so that it is treated like every other.

        Rank-one update of the weighted least squares (Sherman & Morrison 1950). All residuals are studentised by their
        leverage; without a real difference any rank of the new one is then as likely as another.
        """
        error = y0 - float(x0 @ self.beta)
        cross = self.x @ self.bread @ x0
        h0 = float(x0 @ self.bread @ x0)
        limit = HUBER * self.sd  # of the residual after joining, error / (1 + w0 h0)
        w0 = 1.0 if abs(error) <= limit * (1 + h0) else limit / (abs(error) - limit * h0)
        shrink = w0 / (1 + w0 * h0)
        leverage = self.weights * (self.reach - shrink * cross**2)
        others = (self.residuals - cross * shrink * error) / np.sqrt(np.maximum(1 - leverage, 1e-9))
        own = shrink * h0
        return error * (1 - own) / float(np.sqrt(1 - own)), others, self.sd * float(np.sqrt(h0))


def fit_robust(x: Floats, y: Floats) -> RobustFit:
    """Fit the reference.

    Parameters
    ----------
    x : (n, k) of full rank, the intercept first. y : (n,).
    """
    weights = np.ones(len(y))
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    if np.median(np.abs(rest)) > 1e-9 * max(1.0, float(np.ptp(y))):
        from statsmodels.robust.norms import HuberT
        from statsmodels.robust.robust_linear_model import RLM

        weights = np.asarray(RLM(y, x, M=HuberT(HUBER)).fit().weights)
    bread = np.asarray(np.linalg.inv(x.T @ (x * weights[:, None])), np.float64)
    beta = bread @ (x.T @ (weights * y))
    residuals = np.asarray(y - x @ beta, np.float64)
    robust_sd = MAD_TO_SD * float(np.median(np.abs(residuals)))
    return RobustFit(x, beta, residuals, weights, bread, robust_sd)
