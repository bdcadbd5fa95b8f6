"""The tiles of one page of a TIFF: where they lie in the file, and how to decode them within limits."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.slide.alpha import on_white
from tilscore.slide.tiled import TileGrid

JPEG = 7
JPEG2000 = (33003, 33004, 33005, 34712)
"""JPEG 2000; the first two are Bio-Formats' numbers, and say nothing of the colours."""
_COMPRESSIONS = {1, 5, JPEG, 8, 32946, 32773, 34926, 50000, 33005, 34712}
"""None, LZW, JPEG, deflate (2), PackBits, Zstandard (2), JPEG 2000 in RGB (not 33004: libvips names YCbCr RGB)."""
LARGEST_TILE_PX = 1 << 26
"""Largest tile or strip that is decoded: 200 MB."""
_MOST_TILES = 1 << 26
_GREY, _RGB, _YCBCR = 1, 2, 6
_SEEKING = threading.Lock()
"""Held between a seek and the read after it."""


@dataclass(frozen=True)
class Page(TileGrid):
    """One level: its size, its tiles (strips are tiles of full width), and how they are decoded.

    Parameters
    ----------
    offsets, counts : [n] position and length of each tile in the file, in bytes, row by row; of separate colour planes
        one after the other.
    n_planes : 1, or 3 where each colour is stored apart, in a plane or in a page of its own.
    alpha : 0 = none, 1 = the colours are multiplied by it, 2 = they are not.
    decode : tifffile's decoder of this page.
    """

    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    compression: int
    tables: bytes | None
    n_planes: int
    alpha: int
    decode: Callable[..., Any]

    def tile(self, fd: int, index: int) -> NDArray[np.uint8] | None:
        """Pixels [h w 3] of a tile, cut at the page's edge, transparent ones white; None where it cannot be decoded."""
        n_tiles = len(self.offsets) // self.n_planes
        planes = [self._samples(fd, index + i * n_tiles) for i in range(self.n_planes)]
        parts = [plane for plane in planes if plane is not None]
        if len(parts) < self.n_planes:
            return None
        pixels = np.concatenate(parts, axis=2) if self.n_planes > 1 else parts[0]
        _, _, w, h = self.place(index)
        if pixels.shape[2] != (4 if self.alpha else 3) or pixels.shape[0] < h or pixels.shape[1] < w:
            return None
        return on_white(pixels[:h, :w], self.alpha) if self.alpha else pixels[:h, :w]

    def _samples(self, fd: int, index: int) -> NDArray[np.uint8] | None:
        """Samples [h w s] of a tile, or of one plane of it, as stored."""
        offset, count = int(self.offsets[index]), int(self.counts[index])
        limit = os.fstat(fd).st_size
        if offset <= 0 or count <= 0 or offset + count > limit:
            return None
        try:
            data = read_at(fd, count, offset)
            if len(data) != count or not self._is_sound(data):
                return None
            options = {"jpegtables": self.tables} if self.compression == JPEG else {}
            samples = self.decode(data, index, **options)[0]
        except Exception:  # decoders raise anything on damaged tiles
            return None
        return None if samples is None or samples.dtype != np.uint8 or samples.ndim != 4 else samples[0]

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


def not_rgb(page: Any, n_samples: int = 3) -> str | None:
    """What the samples of a page (of tifffile) are, if not three (or `n_samples`) of 8 bits."""
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    sample_format = int(page.sampleformat or 1)
    if bits == 8 and page.samplesperpixel == n_samples and sample_format == 1:
        return None
    kind = {1: "", 2: " signed", 3: " float"}.get(sample_format, " other")
    return f"{page.samplesperpixel} samples of {bits} bits{kind}"


def refusal(page: Any, n_samples: int = 3) -> str | None:
    """Why a page (of tifffile) is not plain 8-bit RGB (of one sample: grey) in decodable pieces; None where it is."""
    why = None if n_samples == 3 and _alpha(page) else not_rgb(page, n_samples)
    if why:
        return why
    spaces = (_RGB, _YCBCR) if n_samples == 3 else (_GREY,)
    if page.photometric not in spaces or (page.photometric == _YCBCR and page.compression != JPEG):
        return f"colour space {getattr(page.photometric, 'name', page.photometric)}"
    if page.imagedepth != 1 or (page.planarconfig != 1 and page.photometric == _YCBCR):
        return "separate colour planes"
    if page.compression not in (_COMPRESSIONS if n_samples == 3 else {*_COMPRESSIONS, *JPEG2000}):
        return f"compression {getattr(page.compression, 'name', page.compression)}"
    return bad_tiling(page)


def _alpha(page: Any) -> int:
    """Kind of the fourth sample of 8-bit RGB that is transparency, as TIFF numbers it; 0 where there is none."""
    if page.samplesperpixel != 4 or page.photometric != _RGB or page.planarconfig != 1 or page.compression == JPEG:
        return 0
    kind = int(page.extrasamples[0]) if len(page.extrasamples) == 1 else 0
    return kind if kind in (1, 2) and page.bitspersample == 8 and int(page.sampleformat or 1) == 1 else 0


def _n_planes(page: Any) -> int:
    return 1 if page.planarconfig == 1 else int(page.samplesperpixel)


def bad_tiling(page: Any) -> str | None:
    """Why the tiles (or strips) of a page cannot be what they are said to be."""
    tile_w, tile_h = _tile_size(page)
    if tile_w < 1 or tile_h < 1 or tile_w * tile_h > LARGEST_TILE_PX:
        return f"tiles of {tile_w} x {tile_h} px"
    n_tiles = -(-page.imagewidth // tile_w) * -(-page.imagelength // tile_h) * _n_planes(page)
    if n_tiles > _MOST_TILES or not len(page.dataoffsets) == len(page.databytecounts) == n_tiles:
        return f"{len(page.dataoffsets)} tiles where {n_tiles} are needed"
    return None


def _tile_size(page: Any) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip, page.imagelength)


def are_alike(pages: Sequence[Any]) -> bool:
    """Whether pages (of tifffile) of one size are stored in the same way, so that one decoder takes all."""
    return (
        len({(*_tile_size(p), int(p.compression), int(p.predictor), int(p.fillorder), p.jpegtables) for p in pages})
        == 1
    )


def page_tiles(page: Any, *further: Any) -> Page:
    """The tiles of a page that `refusal` accepts, or of a grey one for each colour; the file must still be open."""
    pages = (page, *further)
    return Page(
        page.imagewidth,
        page.imagelength,
        *_tile_size(page),
        np.concatenate([np.asarray(p.dataoffsets, np.int64) for p in pages]),
        np.concatenate([np.asarray(p.databytecounts, np.int64) for p in pages]),
        int(page.compression),
        page.jpegtables,
        len(pages) if further else _n_planes(page),
        _alpha(page),
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
