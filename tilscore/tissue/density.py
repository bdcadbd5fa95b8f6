"""Optical density and hue of a picture, against the glass that it was scanned on.

Optical density (OD) is `-log10(I / I_glass)`; hue is the hue-saturation-density chroma plane of van der Laak et al.,
Cytometry 39:275 (2000): `cx = OD_r / OD - 1`, `cy = (OD_g - OD_b) / (sqrt(3) OD)`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.masks import Plane, local_std

Image = NDArray[np.uint8]


def glass_colour(image: Image) -> NDArray[np.float32]:
    """Colour of the empty glass, [3] float32, RGB 0-255.

    Where too little of the image looks like glass (a field wholly inside tissue) it is neutral: the brightest channel's
    99.5th percentile, at least 220.
    """
    measured = measured_glass(image)
    if measured is not None:
        return measured
    brightest = float(np.percentile(image, 99.5, axis=(0, 1)).max())
    return np.full(3, max(brightest, 220.0), np.float32)


def measured_glass(image: Image) -> NDArray[np.float32] | None:
    """Colour of the empty glass: the brightest mode of the smooth, bright, hardly coloured pixels.

    Pure white (unscanned area) counts only where there is no other glass.

    Returns
    -------
    [3] float32, RGB 0-255; None where too little of the image looks like glass.
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
    return None


def optical_density(image: Image, glass: NDArray[np.float32]) -> Plane:
    """[h w 3] OD relative to glass, at least 0, of the slightly smoothed image; unscanned white reads as glass."""
    soft = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.6, borderType=cv2.BORDER_REPLICATE)
    density = np.log10(glass) - np.log10(np.maximum(soft, 1.0))
    return np.asarray(np.maximum(density, 0.0), np.float32)


def hue(od: Plane) -> tuple[Plane, Plane, Plane]:
    """Mean OD [h w] and the chroma plane `cx`, `cy` (see the module)."""
    mean = od.mean(axis=-1)
    safe = np.maximum(mean, 1e-3)
    return mean, od[..., 0] / safe - 1, (od[..., 1] - od[..., 2]) / (np.float32(np.sqrt(3)) * safe)
