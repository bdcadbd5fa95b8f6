"""Tiled pyramidal TIFF files with a resolution: written tile by tile, opened by OpenSlide and QuPath."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.files import replacing
from tilscore.space import Grid

_SMALLEST_LEVEL_PX = 1024
"""No further level is added once the longer side is at most this."""
_FACTOR = {"jpeg": 4, "deflate": 2}
"""Step between levels: 4 for pictures, 2 for class maps."""
_UM_PER_CM = 1e4
_BIGTIFF_BYTES = 1 << 31
"""Uncompressed size of level 0 from which 64-bit offsets are used, though JPEG would rarely need them."""


def write_pyramid(
    path: Path,
    grid: Grid,
    blocks: Iterable[NDArray[np.uint8]],
    *,
    compression: Literal["jpeg", "deflate"],
    tile_px: int = 256,
    description: str = "",
    quality: int = 90,
) -> None:
    """Write a tiled pyramidal TIFF with its mpp, which OpenSlide and QuPath open.

    Level 0 streams through; 1/16 of a picture, or 1/4 of a class map, is held in memory for the smaller levels.
    These are ordinary reduced-resolution pages: means for pictures, every second pixel for class maps.

    Parameters
    ----------
    grid : size and mpp of level 0.
    blocks : the tiles of level 0 row by row, each at most [tile_px tile_px] (class map, with "deflate") or
        [tile_px tile_px 3] (RGB, with "jpeg"); tiles at the right and lower edge may be smaller.
    tile_px : a multiple of 16.
    quality : of JPEG, 1 to 100.

    Raises
    ------
    ValueError : a block of another shape, too few or too many blocks.
    OutputError : the file cannot be written.
    """
    import tifffile

    if tile_px % 16 or min(grid.shape) < 1:
        raise ValueError(f"needs tiles of a multiple of 16 px and a grid of at least 1 px, found {tile_px}, {grid}")
    channels = (3,) if compression == "jpeg" else ()
    factor = _FACTOR[compression]
    reduced = np.zeros((*_reduced_shape(grid.shape, factor), *channels), np.uint8)
    options: dict[str, Any] = {
        "dtype": np.uint8,
        "tile": (tile_px, tile_px),
        "metadata": None,
        "software": "tilscore",
        "resolutionunit": "CENTIMETER",
        "maxworkers": 1,
    }
    if compression == "jpeg":
        options |= {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": quality}}
    else:
        options |= {"photometric": "minisblack", "compression": "adobe_deflate", "compressionargs": {"level": 6}}
    big = grid.width_px * grid.height_px * (3 if channels else 1) > _BIGTIFF_BYTES
    with replacing(path) as beside, tifffile.TiffWriter(beside, bigtiff=big) as tif:
        tiles = _padded(_reducing(_checked(blocks, grid, tile_px, channels), grid, tile_px, reduced, factor), tile_px)
        _write_page(tif, tiles, (*grid.shape, *channels), grid.mpp, options, description=description.encode() or None)
        level, mpp = grid.shape, grid.mpp
        while max(level) > _SMALLEST_LEVEL_PX:
            level, mpp = reduced.shape[:2], mpp * factor
            cut = (reduced[y : y + tile_px, x : x + tile_px] for y, x in _corners(level, tile_px))
            _write_page(tif, _padded(cut, tile_px), reduced.shape, mpp, options, subfiletype=1)
            reduced = _reduce(reduced, factor)


def read_level0(path: Path) -> tuple[NDArray[np.uint8], float]:
    """Read a class map written by `write_pyramid`.

    Returns
    -------
    values : [h w] uint8.
    mpp : microns per pixel, from the resolution tags.

    Raises
    ------
    OSError : no such file, or it cannot be read.
    ValueError : not a TIFF, not one uint8 channel, damaged, or without a resolution per centimetre or inch.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            if page.dtype != np.uint8 or page.ndim != 2:
                raise ValueError(f"needs one channel of uint8, found {page.dtype} {page.shape}")
            per_unit = page.get_resolution(unit="CENTIMETER")
            if page.tags.get("ResolutionUnit") is None or int(page.resolutionunit) == 1 or min(per_unit) <= 0:
                raise ValueError("has no resolution")
            if abs(per_unit[0] / per_unit[1] - 1) > 1e-3:
                raise ValueError(f"has pixels that are not square, found {per_unit} per cm")
            return np.ascontiguousarray(page.asarray(maxworkers=1)), round(_UM_PER_CM / per_unit[0], 9)
    except (OSError, ValueError):
        raise
    except Exception as err:  # codecs and the TIFF parser have their own error classes
        raise ValueError(f"is damaged or not a TIFF: {err}") from err


