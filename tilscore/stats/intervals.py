"""Intervals in closed form: for counts, plain and over-dispersed, and for proportions."""

from __future__ import annotations

import math

from scipy.stats import beta, chi2, norm
from scipy.stats import t as student


def poisson_limits(n: float, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a Poisson mean (Garwood 1936), continued to counts that are not whole.

    Returns
    -------
    low, high : at n = 0 they are 0 and `-ln((1 - level) / 2)` = 3.689 at 95 %.
    """
    return overdispersed_limits(n, dispersion=1.0, df=math.inf, level=level)


def overdispersed_limits(
    n: float, *, dispersion: float, df: float = math.inf, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean of a count whose variance is `dispersion` times its mean.

    `n / dispersion` is taken for a Poisson count and Garwood's limits are scaled back, which keeps the skewness of a
    small count. A dispersion that was itself measured, with `df` degrees of freedom, widens the interval by the
    square of the ratio of the t to the normal quantile.

    Parameters
    ----------
    n : the count, at least 0. dispersion : variance / mean, above 0. df : degrees of freedom, above 0.

    Raises
    ------
    ValueError : a number out of its range.
    """
    if not (n >= 0 and dispersion > 0 and df > 0 and 0 < level < 1):
        raise ValueError(f"n {n}, dispersion {dispersion}, df {df}, level {level}")
    tail = (1 - level) / 2
    scale = dispersion * float(student.isf(tail, df) / norm.isf(tail)) ** 2
    # Below a millionth of a count the limit is 0 to any precision.
    low = 0.0 if n < 1e-6 * scale else scale * float(chi2.ppf(tail, 2 * n / scale)) / 2
    return low, scale * float(chi2.isf(tail, 2 * n / scale + 2)) / 2


def binomial_limits(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper and Pearson 1934): `k` of `n`.

    Raises
    ------
    ValueError : not 0 <= k <= n, or n is 0.
    """
    if not (0 <= k <= n and n > 0 and 0 < level < 1):
        raise ValueError(f"k {k} of n {n}, level {level}")
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    return low, 1.0 if k == n else float(beta.isf(tail, k + 1, n - k))


def logit_limits(share: float, sd: float, *, df: float = math.inf, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share in (0, 1) with standard deviation `sd`, by Student's t on the logit scale.

    Raises
    ------
    ValueError : a share of 0 or 1 has no logit.
    """
    if not (0 < share < 1 and sd >= 0 and df > 0 and 0 < level < 1):
        raise ValueError(f"share {share}, sd {sd}, df {df}, level {level}")
    reach = float(student.isf((1 - level) / 2, df)) * sd / (share * (1 - share))
    centre = math.log(share / (1 - share))
    low, high = (1 / (1 + math.exp(-min(max(centre + d, -700.0), 700.0))) for d in (-reach, reach))
    return low, high
