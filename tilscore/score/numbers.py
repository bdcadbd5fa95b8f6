"""The numbers of a slide, from its cells and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.labels import Cell
from tilscore.masks import Mask, box_of, distance_px
from tilscore.raster import Raster
from tilscore.score.calibration import read_calibration
from tilscore.score.compat import area_pct, compat_numbers
from tilscore.score.config import ScoreConfig
from tilscore.score.infiltrated import infiltrated
from tilscore.score.parts import Part, Parts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tils:
    """Inflammatory cells of a slide, and the part that each lies in.

    Parameters
    ----------
    x_um, y_um, prob : [n]. part : [n] uint8 of `Part`.
    area_um2 : [n] measured areas; None where cells carry none.
    """

    x_um: Floats
    y_um: Floats
    prob: Floats
    part: NDArray[np.uint8]
    area_um2: Floats | None = None

    @classmethod
    def of(cls, found: Cells, parts: Parts, area_um2: Floats | None = None) -> Tils:
        """`found`: inflammatory cells that count."""
        x, y, prob = (np.asarray(v, np.float64) for v in (found.x_um, found.y_um, found.prob))
        return cls(x, y, prob, parts.raster.sample(found.x_um, found.y_um), area_um2)

    def within(self, keep: Mask) -> Tils:
        """Some of the cells."""
        area = None if self.area_um2 is None else self.area_um2[keep]
        return Tils(self.x_um[keep], self.y_um[keep], self.prob[keep], self.part[keep], area)

    def of_part(self, *parts: Part) -> Tils:
        """The cells of some parts."""
        return self.within(np.isin(self.part, parts))

    def __len__(self) -> int:
        return len(self.x_um)


@dataclass(frozen=True)
class Numbers:
    """What is counted and made of it; `values` and `constants` go into the score by name."""

    values: dict[str, Any]
    constants: dict[str, Any]
    stroma_tils: Tils
    covered: Mask
    """[h w] bool: infiltrated pixels of the region map."""
    area_per_til_um2: float
    """Declared, or the mean of the measured ones."""


def make_numbers(cells: Cells, tils: Tils, parts: Parts, cfg: ScoreConfig) -> Numbers:
    """All numbers of a slide that has evaluable stroma, with the constants that are not settings."""
    stroma_mm2, tumour_mm2 = parts.mm2(Part.STROMA), parts.mm2(Part.TUMOUR)
    counted, in_tumour = tils.of_part(Part.STROMA), tils.of_part(Part.TUMOUR)
    n, n_itils = len(counted), len(in_tumour)
    n_contact, contact_mm2 = contact(counted.x_um, counted.y_um, parts.raster, cfg.contact_um)
    area = cfg.area_per_til_um2
    if counted.area_um2 is not None and n:
        area = float(counted.area_um2.mean())
    covered_mm2, covered = infiltrated(counted.x_um, counted.y_um, parts.stroma(), parts.grid, cfg.infiltrated)
    values: dict[str, Any] = {
        "til_density_per_mm2": n / stroma_mm2,
        "stil_area_pct": min(100.0, area_pct(n, area, stroma_mm2)),
        "infiltrated_area_pct": 100 * covered_mm2 / stroma_mm2,
        "n_tils": n,
        "itil_density_per_mm2": n_itils / tumour_mm2 if tumour_mm2 else None,
        "n_itils": n_itils,
        "n_contact_itils": n_itils + n_contact if tumour_mm2 else None,
        "contact_mm2": tumour_mm2 + contact_mm2 if tumour_mm2 else None,
        "contact_itil_density_per_mm2": (n_itils + n_contact) / (tumour_mm2 + contact_mm2) if tumour_mm2 else None,
        "compat": _compat(cells, tils, counted, parts, cfg),
    }
    measured = counted.area_um2 is not None
    constants = {"area_per_til": "measured" if measured else "declared", "mean_area_per_til_um2": area}
    if cfg.calibration is not None:
        curve = read_calibration(cfg.calibration)
        values["calibrated_stil_pct"], *_ = curve.at(values[curve.input])
        constants |= {"calibration_ident": curve.ident, "calibration_input": curve.input}
    return Numbers(values, constants, counted, covered, area)


def contact(x_um: Floats, y_um: Floats, parts: Raster, contact_um: float) -> tuple[int, float]:
    """Points [n] in evaluable stroma within `contact_um` of the bed's tumour, and the area of that stroma in mm2."""
    tumour, grid = parts.values == Part.TUMOUR, parts.grid
    if not tumour.any():
        return 0, 0.0
    window = grid.covering_window(box_of(tumour, grid.mpp).grow(contact_um + grid.mpp)).clip()
    touching = parts.values[window.slices] == Part.STROMA
    touching &= distance_px(tumour[window.slices]) * grid.mpp <= contact_um
    col, row = grid.index(x_um) - window.x, grid.index(y_um) - window.y
    inside = (col >= 0) & (row >= 0) & (col < window.w) & (row < window.h)
    return int(touching[row[inside], col[inside]].sum()), int(touching.sum()) * grid.pixel_mm2


def _compat(cells: Cells, tils: Tils, counted: Tils, parts: Parts, cfg: ScoreConfig) -> dict[str, Any]:
    tumour_cells = cells[cells.label == Cell.EPITHELIAL]
    in_tumour = parts.raster.sample(tumour_cells.x_um, tumour_cells.y_um) == Part.TUMOUR
    bed_tils = tils.of_part(Part.STROMA, Part.TUMOUR)
    return compat_numbers(
        (counted.x_um, counted.y_um),
        (bed_tils.x_um, bed_tils.y_um),
        tuple(np.asarray(v[in_tumour], np.float64) for v in (tumour_cells.x_um, tumour_cells.y_um)),  # type: ignore[arg-type]
        parts.mm2(Part.STROMA),
        (parts.values == Part.STROMA) | (parts.values == Part.TUMOUR),
        parts.grid,
        cfg.compat,
        til_areas_um2=counted.area_um2,
    )
