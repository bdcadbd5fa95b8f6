"""The plan of a phantom slide: regions and all nuclei, before any pixel is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.labels import Area, Cell
from tilscore.phantom.artefacts import Artefacts, make_artefacts
from tilscore.phantom.config import PhantomConfig
from tilscore.phantom.fields import Fields, make_fields, regions_from
from tilscore.phantom.nuclei import LABEL, Bank, Kind, make_bank
from tilscore.phantom.place import Floats, Nuclei
from tilscore.phantom.populate import populate
from tilscore.raster import Raster
from tilscore.space import Grid

REGION_MPP = 4.0
"""Microns per pixel of the true region map, the same as `infer` writes."""
_N_LOOKS = 4
"""Banks of stamps and textures; slides share them, so that many small tiles are quick to draw."""
_REGION_FIELDS = ("tissue", "tumour", "fat", "necrosis", "lumen", "pen", "focus")


@dataclass(frozen=True, eq=False)
class Phantom:
    """A slide of known truth.

    Parameters
    ----------
    grid : level 0.
    fields : regions, fibres and artefacts as smooth fields.
    regions : values of `labels.Region` at `REGION_MPP`.
    areas : values of `labels.Area` at `REGION_MPP`; pen and blur lie over tissue and glass.
    tissue : [h w] bool on the same grid: what is not glass, whatever covers it.
    bank : shapes of the nuclei.
    nuclei : all nuclei that count.
    litter : debris and capillaries, which do not.
    adipocytes_um : [n 2] x, y of the fat cells' centres.
    artefacts : pen strokes and the patch out of focus.
    """

    cfg: PhantomConfig
    grid: Grid
    fields: Fields
    regions: Raster
    areas: Raster
    tissue: NDArray[np.bool_]
    bank: Bank
    nuclei: Nuclei
    litter: Nuclei
    adipocytes_um: Floats
    artefacts: Artefacts

    @property
    def look(self) -> int:
        """Seed of the stamps and textures."""
        return self.cfg.seed % _N_LOOKS

    def cells(self) -> Cells:
        """The nuclei as a table, with the region under each centre."""
        label = _labels(self.bank)[self.nuclei.variant]
        x, y = self.nuclei.x_um, self.nuclei.y_um
        return Cells(x, y, label, np.ones(len(x), np.float32), self.regions.sample(x, y))


def _labels(bank: Bank) -> NDArray[np.uint8]:
    """[n] class of each variant."""
    return np.array([LABEL.get(Kind(k), Cell.OTHER) for k in bank.kind], np.uint8)


def make_phantom(cfg: PhantomConfig) -> Phantom:
    """Plan a slide: regions and nuclei of known place, no image yet.

    Raises
    ------
    ValueError : there is no room for the TILs asked for.
    """
    grid = Grid.covering(1000 * cfg.size_mm[0], 1000 * cfg.size_mm[1], cfg.mpp)
    fields = make_fields(cfg)
    artefacts = make_artefacts(cfg, fields)
    regions, areas, tissue = _maps(fields, grid.at(REGION_MPP))
    bank = make_bank(cfg.seed % _N_LOOKS)
    nuclei, litter, adipocytes = populate(cfg, regions, fields, bank)
    return Phantom(cfg, grid, fields, regions, areas, tissue, bank, nuclei, litter, adipocytes, artefacts)


def _maps(fields: Fields, grid: Grid) -> tuple[Raster, Raster, NDArray[np.bool_]]:
    """Regions, areas and tissue on `grid`, in blocks."""
    regions, areas = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    tissue = np.zeros(grid.shape, bool)
    for window in grid.window.split(512):
        y = grid.to_um(np.arange(window.y, window.y + window.h) + 0.5)
        x = grid.to_um(np.arange(window.x, window.x + window.w) + 0.5)
        values = fields.at(y, x, _REGION_FIELDS)
        regions[window.slices] = regions_from(values)
        tissue[window.slices] = values["tissue"] > 0
        area = np.where(values["tissue"] > 0, Area.TISSUE, Area.GLASS).astype(np.uint8)
        area[values["focus"] > 0] = Area.BLUR
        area[values["pen"] > 0] = Area.PEN
        areas[window.slices] = area
    return Raster(regions, grid), Raster(areas, grid), tissue
