"""TIL density against the distance to the border of the tumour, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.config import check_ranges
from tilscore.errors import ConfigError
from tilscore.masks import Mask, distance_px, extent
from tilscore.score.interval import IntervalConfig, density_interval
from tilscore.space import Grid

Points = NDArray[np.floating]


@dataclass(frozen=True)
class BorderConfig:
    """The bands."""

    edges_um: tuple[float, ...] = (-250.0, -150.0, -100.0, -50.0, -25.0, 0.0, 25.0, 50.0, 100.0, 150.0, 250.0)
    """Limits of the bands: below 0 in the tumour, above 0 outside it."""
    n_draws: int = 200
    """Bootstrap draws of a band: its standard deviation is then known to 5 %."""

    def __post_init__(self) -> None:
        check_ranges(self, "spatial.border", edges_um=(-1e4, 1e4), n_draws=(10, 1e5))
        if len(self.edges_um) < 2 or list(self.edges_um) != sorted(set(self.edges_um)):
            do = "the limits of the bands rise"
            raise ConfigError("needs two limits or more", where="spatial.border.edges_um", found=self.edges_um, do=do)


def signed_distance(tumour: Mask, mpp: float) -> NDArray[np.float32]:
    """[h w] distance of each pixel to the border of `tumour` in microns: above 0 outside, below 0 inside.

    Distances run from pixel centre to pixel centre less half a pixel: the border lies between two pixels.
    """
    outside, inside = distance_px(tumour), distance_px(~tumour)
    outside -= 0.5
    np.subtract(0.5, inside, out=outside, where=tumour)
    outside *= np.float32(mpp)
    return outside


def border_profile(
    points: Points, tumour: Mask, window: Mask, grid: Grid, cfg: BorderConfig | None = None, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Density of `points` in bands of distance to the tumour border.

    Parameters
    ----------
    points : [n 2] (x, y) in microns. tumour, window : [h w] bool on `grid`; only what lies in the window counts.

    Returns
    -------
    One entry a band: from_um, to_um, n, area_mm2, density_per_mm2, low, high (None where the band is empty). Tumour
    around the window counts for the distances too. No entries where no tumour is in reach of the window.
    """
    cfg = cfg or BorderConfig()
    if not window.any():
        return []
    reach = math.ceil(max(map(abs, cfg.edges_um)) / grid.mpp) + 1
    part = extent(window)
    away = _distance_within(part, tumour, grid.mpp, reach)
    if not (window[part] & (away < cfg.edges_um[-1])).any():
        return []
    band = np.zeros_like(away, np.uint8)
    for edge in cfg.edges_um:  # as np.digitize, in an eighth of its memory
        band += (away >= edge).astype(np.uint8)
    band[~window[part]] = 0
    own = Grid(grid.mpp, band.shape[1], band.shape[0])
    x, y = points[:, 0] - part[1].start * grid.mpp, points[:, 1] - part[0].start * grid.mpp
    keep = (x >= 0) & (y >= 0) & (x < own.width_um) & (y < own.height_um)
    x, y = x[keep], y[keep]
    under = band[own.index(y), own.index(x)]
    how = IntervalConfig(n_draws=cfg.n_draws, n_origins=1)
    return [_band(k, x[under == k], y[under == k], band, own, cfg, how, seed) for k in range(1, len(cfg.edges_um))]


def _distance_within(part: tuple[slice, slice], tumour: Mask, mpp: float, reach: int) -> NDArray[np.float32]:
    """`signed_distance` of a part of the raster, right up to `reach` pixels wherever the border lies."""
    starts = [max(s.start - reach, 0) for s in part]
    grown = tuple(slice(a, s.stop + reach) for a, s in zip(starts, part, strict=True))
    inner = tuple(slice(s.start - a, s.stop - a) for a, s in zip(starts, part, strict=True))
    return signed_distance(tumour[grown], mpp)[inner]


def _band(
    k: int,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    band: NDArray[np.uint8],
    grid: Grid,
    cfg: BorderConfig,
    how: IntervalConfig,
    seed: int,
) -> dict[str, Any]:
    where = band == k
    area = int(where.sum()) * grid.pixel_mm2
    found = density_interval(x, y, None, where, grid, how, seed=seed)
    return {
        "from_um": cfg.edges_um[k - 1],
        "to_um": cfg.edges_um[k],
        "n": len(x),
        "area_mm2": area,
        "density_per_mm2": len(x) / area if area else None,
        "low": found.low,
        "high": found.high,
    }
