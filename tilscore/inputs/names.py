"""Names of slides: safe as the name of a folder, and unique in a run."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from tilscore.errors import UsageError

SLIDE_SUFFIXES = {
    ".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi", ".qptiff", ".jp2",
}  # fmt: skip
"""Names looked for in folders; what a file is, is decided by its content. Of DICOM slides: `dicom.py`."""
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg"}
"""Looked for in folders that hold no slide (beside slides, pictures are thumbnails or parts of a VMS slide)."""
LONGEST_ID = 100
_LONGEST_ID_BYTES = 200
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{i}" for port in ("com", "lpt") for i in "0123456789¹²³"}
"""Windows takes these names for its devices, whatever follows after a dot."""
_OWN = {"scores.csv", "biopsies.csv", "run.json"}
"""Names that mean something else in the folder of results."""


class Listed(Protocol):
    """A slide before its name is final; `where` is told in errors."""

    @property
    def path(self) -> Path: ...
    @property
    def where(self) -> str: ...
    @property
    def slide_id(self) -> str: ...


def safe_id(name: str) -> str:
    """`name` as the name of a folder: letters, digits and `._-`, at most 100 characters, no dot at either end."""
    text = unicodedata.normalize("NFC", name)
    text = "".join(c if c.isalnum() or c in "._-" else "_" for c in text).lstrip(".")
    first, dot, rest = text.partition(".")
    if first.casefold() in _DEVICES:
        text = f"{first}_{dot}{rest}"
    text = text[:LONGEST_ID]
    while len(text.encode()) > _LONGEST_ID_BYTES:
        text = text[:-1]
    text = text.rstrip(".") or "slide"
    return f"{text}_" if text.casefold() in _OWN else text


def unique_ids(rows: Sequence[Listed], taken: Collection[str] = (), folder: Path | None = None) -> list[str]:
    """Names that differ even where a file system ignores case; equal file names get a hash of their paths.

    Parameters
    ----------
    taken : further names, case folded, that none may have.
    folder : of the list. Paths below it count from there, so that names stay where the list moves with its slides.
    """
    names = [safe_id(row.slide_id or stem(row.path)) for row in rows]
    groups: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        groups[name.casefold()].append(i)
    for key, group in groups.items():
        given = [i for i in group if rows[i].slide_id]
        if len(given) > 1:
            first, second = rows[given[0]].where, rows[given[1]].where
            raise UsageError(f"slide_id is used twice (first in {first})", where=second, found=names[given[1]])
        for i in group if len(group) > 1 or key in taken else ():
            if i not in given:
                names[i] = _with_hash(names[i], _from(rows[i].path, folder))
    if len({name.casefold() for name in names} - set(taken)) < len(names):
        raise UsageError("slides cannot be told apart by name", do="give each a slide_id in a CSV list")
    return names


def plain_and_hashed(path: Path) -> tuple[str, str]:
    """Both names that a slide of no list can have: its file's, and the same with a hash of the full path."""
    name = safe_id(stem(path))
    return name, _with_hash(name, _from(path, None))


def stem(path: Path) -> str:
    """The name of a slide without what tells its format; an image inside an OME-NGFF folder has the folder's before."""
    name = path.name if path.parent.suffix.lower() != ".zarr" else f"{stem(path.parent)}-{path.name}"
    for _ in range(2):  # "x.ome.tif"
        start, suffix = os.path.splitext(name)
        if start and suffix.lower() in SLIDE_SUFFIXES | PICTURE_SUFFIXES | {".ome", ".zarr", ".dcm"}:
            name = start
    return name


def _from(path: Path, folder: Path | None) -> str:
    """The path from the folder on where it lies below it, else in full."""
    full = Path(os.path.abspath(path))
    if folder is None or not full.is_relative_to(base := os.path.abspath(folder)):
        return str(full)
    return full.relative_to(base).as_posix()


def _with_hash(name: str, path: str) -> str:
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    keep = min(LONGEST_ID, _LONGEST_ID_BYTES) - 9
    while len(name) > keep or len(name.encode()) > _LONGEST_ID_BYTES - 9:
        name = name[:-1]
    return f"{name}-{digest}"
