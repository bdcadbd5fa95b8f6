"""What lies on tissue or glass and cannot be scored: the slide holder's frame, pen marks and folds."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from tilscore.masks import Mask, Plane, closing, dilate, large, local_std, odd, opened
from tilscore.tissue.config import TissueConfig
from tilscore.tissue.density import hue


def dark_frame_and_pen(od: Plane, mpp: float, cfg: TissueConfig) -> tuple[Mask, Mask]:
    """[h w] bool each: the slide holder's dark frame, and ink.

    Hue of the dyes, cx / cy: haematoxylin 0.2 / 0.4, eosin -0.8 / 1.3, blood -0.7 / 0.2 to 0.4.
    """
    mean, cx, cy = hue(od)
    chroma = np.hypot(cx, cy)
    black = ((chroma < 0.15) & (mean > 2 * cfg.pen_od)) | ((chroma < 0.22) & (mean > 3.5 * cfg.pen_od))
    frame = _frame(black, cfg.frame_frac)
    green = ((cy < -0.1) & (cx > -0.5)) | ((cy < 0.05) & (cx > 0.25))
    blue = (cx > 0.5) & (cy < 0.8)
    red = (cx < -0.5) & (cy < 0.28) & (cy > -0.35) & (mean > 1.75 * cfg.pen_od)
    core = ((green | blue) & (mean > 0.6 * cfg.pen_od)) | red | (black & ~frame)
    pen = large(thick(core, mpp), cfg.min_pen_um2 / mpp**2)
    # Violet ink has the hue of haematoxylin but no nuclei.
    texture = local_std(od[..., 1], odd(cfg.texture_um / mpp))
    flat = (cx > -0.5) & (cy > 0) & (mean > 1.5 * cfg.pen_od) & (texture < cfg.pen_texture_ratio * od[..., 1])
    pen |= dilate(large(thick(flat, mpp), 5 * cfg.min_pen_um2 / mpp**2), cfg.texture_um / 2 / mpp)
    pen = closing(dilate(pen, cfg.pen_margin_um / mpp), cfg.close_um / mpp)
    return dilate(frame, cfg.pen_margin_um / mpp), pen


def _frame(black: Mask, side_frac: float) -> Mask:
    """The pieces of `black` that lie along at least `side_frac` of an image side."""
    n, parts = cv2.connectedComponents(black.astype(np.uint8), connectivity=8)
    along = np.zeros(n)
    for side in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        along = np.maximum(along, np.bincount(side, minlength=n) / side.size)
    along[0] = 0
    return np.asarray((along >= side_frac)[parts])


def folds(od: Plane, tissue: Mask, mpp: float, cfg: TissueConfig) -> Mask:
    """[h w] bool: bands in which both stains are far above the tissue's median."""
    if not tissue.any():
        return tissue
    soft = cv2.GaussianBlur(od, (0, 0), 12.0 / mpp)
    # Least squares on the dye vectors of Ruifrok & Johnston, Anal Quant Cytol Histol 23:291 (2001).
    dyes = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]], np.float32)
    stains = soft @ np.linalg.pinv(dyes).astype(np.float32)
    over = (stains > cfg.fold_ratio * np.median(stains[tissue], axis=0)).all(axis=-1)
    dark = tissue & over & (soft.mean(axis=-1) > cfg.fold_od) & (stains.min(axis=-1) > 0.05)
    return _bands(closing(dark, 16.0 / mpp) & tissue, mpp, cfg)


def _bands(mask: Mask, mpp: float, cfg: TissueConfig) -> Mask:
    """The pieces of `mask` that are large, narrow and long."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    radius = np.asarray(ndimage.maximum(depth, parts, np.arange(n)))
    area = stats[:, cv2.CC_STAT_AREA]
    keep = (area * mpp**2 >= cfg.min_fold_um2) & (2 * radius * mpp <= cfg.max_fold_width_um)
    keep &= area >= cfg.min_fold_elongation * np.pi * radius**2
    keep[0] = False
    return np.asarray(keep[parts])


def thick(mask: Mask, mpp: float) -> Mask:
    """Without what is thinner than about 24 um."""
    return opened(mask, round(24.0 / mpp))
