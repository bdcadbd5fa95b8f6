"""Overviews of slides whose tissue is drawn, so that its area is known."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.labels import Area

MPP = 8.0
SIDE = 300
DYES = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
STAIN = (0.22, 0.14)
"""OD of haematoxylin and eosin of ordinary tissue."""
INKS = {
    "green": (30, 140, 70), "light green": (110, 190, 130), "blue": (30, 60, 180), "light blue": (90, 140, 220),
    "black": (35, 35, 38), "faded black": (90, 90, 92), "red": (200, 30, 45), "violet": (80, 40, 150),
}  # fmt: skip

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def box(y0: int, y1: int, x0: int, x1: int, side: int = SIDE) -> Mask:
    mask = np.zeros((side, side), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def stain(mask: Mask, stains: tuple[float, float] = STAIN, grain: float = 0.4, seed: int = 0) -> NDArray[np.float64]:
    """OD [h w 3] of grainy tissue on `mask`."""
    rng = np.random.default_rng(seed)
    amount = np.array(stains) * np.clip(rng.normal(1, grain, (*mask.shape, 2)), 0.1, 2.5)
    return np.asarray(amount @ DYES * mask[..., None])


def render(od: NDArray[np.float64], glass: tuple[int, int, int] = (243, 241, 244), noise: float = 1.0) -> Image:
    rng = np.random.default_rng(9)
    light = np.array(glass) * 10.0**-od + rng.normal(0, noise, od.shape)
    return np.clip(np.round(light), 0, 255).astype(np.uint8)


def jpeg(image: Image, quality: int = 60) -> Image:
    ok, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)


def share(areas: NDArray[np.uint8], where: Mask, *values: Area) -> float:
    return float(np.isin(areas[where], values).mean())


def ink(image: Image, mask: Mask, colour: tuple[int, int, int]) -> Image:
    """Transparent ink over the image, with a soft edge."""
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)[..., None]
    return np.clip(image * (np.array(colour) / 245.0) ** alpha, 0, 255).astype(np.uint8)


def nuclei(side_px: int, mpp: float, strength: float) -> Image:
    """A field full of nuclei, 2500 per mm2, on fibrous eosin."""
    rng = np.random.default_rng(5)
    amount = np.zeros((side_px, side_px), np.float32)
    for x, y in rng.integers(0, side_px, (int(2500 * (side_px * mpp / 1000) ** 2), 2)):
        axes = (int(rng.uniform(2, 4) / mpp), int(rng.uniform(3, 5) / mpp))
        cv2.ellipse(amount, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.6, 1)), -1)
    fibres = cv2.GaussianBlur(rng.normal(0, 1, amount.shape).astype(np.float32), (0, 0), 2 / mpp)
    eosin = 0.12 + 0.1 * fibres / fibres.std() * 0.3
    return render(strength * (np.stack([0.5 * amount, eosin], -1) @ DYES))
