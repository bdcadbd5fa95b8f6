"""Where the slide holds tissue that can be scored: glass, pen marks, folds and blur are told apart.

A pixel is tissue when it is denser than the slide's own glass *and* textured or strongly coloured like H&E. Each
test is local, so a pale block is kept beside a dark one, and glass that is tinted, unevenly lit or hazy with dye stays
glass. Optical density (OD) is `-log10(I / I_glass)`; hue is the hue-saturation-density chroma plane of van der Laak et
al., Cytometry 39:275 (2000): `cx = OD_r / OD - 1`, `cy = (OD_g - OD_b) / (sqrt(3) OD)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tilscore.errors import ConfigError, SlideError
from tilscore.focus import FocusConfig, find_blur
from tilscore.labels import Area
from tilscore.masks import Mask, Plane, closing, dilate, large, local_std, odd, opened
from tilscore.raster import Raster

if TYPE_CHECKING:
    from tilscore.slide import Slide

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class TissueConfig:
    """How tissue is found; lengths and areas are physical, so they hold at any `mpp`."""

    mpp: float = 8.0
    """um/px of the mask: twice the pixel of the region map, so both align."""
    min_od: float = 0.008
    """Mean OD of the palest tissue: faint fibres and fat septa measure 0.01-0.03, smears on glass 0.002-0.009."""
    min_texture: float = 0.006
    """Local OD standard deviation of tissue: glass and dye haze measure 0.001-0.004, faint tissue 0.008 and more."""
    seed_od: float = 0.02
    """Mean OD that a fragment must reach somewhere; the weaker bounds above only extend such a seed."""
    seed_texture: float = 0.012
    """Local OD standard deviation that a fragment must reach somewhere."""
    seed_colour: float = 0.010
    """OD times chroma that a fragment must reach somewhere: dust, edges and smears are neutral."""
    flat_od: float = 0.10
    """Mean OD from which coloured tissue needs no texture (out of focus, mucin); dye haze stays below 0.05."""
    flat_colour: float = 0.05
    """OD times chroma that goes with `flat_od`."""
    texture_um: float = 40.0
    """um, side of the window of the local standard deviation: a few nuclei, less than a fat cell."""
    close_um: float = 40.0
    """um, radius of the closing that bridges fat cells (diameter up to 100 um) open to the outside."""
    min_tissue_um2: float = 15_000.0
    """um2 of the smallest fragment kept: 0.12 mm of a core biopsy; at most 5 % of the image, for small fields."""
    max_hole_um2: float = 50_000.0
    """um2 of the largest clear hole filled: clusters of fat cells and small lumens are tissue, tears are not."""
    min_pen_um2: float = 4_000.0
    """um2 of the smallest pen mark: pigment grains are smaller."""
    pen_od: float = 0.20
    """Mean OD of the core of a pen mark."""
    pen_texture_ratio: float = 0.1
    """Local OD standard deviation over OD below which a violet area is ink: dense nuclei give 0.3 and more."""
    pen_margin_um: float = 24.0
    """um that a pen mark is widened by: its edge mixes with what lies beside it."""
    frame_frac: float = 0.25
    """Share of an image side along which a neutral dark area is the holder's frame and not black ink."""
    fold_ratio: float = 1.7
    """Haematoxylin and eosin OD of a fold, both over the slide's tissue median: two layers double both."""
    fold_od: float = 0.25
    """Mean OD that a fold reaches at least, for slides whose median is very pale."""
    min_fold_um2: float = 8_000.0
    """um2 of the smallest fold: 40 um by 200 um."""
    max_fold_width_um: float = 250.0
    """um: a fold is a band; broader dark areas are dense tumour or lymphoid tissue."""
    min_fold_elongation: float = 2.0
    """Area over that of its largest inscribed circle (no unit): round dark clusters are below 2."""
    max_unreadable_frac: float = 0.005
    """Unreadable ground that reaches tissue, or a whole side of the slide, over the tissue and itself, above which the
    slide fails: it is white, and tissue that is lost must not pass for glass."""
    focus: FocusConfig | None = field(default_factory=FocusConfig)
    """How blur is found; None skips the finer read."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.mpp <= 32.0:
            raise ConfigError("the tissue map needs 1 to 32 um/px", where="tissue.mpp", found=self.mpp)


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
    od = _optical_density(image, glass_colour(image))
    frame, pen = _dark_frame_and_pen(od, mpp, cfg)
    tissue = _tissue(od, frame | pen, mpp, cfg)
    out[tissue] = Area.TISSUE
    out[_folds(od, tissue, mpp, cfg)] = Area.FOLD
    out[pen] = Area.PEN
    return out


def glass_colour(image: Image) -> NDArray[np.float32]:
    """Colour of the empty glass: the brightest mode of the smooth, bright, hardly coloured pixels.

    Pure white (unscanned area) counts only where there is no other glass. Where too little of the image looks like
    glass (a field wholly inside tissue) it is neutral: the brightest channel's 99.5th percentile, at least 220.

    Returns
    -------
    [3] float32, RGB 0-255.
    """
    low, high = image.min(axis=2), image.max(axis=2)
    smooth = local_std(image[..., 1].astype(np.float32), 5) < 2.0
    empty = smooth & (low >= 150) & (high - low <= 0.15 * high)
    n_needed = max(0.005 * low.size, 16)
    for glass in (empty & (low < 254), empty):
        if np.count_nonzero(glass) < n_needed:
            continue
        colours = image[glass]
        counts = np.bincount(colours[:, 1], minlength=256).astype(np.float32)
        counts = np.convolve(counts, np.ones(5, np.float32), "same")
        mode = int(np.flatnonzero(counts >= 0.25 * counts.max())[-1]) - 2
        near = np.abs(colours[:, 1].astype(np.int16) - mode) <= 3
        return np.asarray(np.median(colours[near], axis=0), np.float32)
    brightest = float(np.percentile(image, 99.5, axis=(0, 1)).max())
    return np.full(3, max(brightest, 220.0), np.float32)


def _optical_density(image: Image, glass: NDArray[np.float32]) -> Plane:
    """[h w 3] OD relative to glass, at least 0, of the slightly smoothed image; unscanned white reads as glass."""
    soft = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.6, borderType=cv2.BORDER_REPLICATE)
    density = np.log10(glass) - np.log10(np.maximum(soft, 1.0))
    return np.asarray(np.maximum(density, 0.0), np.float32)


def _hue(od: Plane) -> tuple[Plane, Plane, Plane]:
    """Mean OD [h w] and the chroma plane `cx`, `cy` (see the module)."""
    mean = od.mean(axis=-1)
    safe = np.maximum(mean, 1e-3)
    return mean, od[..., 0] / safe - 1, (od[..., 1] - od[..., 2]) / (np.float32(np.sqrt(3)) * safe)


def _tissue(od: Plane, barred: Mask, mpp: float, cfg: TissueConfig) -> Mask:
    """[h w] bool: tissue outline, its small holes filled."""
    mean, cx, cy = _hue(od)
    colour = mean * np.hypot(cx, np.maximum(cy, 0))
    texture = local_std(od[..., 1], odd(cfg.texture_um / mpp))
    flat = (mean > cfg.flat_od) & (colour > cfg.flat_colour) & (cy > 0)
    weak = ((mean > cfg.min_od) & (texture > cfg.min_texture)) | flat
    seed = (mean > cfg.seed_od) & (texture > cfg.seed_texture) & (colour > cfg.seed_colour) & (cy > 0)
    seed |= flat
    weak &= ~barred
    closed = _thick(closing(_with_seeds(weak, seed & ~barred), cfg.close_um / mpp), mpp) & ~barred
    kept = _fragments(closed, weak, od, mpp, cfg)
    return _fill_holes(kept, mean, mpp, cfg) & ~barred


def _thick(mask: Mask, mpp: float) -> Mask:
    """Without what is thinner than about 24 um."""
    return opened(mask, round(24.0 / mpp))


def _fragments(closed: Mask, weak: Mask, od: Plane, mpp: float, cfg: TissueConfig) -> Mask:
    """The pieces of `closed` that are large enough and whose dense pixels are not neutral grey on average."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats(closed.astype(np.uint8), connectivity=8)
    inside = np.where(weak, parts, 0).ravel()
    sums = np.stack([np.bincount(inside, od[..., c].ravel(), minlength=n) for c in range(3)], axis=-1)
    _, cx, cy = _hue(np.asarray(sums / np.maximum(np.bincount(inside, minlength=n), 1)[:, None], np.float32))
    min_px = min(cfg.min_tissue_um2 / mpp**2, 0.05 * closed.size)
    keep = (stats[:, cv2.CC_STAT_AREA] >= min_px) & (np.hypot(cx, cy) > 0.15)
    keep[0] = False
    return np.asarray(keep[parts])


