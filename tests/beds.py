"""Small slides of known regions and cells."""

from __future__ import annotations

import numpy as np

from tilscore.cells import Cells
from tilscore.labels import Area, Cell, Region
from tilscore.raster import Raster
from tilscore.score import Score, score_with_parts
from tilscore.space import Grid

GRID = Grid(4.0, 500, 400)
"""2 x 1.6 mm."""


def maps(region: int = Region.STROMA, grid: Grid = GRID) -> tuple[Raster, Raster]:
    """All one region, all sound tissue."""
    coarse = grid.at(8.0)
    return (
        Raster(np.full(grid.shape, region, np.uint8), grid),
        Raster(np.full(coarse.shape, Area.TISSUE, np.uint8), coarse),
    )


def away(x_um: float, y_um: float, grid: Grid = GRID) -> np.ndarray:
    """Distance of each pixel from a place, um."""
    y, x = np.mgrid[: grid.height_px, : grid.width_px]
    return np.hypot((x + 0.5) * grid.mpp - x_um, (y + 0.5) * grid.mpp - y_um)


def with_nest(radius_um: float = 200, grid: Grid = GRID) -> tuple[Raster, Raster]:
    """A round nest in the middle of stroma."""
    regions, tissue = maps(grid=grid)
    regions.values[away(grid.width_um / 2, grid.height_um / 2, grid) <= radius_um] = Region.TUMOUR
    return regions, tissue


def tils(x: object, y: object, label: Cell = Cell.INFLAMMATORY) -> Cells:
    x = np.asarray(x, float)
    return Cells(x, np.asarray(y, float), np.full(len(x), label), np.ones(len(x)))


def spread(n: int = 600, seed: int = 0) -> Cells:
    rng = np.random.default_rng(seed)
    return tils(rng.uniform(0, 2000, n), rng.uniform(0, 1600, n))


def line(score: Score, part: str) -> dict:
    return next(row for row in score.account if row["part"] == part)


def score_slide(*args: object, **options: object) -> Score:
    """`score_with_parts` without its parts."""
    return score_with_parts(*args, **options).score  # type: ignore[arg-type]
