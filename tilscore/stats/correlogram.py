"""How far the density of points varies together in space, and what that does to the variance of their mean density.

A map of counts and areas gives the covariance of the residuals at each distance. Models of it are fitted with the bias
that a measured mean puts into it, and averaged. Var(mean) = N / A^2 + s * v, with s the variance of the intensity and
1 / v the number of independent patches that the window holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

Plane = NDArray[np.float64]

MAX_LAG_UM = 1200.0
"""Pairs further apart carry no covariance in any of the models."""
FIT_LAG_UM = 800.0
"""Pairs up to this distance are fitted: beyond it a core has few."""
LENGTHS_UM = tuple(float(v) for v in np.geomspace(30.0, 500.0, 14))
"""Correlation lengths that are tried: three cells to half a core's width."""
SHARPNESS = 2.0
"""Models are averaged with weights (residual sum of squares)^-SHARPNESS. Chosen by coverage: sharper weights follow
the noise of a small core."""


@dataclass(frozen=True)
class Correlogram:
    """What the fit says.

    Parameters
    ----------
    clustered_var : s * v, the part of the variance of the mean density that comes from clustering.
    length_um : distance at which the correlation falls to 1/e; None where nothing varies together.
    n_patches : 1 / v, how many independent patches of this length the window holds.
    """

    clustered_var: float
    length_um: float | None
    n_patches: float


def fit_correlogram(count: Plane, area: Plane, side_um: float, *, self_pairs: float) -> Correlogram:
    """Fit the covariance of the density of `count` over `area`.

    Parameters
    ----------
    count : [h w] points (or expected points, or covered area) in each cell of a square lattice.
    area : [h w] area of the window in each cell; any unit, the density is per this unit.
    side_um : side of a cell.
    self_pairs : what a point paired with itself adds: the sum of squared weights of the points, 0 for a field.

    Notes
    -----
    Lag sums S(r) of the residuals and G(r) of the area come from one FFT each (Wiener-Khinchin). For a stationary
    field with covariance s k(r), E S(r) = G(r) (s (k(r) - v) - N / A^2), v = sum G k / A^2: the last two terms are the
    bias of the mean taken from the same window. s is least squares with weights G; k is exponential and Gaussian at
    each of `LENGTHS_UM`. The estimate of a variance by the reduced moments of a window follows Stoyan, Bertram and
    Wendrock (1993), Estimation variances for estimators of product densities and pair correlation functions.
    """
    total, n = float(area.sum()), float(count.sum())
    poisson = self_pairs / total**2
    lag_um, pairs, product = _lag_sums(count - area * (n / total), area, side_um)
    product[0] -= self_pairs
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(pairs > 0, product / pairs, 0.0) + poisson
    weight = np.where(lag_um <= FIT_LAG_UM, pairs, 0.0)
    weight = weight / weight.sum()
    shapes = [lag_um[None] / np.array(LENGTHS_UM)[:, None]]
    kernels = np.concatenate([np.exp(-shapes[0]), np.exp(-(shapes[0] ** 2))])
    v = kernels @ pairs / total**2
    x = kernels - v[:, None]
    s = np.maximum((x * weight * seen).sum(1) / np.maximum((x * x * weight).sum(1), 1e-300), 0.0)
    rss = (weight * (seen - s[:, None] * x) ** 2).sum(1)
    trust = (np.maximum(rss, 1e-300) / max(rss.min(), 1e-300)) ** -SHARPNESS
    trust /= trust.sum()
    length = float(trust @ np.tile(LENGTHS_UM, 2)) if s.any() else None
    return Correlogram(float(trust @ (s * v)), length, 1.0 / float(trust @ v))


def _lag_sums(residual: Plane, area: Plane, side_um: float) -> tuple[Plane, Plane, Plane]:
    """Distance of each bin, and the sums of area products and of residual products over pairs of cells in it."""
    n_bins = int(MAX_LAG_UM / side_um)
    reach = [min(n, n_bins) for n in area.shape]
    size = [next_fast_len(n + r, real=True) for n, r in zip(area.shape, reach, strict=True)]
    away = [np.minimum(np.arange(n), n - np.arange(n)) for n in size]
    bins = np.rint(np.hypot(away[0][:, None], away[1][None])).astype(np.int64)
    keep = (bins < n_bins) & (away[0] < reach[0])[:, None] & (away[1] < reach[1])[None]
    sums = []
    for plane in (area, residual):
        lags = irfft2(np.abs(rfft2(plane, size)) ** 2, size)
        sums.append(np.bincount(bins[keep], lags[keep], n_bins).astype(np.float64))
    return np.arange(n_bins, dtype=np.float64) * side_um, np.maximum(sums[0], 0.0), sums[1]
