"""The account of a slide: how its area and its cells divide."""

from __future__ import annotations

from dataclasses import dataclass

from tilscore.labels import Area, Cell, Region
from tilscore.overlay.fieldpanels import Maps
from tilscore.raster import Raster, in_mask
from tilscore.space import Grid

REGIONS = (Region.TUMOUR, Region.STROMA, Region.NECROSIS, Region.FAT, Region.OTHER)
"""Regions in the order in which they are shown."""


@dataclass(frozen=True)
class AreaRow:
    """One line of the area account, in mm2; `bed_mm2` is the part in the tumour bed, None without a bed."""

    name: str
    mm2: float
    bed_mm2: float | None = None


@dataclass(frozen=True)
class CellRow:
    """Cells of one class: how many in each region, and how many in evaluable stroma."""

    cell: Cell
    n_in: dict[Region, int]
    n_evaluable: int


def slide_areas(tissue: Raster, level0: Grid) -> tuple[AreaRow, ...]:
    """All of the slide, glass, exclusions, sound tissue: the parts sum to the first line."""
    names = {Area.PEN: "Pen", Area.BLUR: "Blur", Area.FOLD: "Fold", Area.TISSUE: "Sound tissue"}
    rows = [AreaRow(name, tissue.area_mm2(area)) for area, name in names.items()]
    whole = level0.box.area_mm2
    return (AreaRow("Slide", whole), AreaRow("Glass", max(whole - sum(r.mm2 for r in rows), 0.0)), *rows)


def region_areas(maps: Maps) -> tuple[AreaRow, ...]:
    """The regions of the sound tissue, in the order of `REGIONS`."""
    grid, bed = maps.regions.grid, maps.bed
    sound = maps.tissue.on(grid).mask(Area.TISSUE)
    rows = []
    for region in REGIONS:
        mask = maps.regions.mask(region) & sound
        in_bed = None if bed is None else int((mask & bed).sum()) * grid.pixel_mm2
        rows.append(AreaRow(region.name.capitalize(), int(mask.sum()) * grid.pixel_mm2, in_bed))
    return tuple(rows)


def cell_rows(maps: Maps) -> tuple[CellRow, ...]:
    """Cells per class and region; every cell is in one region."""
    cells = maps.cells
    region = maps.regions.sample(cells.x_um, cells.y_um)
    counts = in_mask(maps.stroma, maps.regions.grid, cells.x_um, cells.y_um)
    return tuple(
        CellRow(
            c,
            {r: int(((cells.label == c) & (region == r)).sum()) for r in REGIONS},
            int(((cells.label == c) & counts).sum()),
        )
        for c in Cell
    )
