"""Statistics of counts in squares: hotspots, mixing of two kinds, unevenness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve
from scipy.stats import chi2, false_discovery_control, norm

from tilscore.masks import Mask
from tilscore.space import Grid

Values = NDArray[np.float64]
Points = NDArray[np.floating]


@dataclass(frozen=True)
class Squares:
    """The window in squares.

    Parameters
    ----------
    area_mm2 : [h w] area of the window in each. step_px, side_um : side of a square, a whole number of pixels.
    """

    area_mm2: Values
    step_px: int
    side_um: float

    @classmethod
    def of(cls, window: Mask, grid: Grid, side_um: float) -> Squares:
        """Squares of about `side_um` from the slide's origin on."""
        k = max(round(side_um / grid.mpp), 1)
        (h, w), (n, m) = grid.shape, (-(-grid.height_px // k), -(-grid.width_px // k))
        part = np.pad(window, ((0, n * k - h), (0, m * k - w)))
        n_px = part.reshape(n, k, m * k).sum(1, dtype=np.int32).reshape(n, m, k).sum(2)
        return cls(n_px * grid.pixel_mm2, k, k * grid.mpp)

    def count(self, points: Points, grid: Grid) -> Values:
        """[h w] points in each square; the points must lie on the grid."""
        col, row = grid.index(points).T
        cell = row // self.step_px * self.area_mm2.shape[1] + col // self.step_px
        return np.bincount(cell, minlength=self.area_mm2.size).reshape(self.area_mm2.shape).astype(np.float64)


def getis_ord(value: Values, known: Mask) -> Values:
    """Gi* of every square: how many standard deviations its neighbourhood lies above the mean of all.

    Parameters
    ----------
    value : [h w]. known : [h w] bool, which squares take part. A neighbourhood is 3 x 3 squares, of weight 1 each.

    Returns
    -------
    [h w] z; NaN where not known, and everywhere where all values are equal or fewer than 3 are known.

    Notes
    -----
    Ord and Getis (1995), Local spatial autocorrelation statistics, equation 14 with the star: with n known squares of
    mean m and variance s^2 (divisor n) and k of them in the neighbourhood, z = (sum - k m) / (s sqrt((n k - k^2) /
    (n - 1))).
    """
    n, x = int(known.sum()), np.where(known, value, 0.0)
    out = np.full(value.shape, np.nan)
    spread = float(value[known].std()) if n >= 3 else 0.0
    if spread <= 1e-12 * max(float(np.abs(x).max(initial=0.0)), 1e-300):
        return out
    box = np.ones((3, 3))
    near, total = (convolve(p, box, mode="constant") for p in (known.astype(float), x))
    scale = spread * np.sqrt(np.maximum(n * near - near**2, 0) / (n - 1))
    fine = known & (scale > 0)
    out[fine] = (total - near * value[known].mean())[fine] / scale[fine]
    return out


def hotspots(count: Values, area_mm2: Values, side_um: float, *, min_share: float, level: float) -> dict[str, object]:
    """Squares of high TIL density by Gi*, at a false discovery rate (Benjamini and Hochberg 1995).

    Parameters
    ----------
    min_share : squares with a smaller share of window are left out. level : false discovery rate.
    """
    known = area_mm2 >= min_share * side_um**2 / 1e6
    density = np.divide(count, area_mm2, out=np.zeros_like(count), where=known)
    z = getis_ord(density, known)
    fine = np.isfinite(z)
    if not fine.any():
        return {"reason": "too few squares, or all alike", "n_squares": int(known.sum())}
    hot = np.zeros_like(known)
    hot[fine] = (false_discovery_control(norm.sf(z[fine])) <= level) & (z[fine] > 0)
    row, col = np.unravel_index(int(np.nanargmax(z)), z.shape)
    return {
        "n_squares": int(known.sum()),
        "n_hot": int(hot.sum()),
        "hot_mm2": float(area_mm2[hot].sum()),
        "hot_area_pct": 100 * float(area_mm2[hot].sum() / area_mm2[known].sum()),
        "tils_in_hot_pct": 100 * float(count[hot].sum() / count[known].sum()),
        "hot_density_per_mm2": float(count[hot].sum() / area_mm2[hot].sum()) if hot.any() else None,
        "max_z": float(z[row, col]),
        "max_at_um": [(int(col) + 0.5) * side_um, (int(row) + 0.5) * side_um],
    }


def unevenness(count: Values, area_mm2: Values, *, min_share: float, side_um: float) -> dict[str, float | int | None]:
    """How unevenly points lie over squares of unequal area.

    Returns
    -------
    dispersion_index : sum((n - E)^2 / E) / (k - 1) with E = mean density * area; 1 for a Poisson process (variance to
        mean ratio, Fisher's index of dispersion); its p value, both sided, by chi-square.
    intensity_cv : coefficient of variation of the intensity between squares, the Poisson part taken out: sqrt of
        (sum((n - E)^2) - N (1 - S2)) / (N^2 (S2 - 2 S3 + S2^2)), 0 where that is below 0, with N the sum of n and Sk
        that of the k-th powers of the squares' shares of the area, as E is itself made from n. In k equal squares of
        mean m and variance s^2 (divisor k - 1) it is sqrt((s^2 - m) / m^2).
    gini : of the density, weighted by area: 0 even, towards 1 all in one place (not corrected for the Poisson part).
    """
    known = area_mm2 >= min_share * side_um**2 / 1e6
    n, a = count[known], area_mm2[known]
    k = len(n)
    if k < 2 or n.sum() == 0:
        return {"n_squares": k, "dispersion_index": None, "dispersion_p": None, "intensity_cv": None, "gini": None}
    expected = a * n.sum() / a.sum()
    x2 = float(((n - expected) ** 2 / expected).sum())
    s2, s3 = (float(((a / a.sum()) ** power).sum()) for power in (2, 3))
    poisson_part = float(n.sum()) * (1 - s2)
    extra = (float(((n - expected) ** 2).sum()) - poisson_part) / (float(n.sum()) ** 2 * (s2 - 2 * s3 + s2**2))
    return {
        "n_squares": k,
        "dispersion_index": x2 / (k - 1),
        "dispersion_p": float(min(2 * min(chi2.sf(x2, k - 1), chi2.cdf(x2, k - 1)), 1.0)),
        "intensity_cv": float(np.sqrt(max(extra, 0.0))),
        "gini": gini(n, a),
    }


def gini(count: Values, area: Values) -> float:
    """Gini index of `count` over `area`: 1 - 2 * area below the Lorenz curve."""
    order = np.argsort(count / area)
    x = np.concatenate([[0.0], np.cumsum(area[order]) / area.sum()])
    y = np.concatenate([[0.0], np.cumsum(count[order]) / count.sum()])
    return float(1 - ((y[1:] + y[:-1]) * np.diff(x)).sum())
