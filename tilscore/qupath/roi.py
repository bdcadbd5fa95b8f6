"""Areas drawn on a slide, with what each is for: QuPath's GeoJSON to polygons in microns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import AnnotationError
from tilscore.qupath.objects import (
    bare,
    base_class,
    by_name,
    mended,
    object_kind,
    object_type,
    read_geojson,
    say_mended,
)
from tilscore.space import BoxUm, Grid

LARGEST_BYTES = 200_000_000
"""A larger file is no drawing but an export of cells."""
_LARGEST_PX = 1e9
"""Coordinates further out are no drawing, and areas made of them would overflow."""
Polygon = list[NDArray[np.float64]]
"""Rings [n 2] of x, y in microns: the outline, then holes."""
_DO = "draw the area again in QuPath and export it as GeoJSON"
_NAMES = {
    "roi": "roi, region, region of interest, area, tumour, tumor, tumour bed, tumor bed, bed, invasive",
    "exclude": "exclude, excluded, ignore, artefact, artifact, biopsy site, hyalinisation, hyalinization",
    "benign": "benign, normal, in situ, insitu, dcis, lcis, carcinoma in situ, benign epithelium, normal epithelium",
    "necrosis": "necrosis, necrotic",
    "tls": "tls, lymphoid aggregate, aggregate, lymphoid follicle, follicle, tertiary lymphoid structure",
    "crush": "crush, crushed, crush artefact, crush artifact",
    "fold": "fold, folded",
    "blur": "blur, out of focus",
    "pen": "pen, marker",
}
"""What an area is for, and the class names that say so; capitals, blanks and signs make no difference."""
KINDS = tuple(_NAMES)
_KIND_OF = by_name(_NAMES)


def read_areas(path: Path, level0: Grid, bounds_um: BoxUm | None = None) -> dict[str, list[Polygon]]:
    """Polygons of a GeoJSON file, on the slide, by what they are for (`KINDS`).

    An area without a class is `roi`: the area to score. Cells, tiles and cores of a TMA, which nobody drew, are passed
    over. Coordinates in the file are level-0 pixels of the image as QuPath opens it: of the scanned part, where the
    format states one, so `bounds_um` is added. An area that crosses itself is mended, as in training sets, and this is
    told on stderr.

    Raises
    ------
    AnnotationError : not GeoJSON, no polygon in it, one that cannot be an area of this slide, or a class that means
        nothing here.
    """
    areas: dict[str, list[Polygon]] = {}
    undrawn: list[str] = []
    crossings: list[str] = []
    value = read_geojson(path, LARGEST_BYTES, _DO)
    for kind, part in _by_kind(value, path, undrawn):
        found = _on_slide(part, path, level0, bounds_um, crossings)
        if found:
            areas.setdefault(kind, []).extend(found)
    say_mended(path, crossings)
    if not areas and undrawn:
        what, do = "holds no drawn area, only objects that nobody drew", "export QuPath's annotations"
        raise AnnotationError(what, where=path, found=f"{len(undrawn)}, the first of type {undrawn[0]}", do=do)
    if not areas:
        raise AnnotationError("holds no polygon", where=path, do="draw an area, not points or lines")
    return areas


def _by_kind(value: Any, path: Path, undrawn: list[str], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Features with what they are for; a bare geometry is `roi`. `undrawn` takes the types of what nobody drew."""
    if depth > 8:
        raise AnnotationError("is nested too deeply", where=path, do=_DO)
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(value, list) or kind == "FeatureCollection":
        for one in value if isinstance(value, list) else value.get("features") or []:
            yield from _by_kind(one, path, undrawn, depth + 1)
    elif kind == "Feature":
        drawn = object_kind(value) == "annotation"
        if not drawn:
            undrawn.append(str(object_type(value) or value.get("id")))
        elif any(True for _ in _polygons(value, path)):  # the class of a point or a line does not matter
            yield _kind(value.get("properties"), path), value
    else:
        yield "roi", value


