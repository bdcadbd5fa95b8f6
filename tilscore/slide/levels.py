"""Which levels of a file are the same picture, and on which grids they lie."""

from __future__ import annotations

import math
from pathlib import Path

from tilscore.errors import SlideError
from tilscore.space import Grid

LONGEST_SIDE_PX = 1_000_000
"""Larger slides do not exist (0.1 um/px on a whole glass slide is 750,000 px)."""


def level_grids(path: Path, sizes: tuple[tuple[int, int], ...], mpp: float) -> tuple[tuple[int, ...], tuple[Grid, ...]]:
    """The reader's numbers of the usable levels, and their grids."""
    width, height = sizes[0]
    if not (0 < width <= LONGEST_SIDE_PX and 0 < height <= LONGEST_SIDE_PX):
        raise SlideError(f"size is not between 1 and {LONGEST_SIDE_PX} px", where=path, found=f"{width} x {height}")
    factors = [_factor(sizes[0], size) for size in sizes]
    kept = [(i, Grid(mpp * factor, *sizes[i])) for i, factor in enumerate(factors) if factor is not None]
    return tuple(i for i, _ in kept), tuple(grid for _, grid in kept)


def _factor(base: tuple[int, int], size: tuple[int, int]) -> float | None:
    """Level-0 pixels per pixel of a level; None where the sizes cannot be of the same picture.

    Pyramids drop or pad the last partial pixel, so a ratio that rounding explains is taken as the whole number.
    """
    if min(size) < 1 or size[0] > base[0] or size[1] > base[1]:
        return None
    across, down = base[0] / size[0], base[1] / size[1]
    mean = (across + down) / 2
    for factor in (float(round(mean)), mean):
        if all(abs(b / factor - s) < 1 for b, s in zip(base, size, strict=True)):
            return factor
    return mean if math.isclose(across, down, rel_tol=0.01) else None
