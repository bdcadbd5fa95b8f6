"""A class map on the slide: one uint8 value per pixel of a grid that starts at the slide's origin."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilscore.errors import DataError
from tilscore.pyramid import read_level0, write_pyramid
from tilscore.space import Grid

MADE_BY = {"tissue.tif": "tissue", "regions.tif": "infer", "parts.tif": "score"}
"""The verb that makes each class map of a slide."""


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


def in_mask(mask: NDArray[np.bool_], grid: Grid, x_um: ArrayLike, y_um: ArrayLike) -> NDArray[np.bool_]:
    """[n] bool: which points lie in `mask` [h w] of `grid`; those outside the grid do not."""
    return Raster(mask.astype(np.uint8), grid).sample(x_um, y_um) > 0


def fill_polygons(grid: Grid, polygons_um: list[list[NDArray[np.float64]]]) -> NDArray[np.bool_]:
    """Which pixels of `grid` have their centre in any polygon; of two polygons that abut, one has each pixel.

    Parameters
    ----------
    polygons_um : each polygon a list of rings [n 2] (x, y in microns), the first the outline, the others holes.

    Returns
    -------
    [h w] bool.
    """
    out = np.zeros(grid.shape, bool)
    height, width = grid.shape
    for rings in polygons_um:
        in_px = [grid.to_px(ring) - 0.5 for ring in rings]  # pixel centres are whole numbers
        outline = in_px[0]
        (x0, y0), (x1, y1) = np.ceil(outline.min(0)).astype(int), np.ceil(outline.max(0)).astype(int)
        rows, columns = slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width))
        if rows.start < rows.stop and columns.start < columns.stop:
            out[rows, columns] |= _filled(in_px, rows, columns)
    return out


def _filled(rings: list[NDArray[np.float64]], rows: slice, columns: slice) -> NDArray[np.bool_]:
    """Pixels of a part of the grid with an odd number of crossings of the rings to their left; rings in pixels."""
    starts = np.concatenate(rings)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    upper, lower = np.where(starts[:, 1:] <= ends[:, 1:], (starts, ends), (ends, starts))
    first = np.clip(np.ceil(upper[:, 1]), rows.start, rows.stop).astype(np.int64)
    n_rows = np.clip(np.ceil(lower[:, 1]), rows.start, rows.stop).astype(np.int64) - first
    edge = np.repeat(np.arange(len(upper)), n_rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first[edge]
    (x, y), (dx, dy) = upper[edge].T, (lower - upper)[edge].T
    column = np.clip(np.ceil(x + (row - y) * dx / dy), columns.start, columns.stop).astype(np.int64)
    crossings = np.zeros((rows.stop - rows.start, columns.stop - columns.start + 1), np.int32)
    np.add.at(crossings, (row - rows.start, column - columns.start), 1)
    return np.asarray(crossings[:, :-1].cumsum(axis=1) % 2 == 1)


def write_raster(path: Path, raster: Raster, names: type[IntEnum]) -> None:
    """Write a pyramidal, losslessly compressed TIFF with its mpp, which OpenSlide and QuPath open."""
    description = ", ".join(f"{int(v)} {v.name.lower()}" for v in names)
    tile = 256
    height, width = raster.grid.shape
    blocks = (raster.values[y : y + tile, x : x + tile] for y in range(0, height, tile) for x in range(0, width, tile))
    write_pyramid(path, raster.grid, blocks, compression="deflate", tile_px=tile, description=description)


def read_raster(path: Path | str) -> Raster:
    """Read a class map written by `write_raster`.

    Raises
    ------
    DataError : no such file, with the verb that makes it, or not a class map with a resolution.
    """
    path = Path(path)
    try:
        values, mpp = read_level0(path)
        return Raster(values, Grid(mpp, values.shape[1], values.shape[0]))
    except FileNotFoundError as err:
        verb = MADE_BY.get(path.name)
        do = None if verb is None else f"run `tilscore {verb}` first"
        raise DataError("class map is not there", where=path, do=do) from err
    except (OSError, ValueError) as err:
        raise DataError("is not a class map", where=path, found=err, do="run the stage that writes it") from err
