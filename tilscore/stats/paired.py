"""Statistics of paired changes: signed-rank test, Hodges-Lehmann, reliable change, detectable effect, multiplicity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

EXACT_LIMIT = 50
"""Most changes for which the exact null distribution is used (the limit of R and SciPy)."""
WALSH_LIMIT = 3000
"""Most changes for which all Walsh averages are held at once (36 MB)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test with the Hodges-Lehmann estimate of the change.

    Attributes
    ----------
    n : changes; n_zero : those of exactly 0, left out of the test as R does (kept in the estimate).
    statistic : sum of the ranks of positive changes, ties at their mean rank (V in R). p : two-sided.
    estimate, low, high : pseudo-median of the changes and its interval, in the changes' unit.
    level : confidence level that the interval reaches (exact intervals are discrete and reach at least what was asked).
    method : `exact` or `normal`.
    """

    n: int
    n_zero: int
    statistic: float
    p: float
    estimate: float
    low: float
    high: float
    level: float
    method: str


def signed_rank(changes: ArrayLike, level: float = 0.95) -> SignedRank:
    """Test whether changes are symmetric around 0 and estimate their centre.

    Exact up to 50 changes: with ties, among all signs that changes of these sizes could have (Lehmann, Nonparametrics,
    1.4 and 3.2); else the normal approximation with correction for ties and continuity. The interval follows Hollander
    & Wolfe, Nonparametric Statistical Methods, 3.3: order statistics of the Walsh averages, which hold the centre at
    least as often as stated where there are ties (Noether, J Am Stat Assoc 1967).

    Raises
    ------
    ValueError : no change other than 0, or a value that is not finite.
    """
    values = _finite(changes)
    used = values[values != 0]
    if used.size == 0:
        raise ValueError("no change differs from 0")
    ranks = stats.rankdata(np.abs(used))
    statistic = float(ranks[used > 0].sum())
    exact = values.size <= EXACT_LIMIT
    if exact:
        p = _exact_p(statistic, ranks)
    else:
        p = min(1.0, float(stats.wilcoxon(used, method="asymptotic", correction=True).pvalue))
    limits = _hodges_lehmann(values, level, exact)
    return SignedRank(values.size, values.size - used.size, statistic, p, *limits, "exact" if exact else "normal")


def _exact_p(statistic: float, ranks: Floats) -> float:
    """Two-sided p: how often signs at random give a sum of ranks as far from its middle."""
    doubled = np.rint(2 * ranks).astype(np.int64)  # mean ranks of ties are whole or half
    pmf = signed_rank_pmf(doubled)
    away = np.abs(2 * np.arange(pmf.size) - doubled.sum())
    return min(1.0, float(pmf[away >= abs(round(4 * statistic) - doubled.sum())].sum()))


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=float).ravel()
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError("changes must be finite numbers, at least one")
    return array


def _hodges_lehmann(values: Floats, level: float, exact: bool) -> tuple[float, float, float, float]:
    """Median of the Walsh averages, and the order statistics that bound it."""
    n = values.size
    if n > WALSH_LIMIT:
        from tilscore.stats.aligned import aligned_signed_rank

        large = aligned_signed_rank(values, np.empty((n, 0)), level)
        return large.estimate, large.low, large.high, level
    i, j = np.triu_indices(n)
    walsh = np.sort((values[i] + values[j]) / 2)
    rank, reached = _lower_rank(n, level, exact)
    return float(np.median(walsh)), float(walsh[rank - 1]), float(walsh[-rank]), reached


def _lower_rank(n: int, level: float, exact: bool) -> tuple[int, float]:
    """Rank of the Walsh average that is the lower limit, counted from 1, and the level that it reaches."""
    alpha = 1 - level
    if exact:
        cdf = np.cumsum(signed_rank_pmf(np.arange(1, n + 1)))
        rank = max(1, int(np.searchsorted(cdf, alpha / 2)))
        return rank, float(1 - 2 * cdf[rank - 1])
    mean, sd = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return max(1, math.floor(mean - stats.norm.ppf(1 - alpha / 2) * sd)), level


def signed_rank_pmf(ranks: NDArray[np.int64]) -> Floats:
    """Exact null probabilities of the sum of the positive among whole `ranks` [n], for 0 ... their sum."""
    pmf = np.zeros(int(ranks.sum()) + 1)
    pmf[0] = 1.0
    for rank in ranks:
        moved = np.zeros_like(pmf)
        moved[rank:] = pmf[:-rank]
        pmf = (pmf + moved) / 2
    return pmf


def mover(
    before: ArrayLike, before_low: ArrayLike, before_high: ArrayLike, after: ArrayLike, low: ArrayLike, high: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Change `after - before` with an interval from the intervals of both, which need not be symmetric.

    Zou & Donner, Statistics in Medicine 2008 (method of variance estimates recovery), for independent estimates.

    Returns
    -------
    change, low, high : arrays; a limit is NaN where one of the limits that it needs is.
    """
    b, bl, bh, a, al, ah = (np.asarray(v, dtype=float) for v in (before, before_low, before_high, after, low, high))
    change = difference(a, b)
    return change, change - np.hypot(a - al, bh - b), change + np.hypot(ah - a, b - bl)


