"""Slides whose levels are stored in tiles: only those that a window touches are decoded, and the last ones are kept."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tilscore.slide.base import Slide

CACHE_BYTES = 64 << 20
"""Decoded tiles kept: neighbouring windows share those of their common edge."""


@dataclass(frozen=True)
class TileGrid:
    """One level: its size and that of its tiles, in px; those at its right and lower edge may be cut."""

    width: int
    height: int
    tile_w: int
    tile_h: int

    @property
    def n_across(self) -> int:
        return -(-self.width // self.tile_w)

    def place(self, index: int) -> tuple[int, int, int, int]:
        """x, y, w, h of a tile inside the level; tiles are numbered row by row."""
        row, column = divmod(index, self.n_across)
        x, y = column * self.tile_w, row * self.tile_h
        return x, y, min(self.tile_w, self.width - x), min(self.tile_h, self.height - y)


@dataclass
class TiledFile:
    """An open file: its levels, and the tiles decoded last."""

    levels: Sequence[TileGrid]
    cache: OrderedDict[tuple[int, int], NDArray[np.uint8]] = field(default_factory=OrderedDict, init=False)
    n_bytes: int = field(default=0, init=False)

    def keep(self, key: tuple[int, int], tile: NDArray[np.uint8]) -> None:
        if key not in self.cache:
            self.cache[key] = tile
            self.n_bytes += tile.nbytes
        while self.n_bytes > CACHE_BYTES and len(self.cache) > 1:
            self.n_bytes -= self.cache.popitem(last=False)[1].nbytes


class TiledSlide(Slide):
    """A slide whose handle is a `TiledFile`."""

    @abstractmethod
    def _decode(self, number: int, index: int) -> NDArray[np.uint8] | None:
        """Pixels [h w 3] of a tile, cut at the level's edge; None where it cannot be decoded."""

    def _read_level(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        number = self._numbers[level]
        grid: TileGrid = self._held().levels[number]
        out = np.empty((h, w, 3), np.uint8)
        for row in range(y // grid.tile_h, -(-(y + h) // grid.tile_h)):
            for column in range(x // grid.tile_w, -(-(x + w) // grid.tile_w)):
                left, top = column * grid.tile_w, row * grid.tile_h
                x0, y0 = max(x, left), max(y, top)
                x1, y1 = min(x + w, left + grid.tile_w), min(y + h, top + grid.tile_h)
                tile = self._tile(number, row * grid.n_across + column)
                if tile is None:
                    self._note_bad(level, left, top, grid.tile_w, grid.tile_h)
                    out[y0 - y : y1 - y, x0 - x : x1 - x] = 255
                else:
                    out[y0 - y : y1 - y, x0 - x : x1 - x] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def _tile(self, number: int, index: int) -> NDArray[np.uint8] | None:
        file: TiledFile = self._held()
        key = (number, index)
        with self._lock:
            if key in file.cache:
                file.cache.move_to_end(key)
                return file.cache[key]
        tile = self._decode(number, index)
        if tile is not None:
            with self._lock:
                file.keep(key, tile)
        return tile
