"""Tiled TIFF, OME-TIFF and JPEG-compressed Aperio SVS: only the tiles that a window touches are decoded.

Several times as fast as going through OpenSlide, which composites every tile.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import SlideError
from tilscore.slide.base import Header, Slide
from tilscore.slide.mpp import Found, from_aperio, from_imagej, from_tiff_tags, in_um
from tilscore.slide.tiff_tiles import JPEG, Page, bad_tiling, not_rgb, page_tiles, quiet_tifffile, refusal

CACHE_BYTES = 64 << 20
"""Decoded tiles kept: neighbouring windows share those of their common edge."""
_MOST_PAGES = 64
_EXPORT = "export it as tiled 8-bit RGB TIFF"


@dataclass
class _File:
    """An open descriptor, read by position only, and the tiles decoded last."""

    fd: int
    pages: tuple[Page, ...]
    found: Found
    vendor: str
    n_further: int
    cache: OrderedDict[tuple[int, int], NDArray[np.uint8]] = field(default_factory=OrderedDict)
    n_bytes: int = 0

    def __del__(self) -> None:
        os.close(self.fd)


class TiffSlide(Slide):
    """A TIFF whose levels are pages or SubIFDs of 8-bit RGB."""

    reader: ClassVar[str] = "tiff"

    def _open(self) -> Any:
        parsed = _parse(self.path)
        # Windows would take the file for text and end it at its first byte 26.
        return _File(os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), *parsed)

    def _inspect(self) -> Header:
        file: _File = self._held()
        sizes = tuple((page.width, page.height) for page in file.pages)
        return Header(file.vendor, sizes, file.found, n_further=file.n_further)

    def _read_level(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        number = self._numbers[level]
        page: Page = self._held().pages[number]
        out = np.empty((h, w, 3), np.uint8)
        for row in range(y // page.tile_h, -(-(y + h) // page.tile_h)):
            for column in range(x // page.tile_w, -(-(x + w) // page.tile_w)):
                left, top = column * page.tile_w, row * page.tile_h
                x0, y0 = max(x, left), max(y, top)
                x1, y1 = min(x + w, left + page.tile_w), min(y + h, top + page.tile_h)
                tile = self._tile(number, row * page.n_across + column)
                if tile is None:
                    self._note_bad(level, left, top, page.tile_w, page.tile_h)
                    out[y0 - y : y1 - y, x0 - x : x1 - x] = 255
                else:
                    out[y0 - y : y1 - y, x0 - x : x1 - x] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def _tile(self, number: int, index: int) -> NDArray[np.uint8] | None:
        file: _File = self._held()
        key = (number, index)
        with self._lock:
            if key in file.cache:
                file.cache.move_to_end(key)
                return file.cache[key]
        tile = file.pages[number].tile(file.fd, index)
        if tile is not None:
            with self._lock:
                self._keep(file, key, tile)
        return tile

    @staticmethod
    def _keep(file: _File, key: tuple[int, int], tile: NDArray[np.uint8]) -> None:
        if key not in file.cache:
            file.cache[key] = tile
            file.n_bytes += tile.nbytes
        while file.n_bytes > CACHE_BYTES and len(file.cache) > 1:
            file.n_bytes -= file.cache.popitem(last=False)[1].nbytes


def unfit_for_openslide(path: Path) -> str | None:
    """What OpenSlide would silently turn into 8 bits, or allocate without limit; None where it may read the TIFF."""
    import tifffile

    try:
        with quiet_tifffile(), tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            return not_rgb(page) or (bad_tiling(page) if page.is_tiled else None)
    except Exception:  # OpenSlide parses for itself
        return None


def is_jpeg(path: Path) -> bool:
    """Whether the first page of a TIFF is in JPEG, which is decoded here."""
    import tifffile

    try:
        with quiet_tifffile(), tifffile.TiffFile(path, is_ndpi=False) as file:
            page: Any = file.pages[0]
            return int(page.compression) == JPEG
    except Exception:  # OpenSlide has the last word
        return False


def _parse(path: Path) -> tuple[tuple[Page, ...], Found, str, int]:
    """The levels of a TIFF, its resolution, what kind of TIFF it is, and how many further images it names."""
    import tifffile

    # Hamamatsu's slides go to OpenSlide; under their suffix tifffile would take any TIFF for one.
    with quiet_tifffile(), tifffile.TiffFile(path, is_ndpi=False) as file:
        pages: list[Any] = list(islice(file.pages, _MOST_PAGES))
        base = max(pages, key=lambda page: page.imagewidth * page.imagelength)
        why = refusal(base)
        if why:
            raise SlideError("TIFF is not 8-bit RGB in tiles", where=path, found=why, do=_EXPORT)
        subs = list(islice(base.pages or (), _MOST_PAGES)) if base.subifds else []
        description = pages[0].description or ""
        images = _ome_images(description)
        if images:
            pages = [page for page in pages if _is_ome_level(page, images)]
        levels = _levels(base, pages + subs)
        found, vendor = _found(base, description)
        return tuple(page_tiles(level) for level in levels), found, vendor, max(len(images) - 1, 0)


def _is_ome_level(page: Any, images: list[dict[str, str]]) -> bool:
    """Whether a page of an OME-TIFF is a level, as older writers have it, and no image of its own.

    Levels are SubIFDs; a page is one only where it says that it is reduced, and the XML names no image of its size.
    """
    return page.is_reduced and (str(page.imagewidth), str(page.imagelength)) not in map(_size, images)


def _levels(base: Any, others: list[Any]) -> list[Any]:
    """The base and the smaller pages that are stored in the same way, one of each size, largest first."""
    levels = {(base.imagewidth, base.imagelength): base}
    for page in sorted(others, key=lambda page: -page.imagewidth * page.imagelength):
        size = (page.imagewidth, page.imagelength)
        same_kind = page.is_tiled == base.is_tiled and size[0] < base.imagewidth and size[1] < base.imagelength
        if same_kind and size not in levels and min(size) > 0 and refusal(page) is None:
            levels[size] = page
    return list(levels.values())


def _found(base: Any, description: str) -> tuple[Found, str]:
    if description.startswith("Aperio"):
        return from_aperio(description), "aperio"
    tags = {name: base.tags.valueof(name) for name in ("XResolution", "YResolution", "ResolutionUnit")}
    unit = 2 if tags["ResolutionUnit"] is None else int(tags["ResolutionUnit"])
    tagged = from_tiff_tags(tags["XResolution"], tags["YResolution"], unit)
    if description.startswith("ImageJ=") and unit == 1:
        return from_imagej(description, tags["XResolution"], tags["YResolution"]), "generic-tiff"
    if _is_ome(description):
        return _from_ome(description, base.imagewidth, base.imagelength) or tagged, "ome-tiff"
    return tagged, "generic-tiff"


def _is_ome(description: str) -> bool:
    return "<OME" in description[:2000]


def _ome_images(description: str) -> list[dict[str, str]]:
    """Attributes of the `Pixels` element of each image in OME-XML; none in other descriptions.

    They are read as text, so that no entity of the XML is ever expanded.
    """
    elements = re.findall(r"<(?:\w+:)?Pixels\b([^>]*)>", description) if _is_ome(description) else []
    return [dict(re.findall(r"""([\w:]+)\s*=\s*["']([^"']*)["']""", element)) for element in elements]


def _size(stated: dict[str, str]) -> tuple[str | None, str | None]:
    return stated.get("SizeX"), stated.get("SizeY")


def _from_ome(xml: str, width: int, height: int) -> Found | None:
    """PhysicalSizeX and Y of the image with the size of the base page."""
    for stated in _ome_images(xml):
        if _size(stated) == (str(width), str(height)) and "PhysicalSizeX" in stated:
            sizes = [_ome_length(stated, axis) for axis in "XY"]
            return Found(sizes[0], sizes[1], "ome-xml")
    return None


def _ome_length(stated: dict[str, str], axis: str) -> float | str | None:
    text, unit = stated.get(f"PhysicalSize{axis}"), stated.get(f"PhysicalSize{axis}Unit", "µm")
    length = in_um(text, unit.replace("&#181;", "µ").replace("&#xB5;", "µ"))
    return length if length is not None or text is None else f"{text} {unit}"
