"""The objects of a QuPath GeoJSON file: points and areas with their class, in the file's own pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import AnnotationError
from tilscore.qupath.objects import base_class, mended, object_kind, read_geojson, say_mended

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

LARGEST_BYTES = 2_000_000_000
"""All cells of a slide may be there, unlike in a drawing of areas."""
_DO = "export the objects from QuPath again, as GeoJSON"


@dataclass(frozen=True)
class Feature:
    """One object: either `points` [n 2] (nuclei) or an `area`.

    Parameters
    ----------
    word : base class, "" where it has none.
    name : the object's own name, or "".
    """

    word: str
    name: str
    points: NDArray[np.float64] | None = None
    area: BaseGeometry | None = None


@dataclass(frozen=True)
class Drawing:
    """All objects of one file."""

    path: Path
    features: tuple[Feature, ...]


def read_drawing(path: Path) -> Drawing:
    """The objects of a `.geojson`, `.json` or gzipped file; lines, tiles and cores of a TMA are left out.

    Raises
    ------
    AnnotationError : not GeoJSON, a file too large, or a shape that is none.
    """
    held = read_geojson(path, LARGEST_BYTES, _DO)
    crossings: list[str] = []
    features = tuple(f for one in _objects(held, path) for f in _features(one, path, crossings))
    say_mended(path, crossings)
    return Drawing(path, features)


def _objects(held: Any, path: Path) -> list[dict[str, Any]]:
    objects = held.get("features", [held]) if isinstance(held, dict) else held
    if not isinstance(objects, list) or not all(isinstance(o, dict) and o.get("type") == "Feature" for o in objects):
        raise AnnotationError("is not GeoJSON", where=path, found="no list of features", do=_DO)
    return objects


def _features(one: dict[str, Any], path: Path, crossings: list[str]) -> Iterator[Feature]:
    from shapely.geometry import shape

    properties = one.get("properties") or {}
    kind = object_kind(one)
    word, name = base_class(properties.get("classification")), str(properties.get("name") or "").strip()
    geometry = one.get("nucleusGeometry") or one.get("geometry")
    if geometry is None or kind == "other":
        return
    try:
        drawn = shape(geometry)
        if not np.isfinite(drawn.bounds).all():
            raise ValueError("a coordinate that is not finite, or no coordinate")
    except Exception as err:  # shapely raises whatever the first wrong value makes it raise
        raise AnnotationError("holds a shape that is none", where=path, found=err, do=_DO) from err
    yield from _marks(drawn, word, name, kind, crossings)


def _marks(drawn: BaseGeometry, word: str, name: str, kind: str, crossings: list[str]) -> Iterator[Feature]:
    """The points and areas of one object; each of a collection is one."""
    if drawn.geom_type == "GeometryCollection":
        for part in drawn.geoms:
            yield from _marks(part, word, name, kind, crossings)
    elif drawn.geom_type in ("Point", "MultiPoint"):
        points = np.array([(p.x, p.y) for p in getattr(drawn, "geoms", [drawn])], np.float64)
        yield Feature(word, name, points=points)
    elif drawn.geom_type in ("Polygon", "MultiPolygon") and kind == "nucleus":
        yield Feature(word, name, points=np.array([[drawn.centroid.x, drawn.centroid.y]]))
    elif drawn.geom_type in ("Polygon", "MultiPolygon"):
        yield Feature(word, name, area=mended(drawn, crossings))