def _kind(properties: Any, path: Path) -> str:
    """What a feature is for, by its class; where it has none, by its name if that is one of the words."""
    properties = properties if isinstance(properties, dict) else {}
    given = properties.get("classification")
    word = base_class(given)
    if not word and not (isinstance(given, dict) and given and given.keys().isdisjoint(("name", "names"))):
        return _KIND_OF.get(bare(str(properties.get("name") or "")), "roi")
    kind = _KIND_OF.get(bare(word))
    if kind is None:
        known = ", ".join(names.split(", ")[0] for names in _NAMES.values())
        raise AnnotationError("an area of a class that means nothing here", where=path, found=given, do=f"use {known}")
    return kind


def _on_slide(value: Any, path: Path, level0: Grid, bounds_um: BoxUm | None, crossings: list[str]) -> list[Polygon]:
    """The polygons of one feature or geometry, in microns, checked and cut to the slide."""
    import shapely

    origin = (bounds_um.x0, bounds_um.y0) if bounds_um is not None else (0.0, 0.0)
    slide = shapely.box(0, 0, level0.width_um, level0.height_um)
    polygons = []
    for rings in _polygons(value, path):
        drawn = mended(shapely.Polygon(rings[0], rings[1:]), crossings)
        shape = shapely.transform(drawn, lambda xy: level0.to_um(xy) + origin)
        if not shape.area > 0:
            raise AnnotationError("an area of size 0", where=path, do=_DO)
        if not shape.intersection(slide).area > 0:
            box = [round(v) for v in shape.bounds]
            raise AnnotationError("an area outside the slide", where=path, found=f"{box} um", do="is it of this slide?")
        polygons += _clip(shape, slide)
    return polygons


def _clip(shape: Any, slide: Any) -> list[Polygon]:
    """The part of a polygon on the slide: pixel coordinates of what lies far outside would not fit in 32 bits."""
    inside = shape.intersection(slide)
    pieces = [p for p in getattr(inside, "geoms", [inside]) if p.geom_type == "Polygon"]
    return [[np.asarray(ring.coords) for ring in (p.exterior, *p.interiors)] for p in pieces]


def _polygons(value: Any, path: Path, depth: int = 0) -> Iterator[Polygon]:
    """All polygons of a FeatureCollection, a list of features, a feature, or a geometry."""
    if depth > 8:
        raise AnnotationError("is nested too deeply", where=path, do=_DO)
    if isinstance(value, list):
        for one in value:
            yield from _polygons(one, path, depth + 1)
        return
    if not isinstance(value, dict):
        raise AnnotationError("is not GeoJSON", where=path, found=value, do=_DO)
    kind = value.get("type")
    if kind == "FeatureCollection":
        yield from _polygons(value.get("features") or [], path, depth + 1)
    elif kind == "Feature":
        if value.get("geometry") is not None:
            yield from _polygons(value["geometry"], path, depth + 1)
    elif kind == "GeometryCollection":
        yield from _polygons(value.get("geometries") or [], path, depth + 1)
    elif kind == "Polygon":
        yield _rings(value.get("coordinates"), path)
    elif kind == "MultiPolygon":
        parts = value.get("coordinates")
        for rings in parts if isinstance(parts, list) else [parts]:
            yield _rings(rings, path)
    elif kind not in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        raise AnnotationError("is not GeoJSON", where=path, found=f"type {kind!r}", do=_DO)


def _rings(value: Any, path: Path) -> Polygon:
    try:
        rings = [np.array([(float(p[0]), float(p[1])) for p in ring]) for ring in value]
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as err:
        raise AnnotationError("coordinates that are no numbers", where=path, found=err, do=_DO) from err
    if not rings or any(len(r) < 4 for r in rings):
        raise AnnotationError("a ring of fewer than four points", where=path, do=_DO)
    bad = next((v for r in rings for v in r.ravel() if not abs(v) <= _LARGEST_PX), None)
    if bad is not None:
        what = "a coordinate that no slide has" if math.isfinite(bad) else "a coordinate that is not finite"
        raise AnnotationError(what, where=path, found=bad, do=_DO)
    return rings
