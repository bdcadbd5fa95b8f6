"""Whose results a folder holds: slides of one name never take each other's place.

A folder of results is of the file that `provenance.json` names or, where that was never opened, `error.json`.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tilscore.errors import TilscoreError, UsageError, printable
from tilscore.slide import SlideSpec, open_slide

_RESULTS = ("tissue.tif", "cells.parquet", "score.json")


class Owner(NamedTuple):
    """The slide that a folder of results is of; empty where the folder does not tell."""

    path: str
    """In full, as `full_path` writes it; one that is not absolute (of earlier versions) tells no place."""
    fingerprint: str
    """Empty where the folder holds no results, but what became of a slide that failed."""

    def is_elsewhere(self, path: Path) -> bool:
        """Whether the owner is, as far as is known, another file than `path`, and is still there."""
        return os.path.isabs(self.path) and self.path != full_path(path) and os.path.lexists(self.path)


def full_path(path: Path) -> str:
    """Where a file is, in printable characters, the same from any folder at hand."""
    return printable(os.path.abspath(path), 4096)


def owner_of(folder: Path) -> Owner:
    """The slide that a folder of results is of."""
    slide = _read(folder / "provenance.json").get("slide")
    if isinstance(slide, dict) and any((folder / name).exists() for name in _RESULTS):
        return Owner(str(slide.get("path", "")), str(slide.get("fingerprint", "")))
    return Owner(str(_read(folder / "error.json").get("path", "")), "")


def settled(spec: SlideSpec, out: Path, *, allow_upsampling: bool = False) -> SlideSpec:
    """The slide under a name whose folder in `out` is free or its own: `slide_id`, or else its `alias`.

    A file at the same place is the same slide, also where it was scanned again; so is one that was moved or copied,
    as its fingerprint tells. Files elsewhere that cannot be opened may be any slide. What is only known to have failed
    gives way where its file is gone, or where a given name now means this file.

    Raises
    ------
    UsageError : the slide has no alias, and its name is that of another slide with results.
    """
    if spec.alias and owner_of(out / spec.alias).path == full_path(spec.path):
        return replace(spec, slide_id=spec.alias, alias="")
    owner = owner_of(out / spec.slide_id)
    if _is_own(spec, owner, allow_upsampling):
        return spec
    if spec.alias:
        return replace(spec, slide_id=spec.alias, alias="")
    do = "give it a slide_id of its own in a CSV list, use another --out, or remove that folder"
    what = f"the folder {printable(out / spec.slide_id)} has results of another slide of this name"
    raise UsageError(what, where=spec.path, found=owner.path or "a slide of unknown place", do=do)


def _is_own(spec: SlideSpec, owner: Owner, allow_upsampling: bool) -> bool:
    if owner.path == full_path(spec.path) or owner == Owner("", ""):
        return True
    there = owner.is_elsewhere(spec.path)
    if not owner.fingerprint:
        return not there or not spec.alias
    try:
        with open_slide(spec.path, mpp=spec.mpp, allow_upsampling=allow_upsampling) as slide:
            return slide.fingerprint() == owner.fingerprint
    except TilscoreError:
        return not there and not spec.alias


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
