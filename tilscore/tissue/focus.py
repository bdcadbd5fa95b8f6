"""Which tissue is out of focus: how much of its fine structure is left, compared with its coarser structure.

The measure is the ratio of two bands of the OD image: detail of about 2-8 um (nuclear outlines and chromatin) over
structure of about 8-30 um (nuclei and fibres), each the root mean square over a window. Staining strength scales both
bands alike, so it cancels. Blur removes the finer band first: at 2 um/px sharp paraffin sections give 0.8-2, a sharp
frozen section 0.5-1.4, and any of them blurred by a Gaussian of 3 um 0.2-0.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.errors import ConfigError
from tilscore.masks import Mask, Plane, large, odd, opened
from tilscore.space import Grid, Window

if TYPE_CHECKING:
    from tilscore.slide import Slide


@dataclass(frozen=True)
class FocusConfig:
    """How blur is found."""

    mpp: float = 2.0
    """um/px of the finer read: coarse enough to be cheap, fine enough to show nuclear outlines."""
    min_ratio: float = 0.42
    """Fine over coarse structure (no unit) below which tissue is blurred; see the module for measured values."""
    min_structure: float = 0.003
    """OD, root mean square of the coarse band below which nothing can be said: image noise alone gives 0.001-0.002."""
    window_um: float = 96.0
    """um, side of the window over which the bands are averaged: a dozen nuclei across."""
    min_blur_um2: float = 20_000.0
    """um2 of the smallest blurred area: about two windows."""
    block_px: int = 512
    """px, side of one finer read (about 1 mm): memory does not grow with the slide."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.mpp <= 4.0:
            raise ConfigError("blur is measured at 0.5 to 4 um/px", where="focus.mpp", found=self.mpp)


def find_blur(slide: Slide, grid: Grid, tissue: Mask, cfg: FocusConfig) -> Mask:
    """Which tissue is out of focus.

    Parameters
    ----------
    grid : grid of the tissue map.
    tissue : [h w] bool on `grid`.

    Returns
    -------
    [h w] bool, a part of `tissue`; empty where the slide is coarser than `cfg.mpp`, which cannot be judged.

    Raises
    ------
    SlideError : the slide cannot be read.
    """
    factor = max(round(grid.mpp / cfg.mpp), 1)
    fine = Grid(grid.mpp / factor, grid.width_px * factor, grid.height_px * factor)
    if slide.level0.mpp > fine.mpp * 1.05 or not tissue.any():
        return np.zeros_like(tissue)
    sums = np.zeros((*grid.shape, 2), np.float32)
    there = slide.level0.at(fine.mpp)
    for coarse in _blocks(grid.window, tissue, max(cfg.block_px // factor, 1)):
        core = Window(fine, coarse.x * factor, coarse.y * factor, coarse.w * factor, coarse.h * factor)
        bands = _bands(slide, there, core)
        sums[coarse.slices] = bands.reshape(coarse.h, factor, coarse.w, factor, 2).mean(axis=(1, 3))
    return blurred(sums, tissue, grid.mpp, cfg)


def _bands(slide: Slide, there: Grid, core: Window) -> Plane:
    """[h w 2] of `structure` in a window; 0 outside the slide, whose edge is not taken for an edge in the tissue."""
    around = core.grow(16)
    inside = Window(there, around.x, around.y, around.w, around.h).clip()
    out = np.zeros((*around.shape, 2), np.float32)
    x, y = inside.x - around.x, inside.y - around.y
    out[y : y + inside.h, x : x + inside.w] = structure(slide.read(inside))
    return out[16:-16, 16:-16]


def structure(image: NDArray[np.uint8]) -> Plane:
    """Energy of the fine and the coarse band of the green channel's OD.

    Parameters
    ----------
    image : [h w 3] uint8 RGB at about 2 um/px.

    Returns
    -------
    [h w 2] float32, OD squared; its last 16 pixels to each side depend on what lies beyond.
    """
    od = -np.log10(np.maximum(image[..., 1].astype(np.float32), 8.0) / 255)
    fine = od - _gauss(od, 1.0)
    coarse = _gauss(od, 1.5) - _gauss(od, 4.0)
    return np.stack([fine * fine, coarse * coarse], axis=-1)


def blurred(bands: Plane, tissue: Mask, mpp: float, cfg: FocusConfig) -> Mask:
    """Which tissue is blurred, given the energies of `structure` averaged to the tissue map.

    Parameters
    ----------
    bands : [h w 2] float32.
    tissue : [h w] bool.
    mpp : um/px of both.
    """
    size = odd(cfg.window_um / mpp)
    inside = tissue.astype(np.float32)
    weight = np.maximum(_box(inside, size), 1e-6)
    fine, coarse = (_box(bands[..., k] * inside, size) / weight for k in range(2))
    soft = tissue & (coarse > cfg.min_structure**2) & (fine < cfg.min_ratio**2 * coarse)
    soft = large(opened(soft, int(cfg.window_um / mpp / 3)), cfg.min_blur_um2 / mpp**2)
    # A window that straddles an edge of the blur looks sharp: give back that rim.
    rim = np.ones((size, size), np.uint8)
    return cv2.dilate(soft.astype(np.uint8), rim).astype(bool) & tissue


def _blocks(window: Window, tissue: Mask, size_px: int) -> Iterator[Window]:
    """The blocks of `window` that hold tissue."""
    return (block for block in window.split(size_px) if tissue[block.slices].any())


def _gauss(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def _box(plane: Plane, size: int) -> Plane:
    return np.asarray(np.maximum(cv2.blur(plane, (size, size), borderType=cv2.BORDER_REFLECT), 0), np.float32)
