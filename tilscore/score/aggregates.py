"""Lymphoid aggregates: packed clusters of inflammatory cells, found for the eye and for the account."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.masks import Mask, box_of
from tilscore.raster import in_mask
from tilscore.score.config import AggregateConfig
from tilscore.space import Grid

Floats = NDArray[np.floating[Any]]


def find_aggregates(x_um: Floats, y_um: Floats, within: Mask, grid: Grid, cfg: AggregateConfig) -> Mask:
    """[h w] bool on `grid`: pixels of `within` where the points lie packed, in pieces that are large enough.

    Parameters
    ----------
    x_um, y_um : [n] inflammatory cells. within : [h w] bool: where to look, e.g. evaluable stroma.
    """
    out = np.zeros_like(within)
    if not within.any() or not len(x_um):
        return out
    box = box_of(within, grid.mpp)
    window = grid.covering_window(box.grow(3 * cfg.sigma_um)).clip()
    col, row = grid.index(x_um) - window.x, grid.index(y_um) - window.y
    inside = (col >= 0) & (row >= 0) & (col < window.w) & (row < window.h)
    at, n = np.unique(row[inside] * window.w + col[inside], return_counts=True)
    count = np.zeros(window.h * window.w, np.float32)
    count[at] = n
    sigma = cfg.sigma_um / grid.mpp
    smooth = cv2.GaussianBlur(count.reshape(window.shape), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    dense = (smooth >= cfg.dense_per_mm2 * grid.pixel_mm2) & within[window.slices]
    del count, smooth  # the largest arrays of the score of a resection
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(dense.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] * grid.pixel_mm2 >= cfg.min_mm2
    large[0] = False
    out[window.slices] = large[pieces]
    return out


def describe_aggregates(
    mask: Mask, grid: Grid, x_um: Floats, y_um: Floats, drawn: Mask | None = None
) -> list[dict[str, Any]]:
    """Place, area and cells of each aggregate, the largest first; areas and cells are those in `mask`.

    Parameters
    ----------
    mask : [h w] bool: aggregates in evaluable stroma. x_um, y_um : [n] inflammatory cells.
    drawn : [h w] bool: areas drawn as aggregates, stroma or not. One that holds several pieces of `mask` is one.
    """
    if not mask.any():
        return []
    whole = mask if drawn is None else mask | drawn
    window = grid.covering_window(box_of(whole, grid.mpp))
    n, pieces = cv2.connectedComponents(whole[window.slices].astype(np.uint8), connectivity=8)
    row, col = np.nonzero(mask[window.slices])
    under = pieces[row, col]
    n_px = np.bincount(under, minlength=n)
    x_px, y_px = (np.bincount(under, at, minlength=n) / np.maximum(n_px, 1) for at in (col, row))
    inside = in_mask(mask, grid, x_um, y_um)
    under = pieces[grid.index(y_um[inside]) - window.y, grid.index(x_um[inside]) - window.x]
    n_cells = np.bincount(under, minlength=n)
    found = [
        {
            "x_um": round(float(x_px[i] + window.x + 0.5) * grid.mpp, 1),
            "y_um": round(float(y_px[i] + window.y + 0.5) * grid.mpp, 1),
            "mm2": int(n_px[i]) * grid.pixel_mm2,
            "n_tils": int(n_cells[i]),
        }
        for i in range(1, n)
        if n_px[i]
    ]
    return sorted(found, key=lambda a: -float(a["mm2"]))
