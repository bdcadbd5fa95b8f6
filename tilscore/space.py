"""Slide geometry: microns are stored, pixels belong to a grid, and this file alone converts.

The frame of every coordinate is the slide: origin at the top left corner of level 0, x to the right, y down,
in microns. Pixel `i` of a grid covers `[i * mpp, (i + 1) * mpp)`; its centre lies at `(i + 0.5) * mpp`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_EPS_PX = 1e-6
"""Slack for rounding: a box edge this close to a pixel edge lies on it."""


@dataclass(frozen=True, slots=True)
class BoxUm:
    """A rectangle on the slide, in microns: `x0 <= x < x1`, `y0 <= y < y1`."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (self.x0 <= self.x1 and self.y0 <= self.y1):
            raise ValueError(f"a box needs x0 <= x1 and y0 <= y1, found {self}")

    @property
    def width_um(self) -> float:
        return self.x1 - self.x0

    @property
    def height_um(self) -> float:
        return self.y1 - self.y0

    @property
    def area_mm2(self) -> float:
        return self.width_um * self.height_um / 1e6

    def grow(self, margin_um: float) -> BoxUm:
        """The box with `margin_um` more on each side."""
        return BoxUm(self.x0 - margin_um, self.y0 - margin_um, self.x1 + margin_um, self.y1 + margin_um)

    def moved(self, x_um: float, y_um: float) -> BoxUm:
        """The box further to the right and down."""
        return BoxUm(self.x0 + x_um, self.y0 + y_um, self.x1 + x_um, self.y1 + y_um)

    def contains(self, x_um: NDArray[np.floating], y_um: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which points lie inside, the left and top edges included; shape as the input."""
        return (x_um >= self.x0) & (x_um < self.x1) & (y_um >= self.y0) & (y_um < self.y1)


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular pixel grid over the slide, anchored at the slide's origin.

    Parameters
    ----------
    mpp : microns per pixel, the same in x and y.
    width_px, height_px : size in pixels.
    """

    mpp: float
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mpp) and self.mpp > 0):
            raise ValueError(f"a grid needs a positive mpp, found {self.mpp}")
        if self.width_px < 0 or self.height_px < 0:
            raise ValueError(f"a grid needs a size of at least 0, found {self.width_px} x {self.height_px}")

    @classmethod
    def covering(cls, width_um: float, height_um: float, mpp: float) -> Grid:
        """The smallest grid of `mpp` that covers a slide of this size."""
        return cls(mpp, math.ceil(width_um / mpp - _EPS_PX), math.ceil(height_um / mpp - _EPS_PX))

    def at(self, mpp: float) -> Grid:
        """The grid of another resolution over the same slide."""
        return Grid.covering(self.width_um, self.height_um, mpp)

    @property
    def width_um(self) -> float:
        return self.width_px * self.mpp

    @property
    def height_um(self) -> float:
        return self.height_px * self.mpp

    @property
    def shape(self) -> tuple[int, int]:
        """`(height_px, width_px)`: the shape of an array on this grid."""
        return self.height_px, self.width_px

    @property
    def pixel_mm2(self) -> float:
        """Area of one pixel in mm2."""
        return self.mpp * self.mpp / 1e6

    @property
    def box(self) -> BoxUm:
        return BoxUm(0.0, 0.0, self.width_um, self.height_um)

    @property
    def window(self) -> Window:
        """The whole grid."""
        return Window(self, 0, 0, self.width_px, self.height_px)

    def to_um(self, px: ArrayLike) -> NDArray[np.float64]:
        """Continuous pixel coordinates (0 = left or top edge of pixel 0) to microns."""
        return np.asarray(px, dtype=np.float64) * self.mpp

    def to_px(self, um: ArrayLike) -> NDArray[np.float64]:
        """Microns to continuous pixel coordinates (0 = left or top edge of pixel 0)."""
        return np.asarray(um, dtype=np.float64) / self.mpp

    def index(self, um: ArrayLike) -> NDArray[np.int64]:
        """Index of the pixel that covers each coordinate; may lie outside the grid."""
        return np.floor(self.to_px(um) + _EPS_PX).astype(np.int64)

    def centres_in(self, box: BoxUm) -> NDArray[np.bool_]:
        """[h w] bool: pixels whose centre lies in `box`; at an edge, those that are covered by half or more."""
        x, y = (self.to_um(np.arange(n) + 0.5) for n in (self.width_px, self.height_px))
        return ((y >= box.y0) & (y <= box.y1))[:, None] & ((x >= box.x0) & (x <= box.x1))

    def covering_window(self, box: BoxUm) -> Window:
        """The smallest window that covers `box`; may reach outside the grid."""
        x0, y0 = math.floor(box.x0 / self.mpp + _EPS_PX), math.floor(box.y0 / self.mpp + _EPS_PX)
        x1, y1 = math.ceil(box.x1 / self.mpp - _EPS_PX), math.ceil(box.y1 / self.mpp - _EPS_PX)
        return Window(self, x0, y0, max(x1 - x0, 0), max(y1 - y0, 0))


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels of one grid; may reach outside it."""

    grid: Grid
    x: int
    y: int
    w: int
    h: int

    def __post_init__(self) -> None:
        if self.w < 0 or self.h < 0:
            raise ValueError(f"a window needs a size of at least 0, found {self.w} x {self.h}")

    @property
    def shape(self) -> tuple[int, int]:
        """`(h, w)`: the shape of an array in this window."""
        return self.h, self.w

    @property
    def box(self) -> BoxUm:
        mpp = self.grid.mpp
        return BoxUm(self.x * mpp, self.y * mpp, (self.x + self.w) * mpp, (self.y + self.h) * mpp)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the part inside the grid."""
        inside = self.clip()
        return slice(inside.y, inside.y + inside.h), slice(inside.x, inside.x + inside.w)

    def grow(self, margin_px: int) -> Window:
        """The window with `margin_px` more on each side."""
        return Window(self.grid, self.x - margin_px, self.y - margin_px, self.w + 2 * margin_px, self.h + 2 * margin_px)

    def clip(self) -> Window:
        """The part inside the grid."""
        x0, y0 = min(max(self.x, 0), self.grid.width_px), min(max(self.y, 0), self.grid.height_px)
        x1 = min(max(self.x + self.w, x0), self.grid.width_px)
        y1 = min(max(self.y + self.h, y0), self.grid.height_px)
        return Window(self.grid, x0, y0, x1 - x0, y1 - y0)

    def overlap(self, other: Window) -> Window:
        """What this window shares with another of its grid; of size 0 where they lie apart."""
        x0, y0 = max(self.x, other.x), max(self.y, other.y)
        x1, y1 = min(self.x + self.w, other.x + other.w), min(self.y + self.h, other.y + other.h)
        return Window(self.grid, x0, y0, max(x1 - x0, 0), max(y1 - y0, 0))

    def split(self, size_px: int) -> Iterator[Window]:
        """Windows of at most `size_px` that partition this one, row by row."""
        for y in range(self.y, self.y + self.h, size_px):
            for x in range(self.x, self.x + self.w, size_px):
                yield Window(self.grid, x, y, min(size_px, self.x + self.w - x), min(size_px, self.y + self.h - y))
