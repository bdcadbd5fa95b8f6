"""The parts of a slide: every pixel of it in exactly one, so that their areas sum to the slide's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tilscore.labels import Area, Region
from tilscore.masks import Mask, box_of, distance_px
from tilscore.raster import Raster
from tilscore.score.bed import BedConfig, find_nests, find_reach
from tilscore.score.config import ScoreConfig
from tilscore.space import BoxUm, Grid


class Part(IntEnum):
    """A part of the slide; the value is the pixel value of `parts.tif`. A pixel belongs to the first that fits, and
    the parts from OTHER on are the regions of the tumour bed."""

    GLASS = 0
    PEN = 1
    BLUR = 2
    FOLD = 3
    EXCLUDED = 4
    """Drawn as not to be scored; tumour in it makes no bed."""
    CRUSH = 5
    """Drawn as crushed."""
    BENIGN = 6
    """Drawn as benign or in situ, and the stroma around it."""
    OUTSIDE_BED = 7
    EDGE = 8
    """Rim of the tissue, where a width is set."""
    AGGREGATE = 9
    """Lymphoid aggregates, where they are to be taken out."""
    OTHER = 10
    TUMOUR = 11
    STROMA = 12
    NECROSIS = 13
    FAT = 14


NOT_TISSUE = (Part.GLASS, Part.PEN, Part.BLUR, Part.FOLD)
"""What is no sound tissue; the other parts sum to it."""
_AREAS = {Area.GLASS: Part.GLASS, Area.PEN: Part.PEN, Area.BLUR: Part.BLUR, Area.FOLD: Part.FOLD}
_DRAWN = {"pen": Part.PEN, "blur": Part.BLUR, "fold": Part.FOLD, "exclude": Part.EXCLUDED, "crush": Part.CRUSH}
_REGIONS = np.array([Part.OTHER, Part.TUMOUR, Part.STROMA, Part.NECROSIS, Part.FAT], np.uint8)
"""Part by value of `Region`."""


@dataclass(frozen=True)
class Parts:
    """The slide in parts.

    Parameters
    ----------
    values : [h w] uint8 of `Part`, on the grid of the region map.
    regions : [h w] uint8 of `Region`, with what was drawn as necrosis.
    reach : [h w] bool: within the bed or the given area, sound tissue or not.
    benign_drawn : whether tumour was taken out because it was drawn as benign.
    slide_mm2 : area of the slide; None: that of the map.
    """

    values: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    reach: Mask
    grid: Grid
    benign_drawn: bool = False
    slide_mm2: float | None = None
    n_px: dict[Part, int] = field(init=False)

    def __post_init__(self) -> None:
        counts = histogram(self.values)
        object.__setattr__(self, "n_px", {p: int(counts[p]) for p in Part})

    def mm2(self, *parts: Part) -> float:
        """Area of some parts."""
        counts = np.array([self.n_px[p] for p in Part])
        return area_mm2(counts, self.grid, *parts, slide_mm2=self.slide_mm2)

    @property
    def tissue_mm2(self) -> float:
        """Sound tissue of the whole slide."""
        return self.mm2(*(p for p in Part if p not in NOT_TISSUE))

    @property
    def raster(self) -> Raster:
        return Raster(self.values, self.grid)

    def bed(self) -> Mask:
        """[h w] bool: the tumour bed without what was taken out of it."""
        return np.asarray(self.values >= Part.OTHER)

    def stroma(self) -> Mask:
        """[h w] bool: evaluable stroma."""
        return np.asarray(self.values == Part.STROMA)


def area_mm2(n_px: NDArray[np.int64], grid: Grid, *parts: Part, slide_mm2: float | None = None) -> float:
    """Area of some parts of a slide.

    Parameters
    ----------
    n_px : pixels of the map by value of `Part`.
    slide_mm2 : area of the slide. What the map holds beyond its edge is taken off the glass; None: nothing is.
    """
    area = sum(int(n_px[p]) for p in parts) * grid.pixel_mm2
    if slide_mm2 is None or Part.GLASS not in parts:
        return area
    beyond = max(grid.box.area_mm2 - slide_mm2, 0.0)
    return area - min(beyond, int(n_px[Part.GLASS]) * grid.pixel_mm2)


def bed_of(parts: Raster) -> Mask:
    """[h w] bool: the tumour bed of a `parts.tif`, without what was taken out of it."""
    return np.asarray(parts.values >= Part.OTHER)


def left_out_of(parts: Raster) -> Mask:
    """[h w] bool: what was drawn as not to be scored, as crushed, or as benign with the band around it."""
    return parts.mask(Part.EXCLUDED, Part.CRUSH, Part.BENIGN)


def as_tissue(parts: Raster) -> Raster:
    """The map of `labels.Area` as it was scored: with what was drawn as pen, blur or fold."""
    area = np.full(len(Part), Area.TISSUE, np.uint8)
    area[list(_AREAS.values())] = list(_AREAS)
    return Raster(area[parts.values], parts.grid)


def as_regions(parts: Raster, regions: Raster) -> Raster:
    """The region map as it was scored: with what was drawn as necrosis in the bed."""
    values = regions.values.copy()
    inside = bed_of(parts)
    values[inside] = parts.values[inside] - Part.OTHER
    return Raster(values, regions.grid)


def histogram(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[256] how many pixels have each value, a few at a time (`bincount` takes 8 bytes a pixel)."""
    flat, step = values.ravel(), 1 << 22
    counts = np.zeros(256, np.int64)
    for start in range(0, flat.size, step):
        counts += np.bincount(flat[start : start + step], minlength=256)
    return counts


