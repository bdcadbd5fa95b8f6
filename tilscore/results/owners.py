"""Whose results a folder holds: slides of one name never take each other's place.

A folder of results is of the file that `provenance.json` names or, where that was never opened, `error.json`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tilscore.errors import TilscoreError, UsageError, printable
from tilscore.inputs import plain_and_hashed, safe_id
from tilscore.results.provenance import read_notes
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
    slide = read_notes(folder).get("slide")
    if isinstance(slide, dict) and any((folder / name).exists() for name in _RESULTS):
        return Owner(str(slide.get("path", "")), str(slide.get("fingerprint", "")))
    return Owner(str(read_notes(folder, "error.json").get("path", "")), "")


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


def find_results(slide: str, out: Path | None) -> Path:
    """The folder of a slide's results, from the folder itself, or from the slide's path or name and `out`.

    Raises
    ------
    UsageError : the slide failed (and why), or there is no `score.json`.
    """
    path = Path(slide)
    plain, hashed = plain_and_hashed(path)
    named = [] if out is None else [out / path.name, out / plain, out / safe_id(path.name)]
    if out is not None and (out / hashed).exists():
        named.insert(0, out / hashed)
    if len(path.parts) > 1 or path.is_file():  # results of another slide of this name are none of this one
        named = [place for place in named if not owner_of(place).is_elsewhere(path)]
    places = list(dict.fromkeys((*named, path)))
    for place in places:
        if why := read_notes(place, "error.json").get("message"):
            raise UsageError(f"no score of this slide, it failed: {printable(why, 1000)}", where=slide)
        if (place / "score.json").exists():
            return place
    looked = ", ".join(str(p) for p in dict.fromkeys(named or places))
    what = f"no score of this slide, looked in {printable(looked, 1000)}"
    raise UsageError(what, where=slide, do="give --out, or run `tilscore run` first")
