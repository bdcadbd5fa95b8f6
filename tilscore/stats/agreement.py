"""Agreement of two measurements of the same cases: correlation, concordance, limits, categories.

Every figure comes with its 95 % interval; a figure that does not exist (too few cases, no spread) is `None` with a
reason, never 0 or NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from tilscore.errors import DataError

Floats = NDArray[np.float64]
CATEGORY_CUTS = (10.0, 40.0)
"""Upper ends of the categories 0-10, 10-40, > 40 % (Salgado et al. 2015); a score on a cut belongs to the lower one."""
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Parameters
    ----------
    value, low, high : None where the figure does not exist; low and high also where it has no interval.
    n : cases that it rests on.
    reason : why a figure is None.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str = ""


def absent(n: int, reason: str) -> Estimate:
    """A figure that does not exist, and why."""
    return Estimate(None, None, None, n, reason)


def paired(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float [n].

    Raises
    ------
    DataError : the lengths differ, or a value is not finite.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise DataError("two measurements of the same cases are needed", found=f"{a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("a measurement is not finite", do="leave out cases without both measurements")
    return a, b


def _moments(x: ArrayLike, y: ArrayLike, least: int) -> tuple[Floats, Floats, Estimate | None]:
    a, b = paired(x, y)
    if len(a) < least:
        return a, b, absent(len(a), f"fewer than {least} cases")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return a, b, absent(len(a), "one of the two does not vary")
    return a, b, None


def _fisher(r: float, standard_error: float, n: int) -> Estimate:
    half = float(stats.norm.ppf(0.5 + LEVEL / 2)) * standard_error
    if abs(r) >= 1 - 1e-12:
        return Estimate(r, r, r, n)
    return Estimate(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)), n)


def pearson(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Product-moment correlation; interval by Fisher's z, standard error 1 / sqrt(n - 3)."""
    a, b, missing = _moments(x, y, 4)
    return missing or _fisher(float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1)), (len(a) - 3) ** -0.5, len(a))


def spearman(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Rank correlation, ties averaged; interval by Fisher's z with the error of Bonett & Wright 2000."""
    a, b, missing = _moments(x, y, 4)
    if missing:
        return missing
    r = float(np.clip(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1], -1, 1))
    return _fisher(r, ((1 + r * r / 2) / (len(a) - 3)) ** 0.5, len(a))


def ccc(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Concordance correlation coefficient of Lin 1989, moments over n; interval by Fisher's z (Lin 1989, 2000).

    1 = on the line of identity: it falls with scatter, with a shift and with a change of scale.
    """
    a, b, missing = _moments(x, y, 4)
    if missing:
        return missing
    shift = float(a.mean() - b.mean())
    spread = float(a.std() * b.std())
    rho = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    return ccc_interval(2 * rho * spread / float(a.var() + b.var() + shift**2), rho, shift / spread**0.5, len(a))


def ccc_interval(value: float, rho: float, location_shift: float, n: int) -> Estimate:
    """CCC with the interval from its parts: `rho` = Pearson's, `location_shift` = mean difference / sqrt(sx sy)."""
    if abs(value) >= 1 - 1e-12:
        return Estimate(value, value, value, n)
    if rho == 0:
        return Estimate(value, None, None, n, "no interval at a correlation of 0")
    u2 = location_shift**2
    variance = (
        (1 - rho**2) * value**2 * (1 - value**2) / rho**2
        + 2 * value**3 * (1 - value) * u2 / rho
        - value**4 * u2**2 / (2 * rho**2)
    ) / (n - 2)
    return _fisher(value, max(variance, 0.0) ** 0.5 / (1 - value**2), n)


def mae(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Mean absolute difference, with Student's interval of a mean (not below 0)."""
    a, b = paired(x, y)
    if len(a) == 0:
        return absent(0, "no cases")
    distance = np.abs(a - b)
    mean = float(distance.mean())
    if len(a) < 2:
        return Estimate(mean, None, None, 1, "no interval from one case")
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(a) - 1) * distance.std(ddof=1) / len(a) ** 0.5)
    return Estimate(mean, max(0.0, mean - half), mean + half, len(a))


@dataclass(frozen=True)
class BlandAltman:
    """Differences x - y (Bland & Altman 1986, 1999).

    Parameters
    ----------
    bias : mean difference, Student's interval.
    low_limit, high_limit : bias -+ `multiplier` SD, each with its own interval.
    sd : of the differences (n - 1).
    slope : regression of the difference on the mean of the pair; not 0 = proportional bias.
    spread_slope : regression of |residual| on the mean: not 0 = the limits are too wide at one end.
    multiplier : SDs from bias to limit; 1.96 for 95 %.
    """

    bias: Estimate
    low_limit: Estimate
    high_limit: Estimate
    sd: float | None
    slope: Estimate
    spread_slope: Estimate
    multiplier: float


