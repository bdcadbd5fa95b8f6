"""All spatial statistics of a slide, and the file they go to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.config import as_values
from tilscore.files import write_json
from tilscore.labels import Cell, Region
from tilscore.masks import Mask
from tilscore.raster import Raster, in_mask
from tilscore.space import Grid
from tilscore.spatial.border import border_profile
from tilscore.spatial.clusters import dbscan
from tilscore.spatial.config import SpatialConfig
from tilscore.spatial.nearest import nearest_distances
from tilscore.spatial.pairs import pair_correlation
from tilscore.spatial.squares import Squares, hotspots, unevenness
from tilscore.stats.mixing import morisita_horn

Points = NDArray[np.float64]

SCHEMA_VERSION = 1
REFERENCES = {
    "til_to_til": "Ohser and Stoyan 1981 (isotropised translation correction); Ripley 1977; Besag 1977",
    "tumour_to_til": "Ohser and Stoyan 1981; Lotwick and Silverman 1982 (two kinds of points)",
    "nearest": "Baddeley and Gill 1997 (Kaplan-Meier)",
    "border": "bands of the Euclidean distance; intervals as in score.json",
    "hotspots": "Ord and Getis 1995 (Gi*); Benjamini and Hochberg 1995",
    "mixing": "Horn 1966 (Morisita-Horn); Maley et al. 2015 for tumour and immune cells",
    "clusters": "Ester, Kriegel, Sander and Xu 1996 (DBSCAN)",
    "unevenness": "Fisher 1925 (index of dispersion); Gini 1912",
}
UNITS = {
    "til_to_til": "r_um, l_um: um; k_um2: um2; g: none, 1 without structure",
    "tumour_to_til": "r_um, l_um: um; k_um2: um2; g: none, 1 where the kinds ignore each other",
    "nearest": "um; g: share of cells with a neighbour within r",
    "border": "um from the border, below 0 in the tumour; 1/mm2 with 95 % interval",
    "hotspots": "mm2, %, 1/mm2; z: standard deviations",
    "mixing": "0 apart to 1 alike",
    "clusters": "TILs; %; 1/mm2",
    "unevenness": "none",
}


@dataclass(frozen=True)
class _Scene:
    """What the statistics are about: points in the window, in microns."""

    tils: Points
    tumour: Points
    window: Mask
    stroma: Mask
    tumour_area: Mask
    grid: Grid
    cfg: SpatialConfig


_Make = Callable[[_Scene], dict[str, Any] | str]


def spatial_statistics(
    cells: Cells,
    regions: Raster,
    bed: Mask,
    cfg: SpatialConfig | None = None,
    *,
    min_prob: float = 0.0,
    evaluable: bool = True,
    no_tumour: Mask | None = None,
) -> dict[str, Any]:
    """Spatial statistics of the TILs and tumour cells in the bed.

    Parameters
    ----------
    cells : all cells of the slide. regions : of `labels.Region`.
    bed : [h w] bool on the grid of `regions`: the window of all statistics, e.g. of `bed.find_bed`; exclusions out.
    min_prob : inflammatory cells of a lower probability are left out, as in the score.
    evaluable : False where the slide has no score: nothing is said of it here either.
    no_tumour : [h w] bool: what was drawn as benign or as not to be scored, whose epithelium has no tumour border.

    Returns
    -------
    Plain values for `spatial.json`: window, counts, and one entry a statistic with `status`, `reference`, `units` and
    its values; where there are too few cells `status` is `none` and `reason` says why.
    """
    cfg = cfg or SpatialConfig()
    scene = _scene(cells, regions, bed, cfg, min_prob, no_tumour)
    made = {name: _entry(name, make, scene, evaluable) for name, make in _STATISTICS.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "window": "the bed as in score.json; TILs are inflammatory cells, tumour cells epithelial cells in it",
        "window_mm2": int(bed.sum()) * regions.grid.pixel_mm2,
        "n_tils": len(scene.tils),
        "n_tumour_cells": len(scene.tumour),
        "config": as_values(cfg),
        "statistics": made,
    }


def write_spatial(path: Path, slide_id: str, statistics: dict[str, Any]) -> None:
    """Write `spatial.json`."""
    write_json(path, {"slide_id": slide_id} | _plain(statistics))


def _scene(
    cells: Cells, regions: Raster, bed: Mask, cfg: SpatialConfig, min_prob: float, no_tumour: Mask | None
) -> _Scene:
    under = in_mask(bed, regions.grid, cells.x_um, cells.y_um)
    kept = cells[under & ((cells.prob >= min_prob) | (cells.label != Cell.INFLAMMATORY))]
    tils, tumour = (
        np.stack([c.x_um, c.y_um], 1).astype(np.float64) for c in (kept.of(Cell.INFLAMMATORY), kept.of(Cell.EPITHELIAL))
    )
    stroma, tumour_area = bed & regions.mask(Region.STROMA), regions.mask(Region.TUMOUR)
    if no_tumour is not None:
        tumour_area &= ~no_tumour
    return _Scene(tils, tumour, bed, stroma, tumour_area, regions.grid, cfg)


def _entry(name: str, make: _Make, scene: _Scene, evaluable: bool) -> dict[str, Any]:
    about = {"reference": REFERENCES[name], "units": UNITS[name]}
    if not evaluable:
        return {"status": "none", "reason": "the slide is not evaluable: see score.json", **about}
    if len(scene.tils) < scene.cfg.min_tils:
        return {"status": "none", "reason": f"fewer than {scene.cfg.min_tils} TILs in the window", **about}
    made = make(scene)
    if isinstance(made, str):
        return {"status": "none", "reason": made, **about}
    return {"status": "ok", **about, **made}


def _til_to_til(scene: _Scene) -> dict[str, Any] | str:
    return _pairs(scene.tils, None, scene)


def _tumour_to_til(scene: _Scene) -> dict[str, Any] | str:
    if len(scene.tumour) < scene.cfg.min_tils:
        return _NO_TUMOUR
    return _pairs(scene.tumour, scene.tils, scene)


_NO_TUMOUR = "too few tumour cells in the window"


def _pairs(one: Points, other: Points | None, scene: _Scene) -> dict[str, Any] | str:
    cfg = scene.cfg
    got = pair_correlation(one, other, scene.window, scene.grid, max_um=cfg.max_um, step_um=cfg.step_um)
    if not np.isfinite(got.g[1:]).any():
        return "the window is too small to hold pairs"
    return {"r_um": got.r_um[1:], "g": got.g[1:], "edge_um": got.edge_um, "k_um2": got.k_um2, "l_um": got.l_um}


def _nearest(scene: _Scene) -> dict[str, Any] | str:
    cfg = scene.cfg
    if len(scene.tumour) < cfg.min_tils:
        return _NO_TUMOUR
    out: dict[str, Any] = {"r_um": list(cfg.nearest_um)}
    ways = {"til_to_tumour": (scene.tils, scene.tumour), "tumour_to_til": (scene.tumour, scene.tils)}
    for name, (one, other) in (ways | {"til_to_til": (scene.tils, None)}).items():
        # Of one kind, a sample has other neighbours than the whole: it is asked of the whole.
        if other is not None and len(one) > cfg.max_exact:
            one = one[np.random.default_rng(cfg.seed).permutation(len(one))[: cfg.max_exact]]
        got = nearest_distances(one, other, scene.window, scene.grid, np.array(cfg.nearest_um))
        out[name] = {"n": got.n, "median_um": got.median_um, "mean_um": got.mean_um, "g": got.g_km}
    return out


def _border(scene: _Scene) -> dict[str, Any] | str:
    cfg = scene.cfg
    bands = border_profile(scene.tils, scene.tumour_area, scene.window, scene.grid, cfg.border, seed=cfg.seed)
    return {"bands": bands} if bands else "no tumour in reach of the window"


def _hotspots(scene: _Scene) -> dict[str, Any] | str:
    squares, count = _in_stroma(scene, scene.cfg.hotspot_um)
    cfg = scene.cfg
    found = hotspots(count, squares.area_mm2, squares.side_um, min_share=cfg.min_share, level=cfg.hotspot_fdr)
    return str(found["reason"]) if "reason" in found else {"side_um": squares.side_um} | found


def _mixing(scene: _Scene) -> dict[str, Any] | str:
    if len(scene.tumour) < scene.cfg.min_tils:
        return _NO_TUMOUR
    sides = [Squares.of(scene.window, scene.grid, side) for side in scene.cfg.mixing_um]
    counts = [(s.side_um, s.count(scene.tumour, scene.grid), s.count(scene.tils, scene.grid)) for s in sides]
    return {"morisita_horn": [{"side_um": side, "value": morisita_horn(a, b)} for side, a, b in counts]}


def _clusters(scene: _Scene) -> dict[str, Any]:
    cfg = scene.cfg
    found = dbscan(scene.tils, eps_um=cfg.cluster_um, min_points=cfg.cluster_min_tils)
    sizes, window_mm2 = found.sizes, int(scene.window.sum()) * scene.grid.pixel_mm2
    return {
        "n_clusters": len(sizes),
        "clusters_per_mm2": len(sizes) / window_mm2,
        "tils_in_clusters_pct": 100 * int(sizes.sum()) / len(scene.tils),
        "median_tils": float(np.median(sizes)) if len(sizes) else None,
        "largest_tils": int(sizes.max(initial=0)),
    }


def _unevenness(scene: _Scene) -> dict[str, Any] | str:
    sides = []
    for side in scene.cfg.unevenness_um:
        squares, count = _in_stroma(scene, side)
        got: dict[str, Any] = unevenness(
            count, squares.area_mm2, min_share=scene.cfg.min_share, side_um=squares.side_um
        )
        sides.append({"side_um": squares.side_um} | got)
    return {"squares_of_stroma": sides}


def _in_stroma(scene: _Scene, side_um: float) -> tuple[Squares, NDArray[np.float64]]:
    col, row = scene.grid.index(scene.tils).T
    squares = Squares.of(scene.stroma, scene.grid, side_um)
    return squares, squares.count(scene.tils[scene.stroma[row, col]], scene.grid)


_STATISTICS: dict[str, _Make] = {
    "til_to_til": _til_to_til,
    "tumour_to_til": _tumour_to_til,
    "nearest": _nearest,
    "border": _border,
    "hotspots": _hotspots,
    "mixing": _mixing,
    "clusters": _clusters,
    "unevenness": _unevenness,
}


def _plain(value: Any) -> Any:
    """Numbers rounded to 6 digits; what is not a number is null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
