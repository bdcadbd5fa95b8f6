"""OME-NGFF folders (zarr 2 and 3) of one picture: three 8-bit channels on axes of any order, T and Z of length 1.

A chunk that is not stored stands for a fill value. That is what some writers make of black, and what an unfinished copy
looks like: the other levels tell which.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, product, takewhile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import SlideError
from tilscore.slide.base import Header
from tilscore.slide.channels import check_rgb
from tilscore.slide.mpp import Found, in_um
from tilscore.slide.tiff_tiles import LARGEST_TILE_PX
from tilscore.slide.tiled import TiledFile, TiledSlide, TileGrid

_CODECS = {"blosc", "bytes", "bz2", "crc32c", "gzip", "lz4", "lzma", "sharding_indexed", "transpose", "zlib", "zstd"}
"""What undoes compression and nothing else; a codec may also unpickle, which runs the file's code."""
_DIFFERS = 0.05
"""Share of the pixels under a chunk that is not stored from which another level shows that it is lost."""
_LOOK_PX = 512
"""Longest side of what is looked at there."""
_EXPORT = "write it again as 8-bit RGB, or as OME-TIFF (raw2ometiff --rgb)"


@dataclass(frozen=True)
class _Level(TileGrid):
    """An array of zarr's on `axes`, one letter each; a tile is a chunk of all three channels."""

    array: Any
    axes: str
    folder: Path
    is_blosc: bool

    def pixels(self, x: int, y: int, w: int, h: int, step: int = 1) -> NDArray[np.uint8]:
        """Pixels [h w 3] of a rectangle, or every `step`-th of them; chunks that are not stored have the fill value."""
        if self.is_blosc and not all(_is_whole(file) for _, file in self.files(x, y, w, h)):
            raise ValueError("a chunk is cut short")
        at = {"y": slice(y, y + h, step), "x": slice(x, x + w, step), "c": slice(None)}
        values = np.asarray(self.array[tuple(at.get(axis, 0) for axis in self.axes)])
        kept = [axis for axis in self.axes if axis in at]
        return np.ascontiguousarray(values.transpose([kept.index(axis) for axis in "yxc"]), np.uint8)

    def files(self, x: int, y: int, w: int, h: int) -> Iterator[tuple[int, Path]]:
        """The channel and the file of each chunk (or shard of chunks) under a rectangle."""
        side = dict(zip(self.axes, self.array.shards or self.array.chunks, strict=True))
        columns = range(x // side["x"], (x + w - 1) // side["x"] + 1)
        rows = range(y // side["y"], (y + h - 1) // side["y"] + 1)
        for channel, row, column in product(range(3), rows, columns):
            at = {"x": column, "y": row, "c": channel // side["c"]}
            yield channel, self.folder / self.array.metadata.encode_chunk_key(tuple(at.get(a, 0) for a in self.axes))

    def shows(self, other: TileGrid, index: int, channels: list[int], value: int) -> bool:
        """Whether this level has something else than `value` where a tile of another level lies."""
        x, y, w, h = other.place(index)
        (x, w), (y, h) = _share(x, w, other.width, self.width), _share(y, h, other.height, self.height)
        there = self.pixels(x, y, w, h, max(1, max(w, h) // _LOOK_PX))
        return bool((there[..., channels] != value).mean() > _DIFFERS)


@dataclass
class _Folder(TiledFile):
    levels: tuple[_Level, ...]
    found: Found
    n_further: int


class NgffSlide(TiledSlide):
    """An OME-NGFF image: a folder of its own, or the largest one in a container of bioformats2raw's."""

    reader: ClassVar[str] = "ngff"

    def _open(self) -> Any:
        return _parse(self.path)

    def _inspect(self) -> Header:
        file: _Folder = self._held()
        sizes = tuple((level.width, level.height) for level in file.levels)
        told = {"middle": self._middle(file)}
        return Header("ome-ngff", sizes, file.found, properties=told, n_further=file.n_further)

    def _decode(self, number: int, index: int) -> NDArray[np.uint8] | None:
        levels: tuple[_Level, ...] = self._held().levels
        level = levels[number]
        x, y, w, h = level.place(index)
        try:
            pixels = level.pixels(x, y, w, h)
            absent = sorted({channel for channel, file in level.files(x, y, w, h) if not os.path.isfile(file)})
            lost = bool(absent) and _is_lost(levels, number, index, absent)
        except Exception:  # decoders raise anything on damaged chunks
            return None
        return None if lost else pixels

    def _middle(self, file: _Folder) -> str:
        """Hash of the middle tile of the coarsest level: the folder has no end by which to tell it from others."""
        level = file.levels[-1]
        row, column = level.height // 2 // level.tile_h, level.width // 2 // level.tile_w
        tile = self._decode(len(file.levels) - 1, row * level.n_across + column)
        return "" if tile is None else hashlib.sha256(tile.tobytes()).hexdigest()


def _is_whole(file: Path) -> bool:
    """Whether a chunk in Blosc, if it is stored, is as long as it says: its decoder reads on beyond the end."""
    try:
        with open(file, "rb") as f:
            head = f.read(16)
            return len(head) == 16 and int.from_bytes(head[12:], "little") <= os.fstat(f.fileno()).st_size
    except FileNotFoundError:
        return True


def _is_lost(levels: tuple[_Level, ...], number: int, index: int, absent: list[int]) -> bool:
    """Whether chunks that are not stored held something: another level shows it, or there is none that could tell."""
    fill = int(levels[number].array.fill_value or 0)
    others = [level for level in reversed(levels) if level is not levels[number]]
    return not others or any(other.shows(levels[number], index, absent, fill) for other in others)


def _share(start: int, n: int, of: int, size: int) -> tuple[int, int]:
    """Start and length, on an axis of `size` px, of what are `n` px from `start` on where there are `of`."""
    first = min(start * size // of, size - 1)
    return first, max(-(-(start + n) * size // of) - first, 1)


def _parse(path: Path) -> _Folder:
    """The levels of the largest image of a folder, and its resolution."""
    import zarr

    store = zarr.storage.LocalStore(path, read_only=True)
    group, told, n_further = _image(path, zarr.open_group(store, mode="r", use_consolidated=False))
    if len(told["multiscales"]) != 1:
        n = f"{len(told['multiscales'])} multiscales"
        raise SlideError("OME-NGFF image is not one pyramid", where=path, found=n, do=_EXPORT)
    image = told["multiscales"][0]
    stated = [axis if isinstance(axis, dict) else {"name": axis} for axis in image.get("axes", ())]
    names = [str(axis["name"]) for axis in stated]
    if not set("yxc") <= set(names) <= set("tczyx") or len(set(names)) < len(names):
        found = ", ".join(names) or "none"
        raise SlideError("OME-NGFF with axes that are not read", where=path, found=found, do=_EXPORT)
    axes = "".join(names)
    levels = tuple(_level(path, group, str(dataset["path"]), axes) for dataset in image["datasets"])
    channels = told.get("omero", {}).get("channels", ())
    check_rgb(path, [[str(c.get("label") or "")] for c in channels], [str(c.get("color") or "") for c in channels])
    scales = [*image["datasets"][0].get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())]
    resolution = _found(axes, {axis["name"]: axis.get("unit") for axis in stated}, scales)
    return _Folder(levels, resolution, n_further)


def _image(path: Path, root: Any) -> tuple[Any, dict[str, Any], int]:
    """The group of the largest image of a folder, its metadata, and how many further images there are.

    Raises
    ------
    SlideError : there is none.
    """
    told = _metadata(root)
    if "multiscales" in told:
        return root, told, 0
    images = [(root[name], own) for name in _series(root) if "multiscales" in (own := _metadata(root[name]))]
    if images:
        group, told = max(images, key=_size)
        return group, told, len(images) - 1
    found = ", ".join(sorted(map(str, told))) or "no metadata"
    raise SlideError("zarr folder holds no OME-NGFF image", where=path, found=found, do="name the folder of one image")


def _size(image: tuple[Any, dict[str, Any]]) -> int:
    """Pixels of the first level of an image, all channels counted."""
    group, told = image
    return int(math.prod(group[str(told["multiscales"][0]["datasets"][0]["path"])].shape))


def _series(root: Any) -> Iterator[str]:
    """Names of the images of a container, as it states them or counted from 0."""
    stated = _metadata(root["OME"]).get("series") if "OME" in root else None
    yield from map(str, stated) if stated else takewhile(lambda name: name in root, map(str, count()))


def _metadata(group: Any) -> dict[str, Any]:
    """Attributes as of version 0.4; from 0.5 on they stand under `ome`."""
    told = dict(group.attrs)
    return dict(told.get("ome", told))


def _level(path: Path, group: Any, name: str, axes: str) -> _Level:
    array = group[name]
    why = _refusal(array, axes)
    if why:
        raise SlideError("OME-NGFF is not 8-bit RGB in chunks", where=path, found=why, do=_EXPORT)
    (width, tile_w), (height, tile_h) = ((array.shape[axes.index(a)], array.chunks[axes.index(a)]) for a in "xy")
    is_blosc = not array.shards and "blosc" in _codecs(array.metadata.to_dict())
    size = (width, height, min(tile_w, width), min(tile_h, height))
    return _Level(*size, array, axes, path / array.path, is_blosc)


def _refusal(array: Any, axes: str) -> str | None:
    """Why an array is not one plane of three channels of 8 bits that can be decoded in pieces; None where it is."""
    shape = getattr(array, "shape", ())
    sizes = dict(zip(axes, shape, strict=False))
    if len(shape) != len(axes) or sizes["c"] != 3 or sizes.get("t", 1) != 1 or sizes.get("z", 1) != 1:
        return f"{' x '.join(map(str, shape)) or 'no array'} on axes {axes.upper()}"
    if array.dtype != np.uint8:
        return str(array.dtype)
    codecs = set(_codecs(array.metadata.to_dict()))
    if codecs - _CODECS:
        return f"codec {', '.join(sorted(codecs - _CODECS))}"
    if array.shards and "blosc" in codecs and str(array.metadata.codecs[0].index_location).endswith("start"):
        return "Blosc in shards that begin with their index"  # one that is cut short would be read on beyond its end
    chunks = array.chunks
    tile_px = chunks[axes.index("x")] * chunks[axes.index("y")]
    if min(*shape, *chunks) < 1 or tile_px > LARGEST_TILE_PX or math.prod(chunks) > 3 * LARGEST_TILE_PX:
        return f"chunks of {' x '.join(map(str, chunks))}"
    return None


def _codecs(told: Any) -> Iterator[str]:
    """Names of all codecs that the metadata of an array name, those inside others too."""
    if isinstance(told, dict):
        yield from (str(told[key]) for key in ("id", "name") if key in told)
        told = [told.get(key) for key in ("configuration", "codecs", "index_codecs", "compressor", "filters")]
    if isinstance(told, list | tuple):
        for part in told:
            yield from _codecs(part)


def _found(axes: str, units: dict[str, Any], transformations: list[Any]) -> Found:
    """The resolution: the scales of level 0, in the units of the axes; without both it is not stated."""
    scales = [told.get("scale") or () for told in transformations if told["type"] == "scale"]
    others = {told["type"] for told in transformations} - {"scale", "translation", "identity"}
    if not scales or others or any(len(scale) != len(axes) for scale in scales) or not (units["x"] and units["y"]):
        return Found()
    x, y = (_length(math.prod(float(s[axes.index(axis)]) for s in scales), str(units[axis])) for axis in "xy")
    return Found(x, y, "ngff.scale")


def _length(value: float, unit: str) -> float | str:
    length = in_um(value, unit)
    return f"{value:g} {unit}" if length is None else length
