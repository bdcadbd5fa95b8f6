"""Tiny annotated sets for the tests of the readers: pictures, masks and tables in the published layouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import tifffile

from tilscore.datasets import Sample
from tilscore.labels import Cell

INF, EPI, STR, OTH = Cell.INFLAMMATORY, Cell.EPITHELIAL, Cell.STROMAL, Cell.OTHER
SLIDE = "TCGA-A1-A0SP-DX1"


def picture(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> np.ndarray:
    """A picture of noise, written in the format of its name; its pixels in RGB."""
    rgb = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, rgb, photometric="rgb")
    else:
        cv2.imwrite(str(path), rgb[..., ::-1])
    return rgb


def mask(path: Path, values: np.ndarray) -> None:
    """A mask, its channels in the order red, green, blue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, values)
    else:
        cv2.imwrite(str(path), values if values.ndim == 2 else values[..., ::-1])


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def squares(*corners: tuple[int, int], size: int = 4, shape: tuple[int, int] = (30, 40)) -> np.ndarray:
    """An instance map: square k + 1 at x, y of corner k; its centre of mass is x + size / 2, y + size / 2."""
    out = np.zeros(shape, np.int32)
    for k, (x, y) in enumerate(corners):
        out[y : y + size, x : x + size] = k + 1
    return out


def nuclei(sample: Sample) -> list[tuple[float, float, int]]:
    """x, y, label of each nucleus, to 0.01 px, in reading order."""
    rows = zip(sample.x_px.tolist(), sample.y_px.tolist(), sample.label.tolist(), strict=True)
    return sorted((round(x, 2), round(y, 2), c) for x, y, c in rows)


def sample(source: str = "s", name: str = "a", *, n: int = 1, size: int = 64, **more: object) -> Sample:
    """A grey field with `n` nuclei on its diagonal, of the four classes in turn."""
    at = np.linspace(10, size - 10, n).astype(np.float32)
    label = (np.arange(n) % 4).astype(np.int8)
    image = np.full((size, size, 3), 200, np.uint8)
    return replace(Sample(name, source, image, 0.5, at, at, label, group=name), **more)  # type: ignore[arg-type]
