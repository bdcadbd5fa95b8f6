"""Signed-rank test and Hodges-Lehmann estimate of a paired change, adjusted for covariates that differ within pairs.

Aligned rank test (Adichie 1978; Puri & Sen, Nonparametric Methods in General Linear Models, 1985). With changes d and
covariate differences X, the model is d = theta + X b + e, e symmetric around 0. For a trial theta, X's part is removed
by least squares without intercept: e(theta) = M (d - theta), M = I - X (X'X)^-1 X'. With c = M 1 (what of the
intercept X cannot explain) and the signed ranks s_i R_i of e(theta),

    T(theta) = sum c_i s_i R_i

is 0 on average under a true theta and never increases with theta, because it is the slope of the convex norm
sum R_i |e_i|. Its variance is that under flips of signs, sum c_i^2 R_i^2, which holds when errors have unequal variance
(Hemerik, Goeman & Finos 2020), times sum c_i^2 / sum c_i^2 (1 - h_i), which gives back the share that the alignment
takes from the residuals. Without covariates c = 1 and T is Wilcoxon's signed-rank statistic, its root Hodges-Lehmann's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
GRID = 48
"""Trial values evaluated at a time while a limit is searched for."""


@dataclass(frozen=True)
class Aligned:
    """Adjusted signed-rank test and estimate.

    Attributes
    ----------
    n : pairs; n_effective : sum of c_i^2, the pairs that an unadjusted test of equal precision would need.
    z, p : standardised statistic at 0 and its two-sided p (normal: t is too careful by simulation).
    estimate, low, high : centre of the change where no covariate changes, in the unit of the changes. A limit is
    infinite where the test rejects no centre on that side, however far.
    """

    n: int
    n_effective: float
    z: float
    p: float
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class _Alignment:
    """Changes without the covariates' part, and what of the intercept is left (see the top of this file)."""

    residuals: Floats
    c: Floats
    inflation: float

    def z(self, thetas: Floats) -> Floats:
        """Standardised statistic at each trial centre."""
        return _standardised(self.residuals - thetas[:, None] * self.c, self.c, self.inflation)


def aligned_test(changes: Floats, covariates: Floats, centre: float = 0.0) -> tuple[float, float]:
    """z and two-sided p of the hypothesis that changes are symmetric around `centre` where no covariate changes.

    Parameters and errors as for `aligned_signed_rank`, whose interval holds the centres with p >= 1 - level.
    """
    aligned = _align(changes, covariates)
    z = float(aligned.z(np.array([centre]))[0])
    return z, float(2 * stats.norm.sf(abs(z)))


def aligned_signed_rank(changes: Floats, covariates: Floats, level: float = 0.95) -> Aligned:
    """Adjusted signed-rank test, estimate and interval.

    Parameters
    ----------
    changes : (n,) after minus before. covariates : (n, k) differences of covariates, 0 where nothing differs.

    Raises
    ------
    ValueError : not finite, or the covariates explain the intercept (no change can be told from their effect).
    """
    d = np.asarray(changes, dtype=float)
    aligned = _align(d, covariates)
    critical = float(stats.norm.ppf(0.5 + level / 2))
    z, p = aligned_test(d, covariates)
    bracket = _bracket(aligned.residuals, aligned.c)
    estimate = _centre(aligned.z, bracket)
    ends = aligned.z(np.array(bracket))
    low, high = -math.inf, math.inf
    if ends[0] > critical:
        low = _crossing(lambda t: aligned.z(t) > critical, (bracket[0], estimate))
    if ends[1] < -critical:
        high = _crossing(lambda t: aligned.z(t) >= -critical, (estimate, bracket[1]))
    return Aligned(d.size, float(aligned.c @ aligned.c), z, p, estimate, low, high)


def _align(changes: Floats, covariates: Floats) -> _Alignment:
    d = np.asarray(changes, dtype=float)
    x = np.asarray(covariates, dtype=float).reshape(d.size, -1)
    if d.size < 2 or not (np.isfinite(d).all() and np.isfinite(x).all()):
        raise ValueError("needs at least two finite changes and finite covariates")
    basis = column_basis(x)
    c = 1 - basis @ basis.sum(0)
    c[np.abs(c) < 1e-9] = 0.0
    weight = float(c @ c)
    if weight < 1e-6:
        raise ValueError("the covariates explain the whole change")
    inflation = weight / max(1e-9, float(c**2 @ (1 - (basis**2).sum(1))))
    return _Alignment(d - basis @ (basis.T @ d), c, inflation)


def column_basis(x: Floats) -> Floats:
    """(n, rank) orthonormal basis of the columns of `x`; columns are scaled first, so units do not matter."""
    size = np.sqrt((x**2).sum(0))
    scaled = x[:, size > 0] / size[size > 0]
    if scaled.shape[1] == 0:
        return np.zeros((x.shape[0], 0))
    u, s, _ = np.linalg.svd(scaled, full_matrices=False)
    return np.asarray(u[:, s > 1e-8 * s[0]])


def _standardised(residuals: Floats, c: Floats, inflation: float) -> Floats:
    """T over its standard deviation for rows of residuals; residuals that are 0 but for rounding count as 0."""
    sizes = np.abs(residuals)
    ranks = stats.rankdata(sizes, axis=1)
    ranks[sizes <= 1e-12 * sizes.max(1, keepdims=True)] = 0.0
    variance = inflation * (ranks**2 @ c**2)
    return np.asarray((np.sign(residuals) * ranks) @ c / np.sqrt(np.where(variance > 0, variance, np.inf)))


def _bracket(aligned: Floats, c: Floats) -> tuple[float, float]:
    """An interval beyond which T no longer changes: outside all (a_i +- a_j) / (c_i +- c_j) that matter."""
    spread = float(np.abs(aligned).max()) + 1e-9
    centre = float(c @ aligned) / float(c @ c)
    reach = 64 * spread / math.sqrt(float(np.mean(c**2)))
    return centre - reach, centre + reach


def _centre(standard: Callable[[Floats], Floats], bracket: tuple[float, float]) -> float:
    """Middle of the thetas where T is 0, which are a point or a short interval."""
    left = _crossing(lambda t: standard(t) > 0, bracket)
    right = _crossing(lambda t: standard(t) >= 0, (left - 1e-9 * (bracket[1] - bracket[0]), bracket[1]))
    return (left + right) / 2


def _crossing(above: Callable[[Floats], NDArray[np.bool_]], bracket: tuple[float, float]) -> float:
    """Narrow the bracket to where `above` turns from true to false, `GRID` trial values at a time."""
    low, high = bracket
    enough = 1e-10 * (high - low)
    while high - low > enough:
        thetas = np.linspace(low, high, GRID)
        turned = np.append(~above(thetas[1:-1]), True)
        first = int(np.argmax(turned))
        low, high = float(thetas[first]), float(thetas[first + 1])
    return (low + high) / 2
