"""What a phantom slide shall hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tilscore.slide.mpp import FILE_RANGE

MAX_TIL_DENSITY_PER_MM2 = 7000.0
"""Above this, discs of a lymphocyte's size that keep apart cannot be placed by chance any more."""


@dataclass(frozen=True)
class PhantomConfig:
    """A procedural H&E slide: size, composition, stain and artefacts."""

    size_mm: tuple[float, float] = (4.0, 3.0)
    """Width and height of the slide."""
    seed: int = 0
    """The same config gives the same pixels."""
    mpp: float = 0.5
    """Microns per pixel of level 0, of those that a slide's file may state (`slide.mpp.FILE_RANGE`)."""
    shape: Literal["section", "core", "field"] = "section"
    """One piece with an irregular outline, strips of a core biopsy 1 mm wide, or tissue from edge to edge."""
    til_density_per_mm2: float = 800.0
    """Inflammatory cells in stroma, per mm2 of stroma."""
    plasma_frac: float = 0.12
    """Share of plasma cells among the inflammatory cells."""
    itil_density_per_mm2: float = 120.0
    """Inflammatory cells inside tumour nests, per mm2 of tumour."""
    tumour_frac: float = 0.35
    """Share of tumour in the tissue, its necrosis and lumens included."""
    nest_um: float = 170.0
    """Typical width of a tumour nest."""
    lumen_frac: float = 0.03
    """Share of the tumour that is lumen."""
    necrosis_frac: float = 0.04
    """Share of the tumour that is necrotic."""
    fat_frac: float = 0.15
    """Share of fat in the tissue."""
    fibroblasts_per_mm2: float = 800.0
    """Spindle nuclei asked for, per mm2 of stroma; fewer where there is no room."""
    stain: float = 1.0
    """Spread of hue and strength between seeds: 0 is always the same stain, 1 the spread between laboratories."""
    pen: bool = False
    """Marker strokes over glass and the tissue's edge."""
    blur: bool = False
    """A patch out of focus."""

    def __post_init__(self) -> None:
        low, high = FILE_RANGE
        if not all(0.02 <= s <= 60 for s in self.size_mm) or not low <= self.mpp <= high:
            what = f"needs a size of 0.02 to 60 mm and an mpp of {low} to {high}"
            raise ValueError(f"{what}, found {self.size_mm}, {self.mpp}")
        if self.seed < 0:
            raise ValueError(f"needs a seed of 0 or more, found {self.seed}")
        if not 0 <= self.til_density_per_mm2 <= MAX_TIL_DENSITY_PER_MM2:
            raise ValueError(f"needs 0 to {MAX_TIL_DENSITY_PER_MM2:g} TILs per mm2, found {self.til_density_per_mm2}")
        if not 0 <= self.itil_density_per_mm2 <= MAX_TIL_DENSITY_PER_MM2 / 2 or not self.fibroblasts_per_mm2 >= 0:
            raise ValueError(f"cannot place so many cells: {self.itil_density_per_mm2}, {self.fibroblasts_per_mm2}")
        shares = (self.tumour_frac, self.fat_frac, self.necrosis_frac, self.lumen_frac, self.plasma_frac)
        if not all(0 <= s <= 1 for s in shares) or self.tumour_frac + self.fat_frac > 0.98:
            raise ValueError(f"needs shares of 0 to 1 that leave room for stroma, found {shares}")
        if not self.nest_um >= 30 or not 0 <= self.stain <= 3:
            raise ValueError(f"needs nests of at least 30 um and a stain spread of 0 to 3, found {self}")
