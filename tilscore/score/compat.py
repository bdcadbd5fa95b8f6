"""The numbers of other systems, from the same cells and areas: to compare with what they publish.

Each follows the published formula on this slide's counts and evaluable areas. What those systems find on a slide (their
cells, their tumour bed) differs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.masks import Mask
from tilscore.score.config import CompatConfig
from tilscore.space import Grid
from tilscore.stats.mixing import morisita_horn

Floats = NDArray[np.float64]
TIGER_UM2 = 64.0
VUNO_UM2 = 671.0 * 16.0 / 100.0
"""671 per TIL and pixel of 16 um2, as a share in per cent: 107.36 um2."""
BIO_TOTEM_UM2 = math.pi * 6.0**2

FORMULAS = {
    "tiger_pct": "100 * n_tils * 64 um2 / stroma area (TIGER baseline and TIAger, before rounding)",
    "vuno_pct": "671 * n_tils / (stroma area / 16 um2), nominal: one area for the slide, not clipped to 1..95",
    "bio_totem_pct": "100 * n_tils * pi * (6 um)^2 / stroma area",
    "eastils_pct": "100 * sum of the TILs' measured areas / stroma area (QuPath easTILs)",
    "tilab": "0.5 * Morisita-Horn overlap of TILs and tumour cells over squares * n TILs / n tumour cells",
    "morisita_horn": "2 * sum(l t) / ((sum(l^2) / L^2 + sum(t^2) / T^2) * L * T), l and t counted in squares",
    "positive_patches_frac": "patches with TILs / patches of evaluable tissue (TIL maps; necrosis left out)",
}


def area_pct(n_tils: int, area_um2: float, stroma_mm2: float) -> float:
    """100 * n_tils * area_um2 / stroma, in per cent; above 100 where so many cells do not fit."""
    return 100.0 * n_tils * area_um2 / (stroma_mm2 * 1e6)


def compat_numbers(
    tils_um: tuple[Floats, Floats],
    bed_tils_um: tuple[Floats, Floats],
    tumour_cells_um: tuple[Floats, Floats],
    stroma_mm2: float,
    evaluable: Mask,
    grid: Grid,
    cfg: CompatConfig,
    *,
    til_areas_um2: Floats | None = None,
) -> dict[str, Any]:
    """The `compat` block of a slide.

    Parameters
    ----------
    tils_um : x, y of the TILs in evaluable stroma. bed_tils_um : those in evaluable stroma or tumour.
    tumour_cells_um : x, y of epithelial cells in the tumour of the bed.
    evaluable : [h w] bool on `grid`: stroma and tumour of the bed.
    til_areas_um2 : measured areas of the TILs in evaluable stroma; None where there are none.
    """
    n = len(tils_um[0])
    n_positive, n_patches = positive_patches(bed_tils_um, evaluable, grid, cfg)
    overlap = overlap_in_squares(bed_tils_um, tumour_cells_um, cfg.tilab_patch_um)
    ratio = len(bed_tils_um[0]) / len(tumour_cells_um[0]) if len(tumour_cells_um[0]) else None
    values: dict[str, float | None] = {
        "tiger_pct": area_pct(n, TIGER_UM2, stroma_mm2),
        "vuno_pct": area_pct(n, VUNO_UM2, stroma_mm2),
        "bio_totem_pct": area_pct(n, BIO_TOTEM_UM2, stroma_mm2),
        "eastils_pct": None if til_areas_um2 is None else float(til_areas_um2.sum()) / (stroma_mm2 * 1e4),
        "tilab": None if overlap is None or ratio is None else 0.5 * overlap * ratio,
        "morisita_horn": overlap,
        "positive_patches_frac": n_positive / n_patches if n_patches else None,
    }
    return {name: {"value": value, "formula": FORMULAS[name]} for name, value in values.items()}


def overlap_in_squares(one_um: tuple[Floats, Floats], two_um: tuple[Floats, Floats], side_um: float) -> float | None:
    """Morisita-Horn overlap of two point sets over squares of `side_um`: 0 never in the same square, 1 the same
    proportions in all. None where one set is empty."""
    columns = [np.floor(np.asarray(xy, np.float64) / side_um).astype(np.int64) for xy in (one_um, two_um)]
    keys = np.concatenate([c[1] * (1 << 31) + c[0] for c in columns])
    squares, at = np.unique(keys, return_inverse=True)
    n = len(one_um[0])
    one, two = (np.bincount(part, minlength=len(squares)).astype(np.float64) for part in (at[:n], at[n:]))
    return morisita_horn(one, two)


def positive_patches(tils_um: tuple[Floats, Floats], evaluable: Mask, grid: Grid, cfg: CompatConfig) -> tuple[int, int]:
    """How many patches of evaluable tissue hold TILs, and how many there are."""
    rows, cols = (np.floor((np.arange(n) + 0.5) * grid.mpp / cfg.patch_um).astype(np.int64) for n in grid.shape)
    if not evaluable.any():
        return 0, 0
    starts = [np.searchsorted(i, np.arange(i[-1] + 1)) for i in (rows, cols)]
    n_px = np.add.reduceat(np.add.reduceat(evaluable, starts[0], axis=0, dtype=np.int32), starts[1], axis=1)
    tissue = n_px >= cfg.patch_min_tissue_frac * np.outer(np.bincount(rows), np.bincount(cols))
    x, y = (np.floor(np.asarray(v, np.float64) / cfg.patch_um).astype(np.int64) for v in tils_um)
    inside = (x < tissue.shape[1]) & (y < tissue.shape[0])
    counts = np.bincount(y[inside] * tissue.shape[1] + x[inside], minlength=tissue.size).reshape(tissue.shape)
    return int((tissue & (counts >= cfg.patch_min_tils)).sum()), int(tissue.sum())
