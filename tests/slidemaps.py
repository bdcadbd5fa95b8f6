"""Cells at given places and maps of one class, for tests of what is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.labels import Area, Cell, Region
from tilscore.raster import Raster
from tilscore.space import Grid


def cells_at(points: NDArray[np.floating], label: Cell = Cell.INFLAMMATORY, prob: float = 0.9) -> Cells:
    n = len(points)
    return Cells(points[:, 0], points[:, 1], np.full(n, label), np.full(n, prob))


def lattice(x0: float, y0: float, x1: float, y1: float, step: float) -> NDArray[np.float64]:
    x, y = np.meshgrid(np.arange(x0 + step / 2, x1, step), np.arange(y0 + step / 2, y1, step))
    return np.column_stack([x.ravel(), y.ravel()])


def maps(level0: Grid, region: Region = Region.STROMA, area: Area = Area.TISSUE) -> tuple[Raster, Raster]:
    g4, g8 = level0.at(4.0), level0.at(8.0)
    return Raster(np.full(g4.shape, region, np.uint8), g4), Raster(np.full(g8.shape, area, np.uint8), g8)
