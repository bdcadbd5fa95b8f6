"""Formats that nothing else here reads (JPEG 2000 files), through tiatoolbox: slow, and the last resort."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import SlideError
from tilscore.slide.base import Header, Slide
from tilscore.slide.mpp import Found


class TiatoolboxSlide(Slide):
    """A slide read by tiatoolbox's WSIReader."""

    reader: ClassVar[str] = "tiatoolbox"

    def _open(self) -> Any:
        with logging_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tiatoolbox.wsicore.wsireader import WSIReader

            return WSIReader.open(str(self.path))

    def _inspect(self) -> Header:
        with logging_kept():
            info = self._held().info
        x, y = (None, None) if info.mpp is None else (float(v) for v in info.mpp)
        sizes = tuple((int(w), int(h)) for w, h in info.level_dimensions[: len(info.level_downsamples)])
        power = None if info.objective_power is None else float(info.objective_power)
        return Header(self.path.suffix.lstrip(".").lower(), sizes, Found(x, y, "tiatoolbox.mpp", power))

    def _read_level(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        pixels = self._held().read_bounds(
            (x, y, x + w, y + h), resolution=self._numbers[level], units="level", coord_space="resolution"
        )
        if pixels.shape != (h, w, 3) or pixels.dtype != np.uint8:
            found = f"{pixels.dtype} {pixels.shape}"
            raise SlideError("tiatoolbox did not return 8-bit RGB", where=self.path, found=found)
        return np.ascontiguousarray(pixels)


@contextmanager
def logging_kept() -> Iterator[None]:
    """Undo what importing tiatoolbox does to the root logger and to warnings; its remarks are not shown."""
    root = logging.getLogger()
    handlers, level, show, disabled = list(root.handlers), root.level, warnings.showwarning, root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.disable(disabled)
        warnings.showwarning = show
