"""What is known of points: the theory of Thomas processes, and pair correlation from exact distances."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad
from scipy.spatial import cKDTree
from scipy.stats import ncx2

from tilscore.masks import Mask
from tilscore.raster import in_mask
from tilscore.space import Grid
from tilscore.spatial.pairs import PairCorrelation, Points, _by_ring, _enough, _known, _lags, _result, _Squares
from tilscore.spatial.processes import UM2_PER_MM2


def pair_correlation_exact(
    one: Points, other: Points | None, window: Mask, grid: Grid, *, max_um: float = 300.0, step_um: float = 8.0
) -> PairCorrelation:
    """The estimate of `pair_correlation` from exact distances: memory and time grow with the number of pairs."""
    lattice = _Squares(window, grid, step_um)
    step, n_bins = lattice.step_um, int(max_um / lattice.step_um) + 1
    a = one[in_mask(window, grid, *one.T)].astype(np.float64)
    b = a if other is None else other[in_mask(window, grid, *other.T)].astype(np.float64)
    n, m = _enough(np.ones(len(a)), np.ones(len(b)), other is None)
    edges = (np.arange(n_bins + 1) - 0.5).clip(0) * step
    up_to = cKDTree(a).count_neighbors(cKDTree(b), edges).astype(np.float64)
    pairs = np.diff(up_to)
    # Points in one place count to the first ring, a point and itself do not.
    pairs[0] += up_to[0] - (n if other is None else 0)
    lags = _lags(lattice.area_um2, lattice.area_um2, n_bins)
    # The mean set covariance of each ring, times the ring's exact area.
    mean = _by_ring(lags, n_bins) / _by_ring(np.ones_like(lags), n_bins) / step**4
    ring_um2 = np.pi * np.diff(edges**2)
    cover = mean * step**2 * ring_um2
    g = _known(pairs, cover, ring_um2, lattice) * float(lattice.area_um2.sum(dtype=np.float64)) ** 2 / m
    return _result(np.arange(n_bins, dtype=np.float64) * step, edges, g, n, len(b))


def thomas_g(r_um: ArrayLike, *, parents_per_mm2: float, sigma_um: float) -> NDArray[np.float64]:
    """Pair correlation of a Thomas process: 1 + exp(-r^2 / 4 sigma^2) / (4 pi sigma^2 kappa)."""
    r = np.asarray(r_um, np.float64)
    return 1 + np.exp(-(r**2) / (4 * sigma_um**2)) / (4 * np.pi * sigma_um**2 * parents_per_mm2 / UM2_PER_MM2)


def thomas_k(r_um: ArrayLike, *, parents_per_mm2: float, sigma_um: float) -> NDArray[np.float64]:
    """Ripley's K of a Thomas process, um2: pi r^2 + (1 - exp(-r^2 / 4 sigma^2)) / kappa."""
    r = np.asarray(r_um, np.float64)
    return np.pi * r**2 + (1 - np.exp(-(r**2) / (4 * sigma_um**2))) / (parents_per_mm2 / UM2_PER_MM2)


def thomas_covered(r_um: float, per_mm2: float, *, parents_per_mm2: float, sigma_um: float) -> float:
    """Share of the plane within `r_um` of a point of a Thomas process.

    1 - exp(-kappa * integral of 1 - exp(-mu * p)), with p the chance that an offspring falls into the disc: the empty
    space function of a Neyman-Scott process (Chiu, Stoyan, Kendall and Mecke 2013, section 5.3).
    """
    mu = per_mm2 / parents_per_mm2

    def missing(away_um: float) -> float:
        hit = ncx2.cdf((r_um / sigma_um) ** 2, 2, max((away_um / sigma_um) ** 2, 1e-12))
        return -2 * math.pi * away_um * math.expm1(-mu * float(hit))

    area, _ = quad(missing, 0, r_um + 10 * sigma_um, limit=200, points=[r_um])
    return -math.expm1(-parents_per_mm2 / UM2_PER_MM2 * float(area))
