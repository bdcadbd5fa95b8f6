"""Single pictures (PNG, JPEG) of a part of a slide; their resolution is always given by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import SlideError
from tilscore.slide.alpha import on_white
from tilscore.slide.base import Header, Slide
from tilscore.slide.mpp import Found

LARGEST_FIELD_PX = 89_000_000
"""Larger pictures belong into a tiled TIFF, which need not be decoded whole."""
_TOO_LARGE = f"picture is empty or larger than {LARGEST_FIELD_PX / 1e6:.0f} million pixels"
_MODES = {"RGB", "RGBA", "P"}


class FieldSlide(Slide):
    """A PNG or JPEG, decoded whole when it is opened. A resolution in its metadata is a print setting: not used."""

    reader: ClassVar[str] = "field"
    is_field: ClassVar[bool] = True

    def _inspect(self) -> Header:
        pixels = self._held()
        return Header(_kind(self.path), ((pixels.shape[1], pixels.shape[0]),), Found())

    def _open(self) -> Any:
        return decode(self.path)

    def _read_level(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = self._held()
        return pixels[y : y + h, x : x + w]


def decode(path: Path) -> NDArray[np.uint8]:
    """Pixels [h w 3] RGB of a PNG or JPEG, as stored (an EXIF rotation is not applied); transparent parts white.

    Raises
    ------
    SlideError : not 8-bit colour, too large, or damaged.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_check` is stricter
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                _check(path, _mode(image), image.size)
                return _rgb(image)
    except SlideError:
        raise
    except Image.DecompressionBombError as err:
        raise SlideError(_TOO_LARGE, where=path, do="save it as a tiled TIFF") from err
    except (OSError, SyntaxError, ValueError, EOFError) as err:
        raise SlideError("picture is damaged", where=path, found=err, do="export it again") from err


def _mode(image: Any) -> str:
    """Its mode as the file stores it: Pillow cuts the 16 bits of a PNG in colours down to the upper 8, unasked."""
    stored = [str(part[3]) for part in image.tile]
    return next((raw for raw in stored if "16" in raw), str(image.mode))


def _check(path: Path, mode: str, size: tuple[int, int]) -> None:
    if mode not in _MODES:
        raise SlideError("picture is not 8-bit RGB", where=path, found=f"mode {mode}", do="export it as 8-bit RGB")
    if min(size) < 1 or size[0] * size[1] > LARGEST_FIELD_PX:
        raise SlideError(_TOO_LARGE, where=path, found=f"{size[0]} x {size[1]}", do="save it as a tiled TIFF")


def _rgb(image: Any) -> NDArray[np.uint8]:
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.array(image, dtype=np.uint8)
    return on_white(np.asarray(image.convert("RGBA")))


def _kind(path: Path) -> str:
    with open(path, "rb") as f:
        return "png" if f.read(4) == b"\x89PNG" else "jpeg"
