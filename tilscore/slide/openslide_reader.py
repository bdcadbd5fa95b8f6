"""Slides read through OpenSlide, with its traps taken care of.

A handle is dead after its first error, missing tiles come back transparent, and levels whose downsample is not a
whole number are shifted by a part of a pixel that depends on where one starts to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.slide.alpha import on_white
from tilscore.slide.base import Header, Slide
from tilscore.slide.mpp import Found

DENSE_VENDORS = {"aperio", "generic-tiff", "hamamatsu"}
"""Formats that store every tile: a transparent pixel is a lost one. Others leave out what was not scanned."""
CELL_PX = 512
"""Levels with a fractional downsample are read from the corners of this lattice, so that the shift is constant."""
_LEAF_RANGE_PX = (64, 1024)


class OpenSlideSlide(Slide):
    """A slide in a format of OpenSlide's."""

    reader: ClassVar[str] = "openslide"

    def _open(self) -> Any:
        import openslide

        return openslide.OpenSlide(str(self.path))

    def _inspect(self) -> Header:
        slide = self._held()
        properties = slide.properties
        identity = {key: properties[key] for key in ("openslide.quickhash-1",) if key in properties}
        return Header(
            vendor=properties.get("openslide.vendor", "unknown"),
            sizes=tuple(slide.level_dimensions),
            found=_found(properties),
            bounds_px=_bounds_px(properties),
            properties=identity,
        )

    def _read_level(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        out = np.empty((h, w, 3), np.uint8)
        downsample = self._held().level_downsamples[self._numbers[level]]
        if downsample == round(downsample):
            self._fill(level, x, y, out)
            return out
        for cx, cw in _lattice(x, w, CELL_PX):
            for cy, ch in _lattice(y, h, CELL_PX):
                x0, y0 = cx - cx % CELL_PX, cy - cy % CELL_PX
                cell = np.empty((cy - y0 + ch, cx - x0 + cw, 3), np.uint8)
                self._fill(level, x0, y0, cell)
                out[cy - y : cy - y + ch, cx - x : cx - x + cw] = cell[cy - y0 :, cx - x0 :]
        return out

    def _fill(self, level: int, x: int, y: int, out: NDArray[np.uint8]) -> None:
        """Read into `out`; what fails is halved until only the bad tile is lost."""
        h, w = out.shape[:2]
        step_x, step_y = self._leaf(level)
        is_leaf = x // step_x == (x + w - 1) // step_x and y // step_y == (y + h - 1) // step_y
        if not self._touches_bad(level, x, y, w, h) and (
            self._try(level, x, y, out) or (is_leaf and self._try(level, x, y, out))
        ):
            return
        if is_leaf:
            out[:] = 255
            self._note_cell(level, x, y)
            return
        if x // step_x != (x + w - 1) // step_x and (w >= h or y // step_y == (y + h - 1) // step_y):
            cut = _middle(x, w, step_x) - x
            self._fill(level, x, y, out[:, :cut])
            self._fill(level, x + cut, y, out[:, cut:])
        else:
            cut = _middle(y, h, step_y) - y
            self._fill(level, x, y, out[:cut])
            self._fill(level, x, y + cut, out[cut:])

    def _try(self, level: int, x: int, y: int, out: NDArray[np.uint8]) -> bool:
        import openslide

        slide, number = self._held(), self._numbers[level]
        downsample = slide.level_downsamples[number]
        h, w = out.shape[:2]
        try:
            image = slide.read_region((round(x * downsample), round(y * downsample)), number, (w, h))
        except openslide.OpenSlideError:
            self._close()
            return False
        rgba = np.asarray(image)
        if rgba[..., 3].min() == 255:
            out[:] = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
            return True
        if self._is_dense():
            self._note_holes(level, x, y, rgba[..., 3])
        out[:] = on_white(rgba)
        return True

    def _is_dense(self) -> bool:
        return self.vendor in DENSE_VENDORS

    def _leaf(self, level: int) -> tuple[int, int]:
        """Size of the smallest piece that is given up: the level's tile where it is known."""
        properties, number = self._held().properties, self._numbers[level]
        sides = (properties.get(f"openslide.level[{number}].tile-{side}", "") for side in ("width", "height"))
        low, high = _LEAF_RANGE_PX
        w, h = (int(side) if side.isdecimal() and low <= int(side) <= high else 256 for side in sides)
        return w, h

    def _touches_bad(self, level: int, x: int, y: int, w: int, h: int) -> bool:
        with self._lock:
            return any(
                number == level and bx < x + w and x < bx + bw and by < y + h and y < by + bh
                for (number, bx, by), (bw, bh) in self._bad.items()
            )

    def _note_cell(self, level: int, x: int, y: int) -> None:
        step_x, step_y = self._leaf(level)
        self._note_bad(level, x - x % step_x, y - y % step_y, step_x, step_y)

    def _note_holes(self, level: int, x: int, y: int, alpha: NDArray[np.uint8]) -> None:
        step_x, step_y = self._leaf(level)
        for cx, cw in _lattice(x, alpha.shape[1], step_x):
            for cy, ch in _lattice(y, alpha.shape[0], step_y):
                if (alpha[cy - y : cy - y + ch, cx - x : cx - x + cw] == 0).any():
                    self._note_cell(level, cx, cy)


def _lattice(start: int, n: int, step: int) -> Iterator[tuple[int, int]]:
    """Start and length of the parts of `start .. start + n` between multiples of `step`."""
    at = start
    while at < start + n:
        stop = min(at - at % step + step, start + n)
        yield at, stop - at
        at = stop


def _middle(start: int, n: int, step: int) -> int:
    """The multiple of `step` strictly inside `start .. start + n` that is nearest to its middle."""
    middle = round((start + n / 2) / step) * step
    if middle <= start:
        return middle + step
    return middle if middle < start + n else middle - step


def _found(properties: Any) -> Found:
    power = properties.get("openslide.objective-power", "")
    try:
        objective = float(power) if power else None
    except ValueError:
        objective = None
    for x, y in (("aperio.MPP", "aperio.MPP"), ("openslide.mpp-x", "openslide.mpp-y")):
        if x in properties or y in properties:
            return Found(properties.get(x), properties.get(y), x, objective)
    return Found(objective=objective)


def _bounds_px(properties: Any) -> tuple[int, int, int, int] | None:
    try:
        x, y, w, h = (int(properties[f"openslide.bounds-{side}"]) for side in ("x", "y", "width", "height"))
    except (KeyError, ValueError):
        return None
    return (x, y, w, h) if w > 0 and h > 0 else None
