"""Small slides of known regions and cells."""

from __future__ import annotations

import numpy as np

from tilscore.cells import Cells
from tilscore.labels import Region
from tilscore.raster import Raster
from tilscore.score import (
    Score,
)
from tilscore.space import Grid

GRID = Grid(4.0, 500, 400)
"""2 x 1.6 mm."""


def maps(region: int = Region.STROMA) -> tuple[Raster, Raster]:
    coarse = GRID.at(8.0)
    return Raster(np.full(GRID.shape, region, np.uint8), GRID), Raster(np.ones(coarse.shape, np.uint8), coarse)


def away(x_um: float, y_um: float) -> np.ndarray:
    y, x = np.mgrid[: GRID.height_px, : GRID.width_px]
    return np.hypot((x + 0.5) * 4 - x_um, (y + 0.5) * 4 - y_um)


def with_nest(radius_um: float = 200) -> tuple[Raster, Raster]:
    regions, tissue = maps()
    regions.values[away(1000, 800) <= radius_um] = Region.TUMOUR
    return regions, tissue


def tils(x: object, y: object) -> Cells:
    x = np.asarray(x, float)
    return Cells(x, np.asarray(y, float), np.zeros(len(x)), np.ones(len(x)))


def spread(n: int = 600, seed: int = 0) -> Cells:
    rng = np.random.default_rng(seed)
    return tils(rng.uniform(0, 2000, n), rng.uniform(0, 1600, n))


def line(score: Score, part: str) -> dict:
    return next(row for row in score.account if row["part"] == part)
