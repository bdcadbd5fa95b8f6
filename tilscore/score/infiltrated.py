"""The infiltrated area: stroma within a radius of a TIL, with the gaps that it encloses.

Discs are not painted pixel by pixel: each pixel takes the share that the nearest disc covers of it, so a single cell
has the area of its disc and not that of a few squares.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.masks import Mask
from tilscore.score.config import InfiltratedConfig
from tilscore.space import Grid, Window

Floats = NDArray[np.float64]
_SIDE_PX = 1600
"""Side of a window in fine pixels: 25 MB of work at a time, whatever the slide."""


def infiltrated(x_um: Floats, y_um: Floats, stroma: Mask, grid: Grid, cfg: InfiltratedConfig) -> tuple[float, Mask]:
    """Area of `stroma` [h w] on `grid` within `cfg.radius_um` of a point [n], gaps closed, in mm2; and the pixels
    [h w] that are covered by half or more."""
    map_px = np.zeros(stroma.shape, bool)
    if not len(x_um):
        return 0.0, map_px
    split = _split(grid.mpp, len(x_um))
    side = max(_SIDE_PX // split, 1)
    margin_px = int(np.ceil((cfg.max_gap_um + 2 * cfg.radius_um) / grid.mpp)) + 1
    order = np.argsort(y_um, kind="stable")
    x_um, y_um = np.asarray(x_um, np.float64)[order], np.asarray(y_um, np.float64)[order]
    total = 0.0
    for window in grid.window.split(side):
        part = stroma[window.slices]
        if not part.any():
            continue
        wide = window.grow(margin_px)
        box = wide.box
        rows = slice(*np.searchsorted(y_um, (box.y0, box.y1)))
        near = (x_um[rows] >= box.x0) & (x_um[rows] < box.x1)
        if near.any():
            covered = _covered(x_um[rows][near], y_um[rows][near], wide, split, cfg)
            inner = slice(margin_px * split, -margin_px * split)
            per_px = covered[inner, inner].reshape(part.shape[0], split, part.shape[1], split).sum((1, 3))
            total += float(per_px[part].sum())
            map_px[window.slices] = part & (per_px >= split**2 / 2)
    return total / split**2 * grid.pixel_mm2, map_px


def _split(mpp: float, n: int) -> int:
    """Fine pixels per side of a pixel: 0.5 um for few cells, whose edges do not average out, then 1 and 2 um."""
    return max(round(mpp / (0.5 if n < 300 else 1.0 if n < 3000 else 2.0)), 1)


def _covered(x_um: Floats, y_um: Floats, window: Window, split: int, cfg: InfiltratedConfig) -> NDArray[np.float32]:
    """[h * split, w * split] share of each fine pixel of `window` that is covered, 0 to 1."""
    fine_um = window.grid.mpp / split
    shape = window.h * split, window.w * split
    away = np.sqrt(_nearest_sq(x_um - window.box.x0, y_um - window.box.y0, shape, fine_um, cfg.radius_um))
    # The mean distance over a pixel is larger than that of its centre, by the curvature of the circle.
    away += fine_um**2 / 24 / np.maximum(away, np.float32(fine_um))
    out = np.clip((cfg.radius_um - away) / np.float32(fine_um) + np.float32(0.5), 0, 1)
    gaps = _gaps(out < 0.5, cfg, fine_um)
    if gaps.any():
        out[cv2.dilate(gaps.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)] = 1
    return np.asarray(out, np.float32)


def _nearest_sq(x: Floats, y: Floats, shape: tuple[int, int], fine_um: float, radius_um: float) -> NDArray[np.float32]:
    """[h w] squared distance of pixel centres to the nearest point, as far as its disc reaches; else large."""
    reach = int(np.ceil(radius_um / fine_um)) + 1
    height, width = shape[0] + 2 * reach, shape[1] + 2 * reach
    out = np.full(height * width, 4 * (radius_um + 2 * fine_um) ** 2, np.float32)
    col, row = np.floor(x / fine_um).astype(np.int64), np.floor(y / fine_um).astype(np.int64)
    inside = (col >= 0) & (col < shape[1]) & (row >= 0) & (row < shape[0])
    col, row, x, y = col[inside], row[inside], x[inside], y[inside]
    base = (row + reach) * width + col + reach
    fx = ((col + 0.5) * fine_um - x).astype(np.float32)
    fy = ((row + 0.5) * fine_um - y).astype(np.float32)
    for layer in _layers(base):
        at, dx0, dy0 = base[layer], fx[layer], fy[layer]
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                if (max(abs(dx) - 1, 0) ** 2 + max(abs(dy) - 1, 0) ** 2) * fine_um**2 > (radius_um + fine_um) ** 2:
                    continue
                to = at + (dy * width + dx)
                away = (dx0 + np.float32(dx * fine_um)) ** 2 + (dy0 + np.float32(dy * fine_um)) ** 2
                out[to] = np.minimum(out[to], away)
    return out.reshape(height, width)[reach:-reach, reach:-reach]


def _layers(base: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of points in groups in which no two lie in the same pixel, so that writing by index is safe."""
    order = np.argsort(base, kind="stable")
    same = np.r_[False, base[order][1:] == base[order][:-1]]
    start = np.maximum.accumulate(np.where(same, 0, np.arange(len(base))))
    rank = np.arange(len(base)) - start
    return [order[rank == k] for k in range(int(rank.max(initial=-1)) + 1)]


def _gaps(free: Mask, cfg: InfiltratedConfig, fine_um: float) -> Mask:
    """The enclosed gaps that are small enough to be closed. One that touches the border is larger than the window
    shows, or belongs to the window beside."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(free.astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] * fine_um**2 <= cfg.max_gap_um2
    small &= np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) * fine_um <= cfg.max_gap_um
    small[0] = False
    for edge in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        small[edge] = False
    return np.asarray(small[pieces])