def divide(
    regions: Raster,
    tissue: Raster,
    cfg: ScoreConfig,
    bed: BedConfig,
    *,
    given: Mask | None = None,
    drawn: Mapping[str, Mask] | None = None,
    box: BoxUm | None = None,
) -> Parts:
    """Divide a slide into its parts.

    Parameters
    ----------
    regions : of `labels.Region`. tissue : of `labels.Area`.
    given : [h w] bool on the grid of `regions`: the area that is the bed; None where the bed is to be found. With
        `bed.inside_only` it is found in that area.
    drawn : [h w] bool by kind (`roi.KINDS`), on the same grid.
    box : the slide; pixels of the map that it covers by less than half are glass.
    """
    drawn, grid = drawn or {}, regions.grid
    values = np.full(grid.shape, Part.OUTSIDE_BED, np.uint8)
    named = regions.values
    if "necrosis" in drawn:
        named = named.copy()
        named[drawn["necrosis"]] = Region.NECROSIS
    area = tissue.on(grid).values
    if box is not None:
        area = np.where(grid.centres_in(box), area, np.uint8(Area.GLASS))
    for kind in ("crush", "exclude"):
        if kind in drawn:
            values[drawn[kind]] = _DRAWN[kind]
    for value, part in _AREAS.items():
        values[area == value] = part
    for kind in ("fold", "blur", "pen"):
        if kind in drawn:
            values[drawn[kind] & (values > _DRAWN[kind])] = _DRAWN[kind]
    sound = values >= Part.EXCLUDED
    # What is not to be scored is not there: tumour under it makes no bed. A crushed nest is a nest all the same.
    tumour = (named == Region.TUMOUR) & sound & (values != Part.EXCLUDED)
    benign = drawn.get("benign")
    nests = find_nests(tumour if benign is None else tumour & ~benign, grid.mpp, bed)
    free = values == Part.OUTSIDE_BED
    if benign is not None:
        values[free & _benign_zone(benign, nests, grid, cfg.benign_band_um)] = Part.BENIGN
    if given is not None and not bed.inside_only:
        reach = given
    else:
        reach = find_reach(nests, values == Part.GLASS, grid, bed)
        reach = reach if given is None else reach & given
    inside = (values == Part.OUTSIDE_BED) & reach
    values[inside] = _REGIONS[named[inside]]
    if cfg.edge_um > 0:
        values[inside & (distance_px(values == Part.GLASS) * grid.mpp <= cfg.edge_um)] = Part.EDGE
    taken = benign is not None and bool((tumour & benign).any())
    return Parts(values, named, reach, grid, taken, None if box is None else box.area_mm2)


def _benign_zone(benign: Mask, nests: Mask, grid: Grid, band_um: float) -> Mask:
    """What is drawn as benign, and what lies near to it and nearer than to a nest outside of it."""
    zone = benign.copy()
    if not benign.any():
        return zone
    # Nests further away than twice the band are nowhere the nearer ones.
    window = grid.covering_window(box_of(benign, grid.mpp).grow(2 * band_um + grid.mpp)).slices
    away = distance_px(benign[window]) * grid.mpp
    zone[window] |= (away <= band_um) & (away < distance_px(nests[window]) * grid.mpp)
    return zone
