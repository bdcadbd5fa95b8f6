"""The tumour bed: where stroma counts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.labels import Area, Region
from tilscore.raster import Raster

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class BedConfig:
    """What belongs to the tumour bed."""

    radius_um: float = 250.0
    """Tissue this near to a tumour nest belongs to the bed (TIGER's band as well). In a core of 1 mm with scattered
    nests it takes in the whole width; on a resection it ends where the tumour ends."""
    min_nest_um2: float = 5000.0
    """Smaller pieces of tumour (some 50 cells) do not make a bed: single misread cells would."""


def find_bed(regions: Raster, tissue: Raster, cfg: BedConfig, *, given: Mask | None = None) -> Mask:
    """[h w] bool on the grid of `regions`: sound tissue in the tumour bed.

    Parameters
    ----------
    regions : of `labels.Region`. tissue : of `labels.Area`.
    given : [h w] bool on the grid of `regions`: a drawn ROI, or the whole of a field, which is the bed as it is.
    """
    sound = tissue.on(regions.grid).mask(Area.TISSUE)
    if given is not None:
        return sound & given
    nests = large_pieces(regions.mask(Region.TUMOUR) & sound, cfg.min_nest_um2 / regions.grid.mpp**2)
    if not nests.any():
        return np.zeros_like(sound)
    away_px = cv2.distanceTransform((~nests).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return sound & (away_px * regions.grid.mpp <= cfg.radius_um)


def large_pieces(mask: Mask, min_px: float) -> Mask:
    """`mask` without its connected pieces (8 neighbours) of fewer than `min_px` pixels."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= min_px
    large[0] = False
    return np.asarray(large[pieces], bool)
