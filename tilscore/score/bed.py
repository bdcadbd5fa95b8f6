"""The tumour bed: where stroma counts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.config import check_ranges
from tilscore.masks import Mask, box_of, dilate, distance_px, extent
from tilscore.space import Grid


@dataclass(frozen=True)
class BedConfig:
    """What belongs to the tumour bed."""

    radius_um: float = 250.0
    """Tissue this near to a tumour nest belongs to the bed (TIGER's band as well). In a core of 1 mm with scattered
    nests it takes in the whole width; on a resection it ends where the tumour ends."""
    min_nest_um2: float = 5000.0
    """Smaller groups of tumour (some 50 cells) do not make a bed: single misread cells would."""
    full_reach_um2: float = 20000.0
    """Tumour that it takes within the radius of a group, its own and that of others, for the group to reach the whole
    radius: a tenth of the disc. With less it reaches less far, down to nothing at `min_nest_um2`, so that a speck seen
    on one scan and not on the next neither makes nor loses 0.2 mm2 of bed."""
    join_um: float = 40.0
    """Pieces of tumour this near to each other are one group: files and small nests of lobular carcinoma count
    together, misread cells lie further apart."""
    max_gap_mm2: float = 0.2
    """Gaps up to this size with bed all around belong to it: a disc of the bed's radius, so that a scar between nests
    is not cut out."""
    glass_um: float = 100.0
    """Glass wider than this ends the bed: what lies across it is another core or fragment, with nests of its own or
    without a bed. Cracks are narrower."""
    inside_only: bool = False
    """Only what lies between nests, nothing beyond the outermost: the band is taken back by its own width (a closing
    with a disc of the radius). For organs whose own tissue is full of lymphocytes, as a lymph node."""

    def __post_init__(self) -> None:
        lengths = {"radius_um": (0, 1e5), "join_um": (0, 1000), "glass_um": (0, 1e5)}
        check_ranges(self, "score.bed", **lengths, min_nest_um2=(0, 1e9), full_reach_um2=(0, 1e9), max_gap_mm2=(0, 1e4))


def find_reach(nests: Mask, glass: Mask, grid: Grid, cfg: BedConfig) -> Mask:
    """[h w] bool: what the bed of `nests` reaches, sound tissue or not, on the pieces of tissue that hold them.

    Parameters
    ----------
    nests : [h w] bool, tumour that makes a bed. glass : [h w] bool, where there is no tissue, both on `grid`.
    """
    reach = np.zeros_like(nests)
    if not nests.any():
        return reach
    joined = dilate(~glass, cfg.glass_um / 2 / grid.mpp).astype(np.uint8)
    _, pieces, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    del joined
    for piece in np.unique(pieces[nests]):
        x, y, w, h = boxes[piece, : cv2.CC_STAT_AREA]
        box = np.s_[y : y + h, x : x + w]
        own = box_of(nests[box] & (pieces[box] == piece), grid.mpp).moved(x * grid.mpp, y * grid.mpp)
        # Only the part that the bed can reach: distances of a whole resection would take GBs.
        inside = grid.covering_window(own.grow(cfg.radius_um + grid.mpp)).slices
        radius_px = cfg.radius_um / grid.mpp
        here = nests[inside] & (pieces[inside] == piece)
        near = _near(here, grid.mpp, cfg)
        if cfg.inside_only and not near.all():
            near = (distance_px(~near) > radius_px) | here
        near = _fill_gaps(near, cfg.max_gap_mm2 / grid.pixel_mm2)
        reach[inside] |= near & (pieces[inside] == piece)
    return reach


def find_nests(tumour: Mask, mpp: float, cfg: BedConfig) -> Mask:
    """`tumour` [h w] without the groups that are too small to be trusted."""
    out = np.zeros_like(tumour)
    if not tumour.any():
        return out
    inside = extent(tumour)
    groups, size_um2, _ = _groups(tumour[inside], mpp, cfg)
    out[inside] = tumour[inside] & (size_um2 >= cfg.min_nest_um2)[groups]
    return out


def _groups(
    tumour: Mask, mpp: float, cfg: BedConfig
) -> tuple[NDArray[np.int32], NDArray[np.floating], NDArray[np.int32]]:
    """[h w] group of each pixel, 0 away from tumour; by group its tumour in um2, and its box (x, y, w, h in pixels)."""
    joined = dilate(tumour, cfg.join_um / 2 / mpp).astype(np.uint8)
    n, groups, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    size_px = np.bincount(groups[tumour], minlength=n)
    return np.asarray(groups, np.int32), size_px * mpp**2, np.asarray(stats[:, : cv2.CC_STAT_AREA], np.int32)


def _near(nests: Mask, mpp: float, cfg: BedConfig) -> Mask:
    """[h w] bool: what lies within the reach of its nest, in a straight line; see `BedConfig.full_reach_um2`."""
    groups, size_um2, boxes = _groups(nests, mpp, cfg)
    radius_px, full_um2 = cfg.radius_um / mpp, max(cfg.full_reach_um2, cfg.min_nest_um2)
    large = size_um2 >= full_um2
    near: Mask = distance_px(nests & large[groups]) <= radius_px
    margin = int(radius_px) + 1
    for group in np.flatnonzero((size_um2 > 0) & ~large):
        x, y, w, h = boxes[group]
        around = np.s_[max(y - margin, 0) : y + h + margin, max(x - margin, 0) : x + w + margin]
        away = distance_px(nests[around] & (groups[around] == group))
        tumour_um2 = (nests[around] & (away <= radius_px)).sum() * mpp**2
        near[around] |= away <= np.interp(tumour_um2, (cfg.min_nest_um2, full_um2), (0, radius_px))
    return near


def _fill_gaps(mask: Mask, max_px: float) -> Mask:
    """`mask` with the gaps of at most `max_px` pixels that it encloses; what touches the border is no gap."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    gap = stats[:, cv2.CC_STAT_AREA] <= max_px
    gap[0] = False
    for edge in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        gap[edge] = False
    filled: Mask = mask | gap[pieces]
    return filled