def bland_altman(x: ArrayLike, y: ArrayLike, *, multiplier: float = 1.96, exact: bool = True) -> BlandAltman:
    """Bias and limits of agreement of x - y with their intervals.

    Parameters
    ----------
    exact : intervals of the limits from the noncentral t distribution (Carkeet 2015, each limit by itself);
        otherwise the approximation of Bland & Altman 1986, Student's t with variance 3 SD^2 / n.
    """
    a, b = paired(x, y)
    d, n = a - b, len(a)
    if n < 3:
        none = absent(n, "fewer than 3 cases")
        return BlandAltman(none, none, none, None, none, none, multiplier)
    bias, sd = float(d.mean()), float(d.std(ddof=1))
    error = sd / n**0.5
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1))
    if sd == 0:
        near, far = multiplier, multiplier
    elif exact:
        near, far = (_tolerance(n, multiplier, p) for p in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2))
    else:
        near, far = multiplier - half * (3 / n) ** 0.5, multiplier + half * (3 / n) ** 0.5
    slope, spread = _slopes((a + b) / 2, d)
    return BlandAltman(
        Estimate(bias, bias - half * error, bias + half * error, n),
        Estimate(bias - multiplier * sd, bias - far * sd, bias - near * sd, n),
        Estimate(bias + multiplier * sd, bias + near * sd, bias + far * sd, n),
        sd,
        slope,
        spread,
        multiplier,
    )


def _tolerance(n: int, multiplier: float, p: float) -> float:
    """Quantile `p` of k, where the true limit is mean + k SD: t' / sqrt(n), t' noncentral t with n - 1 df.

    The distribution function is integrated over the SD, as scipy's noncentral t fails far from its centre.
    """
    root, df = float(np.sqrt(n)), n - 1
    ends = stats.chi.ppf([1e-13, 1 - 1e-13], df)
    node, weight = _legendre()
    chi = ends[0] + (node + 1) / 2 * (ends[1] - ends[0])
    weight = weight * (ends[1] - ends[0]) / 2 * stats.chi.pdf(chi, df)
    sd = chi / np.sqrt(df)

    def excess(k: float) -> float:
        return float((weight * special.ndtr(root * (k * sd - multiplier))).sum()) - p

    reach = 1 + abs(multiplier)
    while excess(-reach) > 0 or excess(reach) < 0:
        reach *= 2
    return float(optimize.brentq(excess, -reach, reach))


@cache
def _legendre() -> tuple[Floats, Floats]:
    node, weight = np.polynomial.legendre.leggauss(96)
    return node, weight


def _slopes(mean: Floats, difference: Floats) -> tuple[Estimate, Estimate]:
    n, centred = len(mean), mean - mean.mean()
    squares = float((centred**2).sum())

    def fit(target: Floats) -> tuple[Estimate, Floats]:
        slope = float(centred @ target) / squares
        residual = target - target.mean() - slope * centred
        error = float(np.sqrt((residual**2).sum() / (n - 2) / squares))
        half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 2)) * error
        return Estimate(slope, slope - half, slope + half, n), residual

    if np.ptp(mean) <= 1e-9 * np.abs(mean).max():
        none = absent(len(mean), "all means are equal")
        return none, none
    slope, residual = fit(difference)
    return slope, fit(np.abs(residual))[0]


def categories(score: ArrayLike, cuts: Sequence[float] = CATEGORY_CUTS) -> NDArray[np.int64]:
    """Index of the category of each score: number of `cuts` that it exceeds."""
    return np.searchsorted(np.asarray(cuts, np.float64), np.asarray(score, np.float64), side="left").astype(np.int64)


def cross_table(x: ArrayLike, y: ArrayLike, cuts: Sequence[float] = CATEGORY_CUTS) -> Floats:
    """Counts [k k]: category of x in rows, of y in columns."""
    a, b = paired(x, y)
    table = np.zeros((len(cuts) + 1,) * 2)
    np.add.at(table, (categories(a, cuts), categories(b, cuts)), 1)
    return table


def squared(i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
    """Disagreement of two categories that grows with the square of their distance (Fleiss & Cohen 1973)."""
    return (i - j) ** 2


def weighted_kappa(
    table: ArrayLike, disagreement: ArrayLike | Callable[[NDArray[np.int64], NDArray[np.int64]], ArrayLike] = squared
) -> Estimate:
    """Weighted kappa (Cohen 1968) of a square table of counts.

    Parameters
    ----------
    disagreement : [k k], 0 on the diagonal, or a function of the two category numbers.

    The interval is the large-sample one of Fleiss, Cohen & Everitt 1969, cut at -1 and 1. There is none where its
    variance is 0 (no disagreement at all, or one category of x or y alone): it would be a point, however few the cases.
    """
    counts = np.asarray(table, np.float64)
    n = int(counts.sum())
    if n < 2:
        return absent(n, "fewer than 2 cases")
    i, j = np.asarray(np.indices(counts.shape), np.int64)
    v = np.asarray(disagreement(i, j) if callable(disagreement) else disagreement, np.float64)
    agreement = 1 - v / v.max()
    p = counts / n
    rows, cols = p.sum(1), p.sum(0)
    observed, chance = float((agreement * p).sum()), float(rows @ agreement @ cols)
    if 1 - chance < 1e-12:
        return absent(n, "both put every case in one category")
    kappa = (observed - chance) / (1 - chance)
    mean = (agreement @ cols)[:, None] + (agreement.T @ rows)[None, :]
    inner = float((p * (agreement - mean * (1 - kappa)) ** 2).sum())
    variance = (inner - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    if variance < 1e-12:
        return Estimate(kappa, None, None, n, "no interval: its large-sample variance is 0")
    half = float(stats.norm.ppf(0.5 + LEVEL / 2)) * variance**0.5
    return Estimate(kappa, max(-1.0, kappa - half), min(1.0, kappa + half), n)


def quadratic_kappa(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Quadratic-weighted kappa of two scores on the categories of `CATEGORY_CUTS`."""
    return weighted_kappa(cross_table(x, y))
