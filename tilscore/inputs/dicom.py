"""DICOM slides are many files, a level or picture each; OpenSlide reads all of a slide with any of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".dcm"
_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of VL Whole Slide Microscopy Image Storage (DICOM PS3.4, B.5)."""
_LAST = 0x0020000E
"""SeriesInstanceUID, the last element that is read: what follows can be long."""


class _Part(NamedTuple):
    """A file of a slide; `size` in bytes, 0 of what is no level (label, macro, thumbnail)."""

    path: Path
    size: int


def slide_of_each(paths: Iterable[Path]) -> dict[Path, Path]:
    """For each DICOM file of a slide the one that stands for the slide: the largest, which is its finest level.

    A slide is a series (DICOM PS3.3, A.32.8) whose files lie in one folder. Files that are no DICOM, or of no series
    that has a level of a slide, are left out.
    """
    series: dict[tuple[Path, str], list[_Part]] = defaultdict(list)
    for path in sorted(paths):
        if found := _read(path):
            uid, part = found
            series[path.parent, uid].append(part)
    largest = {key: max(parts, key=lambda part: part.size) for key, parts in series.items()}
    return {part.path: largest[key].path for key, parts in series.items() if largest[key].size for part in parts}


def _read(path: Path) -> tuple[str, _Part] | None:
    """The series of a file of a slide, and what the file is there; None for other files."""
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_partial

    try:
        with open(path, "rb") as file:
            found = read_partial(file, stop_when=lambda tag, vr, length: int(tag) > _LAST)
        size = path.stat().st_size if "VOLUME" in (found.get("ImageType") or ()) else 0
    except (OSError, InvalidDicomError):
        return None
    uid = found.get("SeriesInstanceUID")
    return (str(uid), _Part(path, size)) if uid and found.get("SOPClassUID") == _SLIDE else None
