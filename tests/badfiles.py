"""TIFF files that are wrong on purpose, and the one line that they must get."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tilscore.errors import SlideError, TilscoreError
from tilscore.slide import open_slide

APERIO = "Aperio Image Library v11.2.1 \r\n640x512 [0,0 640x512] (128x128) JPEG/RGB Q=90|AppMag = 40|MPP = {mpp}"


def picture(w: int = 640, h: int = 512) -> NDArray[np.uint8]:
    return cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (h, w, 3), dtype=np.uint8), (0, 0), 1.5)


def write(path: Path, pixels: NDArray[np.generic] | None = None, **options: object) -> Path:
    settings = {"tile": (128, 128), "resolution": (2e4, 2e4), "resolutionunit": 3, "metadata": None}
    data = picture() if pixels is None else pixels
    tifffile.imwrite(path, data, **{**settings, "photometric": "rgb", **options})
    return path


def svs(path: Path, mpp: object = "0.25", **options: object) -> Path:
    return write(path, compression="jpeg", description=APERIO.format(mpp=mpp), **options)


def refused(path: Path, kind: type[TilscoreError] = SlideError, mpp: float | None = 0.5) -> str:
    """The one line with which a file is refused, whether at opening or at reading."""
    with pytest.raises(kind) as caught, open_slide(path, mpp=mpp) as slide:
        slide.thumbnail(4.0)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    return line


def png_bomb(path: Path, side: int) -> Path:
    """A small PNG that says that it has `side` x `side` px."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    header = side.to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6))))
    return path
