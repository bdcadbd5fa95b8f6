"""The tiles of one page of a TIFF: where they lie in the file, and how to decode them within limits."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

JPEG = 7
JPEG2000 = (33005, 34712)
_COMPRESSIONS = {1, 5, JPEG, 8, 32946, 32773, 34926, 50000, *JPEG2000}
"""None, LZW, JPEG, deflate (2), PackBits, Zstandard (2), JPEG 2000 in RGB."""
LARGEST_TILE_PX = 1 << 26
"""Largest tile or strip that is decoded: 200 MB."""
_MOST_TILES = 1 << 26
_RGB, _YCBCR = 2, 6
_SEEKING = threading.Lock()
"""Held between a seek and the read after it."""


@dataclass(frozen=True)
class Page:
    """One level: its size, its tiles (strips are tiles of full width), and how they are decoded.

    Parameters
    ----------
    offsets, counts : [n] position and length of each tile in the file, in bytes, row by row.
    decode : tifffile's decoder of this page.
    """

    width: int
    height: int
    tile_w: int
    tile_h: int
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    compression: int
    tables: bytes | None
    decode: Callable[..., Any]

    @property
    def n_across(self) -> int:
        return -(-self.width // self.tile_w)

    def tile(self, fd: int, index: int) -> NDArray[np.uint8] | None:
        """Pixels [h w 3] of a tile, cut at the page's edge; None where it cannot be decoded."""
        offset, count = int(self.offsets[index]), int(self.counts[index])
        limit = os.fstat(fd).st_size
        if offset <= 0 or count <= 0 or offset + count > limit:
            return None
        try:
            data = read_at(fd, count, offset)
            if len(data) != count or not self._is_sound(data):
                return None
            options = {"jpegtables": self.tables} if self.compression == JPEG else {}
            pixels = self.decode(data, index, **options)[0]
        except Exception:  # decoders raise anything on damaged tiles
            return None
        if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
            return None
        wanted = self._shape(index)
        pixels = pixels[0, : wanted[0], : wanted[1]]
        return pixels if pixels.shape[:2] == wanted else None

    def _shape(self, index: int) -> tuple[int, int]:
        row, column = divmod(index, self.n_across)
        return min(self.tile_h, self.height - row * self.tile_h), min(self.tile_w, self.width - column * self.tile_w)

    def _is_sound(self, data: bytes) -> bool:
        """Whether a compressed tile is complete and claims no more pixels than it may."""
        if self.compression == JPEG:
            size = jpeg_size(data) if b"\xff\xd9" in data[-64:] else None
        elif self.compression in JPEG2000:
            size = jpeg2000_size(data)
        else:
            return True
        return size is not None and size[0] <= self.tile_w + 15 and size[1] <= self.tile_h + 15


def read_at(fd: int, count: int, offset: int) -> bytes:
    """`count` bytes from `offset` on; threads may share the descriptor, also on Windows, which has no `pread`."""
    if hasattr(os, "pread"):
        data: bytes = os.pread(fd, count, offset)
        return data
    with _SEEKING:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, count)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the frame header of a JPEG stream, None where there is none."""
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        if marker == 0xDA:
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def jpeg2000_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the SIZ marker of a JPEG 2000 stream, None where there is none."""
    at = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0 or at + 16 > len(data):
        return None
    return int.from_bytes(data[at + 8 : at + 12]), int.from_bytes(data[at + 12 : at + 16])


def not_rgb(page: Any) -> str | None:
    """What the samples of a page (of tifffile) are, if not three of 8 bits."""
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    sample_format = int(page.sampleformat or 1)
    if bits == 8 and page.samplesperpixel == 3 and sample_format == 1:
        return None
    kind = {1: "", 2: " signed", 3: " float"}.get(sample_format, " other")
    return f"{page.samplesperpixel} samples of {bits} bits{kind}"


def refusal(page: Any) -> str | None:
    """Why a page (of tifffile) is not plain 8-bit RGB that can be decoded in pieces; None where it is."""
    why = not_rgb(page)
    if why:
        return why
    if page.photometric not in (_RGB, _YCBCR) or (page.photometric == _YCBCR and page.compression != JPEG):
        return f"colour space {getattr(page.photometric, 'name', page.photometric)}"
    if page.planarconfig != 1 or page.imagedepth != 1:
        return "separate colour planes"
    if page.compression not in _COMPRESSIONS:
        return f"compression {getattr(page.compression, 'name', page.compression)}"
    return bad_tiling(page)


def bad_tiling(page: Any) -> str | None:
    """Why the tiles (or strips) of a page cannot be what they are said to be."""
    tile_w, tile_h = _tile_size(page)
    if tile_w < 1 or tile_h < 1 or tile_w * tile_h > LARGEST_TILE_PX:
        return f"tiles of {tile_w} x {tile_h} px"
    n_tiles = -(-page.imagewidth // tile_w) * -(-page.imagelength // tile_h)
    if n_tiles > _MOST_TILES or not len(page.dataoffsets) == len(page.databytecounts) == n_tiles:
        return f"{len(page.dataoffsets)} tiles where {n_tiles} are needed"
    return None


def _tile_size(page: Any) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip, page.imagelength)


def page_tiles(page: Any) -> Page:
    """The tiles of a page that `refusal` accepts; the file must still be open."""
    return Page(
        page.imagewidth,
        page.imagelength,
        *_tile_size(page),
        np.asarray(page.dataoffsets, np.int64),
        np.asarray(page.databytecounts, np.int64),
        int(page.compression),
        page.jpegtables,
        page.decode,
    )


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Keep tifffile's remarks on damaged files off the screen; what matters is raised as an error."""
    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
