"""What every slide can do, whichever library reads it."""

from __future__ import annotations

import hashlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import SlideError, TilscoreError, printable
from tilscore.slide.levels import level_grids
from tilscore.slide.mpp import Found, resolve
from tilscore.slide.resample import choose_level, plan_axis, resample
from tilscore.space import BoxUm, Grid, Window

LARGEST_READ_PX = 400_000_000
"""Largest window that is read at once: 1.2 GB."""
CHUNK_PX = 4096
"""Longest side of what is decoded at once while a larger window is read: 50 MB."""
MOST_BAD_PIECES = 2000
"""A slide with more unreadable tiles than this is given up: each try costs time, and the score is lost anyway."""
_ENDS_BYTES = 1 << 20
"""Bytes of each end of the file that enter the fingerprint."""


@dataclass(frozen=True)
class SlideSpec:
    """A slide to be read: its name, where it is, and what the user says about it.

    Parameters
    ----------
    slide_id : safe as the name of a folder, unique in a run.
    mpp : um/px given by hand; None = as the file states.
    roi : drawn areas (GeoJSON): the area to score, and what is to be left out of it.
    site : where the tissue was taken, e.g. `breast` or `lymph_node`; None = not stated.
    specimen : how it was taken, e.g. `core` or `resection`; None = not stated.
    alias : its name where `slide_id` is that of another slide in the results; empty: the name was given, and stays.
    """

    slide_id: str
    path: Path
    mpp: float | None = None
    roi: Path | None = None
    site: str | None = None
    specimen: str | None = None
    alias: str = ""


@dataclass(frozen=True)
class Header:
    """What a reader finds out when it opens a file.

    Parameters
    ----------
    sizes : width and height of each level in px, level 0 first.
    found : the resolution as stated by the file.
    bounds_px : x, y, w, h of the scanned part on level 0, where the format states it.
    properties : further facts that identify the image (no patient data).
    n_further : images of the file that are neither this one nor a level of it, where the format names them.
    """

    vendor: str
    sizes: tuple[tuple[int, int], ...]
    found: Found
    bounds_px: tuple[int, int, int, int] | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    n_further: int = 0


