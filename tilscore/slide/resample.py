"""Position-consistent resampling: a pixel's value depends on where it lies, not on the window it is read through.

From level pixels to a coarser grid: first the mean of `factor x factor` level pixels, aligned to the level's
origin, then bilinear interpolation at the centres of the wanted pixels. Positions are rounded to 1/32 px in
absolute coordinates, so two windows that share a pixel compute it from the same integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.space import Grid

_STEPS = 32
"""Sub-pixel positions of `cv2.remap` with fixed-point maps."""
_STRIP_PX = 64
"""Rows that are interpolated at once, so that the maps stay in the processor's cache."""
_EPS = 1e-9


@dataclass(frozen=True)
class Axis:
    """How the pixels of one axis are computed from level pixels.

    Parameters
    ----------
    factor : level pixels averaged into one cell.
    positions : [n] int64, centres of the wanted pixels in cells, times 32, in absolute coordinates.
    first, last : cells that are needed, both included, inside the level.
    level_start, level_stop : level pixels to be read; the last cell may reach beyond the level and is then
        completed with its outermost pixels.
    """

    factor: int
    positions: NDArray[np.int64]
    first: int
    last: int
    level_start: int
    level_stop: int

    @property
    def exact(self) -> bool:
        """Whether every wanted pixel is one cell, so that nothing is interpolated."""
        return bool((self.positions % _STEPS == 0).all()) and len(self.positions) == self.last - self.first + 1


def choose_level(levels: tuple[Grid, ...], mpp: float) -> int:
    """The coarsest level that is at least as fine as `mpp` (1 % slack), else level 0."""
    fine = [i for i, level in enumerate(levels) if level.mpp <= mpp * 1.01]
    return max(fine, key=lambda i: levels[i].mpp) if fine else 0


def plan_axis(level_mpp: float, level_px: int, mpp: float, start: int, n: int) -> Axis:
    """How to compute pixels `start .. start + n` of a grid of `mpp` from a level of `level_px` pixels."""
    scale = mpp / level_mpp
    factor = max(1, round(scale - _EPS))
    n_cells = -(-level_px // factor)
    centres = (np.arange(start, start + n) + 0.5) * (scale / factor) - 0.5
    positions = np.rint(centres * _STEPS + _EPS).astype(np.int64)
    positions = np.clip(positions, 0, (n_cells - 1) * _STEPS)
    first, last = int(positions[0]) // _STEPS, -(-int(positions[-1]) // _STEPS)
    return Axis(factor, positions, first, last, first * factor, min((last + 1) * factor, level_px))


def resample(pixels: NDArray[np.uint8], x: Axis, y: Axis) -> NDArray[np.uint8]:
    """Wanted pixels [h w 3] from the level pixels [y.level_start:y.level_stop x.level_start:x.level_stop 3]."""
    cells = _means(pixels, x, y)
    if x.exact and y.exact:
        return cells
    columns, rows = x.positions - x.first * _STEPS, y.positions - y.first * _STEPS
    out = np.empty((len(rows), len(columns), 3), np.uint8)
    whole = np.empty((_STRIP_PX, len(columns), 2), np.int16)
    whole[..., 0] = columns // _STEPS
    part_x = (columns % _STEPS).astype(np.uint16)
    for top in range(0, len(rows), _STRIP_PX):
        strip = rows[top : top + _STRIP_PX, None]
        n = len(strip)
        whole[:n, :, 1] = strip // _STEPS
        part = (strip % _STEPS * _STEPS).astype(np.uint16) + part_x
        cv2.remap(cells, whole[:n], part, cv2.INTER_LINEAR, dst=out[top : top + n], borderMode=cv2.BORDER_REPLICATE)
    return out


def _means(pixels: NDArray[np.uint8], x: Axis, y: Axis) -> NDArray[np.uint8]:
    if x.factor == 1 and y.factor == 1:
        return pixels
    n_columns, n_rows = x.last - x.first + 1, y.last - y.first + 1
    missing = (n_rows * y.factor - pixels.shape[0], n_columns * x.factor - pixels.shape[1])
    if any(missing):
        pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return np.asarray(cv2.resize(pixels, (n_columns, n_rows), interpolation=cv2.INTER_AREA), np.uint8)
