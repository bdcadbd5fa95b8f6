"""Pairs of points: cross pair correlation, Ripley's K and Besag's L, corrected for the edge of a raster window.

They come from pixel lags by FFTs, which take the same time for a hundred cells and for a million.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from tilscore.masks import Mask, Plane, extent
from tilscore.raster import in_mask
from tilscore.space import Grid

Values = NDArray[np.float64]
Points = NDArray[np.floating]
MIN_SHARE = 1e-3
"""Least share of the pairs of places at a distance that the window must hold, against one without an edge. The noise
of FFTs in float32 is some 1e-6 of it."""


@dataclass(frozen=True)
class PairCorrelation:
    """Second order structure of two kinds of points, or of one with itself.

    Parameters
    ----------
    r_um : [k] distances, the middle of each bin. g : [k] pair correlation; 1 where the kinds ignore each other.
    edge_um : [k] outer edge of each bin. k_um2 : [k] Ripley's K up to that edge. g and K are NaN from the first
    distance on at which the window holds less than `MIN_SHARE` of the pairs.
    n_from, n_to : points in the window.
    """

    r_um: Values
    g: Values
    edge_um: Values
    k_um2: Values
    n_from: int
    n_to: int

    @property
    def l_um(self) -> Values:
        """[k] L = sqrt(K / pi): equal to the distance where the kinds ignore each other."""
        return np.asarray(np.sqrt(np.maximum(self.k_um2, 0) / np.pi))


def pair_correlation(
    one: Points, other: Points | None, window: Mask, grid: Grid, *, max_um: float = 300.0, step_um: float = 8.0
) -> PairCorrelation:
    """Estimate from pixel lags.

    Parameters
    ----------
    one, other : [n 2] points (x, y) in microns; those outside the window are left out. No `other`: pairs of `one`.
    window : [h w] bool on `grid`: where points could be.
    max_um : largest distance. step_um : side of the squares the plane is summed into; g is blurred by about as much.

    Returns
    -------
    PairCorrelation with bins one step wide.

    Raises
    ------
    ValueError : fewer than one point of a kind (two, for pairs of one kind) in the window.

    Notes
    -----
    g(r) = |W|^2 / (n m) * number of pairs at r / sum of the set covariance of W at r, both summed over the same lags:
    the isotropised translation correction (Ohser and Stoyan 1981; Stoyan and Stoyan 1994). The set covariance and the
    pair counts are correlations of rasters (Wiener-Khinchin), so the window may have any shape and holes. K is the sum
    of g over the areas of the rings.
    """
    lattice = _Squares(window, grid, step_um)
    a = lattice.count(one, window, grid)
    b = a if other is None else lattice.count(other, window, grid)
    n, m = _enough(a, b, other is None)
    step, n_bins = lattice.step_um, int(max_um / lattice.step_um) + 1
    pairs = _by_ring(np.rint(_lags(a, b, n_bins)), n_bins)
    cover = _by_ring(_lags(lattice.area_um2, lattice.area_um2, n_bins), n_bins)
    if other is None:
        pairs[0] -= n
    n_lags = _by_ring(np.ones((2 * n_bins - 1,) * 2), n_bins)
    g = _known(pairs, cover, n_lags * step**2, lattice) * float(lattice.area_um2.sum(dtype=np.float64)) ** 2 / m
    edges = (np.arange(n_bins + 1) - 0.5).clip(0) * step
    return _result(np.arange(n_bins, dtype=np.float64) * step, edges, g, n, int(b.sum()))


def _result(r_um: Values, edges: Values, g: Values, n: int, m: int) -> PairCorrelation:
    return PairCorrelation(r_um, g, edges[1:], np.cumsum(g * np.pi * np.diff(edges**2)), n, m)


def _known(pairs: Values, cover: Values, ring_um2: Values, lattice: _Squares) -> Values:
    """Pairs over cover; NaN from the first ring on of which the window holds too little."""
    share = cover / (ring_um2 * float(lattice.area_um2.sum(dtype=np.float64)))
    known = np.logical_and.accumulate(share >= MIN_SHARE)
    return np.divide(pairs, cover, out=np.full_like(pairs, np.nan), where=known)


def _enough(a: NDArray[np.floating], b: NDArray[np.floating], same: bool) -> tuple[int, float]:
    """Number of points and of ordered pairs."""
    n, m = (round(float(p.sum(dtype=np.float64))) for p in (a, b))
    if n * m == 0 or (same and n < 2):
        raise ValueError(f"pairs need points in the window, found {n} and {m}")
    return n, float(n) * (n - 1 if same else m)


class _Squares:
    """The window summed into squares of whole pixels, cut to the box around it."""

    def __init__(self, window: Mask, grid: Grid, step_um: float) -> None:
        rows, cols = extent(window)
        if rows.stop == 0:
            raise ValueError("pairs need a window")
        self.k = max(round(step_um / grid.mpp), 1)
        self.step_um = self.k * grid.mpp
        self.y, self.x = rows.start, cols.start
        self.shape = -(-(rows.stop - self.y) // self.k), -(-(cols.stop - self.x) // self.k)
        h, w = self.shape
        part = window[self.y : self.y + h * self.k, self.x : self.x + w * self.k]
        part = np.pad(part, ((0, h * self.k - part.shape[0]), (0, w * self.k - part.shape[1])))
        n_px = part.reshape(h, self.k, w * self.k).sum(1, dtype=np.int32).reshape(h, w, self.k).sum(2)
        self.area_um2: Plane = (n_px * grid.mpp**2).astype(np.float32)

    def count(self, points: Points, window: Mask, grid: Grid) -> Plane:
        """[h w] points of the window in each square."""
        col, row = grid.index(points[in_mask(window, grid, *points.T)]).T
        cell = (row - self.y) // self.k * self.shape[1] + (col - self.x) // self.k
        return np.bincount(cell, minlength=self.shape[0] * self.shape[1]).reshape(self.shape).astype(np.float32)


def _lags(a: Plane, b: Plane, n_bins: int) -> Values:
    """[2 n - 1, 2 n - 1] sum of a(x) b(x + h) over x, for lags h up to `n_bins - 1` either way."""
    size = [next_fast_len(n + n_bins, real=True) for n in a.shape]
    top = rfft2(a, size)
    top = np.conj(top) * (top if b is a else rfft2(b, size))
    lags = irfft2(top, size, overwrite_x=True)
    near = np.arange(-n_bins + 1, n_bins)
    return np.asarray(lags[np.ix_(near, near)], np.float64)


def _by_ring(lags: Values, n_bins: int) -> Values:
    """[n_bins] sums over the lags whose length rounds to each number of squares."""
    near = np.arange(-n_bins + 1, n_bins)
    ring = np.rint(np.hypot(near[:, None], near[None])).astype(np.int64).ravel()
    return np.bincount(ring, lags.ravel())[:n_bins].astype(np.float64)
