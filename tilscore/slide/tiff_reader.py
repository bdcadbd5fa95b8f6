"""Tiled TIFF, OME-TIFF and JPEG-compressed Aperio SVS: only the tiles that a window touches are decoded.

Several times as fast as going through OpenSlide, which composites every tile.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import SlideError
from tilscore.slide.base import Header
from tilscore.slide.channels import check_rgb
from tilscore.slide.mpp import Found, from_aperio, from_imagej, from_tiff_tags
from tilscore.slide.ome import OmeImage, from_ome, is_ome, ome_images
from tilscore.slide.tiff_tiles import JPEG, Page, are_alike, bad_tiling, not_rgb, page_tiles, quiet_tifffile, refusal
from tilscore.slide.tiled import TiledFile, TiledSlide

_MOST_PAGES = 64
_EXPORT = "export it as tiled 8-bit RGB TIFF"


@dataclass
class _File(TiledFile):
    """An open descriptor, read by position only."""

    levels: tuple[Page, ...]
    found: Found
    vendor: str
    n_further: int
    fd: int

    def __del__(self) -> None:
        os.close(self.fd)


class TiffSlide(TiledSlide):
    """A TIFF whose levels are pages or SubIFDs of 8-bit RGB, or in OME-TIFF three grey ones."""

    reader: ClassVar[str] = "tiff"

    def _open(self) -> Any:
        parsed = _parse(self.path)
        # Windows would take the file for text and end it at its first byte 26.
        fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        return _File(*parsed, fd)

    def _inspect(self) -> Header:
        file: _File = self._held()
        sizes = tuple((page.width, page.height) for page in file.levels)
        return Header(file.vendor, sizes, file.found, n_further=file.n_further)

    def _decode(self, number: int, index: int) -> NDArray[np.uint8] | None:
        file: _File = self._held()
        return file.levels[number].tile(file.fd, index)


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
        description = pages[0].description or ""
        images = ome_images(description)
        is_grey = bool(images) and not_rgb(base, 1) is None
        why = refusal(base, 1 if is_grey else 3)
        if why:
            raise SlideError("TIFF is not 8-bit RGB in tiles", where=path, found=why, do=_EXPORT)
        if is_grey:
            levels = _levels_of_planes(path, _planes(path, pages, base, images))
        else:
            further = [page for page in pages if _is_ome_level(page, images)] if images else pages
            levels = [page_tiles(level) for level in _levels(base, further + _sub_pages(base)).values()]
        found, vendor = _found(base, description, images)
        return tuple(levels), found, vendor, max(len(images) - 1, 0)


def _planes(path: Path, pages: list[Any], base: Any, images: list[OmeImage]) -> list[Any]:
    """The grey pages that are the red, green and blue of the image with the size of the base page.

    Raises
    ------
    SlideError : it has other channels, planes of depth or time, or lies in several files.
    """
    size = (str(base.imagewidth), str(base.imagelength))
    image = next((image for image in images if image.size == size), None)
    what, do = "OME-TIFF is not one plane of red, green and blue", "export it as 8-bit RGB (raw2ometiff --rgb)"
    if image is None:
        raise SlideError(what, where=path, found="no image of this size in its OME-XML", do=do)
    if not image.is_three_planes:
        raise SlideError(what, where=path, found=image.axes, do=do)
    if len(image.files) > 1:
        raise SlideError(what, where=path, found=f"planes in {len(image.files)} files", do=do)
    check_rgb(path, image.channel_words(), image.channel_colours())
    at = [ifd for ifd in image.planes() if ifd is not None and ifd < len(pages)]
    found = [pages[ifd] for ifd in at]
    if len(set(at)) < 3 or not any(page is base for page in found):
        raise SlideError(what, where=path, found=f"{len(set(at))} of its planes", do=do)
    return found


def _levels_of_planes(path: Path, planes: list[Any]) -> list[Page]:
    """The levels that all three colours have, stored in the same way, largest first."""
    found = [_levels(plane, _sub_pages(plane), 1) for plane in planes]
    same = [[levels[size] for levels in found] for size in found[0] if all(size in levels for levels in found)]
    alike = [pages for pages in same if are_alike(pages)]
    if not alike or alike[0][0] is not planes[0] or any(refusal(plane, 1) for plane in planes):
        what = "colours of the OME-TIFF are not stored alike"
        raise SlideError(what, where=path, do="export it as 8-bit RGB (raw2ometiff --rgb)")
    return [page_tiles(*pages) for pages in alike]


def _sub_pages(page: Any) -> list[Any]:
    return list(islice(page.pages or (), _MOST_PAGES)) if page.subifds else []


def _is_ome_level(page: Any, images: list[OmeImage]) -> bool:
    """Whether a page of an OME-TIFF is a level, as older writers have it, and no image of its own.

    Levels are SubIFDs; a page is one only where it says that it is reduced, and the XML names no image of its size.
    """
    size = (str(page.imagewidth), str(page.imagelength))
    return page.is_reduced and size not in [image.size for image in images]


def _levels(base: Any, others: list[Any], n_samples: int = 3) -> dict[tuple[int, int], Any]:
    """The base and the smaller pages that are stored in the same way, one of each size, largest first."""
    levels = {(base.imagewidth, base.imagelength): base}
    for page in sorted(others, key=lambda page: -page.imagewidth * page.imagelength):
        size = (page.imagewidth, page.imagelength)
        same_kind = page.is_tiled == base.is_tiled and size[0] < base.imagewidth and size[1] < base.imagelength
        if same_kind and size not in levels and min(size) > 0 and refusal(page, n_samples) is None:
            levels[size] = page
    return levels


def _found(base: Any, description: str, images: list[OmeImage]) -> tuple[Found, str]:
    if description.startswith("Aperio"):
        return from_aperio(description), "aperio"
    tags = {name: base.tags.valueof(name) for name in ("XResolution", "YResolution", "ResolutionUnit")}
    unit = 2 if tags["ResolutionUnit"] is None else int(tags["ResolutionUnit"])
    tagged = from_tiff_tags(tags["XResolution"], tags["YResolution"], unit)
    if description.startswith("ImageJ=") and unit == 1:
        return from_imagej(description, tags["XResolution"], tags["YResolution"]), "generic-tiff"
    if is_ome(description):
        return from_ome(images, base.imagewidth, base.imagelength) or tagged, "ome-tiff"
    return tagged, "generic-tiff"
