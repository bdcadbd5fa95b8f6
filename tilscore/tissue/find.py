"""Where the slide holds tissue that can be scored: glass, pen marks, folds and blur are told apart.

A pixel is tissue when it is denser than the slide's own glass *and* textured or strongly coloured like H&E. Each
test is local, so a pale block is kept beside a dark one, and glass that is tinted, unevenly lit or hazy with dye stays
glass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.errors import SlideError
from tilscore.labels import Area
from tilscore.masks import Mask, Plane, closing, dilate, local_std, odd
from tilscore.raster import Raster
from tilscore.tissue.config import TissueConfig
from tilscore.tissue.density import Image, glass_colour, hue, optical_density
from tilscore.tissue.focus import find_blur
from tilscore.tissue.marks import dark_frame_and_pen, folds, thick

if TYPE_CHECKING:
    from tilscore.slide import Slide


def find_tissue(slide: Slide, cfg: TissueConfig | None = None) -> Raster:
    """Map of `labels.Area` over a slide.

    Parameters
    ----------
    slide : an open slide.
    cfg : defaults to `TissueConfig()`.

    Returns
    -------
    Raster of `labels.Area` on `slide.level0.at(cfg.mpp)`.

    Raises
    ------
    SlideError : the slide cannot be read, or too much of it.
    """
    cfg = cfg or TissueConfig()
    grid = slide.level0.at(cfg.mpp)
    areas = segment(slide.thumbnail(cfg.mpp), cfg.mpp, cfg)
    _check_readable(slide, Raster(areas, grid), cfg)
    if cfg.focus is not None:
        areas[find_blur(slide, grid, areas == Area.TISSUE, cfg.focus)] = Area.BLUR
    return Raster(areas, grid)


def _check_readable(slide: Slide, areas: Raster, cfg: TissueConfig) -> None:
    """Fail a slide that has lost tissue.

    Unreadable pieces are joined into patches. A patch counts as a whole where it reaches tissue, where it takes a whole
    side of the slide (a file that was cut short), and where no tissue is seen; other glass that is lost does no harm.
    """
    found, bad = areas.values != Area.GLASS, np.zeros(areas.grid.shape, bool)
    for box in slide.unreadable:
        bad[areas.grid.covering_window(box).slices] = True
    n, patches = cv2.connectedComponents(dilate(bad, 2).astype(np.uint8), connectivity=8)
    counts = np.bincount(patches[found], minlength=n) > 0 if found.any() else np.ones(n, bool)
    for side in ((0,), (-1,), (slice(None), 0), (slice(None), -1)):
        counts[patches[side][0]] |= bad[side].all()
    lost = bad & counts[patches]
    frac = int(lost.sum()) / max(int((lost | found).sum()), 1)
    if frac > cfg.max_unreadable_frac:
        do = "copy the file again or rescan the slide"
        raise SlideError("too much of the tissue cannot be read", where=slide.path, found=f"{frac:.1%}", do=do)


def segment(image: Image, mpp: float, cfg: TissueConfig | None = None) -> NDArray[np.uint8]:
    """Classify the pixels of one H&E image; blur is not looked for.

    Parameters
    ----------
    image : [h w 3] uint8 RGB.
    mpp : um/px of the image, 4 to 16.

    Returns
    -------
    [h w] uint8 of `labels.Area`: GLASS, TISSUE, PEN or FOLD.
    """
    cfg = cfg or TissueConfig()
    out = np.full(image.shape[:2], Area.GLASS, np.uint8)
    if out.size == 0:
        return out
    od = optical_density(image, glass_colour(image))
    frame, pen = dark_frame_and_pen(od, mpp, cfg)
    tissue = _tissue(od, frame | pen, mpp, cfg)
    out[tissue] = Area.TISSUE
    out[folds(od, tissue, mpp, cfg)] = Area.FOLD
    out[pen] = Area.PEN
    return out


def _tissue(od: Plane, barred: Mask, mpp: float, cfg: TissueConfig) -> Mask:
    """[h w] bool: tissue outline, its small holes filled."""
    mean, cx, cy = hue(od)
    colour = mean * np.hypot(cx, np.maximum(cy, 0))
    texture = local_std(od[..., 1], odd(cfg.texture_um / mpp))
    flat = (mean > cfg.flat_od) & (colour > cfg.flat_colour) & (cy > 0)
    weak = ((mean > cfg.min_od) & (texture > cfg.min_texture)) | flat
    seed = (mean > cfg.seed_od) & (texture > cfg.seed_texture) & (colour > cfg.seed_colour) & (cy > 0)
    seed |= flat
    grey = (mean > cfg.grey_od) & (np.hypot(cx, cy) < cfg.grey_chroma)
    weak &= ~(barred | grey)
    closed = thick(closing(_with_seeds(weak, seed & ~barred), cfg.close_um / mpp), mpp) & ~barred
    kept = _fragments(closed, weak, od, mpp, cfg)
    return _fill_holes(kept, mean, mpp, cfg) & ~barred


def _fragments(closed: Mask, weak: Mask, od: Plane, mpp: float, cfg: TissueConfig) -> Mask:
    """The pieces of `closed` that are large enough and whose dense pixels are not neutral grey on average."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats(closed.astype(np.uint8), connectivity=8)
    inside = np.where(weak, parts, 0).ravel()
    sums = np.stack([np.bincount(inside, od[..., c].ravel(), minlength=n) for c in range(3)], axis=-1)
    _, cx, cy = hue(np.asarray(sums / np.maximum(np.bincount(inside, minlength=n), 1)[:, None], np.float32))
    min_px = min(cfg.min_tissue_um2 / mpp**2, 0.05 * closed.size)
    keep = (stats[:, cv2.CC_STAT_AREA] >= min_px) & (np.hypot(cx, cy) > cfg.grey_chroma)
    keep[0] = False
    return np.asarray(keep[parts])


def _with_seeds(weak: Mask, seed: Mask) -> Mask:
    """Hysteresis: the 8-connected pieces of `weak` that hold a pixel of `seed`."""
    n, parts = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    keep = np.bincount(parts[seed & weak], minlength=n) > 0
    keep[0] = False
    return np.asarray(keep[parts])


def _fill_holes(mask: Mask, mean_od: Plane, mpp: float, cfg: TissueConfig) -> Mask:
    """`mask` with its holes filled where they are small or not clear; what touches the border is no hole."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    height, width = mask.shape
    x, y, w, h, area = stats.T
    density = np.bincount(parts.ravel(), mean_od.ravel(), minlength=n) / np.maximum(area, 1)
    fill = (area * mpp**2 <= cfg.max_hole_um2) | (density > cfg.seed_od)
    fill &= (x > 0) & (y > 0) & (x + w < width) & (y + h < height)
    fill[0] = False
    return np.asarray(mask | fill[parts], bool)
