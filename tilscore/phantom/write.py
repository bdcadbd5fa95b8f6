"""Phantoms as files with their truth, and as small fields for training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells, write_cells
from tilscore.errors import OutputError
from tilscore.files import write_json
from tilscore.labels import Area, Cell, Region
from tilscore.phantom.config import PhantomConfig
from tilscore.phantom.draw import BLOCK_PX, draw_window
from tilscore.phantom.fields import regions_from
from tilscore.phantom.layout import Phantom, make_phantom
from tilscore.pyramid import write_pyramid
from tilscore.raster import write_raster
from tilscore.space import Window

_TILE_PX = 256
_JPEG_QUALITY = 88


def write_phantom(path: Path, cfg: PhantomConfig) -> dict[str, Any]:
    """Write a phantom slide and its truth.

    Beside `path` (a pyramidal JPEG TIFF) lie, with its stem, `.truth.json`, `.cells.parquet` and `.regions.tif`. They
    are put in place when all four are written; a phantom that fails leaves what was there.

    Returns
    -------
    dict : what `.truth.json` holds, see `truth_of`.

    Raises
    ------
    ValueError : there is no room for the cells asked for.
    OutputError : a file cannot be written, or a folder is in its place.
    """
    path = Path(path)
    names = [path.stem + end for end in (".cells.parquet", ".regions.tif", ".truth.json")] + [path.name]
    for place in (path, *(path.parent / name for name in names)):
        if place.is_dir():
            raise OutputError("is a folder", where=place, do="name the file to write, e.g. phantom.tif")
    phantom = make_phantom(cfg)
    truth = truth_of(phantom)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".phantom.") as folder:
            _write_files([Path(folder) / name for name in names], phantom, truth)
            path.unlink(missing_ok=True)  # first, so that no old slide stands beside new cells
            for name in names:
                os.replace(Path(folder) / name, path.parent / name)
    except OSError as err:
        do = "check the folder, its rights and its free space"
        raise OutputError("cannot be written", where=path, found=err.strerror or err, do=do) from err
    return truth


def _write_files(places: list[Path], phantom: Phantom, truth: dict[str, Any]) -> None:
    cells, regions, facts, slide = places
    write_cells(cells, phantom.cells())
    write_raster(regions, phantom.regions, Region)
    write_json(facts, truth)
    write_pyramid(
        slide,
        phantom.grid,
        _tiles(phantom),
        compression="jpeg",
        tile_px=_TILE_PX,
        quality=_JPEG_QUALITY,
        description=f"tilscore phantom, seed {phantom.cfg.seed}; procedural, no patient",
    )


def _tiles(phantom: Phantom) -> Iterator[NDArray[np.uint8]]:
    """Level 0 as tiles, row by row; one row of blocks is held at a time."""
    grid = phantom.grid
    for y in range(0, grid.height_px, BLOCK_PX):
        strip = draw_window(phantom, Window(grid, 0, y, grid.width_px, min(BLOCK_PX, grid.height_px - y)))
        for ty in range(0, len(strip), _TILE_PX):
            for tx in range(0, grid.width_px, _TILE_PX):
                yield strip[ty : ty + _TILE_PX, tx : tx + _TILE_PX]


def truth_of(phantom: Phantom) -> dict[str, Any]:
    """The true scores, and the areas and settings that they come from.

    `n_tils` counts the inflammatory cells whose centre lies in a stroma pixel of the region map,
    `til_density_per_mm2` is `n_tils` per mm2 of those pixels, and `stil_area_pct` the share of the stroma under
    the nuclei of these cells as drawn (discs of equal area, without what lies beyond the stroma). `clear` holds
    the same numbers for what neither ink nor blur covers.
    """
    cells, regions, areas = phantom.cells(), phantom.regions, phantom.areas
    tils = (cells.label == Cell.INFLAMMATORY) & (cells.region == Region.STROMA)
    radius_um = np.sqrt(phantom.bank.area_um2[phantom.nuclei.variant] / np.pi)
    clear_map = ~areas.mask(Area.PEN, Area.BLUR)
    clear_cell = ~np.isin(areas.sample(cells.x_um, cells.y_um), (Area.PEN, Area.BLUR))
    stroma = regions.mask(Region.STROMA)
    tissue = phantom.tissue

    def scores(where: NDArray[np.bool_], counted: NDArray[np.bool_]) -> dict[str, Any]:
        stroma_mm2 = int((stroma & where).sum()) * regions.grid.pixel_mm2
        n = int(counted.sum())
        covered = _disc_area_mm2(phantom, counted, radius_um[counted], where)
        return {
            "til_density_per_mm2": n / stroma_mm2 if stroma_mm2 else None,
            "stil_area_pct": 100 * covered / stroma_mm2 if stroma_mm2 else None,
            "n_tils": n,
            "stroma_mm2": stroma_mm2,
            "tumour_mm2": int((regions.mask(Region.TUMOUR) & where).sum()) * regions.grid.pixel_mm2,
            "tissue_mm2": int((tissue & where).sum()) * regions.grid.pixel_mm2,
        }

    return {
        **scores(np.ones_like(stroma), tils),
        "necrosis_mm2": regions.area_mm2(Region.NECROSIS),
        "fat_mm2": regions.area_mm2(Region.FAT),
        "pen_mm2": areas.area_mm2(Area.PEN),
        "blur_mm2": areas.area_mm2(Area.BLUR),
        "n_cells": {k.name.lower(): int((cells.label == k).sum()) for k in Cell},
        "n_itils": int(((cells.label == Cell.INFLAMMATORY) & (cells.region == Region.TUMOUR)).sum()),
        "til_area_um2": float((np.pi * radius_um[tils] ** 2).mean()) if tils.any() else None,
        "clear": scores(clear_map, tils & clear_cell),
        "pen_um": [np.round(r, 1).tolist() for r in phantom.artefacts.pen_um],
        "blur_um": [np.round(r, 1).tolist() for r in phantom.artefacts.blur_um],
        "mpp_um": phantom.grid.mpp,
        "config": asdict(phantom.cfg),
    }


def _disc_area_mm2(
    phantom: Phantom, chosen: NDArray[np.bool_], radius_um: NDArray[np.float64], where: NDArray[np.bool_]
) -> float:
    """Area of these nuclei that lies over stroma within `where`, from 61 points spread evenly over each disc."""
    k = np.arange(61) + 0.5
    r, angle = np.sqrt(k / 61), k * np.pi * (3 - np.sqrt(5))
    x = phantom.nuclei.x_um[chosen][:, None] + radius_um[:, None] * r * np.cos(angle)
    y = phantom.nuclei.y_um[chosen][:, None] + radius_um[:, None] * r * np.sin(angle)
    height, width = phantom.regions.grid.shape
    j, i = (phantom.regions.grid.index(c).clip(0, n - 1) for c, n in ((y, height), (x, width)))
    over = ((phantom.regions.values[j, i] == Region.STROMA) & where[j, i]).mean(1)
    return float((over * np.pi * radius_um**2).sum() / 1e6)


def training_tile(seed: int, size_px: int, mpp: float) -> tuple[NDArray[np.uint8], Cells, NDArray[np.uint8]]:
    """A small field of random composition and stain, for training.

    Returns
    -------
    image : [size_px size_px 3] uint8 RGB.
    cells : all nuclei, microns from the tile's top left corner.
    regions : [size_px size_px] uint8, values of `labels.Region` under each pixel.
    """
    rng = np.random.default_rng([seed, 9])
    side_mm = size_px * mpp / 1000
    fat = float(rng.choice([0.0, 0.0, rng.uniform(0.05, 0.6)]))
    cfg = PhantomConfig(
        size_mm=(side_mm, side_mm),
        seed=seed,
        mpp=mpp,
        shape="field",
        til_density_per_mm2=float(rng.choice([0.0, np.exp(rng.uniform(np.log(50), np.log(5000)))], p=[0.1, 0.9])),
        plasma_frac=float(rng.uniform(0, 0.4)),
        itil_density_per_mm2=float(rng.choice([0.0, rng.uniform(0, 900)])),
        tumour_frac=min(float(rng.choice([0.0, rng.uniform(0.05, 0.9)], p=[0.12, 0.88])), 0.97 - fat),
        nest_um=float(rng.uniform(40, 300)),
        lumen_frac=float(rng.choice([0.0, rng.uniform(0, 0.2)])),
        necrosis_frac=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.1, 0.8)])),
        fat_frac=fat,
        fibroblasts_per_mm2=float(rng.uniform(200, 1600)),
        stain=1.3,
    )
    phantom = make_phantom(cfg)
    centres = phantom.grid.to_um(np.arange(size_px) + 0.5)
    return draw_window(phantom, phantom.grid.window), phantom.cells(), regions_from(phantom.fields.at(centres, centres))
