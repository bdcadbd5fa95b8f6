"""A class map on the slide: one uint8 value per pixel of a grid that starts at the slide's origin."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilscore.errors import DataError
from tilscore.pyramid import read_level0, write_pyramid
from tilscore.space import Grid


@dataclass(frozen=True)
class Raster:
    """Class values over the slide.

    Parameters
    ----------
    values : [h w] uint8, e.g. values of `labels.Region` or `labels.Area`.
    grid : where the pixels lie; `grid.shape == values.shape`.
    """

    values: NDArray[np.uint8]
    grid: Grid

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape or self.values.dtype != np.uint8:
            raise ValueError(f"a raster needs uint8 {self.grid.shape}, found {self.values.dtype} {self.values.shape}")

    def sample(self, x_um: ArrayLike, y_um: ArrayLike) -> NDArray[np.uint8]:
        """Value of the pixel that covers each point; 0 outside the grid."""
        x, y = self.grid.index(x_um), self.grid.index(y_um)
        height, width = self.grid.shape
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        out = np.zeros(x.shape, np.uint8)
        out[inside] = self.values[y[inside], x[inside]]
        return out

    def on(self, grid: Grid) -> Raster:
        """The same map on another grid: the value under each pixel centre, 0 outside."""
        if grid == self.grid:
            return self
        scale = grid.mpp / self.grid.mpp
        rows = np.floor((np.arange(grid.height_px) + 0.5) * scale).astype(np.int64)
        cols = np.floor((np.arange(grid.width_px) + 0.5) * scale).astype(np.int64)
        out = np.zeros(grid.shape, np.uint8)
        n_rows, n_cols = int((rows < self.grid.height_px).sum()), int((cols < self.grid.width_px).sum())
        out[:n_rows, :n_cols] = self.values[rows[:n_rows, None], cols[None, :n_cols]]
        return Raster(out, grid)

    def mask(self, *values: int) -> NDArray[np.bool_]:
        """[h w] bool: where the map has one of `values`."""
        return np.isin(self.values, values)

    def area_mm2(self, *values: int) -> float:
        """Area with one of `values`, in mm2."""
        return int(self.mask(*values).sum()) * self.grid.pixel_mm2


def fill_polygons(grid: Grid, polygons_um: list[list[NDArray[np.float64]]]) -> NDArray[np.bool_]:
    """Which pixels of `grid` lie in any polygon.

    Parameters
    ----------
    polygons_um : each polygon a list of rings [n 2] (x, y in microns), the first the outline, the others holes.

    Returns
    -------
    [h w] bool.
    """
    shift = 4
    out = np.zeros(grid.shape, np.uint8)
    for rings in polygons_um:
        one = np.zeros(grid.shape, np.uint8)
        points = [np.round((grid.to_px(r) - 0.5) * (1 << shift)).astype(np.int32) for r in rings]
        cv2.fillPoly(one, points[:1], 1, shift=shift)
        if points[1:]:
            cv2.fillPoly(one, points[1:], 0, shift=shift)
        out |= one
    return out.astype(bool)


def write_raster(path: Path, raster: Raster, names: type[IntEnum]) -> None:
    """Write a pyramidal, losslessly compressed TIFF with its mpp, which OpenSlide and QuPath open."""
    description = ", ".join(f"{int(v)} {v.name.lower()}" for v in names)
    tile = 256
    height, width = raster.grid.shape
    blocks = (raster.values[y : y + tile, x : x + tile] for y in range(0, height, tile) for x in range(0, width, tile))
    write_pyramid(path, raster.grid, blocks, compression="deflate", tile_px=tile, description=description)


def read_raster(path: Path) -> Raster:
    """Read a class map written by `write_raster`.

    Raises
    ------
    DataError : no such file, or not a class map with a resolution.
    """
    try:
        values, mpp = read_level0(path)
        return Raster(values, Grid(mpp, values.shape[1], values.shape[0]))
    except (OSError, ValueError) as err:
        raise DataError("is not a class map", where=path, found=err, do="run the stage that writes it") from err