def _dark_frame_and_pen(od: Plane, mpp: float, cfg: TissueConfig) -> tuple[Mask, Mask]:
    """[h w] bool each: the slide holder's dark frame, and ink.

    Hue of the dyes, cx / cy: haematoxylin 0.2 / 0.4, eosin -0.8 / 1.3, blood -0.7 / 0.2 to 0.4.
    """
    mean, cx, cy = _hue(od)
    chroma = np.hypot(cx, cy)
    black = ((chroma < 0.15) & (mean > 2 * cfg.pen_od)) | ((chroma < 0.22) & (mean > 3.5 * cfg.pen_od))
    frame = _frame(black, cfg.frame_frac)
    green = ((cy < -0.1) & (cx > -0.5)) | ((cy < 0.05) & (cx > 0.25))
    blue = (cx > 0.5) & (cy < 0.8)
    red = (cx < -0.5) & (cy < 0.28) & (cy > -0.35) & (mean > 1.75 * cfg.pen_od)
    core = ((green | blue) & (mean > 0.6 * cfg.pen_od)) | red | (black & ~frame)
    pen = large(_thick(core, mpp), cfg.min_pen_um2 / mpp**2)
    # Violet ink has the hue of haematoxylin but no nuclei.
    texture = local_std(od[..., 1], odd(cfg.texture_um / mpp))
    flat = (cx > -0.5) & (cy > 0) & (mean > 1.5 * cfg.pen_od) & (texture < cfg.pen_texture_ratio * od[..., 1])
    pen |= dilate(large(_thick(flat, mpp), 5 * cfg.min_pen_um2 / mpp**2), cfg.texture_um / 2 / mpp)
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


def _folds(od: Plane, tissue: Mask, mpp: float, cfg: TissueConfig) -> Mask:
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
