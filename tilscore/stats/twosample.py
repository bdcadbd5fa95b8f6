"""Two independent samples: the rank-sum test with the Hodges-Lehmann shift and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

EXACT_LIMIT = 50
"""Samples below this size, without ties, have the exact null distribution (as in R)."""


@dataclass(frozen=True)
class RankSum:
    """Mann-Whitney's (Wilcoxon's rank-sum) test.

    Attributes
    ----------
    n_x, n_y : sizes. statistic : pairs with x > y, ties half (W in R). p : two-sided.
    shift, low, high : median of all x - y and its interval, in their unit. share : of pairs with x > y (0.5: none).
    method : `exact` or `normal`.
    """

    n_x: int
    n_y: int
    statistic: float
    p: float
    shift: float
    low: float
    high: float
    share: float
    method: str


def rank_sum(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> RankSum:
    """Test whether x and y have one distribution, and estimate by how much x lies above y.

    Exact without ties and below 50 values each; else the normal approximation, corrected for ties and continuity. The
    interval is made of order statistics of the differences (Hollander & Wolfe, Nonparametric Statistical Methods, 4.3).

    Raises
    ------
    ValueError : a sample is empty or not finite, or all values are equal.
    """
    a, b = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    both = np.concatenate([a, b])
    if not (a.size and b.size and np.isfinite(both).all()):
        raise ValueError("two samples of finite numbers are needed")
    if np.ptp(both) == 0:
        raise ValueError("all values are equal")
    ties = np.unique(both, return_counts=True)[1]
    exact = bool(ties.max() == 1 and max(a.size, b.size) < EXACT_LIMIT)
    test = stats.mannwhitneyu(a, b, method="exact" if exact else "asymptotic")
    differences = np.sort(np.subtract.outer(a, b).ravel())
    rank = _lower_rank(a.size, b.size, 1 - level, exact, ties)
    return RankSum(
        a.size,
        b.size,
        float(test.statistic),
        min(1.0, float(test.pvalue)),
        float(np.median(differences)),
        float(differences[rank - 1]),
        float(differences[-rank]),
        float(test.statistic) / differences.size,
        "exact" if exact else "normal",
    )


def _lower_rank(n_x: int, n_y: int, alpha: float, exact: bool, ties: np.ndarray) -> int:
    """Rank of the difference that is the lower limit, counted from 1."""
    if exact:
        ways = np.cumsum(np.array(rank_sum_counts(n_x, n_y), dtype=object))
        below = [float(w / ways[-1]) for w in ways[: n_x * n_y // 2 + 1]]
        return max(1, int(np.searchsorted(below, alpha / 2)))
    n = n_x + n_y
    tied = float((ties.astype(float) ** 3 - ties).sum()) / (n * (n - 1))
    sd = math.sqrt(n_x * n_y / 12 * (n + 1 - tied))
    return max(1, math.floor(n_x * n_y / 2 - float(stats.norm.ppf(1 - alpha / 2)) * sd))


@lru_cache(maxsize=64)
def rank_sum_counts(n_x: int, n_y: int) -> tuple[int, ...]:
    """In how many orders of two samples the statistic is 0, 1 ... n_x n_y: the Gaussian binomial coefficients."""
    ways = [1] + [0] * (n_x * n_y)
    for i in range(1, n_x + 1):
        for k in range(len(ways) - 1, n_y + i - 1, -1):
            ways[k] -= ways[k - n_y - i]
        for k in range(i, len(ways)):
            ways[k] += ways[k - i]
    return tuple(ways)
