"""TIFF files of known pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

W, H = 700, 540
APERIO = "Aperio Image Library v11.2.1 \r\n{w}x{h} [0,0 {w}x{h}] (256x256) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5000"


def gradient(w: int = W, h: int = H, step: float = 1.0) -> NDArray[np.float64]:
    """[h w 3]: red rises with x, green with y, by a known amount per pixel; blue is flat."""
    out = np.empty((h, w, 3))
    out[..., 0] = 20 + (np.arange(w) + 0.5) * step * 0.25
    out[..., 1] = 30 + (np.arange(h)[:, None] + 0.5) * step * 0.35
    out[..., 2] = 100
    return out


def noise(w: int = W, h: int = H) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (h, w, 3), dtype=np.uint8)


def reduced(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    h, w = pixels.shape[0] // factor, pixels.shape[1] // factor
    return cv2.resize(pixels[: h * factor, : w * factor], (w, h), interpolation=cv2.INTER_AREA)


def write_tiff(
    path: Path, pixels: NDArray[np.uint8], *, mpp: float = 0.5, factors: tuple[int, ...] = (), subifds: bool = False,
    ome: bool = False, compression: str | None = "deflate", description: str | None = None, unit: str = "CENTIMETER",
) -> Path:  # fmt: skip
    """A tiled TIFF of `pixels` with further levels as pages or SubIFDs."""
    per_unit = {"CENTIMETER": 1e4, "INCH": 25400.0}[unit] / mpp
    options = {"tile": (128, 128), "photometric": "rgb", "compression": compression}
    metadata = {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": mpp} if ome else None
    if ome:
        metadata["PhysicalSizeYUnit"] = "µm"
    with tifffile.TiffWriter(path, ome=ome) as file:
        first = {} if ome else {"resolution": (per_unit, per_unit), "resolutionunit": unit}
        file.write(
            pixels, **options, **first, subifds=len(factors) if subifds else None, metadata=metadata,
            description=description,
        )  # fmt: skip
        for factor in factors:
            file.write(reduced(pixels, factor), **options, subfiletype=1, metadata=None)
    return path