class Slide(ABC):
    """A slide that is open for reading; a context manager.

    Pickled or forked, it opens the file anew in the other process.

    Attributes
    ----------
    reader : "openslide", "tiff", "ngff", "field" or "tiatoolbox".
    vendor : format, e.g. "aperio".
    mpp, mpp_source : um/px of level 0; "given" or where the file states it.
    level0, levels : the grids of the file's levels, finest first.
    objective : nominal power, where stated; a hint only.
    is_field : a picture of a part of a slide, which is all tissue bed.
    flags : what is to be known about the resolution, e.g. "low_resolution".
    bounds_um : the scanned part of the slide.
    n_further : further images that the file names; they are not read.
    """

    reader: ClassVar[str]
    is_field: ClassVar[bool] = False

    def __init__(self, path: Path, *, mpp: float | None = None, allow_upsampling: bool = False) -> None:
        self.path = Path(path)
        self._handle: Any = None
        self._owner = 0
        self._closed = False
        self._lock = threading.RLock()
        self._bad: dict[tuple[int, int, int], tuple[int, int]] = {}
        try:
            header = self._inspect()
        except TilscoreError:
            self._close()
            raise
        except Exception as err:  # third-party decoders raise anything on damaged files
            self._close()
            raise unreadable(self.path, err) from err
        resolution = resolve(header.found, mpp, where=self.path, allow_upsampling=allow_upsampling)
        self.vendor, self.objective = header.vendor, header.found.objective
        self.mpp, self.mpp_source, self.flags = resolution.mpp, resolution.source, resolution.flags
        self._numbers, self.levels = level_grids(self.path, header.sizes, resolution.mpp)
        self.properties, self.n_further = dict(header.properties), header.n_further
        self.bounds_um = self._bounds(header.bounds_px)

    @property
    def level0(self) -> Grid:
        return self.levels[0]

    @property
    def unreadable(self) -> tuple[BoxUm, ...]:
        """The pieces of the slide that were asked for and could not be decoded; they were returned as white.

        A piece that is lost on a coarser level alone is read from the next finer one, and is none of these.
        """
        return tuple(piece.box for piece in self._lost(0))

    @property
    def n_unreadable_px(self) -> int:
        """Number of level-0 pixels under `unreadable`; a piece that is read twice counts once."""
        return round(sum(box.width_um * box.height_um for box in self.unreadable) / self.mpp**2)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Pixels [h w 3] RGB of a window of any grid over this slide; white outside the slide.

        Raises
        ------
        SlideError : the file cannot be read at all, or has too many unreadable tiles.
        ValueError : the window is larger than `LARGEST_READ_PX`.
        """
        self._check_open()
        if window.w * window.h > LARGEST_READ_PX:
            raise ValueError(f"a window of {window.w} x {window.h} px is too large to be read at once")
        out = np.full((*window.shape, 3), 255, np.uint8)
        grid = self.level0.at(window.grid.mpp)
        inside = Window(grid, window.x, window.y, window.w, window.h).clip()
        self._fill_in(out, window, inside, choose_level(self.levels, grid.mpp))
        return out

    def thumbnail(self, mpp: float) -> NDArray[np.uint8]:
        """The whole slide [h w 3] RGB on the grid `level0.at(mpp)`."""
        return self.read(self.level0.at(mpp).window)

    def fingerprint(self) -> str:
        """Hex digest that tells this image from others: file size, both ends of the file, size of the levels."""
        facts = [self.vendor, *(f"{g.width_px}x{g.height_px}" for g in self.levels)]
        facts += [f"{key}={value}" for key, value in sorted(self.properties.items())]
        digest = hashlib.sha256("|".join(facts).encode())
        if self.path.is_file():
            with open(self.path, "rb") as f:
                size = os.fstat(f.fileno()).st_size
                digest.update(f"|{size}|".encode())
                digest.update(f.read(_ENDS_BYTES))
                f.seek(max(0, size - _ENDS_BYTES))
                digest.update(f.read(_ENDS_BYTES))
        return digest.hexdigest()

    def close(self) -> None:
        """Release the file."""
        self._close()
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_lock": None, "_bad": dict(self._bad)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        grid = self.level0
        return f"<{self.reader} {self.path.name}: {grid.width_px} x {grid.height_px} px, {self.mpp:g} um/px>"

    @abstractmethod
    def _open(self) -> Any:
        """A new handle on the file."""

    @abstractmethod
    def _inspect(self) -> Header:
        """Open the file and say what it is; SlideError where it is of a kind that cannot be used."""

    @abstractmethod
    def _read_level(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        """Pixels [h w 3] of a rectangle inside `levels[level]`; unreadable pieces are white and noted.

        `_numbers[level]` is the library's own number of that level.
        """

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self.path} is closed")

    def _held(self) -> Any:
        """The handle, opened anew in another process or after an error."""
        with self._lock:
            if self._handle is None or self._owner != os.getpid():
                self._handle, self._owner = self._open(), os.getpid()
            return self._handle

    def _close(self) -> None:
        self._handle = None

    def _note_bad(self, level: int, x: int, y: int, w: int, h: int) -> None:
        """Remember a piece of a level (in its pixels) that cannot be read."""
        with self._lock:
            self._bad[level, x, y] = (w, h)
            n_bad = len(self._bad)
        if n_bad > MOST_BAD_PIECES:
            what = f"more than {MOST_BAD_PIECES} tiles cannot be read"
            raise SlideError(what, where=self.path, do="copy or export the slide again")

    def _lost(self, level: int) -> list[Window]:
        """Pieces of a level that could not be decoded."""
        with self._lock:
            bad = sorted((x, y, *size) for (at, x, y), size in self._bad.items() if at == level)
        return [Window(self.levels[level], *piece).clip() for piece in bad]

    def _fill_in(self, out: NDArray[np.uint8], window: Window, inside: Window, level: int) -> None:
        """Read `inside` from a level, in chunks, into its place in `out`, which shows `window`."""
        size = max(1, int(CHUNK_PX * min(1.0, self.levels[level].mpp / window.grid.mpp)))
        for part in inside.split(size):
            rows, columns = part.y - window.y, part.x - window.x
            out[rows : rows + part.h, columns : columns + part.w] = self._read_part(level, part)

    def _read_part(self, level: int, part: Window) -> NDArray[np.uint8]:
        """Pixels of a chunk; what a coarser level has lost is read from the next finer one."""
        out = self._read_resampled(level, part)
        for piece in self._lost(level) if level > 0 else ():
            missing = part.grid.covering_window(piece.box).grow(1).overlap(part)
            if missing.w > 0 and missing.h > 0:
                self._fill_in(out, part, missing, level - 1)
        return out

    def _read_resampled(self, level: int, part: Window) -> NDArray[np.uint8]:
        grid = self.levels[level]
        x = plan_axis(grid.mpp, grid.width_px, part.grid.mpp, part.x, part.w)
        y = plan_axis(grid.mpp, grid.height_px, part.grid.mpp, part.y, part.h)
        w, h = x.level_stop - x.level_start, y.level_stop - y.level_start
        try:
            pixels = self._read_level(level, x.level_start, y.level_start, w, h)
        except TilscoreError:
            raise
        except Exception as err:
            raise unreadable(self.path, err) from err
        return resample(pixels, x, y)

    def _bounds(self, bounds_px: tuple[int, int, int, int] | None) -> BoxUm:
        if bounds_px is None:
            return self.level0.box
        window = Window(self.level0, *bounds_px).clip()
        return window.box if window.w and window.h else self.level0.box


def unreadable(path: Path, err: Exception) -> SlideError:
    """A library's error as one line."""
    reason = printable(err, 120) or type(err).__name__
    return SlideError("cannot be read", where=path, found=reason, do="check that the file is complete")
