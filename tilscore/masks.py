"""Small operations on masks that the maps are built from; lengths are in pixels where they do not say microns."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.space import BoxUm

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]


def local_std(plane: Plane, size: int) -> Plane:
    """Standard deviation in a box of `size` pixels around each pixel, the mean taken out first for precision."""
    plane = plane - plane.mean()
    mean = cv2.blur(plane, (size, size), borderType=cv2.BORDER_REFLECT)
    square = cv2.blur(plane * plane, (size, size), borderType=cv2.BORDER_REFLECT)
    return np.sqrt(np.maximum(square - mean * mean, 0))


def odd(size: float) -> int:
    """The nearest odd number, at least 3."""
    return max(2 * int(size / 2) + 1, 3)


def disc(radius: float) -> NDArray[np.uint8]:
    """Kernel [2 r + 1, 2 r + 1] of a filled circle."""
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(x * x + y * y <= radius * radius + 0.5, np.uint8)


def dilate(mask: Mask, radius: float) -> Mask:
    """`mask` widened by `radius`."""
    return cv2.dilate(mask.astype(np.uint8), disc(radius)).astype(bool)


def closing(mask: Mask, radius: float) -> Mask:
    """Morphological closing that does not pull tissue towards the image border."""
    pad = int(radius) + 1
    padded = np.pad(mask.astype(np.uint8), pad, mode="edge")
    return cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc(radius))[pad:-pad, pad:-pad].astype(bool)


def opened(mask: Mask, size: int) -> Mask:
    """Without what is narrower than `size`."""
    kernel = np.ones((size // 2 * 2 + 1,) * 2, np.uint8)  # an even one would shift the mask
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel).astype(bool)


def large(mask: Mask, min_px: float) -> Mask:
    """The 8-connected pieces of at least `min_px` pixels."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_px
    keep[0] = False
    return np.asarray(keep[parts])


def distance_px(mask: Mask) -> Plane:
    """[h w] distance of each pixel's centre to the nearest centre in `mask`; endless where `mask` is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    far = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(far, np.float32)


def extent(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle around what is True; empty where nothing is."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def box_of(mask: Mask, mpp: float) -> BoxUm:
    """The smallest box around what is True, in microns."""
    rows, columns = extent(mask)
    return BoxUm(columns.start * mpp, rows.start * mpp, columns.stop * mpp, rows.stop * mpp)