def difference(after: ArrayLike, before: ArrayLike) -> Floats:
    """`after - before` without the noise of floating point: equal changes are tied, and no change is 0.

    Differences are rounded to the ninth digit of the largest value (Wilcoxon's test counts ties and zeros).
    """
    a, b = np.asarray(after, dtype=float), np.asarray(before, dtype=float)
    largest = max((float(np.nanmax(np.abs(v))) for v in (a, b) if np.isfinite(v).any()), default=0.0)
    change: Floats = a - b
    return np.asarray(change.round(9 - math.ceil(math.log10(largest)))) if largest > 0 else change


def reliable_change(change: ArrayLike, sd_before: ArrayLike, sd_after: ArrayLike) -> Floats:
    """Reliable-change index: the change in units of the SD that measurement error alone gives a change.

    Jacobson & Truax, J Consult Clin Psychol 1991: beyond +-1.96 a change is larger than error explains in 95 % of
    unchanged patients. Each measurement has its own standard error (Maassen 2004). NaN where the error is not known.
    """
    error = np.hypot(np.asarray(sd_before, dtype=float), np.asarray(sd_after, dtype=float))
    return np.asarray(change, dtype=float) / np.where(error > 0, error, np.nan)


def minimum_detectable(
    n_pairs: int, sd_change: float, *, alpha: float = 0.05, power: float = 0.8, inflation: float = 1.0, n_used: int = 1
) -> float:
    """Smallest mean change that a two-sided paired t-test finds with the given power (noncentral t, exact).

    Parameters
    ----------
    n_pairs : pairs. sd_change : SD of a patient's change; for a measurement SD s that is s * sqrt(2).
    inflation : variance inflation of the mean change by adjustment (1: none). n_used : estimated coefficients.

    Raises
    ------
    ValueError : no degree of freedom is left, or the SD is not positive.
    """
    df = n_pairs - n_used
    if df < 1 or not sd_change > 0:
        raise ValueError("needs a positive SD and more pairs than coefficients")
    critical = float(stats.t.ppf(1 - alpha / 2, df))

    def lack(ncp: float) -> float:
        other_tail = float(np.nan_to_num(stats.nct.cdf(-critical, df, ncp)))  # SciPy gives NaN where it is below 1e-300
        return float(stats.nct.sf(critical, df, ncp)) + other_tail - power

    ncp = float(optimize.brentq(lack, 1e-6, 2 * critical + 10))
    return ncp * sd_change * math.sqrt(inflation / n_pairs)


def minimum_detectable_normal(n_pairs: int, sd_change: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The same with normal quantiles, as published sample-size tables have it (a little too small)."""
    quantiles = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    return float(quantiles * sd_change / math.sqrt(n_pairs))


def adjust_p(values: Sequence[float | None], method: str) -> list[float | None]:
    """p values adjusted for how many there are; None stays None and does not count.

    Parameters
    ----------
    method : `holm` (family-wise error, Holm 1979) or `bh` (false discovery rate, Benjamini & Hochberg 1995).
    """
    known = np.array([float(p) for p in values if p is not None])
    if method == "bh":
        adjusted = stats.false_discovery_control(known, method="bh") if known.size else known
    else:
        order = np.argsort(known, kind="stable")
        adjusted = np.empty_like(known)
        adjusted[order] = np.minimum(1, np.maximum.accumulate(known[order] * np.arange(known.size, 0, -1)))
    left = iter(adjusted)
    return [None if p is None else float(next(left)) for p in values]