def _write_page(
    tif: Any,
    tiles: Iterator[NDArray[np.uint8]],
    shape: tuple[int, ...],
    mpp: float,
    options: dict[str, Any],
    **more: Any,
) -> None:
    per_cm = _UM_PER_CM / mpp
    tif.write(tiles, shape=shape, resolution=(per_cm, per_cm), **options, **more)


def _corners(shape: tuple[int, ...], tile_px: int) -> Iterator[tuple[int, int]]:
    return ((y, x) for y in range(0, shape[0], tile_px) for x in range(0, shape[1], tile_px))


def _checked(
    blocks: Iterable[NDArray[np.uint8]], grid: Grid, tile_px: int, channels: tuple[int, ...]
) -> Iterator[NDArray[np.uint8]]:
    """The blocks, each proved to be the tile that its place asks for."""
    height, width = grid.shape
    rest = iter(blocks)
    for y, x in _corners(grid.shape, tile_px):
        block = next(rest, None)
        shape = (min(tile_px, height - y), min(tile_px, width - x), *channels)
        if block is None or block.dtype != np.uint8 or block.shape != shape:
            found = "none" if block is None else f"{block.dtype} {block.shape}"
            raise ValueError(f"the tile at row {y}, column {x} must be uint8 {shape}, found {found}")
        last = y + tile_px >= height and x + tile_px >= width
        if last and next(rest, None) is not None:
            raise ValueError(f"more blocks than the tiles of {grid}")
        yield block


def _reducing(
    blocks: Iterator[NDArray[np.uint8]], grid: Grid, tile_px: int, reduced: NDArray[np.uint8], factor: int
) -> Iterator[NDArray[np.uint8]]:
    """The blocks as they pass, while their smaller copies are filled into `reduced`."""
    for (y, x), block in zip(_corners(grid.shape, tile_px), blocks, strict=True):
        small = _reduce(block, factor)
        reduced[y // factor : y // factor + small.shape[0], x // factor : x // factor + small.shape[1]] = small
        yield block


def _padded(blocks: Iterator[NDArray[np.uint8]], tile_px: int) -> Iterator[NDArray[np.uint8]]:
    """Blocks of the full tile size: edge pixels repeated, which does not ring in JPEG."""
    for block in blocks:
        yield _pad(block, tile_px - block.shape[0], tile_px - block.shape[1])


def _pad(block: NDArray[np.uint8], below: int, right: int) -> NDArray[np.uint8]:
    if below == right == 0:
        return np.ascontiguousarray(block)
    return np.pad(block, ((0, below), (0, right), (0, 0))[: block.ndim], mode="edge")


def _reduced_shape(shape: tuple[int, ...], factor: int) -> tuple[int, int]:
    return -(-shape[0] // factor), -(-shape[1] // factor)


def _reduce(block: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """`block` at 1/factor: mean of RGB, every `factor`-th pixel of a class map; sizes rounded up."""
    if block.ndim == 2:
        return block[::factor, ::factor]
    height, width = _reduced_shape(block.shape, factor)
    whole = _pad(block, height * factor - block.shape[0], width * factor - block.shape[1])
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
