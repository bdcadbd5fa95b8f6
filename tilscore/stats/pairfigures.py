"""Agreement of many dependent pairs: pooled figures with intervals from resampled clusters.

Where a case gives several pairs (each reader against the mean of the others) the pairs are not independent. Each figure
is a function of sums over pairs, so a resample of the clusters needs only the clusters' sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilscore.stats.agreement import CATEGORY_CUTS, LEVEL, Estimate, Floats, absent, categories, paired

FIGURES = ("pearson", "ccc", "mae", "kappa_quadratic", "bias", "limit_low", "limit_high")
N_RESAMPLES = 1000
SEED = 20240229


def pair_sums(x: Floats, y: Floats, cluster: NDArray[np.intp]) -> Floats:
    """Sums of each cluster [clusters, 7 + k + k]: n, x, y, xx, yy, xy, |x - y|; counts of categories of x and of y."""
    n = int(cluster.max()) + 1 if len(cluster) else 0
    k = np.arange(len(CATEGORY_CUTS) + 1)
    parts = [np.ones(len(x)), x, y, x * x, y * y, x * y, np.abs(x - y)]
    a, b = categories(x), categories(y)
    parts += [(a == c).astype(float) for c in k] + [(b == c).astype(float) for c in k]
    parts.append((a - b).astype(float) ** 2)
    return np.stack([np.bincount(cluster, part, n) for part in parts], 1)


def figures_of(sums: Floats) -> dict[str, Floats]:
    """Every figure from sums [..., 7 + 2k + 1]; NaN where it does not exist."""
    n, sx, sy, sxx, syy, sxy, distance = np.moveaxis(sums[..., :7], -1, 0)
    k = (sums.shape[-1] - 8) // 2
    rows, cols = sums[..., 7 : 7 + k], sums[..., 7 + k : 7 + 2 * k]
    apart = np.subtract.outer(np.arange(k), np.arange(k)).astype(float) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mx, my = sx / n, sy / n
        vx, vy, cov = sxx / n - mx**2, syy / n - my**2, sxy / n - mx * my
        vx, vy = (np.where(v > 1e-12 * (1 + m**2), v, 0.0) for v, m in ((vx, mx), (vy, my)))
        chance = np.einsum("...i,ij,...j->...", rows, apart, cols) / n
        sd = np.sqrt(np.maximum(vx + vy - 2 * cov, 0) * n / (n - 1))
        return {
            "pearson": np.clip(cov / np.sqrt(vx * vy), -1, 1),
            "ccc": np.where(vx * vy > 0, 2 * cov / (vx + vy + (mx - my) ** 2), np.nan),
            "mae": distance / n,
            "kappa_quadratic": 1 - sums[..., -1] / chance,
            "bias": mx - my,
            "limit_low": mx - my - 1.96 * sd,
            "limit_high": mx - my + 1.96 * sd,
        }


def resampled(clusters: Floats, n_resamples: int = N_RESAMPLES, seed: int = SEED) -> Floats:
    """Sums [n_resamples, m] of clusters drawn with replacement, from their sums [clusters, m]."""
    n, rng = len(clusters), np.random.default_rng(seed)
    step = max(1, 4_000_000 // n)
    even = np.full(n, 1 / n)
    parts = [rng.multinomial(n, even, min(step, n_resamples - i)) @ clusters for i in range(0, n_resamples, step)]
    return np.concatenate(parts)


def interval_of(value: float, draws: Floats, n: int) -> Estimate:
    """`value` with the percentiles of its resamples; without an interval where most resamples have no value."""
    if not np.isfinite(value):
        return absent(n, "too few cases, or no spread")
    good = draws[np.isfinite(draws)]
    if len(good) < 0.9 * len(draws) or n < 5:
        return Estimate(value, None, None, n, "too few cases for an interval")
    low, high = np.quantile(good, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Estimate(value, float(low), float(high), n)


def pooled_pairs(x: ArrayLike, y: ArrayLike, cluster: ArrayLike) -> dict[str, Estimate]:
    """FIGURES of all pairs pooled (differences x - y), intervals by resampling whole clusters.

    Parameters
    ----------
    cluster : [n] name of the cluster (case) of each pair. `Estimate.n` counts clusters.
    """
    a, b = paired(x, y)
    names, index = np.unique(np.asarray(cluster).astype(str), return_inverse=True)
    if len(names) == 0:
        return {name: absent(0, "no cases") for name in FIGURES}
    sums = pair_sums(a, b, index)
    values, draws = figures_of(sums.sum(0)), figures_of(resampled(sums))
    return {name: interval_of(float(values[name]), draws[name], len(names)) for name in FIGURES}


def pooled_difference(x1: ArrayLike, x2: ArrayLike, y: ArrayLike, cluster: ArrayLike) -> dict[str, Estimate]:
    """Each figure of (x1, y) less that of (x2, y), the same clusters resampled for both."""
    a, truth = paired(x1, y)
    b, _ = paired(x2, y)
    names, index = np.unique(np.asarray(cluster).astype(str), return_inverse=True)
    if len(names) == 0:
        return {name: absent(0, "no cases") for name in FIGURES}
    first, second = pair_sums(a, truth, index), pair_sums(b, truth, index)
    values = [figures_of(s.sum(0)) for s in (first, second)]
    draws = [figures_of(resampled(s)) for s in (first, second)]
    return {f: interval_of(float(values[0][f] - values[1][f]), draws[0][f] - draws[1][f], len(names)) for f in FIGURES}


def resampled_icc1(case: ArrayLike, score: ArrayLike) -> dict[str, float | None]:
    """Interval of ICC(1) that does not suppose normal scores: cases resampled, readers within a case kept."""
    y = np.asarray(score, np.float64)
    names, i = np.unique(np.asarray(case).astype(str), return_inverse=True)
    sizes, total = np.bincount(i), np.bincount(i, y)
    inside = np.bincount(i, y * y) - total**2 / sizes
    draws = resampled(np.stack([np.ones(len(names)), sizes, sizes**2, total, total**2 / sizes, inside], 1))
    a, n, n2, t, between, within = draws.T
    with np.errstate(invalid="ignore", divide="ignore"):
        ms_within, ms_between = within / (n - a), (between - t**2 / n) / (a - 1)
        k0 = (n - n2 / n) / (a - 1)
        found = interval_of(0.0, (ms_between - ms_within) / (ms_between + (k0 - 1) * ms_within), len(names))
    return {"icc1_resampled_low": found.low, "icc1_resampled_high": found.high}
