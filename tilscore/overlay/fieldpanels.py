"""Full-resolution fields with their cells drawn."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.labels import CELL_COLOURS, REGION_COLOURS, RGB, Cell, Region
from tilscore.overlay.draw import PAPER, Picture, cover_of, draw_scale_bar, outline, ring
from tilscore.overlay.views import Field
from tilscore.raster import Raster, in_mask
from tilscore.slide import Slide
from tilscore.space import Window

BED_LINE: RGB = (20, 20, 20)
"""Colour of the tumour bed's edge, on a white casing."""


@dataclass(frozen=True)
class FieldPanel:
    """A full-resolution field, without and with cells, both [h w 3] uint8."""

    number: int
    field: Field
    plain: Picture
    drawn: Picture
    n_cells: dict[Cell, int]


@dataclass(frozen=True)
class Maps:
    """What is drawn; masks lie on the grid of `regions`."""

    cells: Cells
    regions: Raster
    tissue: Raster
    bed: NDArray[np.bool_] | None
    """[h w] bool: the tumour bed; None if there is none."""
    stroma: NDArray[np.bool_]
    """[h w] bool: evaluable stroma."""
    left_out: NDArray[np.bool_] | None = None
    """[h w] bool: what was drawn as not to be scored."""
    given: NDArray[np.bool_] | None = None
    """[h w] bool: the area that was drawn to be scored, tissue or not."""
    tls: NDArray[np.bool_] | None = None
    """[h w] bool: what was drawn as lymphoid aggregate, stroma or not."""


def draw_field(number: int, shown: Field, slide: Slide, maps: Maps, *, side_px: int, radius_um: float) -> FieldPanel:
    """Read one field at the resolution that fills `side_px`, and draw it; cell circles of at most `radius_um`."""
    grid = slide.level0.at(shown.box.width_um / side_px)
    x, y = (round(float(v)) for v in grid.to_px([shown.box.x0, shown.box.y0]))
    window = Window(grid, x, y, side_px, side_px)
    plain = slide.read(window).copy()
    drawn = plain.copy()
    edges = [(maps.regions.mask(Region.TUMOUR), REGION_COLOURS[Region.TUMOUR])]
    edges += [] if maps.bed is None else [(maps.bed, BED_LINE)]
    for mask, colour in edges:
        cover = cover_of(mask, maps.regions.grid, window)
        smooth = cv2.GaussianBlur(cover, (0, 0), maps.regions.grid.mpp / grid.mpp / 2)
        outline(drawn, np.asarray(smooth, np.float32), colour, 2, casing=PAPER)
    inside = shown.box.contains(maps.cells.x_um, maps.cells.y_um)
    near = maps.cells[window.box.grow(radius_um).contains(maps.cells.x_um, maps.cells.y_um)]
    counted = in_mask(maps.stroma, maps.regions.grid, near.x_um, near.y_um)
    draw_cells(drawn, near, counted, window, _radius_um(near, radius_um))
    for picture in (plain, drawn):
        draw_scale_bar(picture, grid.mpp)
    counts = {c: int(((maps.cells.label == c) & inside).sum()) for c in Cell}
    return FieldPanel(number, shown, plain, drawn, counts)


def _radius_um(cells: Cells, largest_um: float) -> float:
    """A radius at which most circles do not touch: half the median distance to the next cell, at least 2 um."""
    from scipy.spatial import cKDTree

    if len(cells) < 2:
        return largest_um
    points = np.column_stack([cells.x_um, cells.y_um])
    near_um = float(np.median(cKDTree(points).query(points, k=2)[0][:, 1]))
    return min(max(near_um / 2, 2.0), largest_um)


def draw_cells(picture: Picture, cells: Cells, in_stroma: NDArray[np.bool_], window: Window, radius_um: float) -> None:
    """Circle each cell in its class's colour, in place; TILs that count ([n] bool `in_stroma`) get a dot.

    `picture` shows `window`; cells outside it are clipped.
    """
    x_px = window.grid.to_px(cells.x_um) - window.x
    y_px = window.grid.to_px(cells.y_um) - window.y
    radius = radius_um / window.grid.mpp
    line = 2 if radius >= 7 else 1
    order = np.argsort(cells.label == Cell.INFLAMMATORY, kind="stable")
    for i in order:
        label = Cell(int(cells.label[i]))
        dot = label == Cell.INFLAMMATORY and bool(in_stroma[i])
        ring(picture, float(x_px[i]), float(y_px[i]), radius, CELL_COLOURS[label], line, dot)
