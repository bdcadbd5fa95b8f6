"""QuPath's objects: GeoJSON files read, what kind of object one is, and its class."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilscore.errors import AnnotationError, printable

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_OBJECTS = {
    "annotation": "annotation, path annotation object",
    "nucleus": "cell, detection, path cell object, path detection object",
    "other": "tile, path tile object, tma core, tma core object, path tma core, path tma core object, path root object",
}
"""QuPath's types of objects: what somebody drew, one nucleus each whatever its shape, and what nobody drew."""


def read_geojson(path: Path, largest: int, do: str) -> Any:
    """What a GeoJSON file holds, gzipped or not, of at most `largest` bytes unpacked.

    Raises
    ------
    AnnotationError : no such file, one that is larger or damaged, or no JSON; `do` says what helps.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            what = "not a file" if path.exists() else "no such file"
            raise AnnotationError(what, where=path, do="check the path")
        if path.stat().st_size > largest:
            raise AnnotationError("too large for a drawing", where=path, found=f"{path.stat().st_size} bytes", do=do)
        raw = _unpacked(path, largest)
        if raw.startswith(b"PK\x03\x04"):
            raise AnnotationError("is a zip archive", where=path, do="unpack it, or export without compression")
        if len(raw) > largest:
            raise AnnotationError("too large for a drawing", where=path, found=f"over {largest} bytes unpacked", do=do)
        return json.loads(raw.decode("utf-8-sig"))
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError, RecursionError) as err:
        raise AnnotationError("is not GeoJSON", where=path, found=str(err) or type(err).__name__, do=do) from err
    except OSError as err:
        raise AnnotationError("cannot be read", where=path, found=err.strerror, do="check the file's rights") from err


def _unpacked(path: Path, largest: int) -> bytearray:
    """The bytes of a file, unpacked where it is gzipped; no more than a piece beyond `largest`."""
    out = bytearray()
    with path.open("rb") as held:
        packed = held.read(2) == b"\x1f\x8b"
        held.seek(0)
        source = gzip.GzipFile(fileobj=held) if packed else held
        while len(out) <= largest and (piece := source.read(1 << 20)):
            out += piece
    return out


def bare(name: str) -> str:
    """A word without capitals, blanks and signs, as words are compared."""
    return "".join(c for c in name.lower() if c.isalnum())


def by_name(names: Mapping[str, str]) -> dict[str, str]:
    """From lists of words for each kind to the kind of each word, made bare."""
    return {bare(name): kind for kind, words in names.items() for name in words.split(", ")}


_OBJECT_OF = by_name(_OBJECTS)


def object_kind(feature: Mapping[str, Any]) -> str:
    """`annotation`, `nucleus` or `other`, by the type of a QuPath object; of old files by its `id`.

    An object that tells neither was drawn.
    """
    told, ident = ((bare(str(v)) if v else "") for v in (object_type(feature), feature.get("id")))
    return _OBJECT_OF.get(told, "other") if told else _OBJECT_OF.get(ident, "annotation")


def object_type(feature: Mapping[str, Any]) -> Any:
    """What the object says it is; None where it does not."""
    properties = feature.get("properties")
    return properties.get("objectType") if isinstance(properties, dict) else None


def base_class(classification: Any) -> str:
    """Base class of QuPath's classification, "" where there is none.

    It is told as `{"name": "Tumor: Positive"}`, `{"names": ["Tumor", "Positive"]}` or a text.
    """
    if isinstance(classification, dict):
        names = classification.get("names")
        classification = names[0] if isinstance(names, list) and names else classification.get("name")
    text = "" if classification is None else str(classification).split(":")[0].strip()
    return "" if text.lower() in ("unclassified", "none") else text


def mended(drawn: BaseGeometry, crossings: list[str]) -> BaseGeometry:
    """A drawn area whose outline crosses itself as what lies on both sides of the crossing; bare lines go.

    A line drawn by hand easily crosses itself where it ends. `crossings` takes where it did, in the drawing's pixels.
    """
    import shapely

    if drawn.is_valid:
        return drawn
    crossings.append(shapely.is_valid_reason(drawn))
    return shapely.make_valid(drawn).buffer(0)


def say_mended(path: Path, crossings: list[str]) -> None:
    """Tell on stderr, in one line, that areas of a drawing were mended, and where the first was."""
    if crossings:
        n = len(crossings)
        what = "an area that crosses itself was" if n == 1 else f"{n} areas that cross themselves were"
        told = f"{what} mended, so that both sides of a crossing belong to it ({crossings[0]}, in pixels)"
        print(printable(f"tilscore: {path}: {told}; look whether it is what was meant", 600), file=sys.stderr)
