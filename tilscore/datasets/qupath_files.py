"""Drawings made in QuPath and the images that they are of: which file belongs to which."""

from __future__ import annotations

import re
from pathlib import Path

from tilscore.errors import DataError
from tilscore.inputs import PICTURE_SUFFIXES, SLIDE_SUFFIXES

_IMAGE = SLIDE_SUFFIXES | PICTURE_SUFFIXES
_NO_IMAGE = (".geojson", ".json", ".gz", ".csv", ".qpdata")


def field_name(path: Path) -> str:
    """The name of a drawing without `.geojson`, `.geojson.gz` or `.json`."""
    return re.sub(r"(\.geojson.*|\.json)$", "", path.name, flags=re.IGNORECASE)


def found_drawings(root: Path) -> dict[Path, Path]:
    """The drawings of a set and its `annotations/`, in order, with their images.

    Beside GeoJSON, a `.json` without a slide or picture of its name is no drawing.

    Raises
    ------
    DataError : no drawing, an image that is missing or one of two, or two drawings of one image.
    """
    out: dict[Path, Path] = {}
    drawn: dict[Path, Path] = {}
    paths = [p for p in (*root.glob("*"), *root.glob("annotations/*")) if not p.name.startswith(".")]
    geojson = sorted(p for p in paths if ".geojson" in p.name.lower())
    other = sorted(p for p in paths if p.suffix.lower() == ".json" and p not in geojson)
    if not geojson and not other:
        do = "give the folder that holds *.geojson or annotations/*.geojson"
        raise DataError("no QuPath GeoJSON in this folder", where=root, do=do)
    for path in (*geojson, *other):
        image = _image(root, path)
        if geojson and path in other and (image is None or image.suffix.lower() not in _IMAGE):
            continue
        if image is None:
            raise DataError("its image is missing", where=path, do=f"put the image {field_name(path)}.* beside it")
        if image in drawn:
            found = f"{drawn[image].name} and {path.name}"
            raise DataError("two drawings of one image", where=image, found=found, do="put their objects into one file")
        out[path], drawn[image] = image, path
    return out


def _image(root: Path, path: Path) -> Path | None:
    name = field_name(path)
    for place in dict.fromkeys((path.parent, root, root / "images", root / "slides")):
        if (place / name).is_file():
            return place / name
        files = sorted(p for p in place.glob("*") if p.is_file() and p.stem == name) if place.is_dir() else []
        files = [p for p in files if p.suffix.lower() not in _NO_IMAGE]
        if own := [p for p in files if p.suffix.lower() in _IMAGE] or files[:1]:
            if len(own) > 1:
                found, do = ", ".join(p.name for p in own), f"call it {own[0].name}.geojson, or {own[1].name}.geojson"
                raise DataError("two images have its name", where=path, found=found, do=do)
            return own[0]
    return None
