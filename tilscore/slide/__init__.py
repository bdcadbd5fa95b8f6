"""Slides of any format behind one class: `open_slide(path).read(window)`.

The reader is chosen by what the file contains, not by its name.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tilscore.errors import MppError, SlideError, printable
from tilscore.slide.base import Slide, SlideSpec

__all__ = ["MppError", "Slide", "SlideError", "SlideSpec", "is_ngff", "open_slide"]

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_EXPORT = "give an OpenSlide format, a tiled RGB TIFF, or a PNG or JPEG field"


def open_slide(path: Path | str, *, mpp: float | None = None, allow_upsampling: bool = False) -> Slide:
    """Open a slide or a field for reading.

    Parameters
    ----------
    mpp : um/px of level 0 given by hand; it wins over the file.
    allow_upsampling : take slides coarser than 0.8 um/px, with the flag "upsampled".

    Raises
    ------
    SlideError : there is no such file, or it is no slide that can be read.
    MppError : the resolution is missing or cannot be true.
    """
    path = Path(path)
    return _reader(path)(path, mpp=mpp, allow_upsampling=allow_upsampling)


def _reader(path: Path) -> type[Slide]:
    if is_ngff(path):
        from tilscore.slide.ngff_reader import NgffSlide

        return NgffSlide
    start = _first_bytes(path)
    vendor = _openslide_vendor(path)
    if start.startswith(_TIFF):
        return _tiff_reader(path, vendor)
    if vendor is not None:
        return _openslide()
    if start.startswith(_PICTURE):
        from tilscore.slide.field_reader import FieldSlide

        return FieldSlide
    if start.startswith(_JP2):
        from tilscore.slide.tiatoolbox_reader import TiatoolboxSlide

        return TiatoolboxSlide
    raise SlideError("not an image that can be read", where=path, found=f"it begins with {start[:12]!r}", do=_EXPORT)


def is_ngff(path: Path) -> bool:
    """Whether a path is a folder of zarr's: one slide, whatever lies in it."""
    return os.path.isdir(path) and any(os.path.isfile(path / name) for name in (".zattrs", ".zgroup", "zarr.json"))


def _tiff_reader(path: Path, vendor: str | None) -> type[Slide]:
    from tilscore.slide import tiff_reader

    if vendor in (None, "generic-tiff") or (vendor == "aperio" and tiff_reader.is_jpeg(path)):
        return tiff_reader.TiffSlide
    why = tiff_reader.unfit_for_openslide(path)
    if why:
        raise SlideError("slide is not 8-bit RGB in tiles", where=path, found=why, do="export it again as 8-bit RGB")
    return _openslide()


def _openslide() -> type[Slide]:
    from tilscore.slide.openslide_reader import OpenSlideSlide

    return OpenSlideSlide


def _openslide_vendor(path: Path) -> str | None:
    import openslide

    try:
        vendor: str | None = openslide.OpenSlide.detect_format(str(path))
    except (openslide.OpenSlideError, ValueError, OSError):  # a name or a file that it cannot take
        return None
    return vendor


def _first_bytes(path: Path) -> bytes:
    """The first bytes of a regular file; pipes and devices are never opened, they could block for ever."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            with open(path, "rb") as f:
                start = f.read(64)
            if start:
                return start
            raise SlideError("file is empty", where=path, do="copy the slide again")
        if stat.S_ISDIR(mode):
            os.listdir(path)  # one that cannot be listed says why
    except FileNotFoundError as err:
        what = "link leads nowhere" if path.is_symlink() else "no such file"
        raise SlideError(what, where=path, do="check the path") from err
    except (OSError, ValueError) as err:
        reason = printable(err, 120)
        raise SlideError("cannot be opened", where=path, found=reason, do="check the path and its rights") from err
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
    raise SlideError("not a file", where=path, found=kind, do="give the slide's file")
