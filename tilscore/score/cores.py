"""Cores and fragments: the pieces of tissue of a slide, numbered as they are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.labels import Area
from tilscore.masks import dilate
from tilscore.raster import Raster
from tilscore.score.config import CoreConfig
from tilscore.score.parts import Part
from tilscore.space import BoxUm, Grid

_COARSE_UM = 16.0
"""um/px at which pieces are told apart."""


@dataclass(frozen=True)
class Cores:
    """The pieces of a slide.

    Parameters
    ----------
    labels : [h w] int32 on `grid`: number of the core, 0 where there is none.
    boxes : the box of each, core 1 first.
    tissue_mm2 : tissue of each, sound or not, without what pen covers.
    """

    labels: NDArray[np.int32]
    grid: Grid
    boxes: tuple[BoxUm, ...]
    tissue_mm2: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.boxes)

    def number_at(self, x_um: NDArray[np.floating], y_um: NDArray[np.floating]) -> NDArray[np.int32]:
        """[n] number of the core at each point; 0 where there is none."""
        x, y = self.grid.index(x_um), self.grid.index(y_um)
        inside = (x >= 0) & (y >= 0) & (x < self.grid.width_px) & (y < self.grid.height_px)
        out = np.zeros(len(x), np.int32)
        out[inside] = self.labels[y[inside], x[inside]]
        return out

    def areas_mm2(self, mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
        """[n + 1] area of `mask` [h w] on `grid` in each core; first what lies in none."""
        cols = np.minimum(self.grid.index((np.arange(grid.width_px) + 0.5) * grid.mpp), self.grid.width_px - 1)
        counts = np.zeros(len(self) + 1, np.int64)
        for y0 in range(0, grid.height_px, 1024):
            part = mask[y0 : y0 + 1024]
            if part.any():
                rows = self.grid.index((np.arange(y0, y0 + len(part)) + 0.5) * grid.mpp)
                under = self.labels[np.minimum(rows, self.grid.height_px - 1)][:, cols]
                counts += np.bincount(under[part], minlength=len(counts))
        return np.asarray(counts * grid.pixel_mm2, np.float64)


def find_cores(tissue: Raster, cfg: CoreConfig) -> Cores:
    """Pieces of tissue (blurred and folded too, no pen) that lie further apart than `cfg.join_um`, in reading order."""
    grid = tissue.grid.at(max(_COARSE_UM, tissue.grid.mpp))
    # Pen on glass cannot be told from pen on tissue: neither is a core, and a line of it joins none.
    seen = ~np.isin(tissue.on(grid).values, (Area.GLASS, Area.PEN))
    joined = dilate(seen, cfg.join_um / 2 / grid.mpp)
    n, groups = cv2.connectedComponents(joined.astype(np.uint8), connectivity=8)
    size_px = np.bincount(groups[seen], minlength=n)
    found = []
    for i, part in enumerate(_slices(groups, n), 1):
        if size_px[i] * grid.pixel_mm2 >= cfg.min_mm2:
            rows, cols = np.nonzero((groups[part] == i) & seen[part])
            x0, y0 = part[1].start + cols.min(), part[0].start + rows.min()
            x1, y1 = part[1].start + cols.max() + 1, part[0].start + rows.max() + 1
            found.append((i, BoxUm(*(float(v) * grid.mpp for v in (x0, y0, x1, y1)))))
    found = [found[k] for k in reading_order([box for _, box in found])]
    number = np.zeros(n, np.int32)
    number[[i for i, _ in found]] = np.arange(1, len(found) + 1)
    areas = tuple(int(size_px[i]) * grid.pixel_mm2 for i, _ in found)
    return Cores(number[groups], grid, tuple(box for _, box in found), areas)


def _slices(groups: NDArray[Any], n: int) -> list[tuple[slice, slice]]:
    from scipy import ndimage

    return list(ndimage.find_objects(groups, max_label=n - 1))


def reading_order(boxes: list[BoxUm]) -> list[int]:
    """Indices of `boxes` in rows from top to bottom, and from left to right in a row.

    A box belongs to a row if it shares more than half of its height, or of the row's first box, with that box: cores
    that lie upright beside each other are one row, and cores that lie across are a row each.
    """
    rows: list[list[int]] = []
    for i in sorted(range(len(boxes)), key=lambda k: boxes[k].y0):
        box = boxes[i]
        for row in rows:
            first = boxes[row[0]]
            shared = min(box.y1, first.y1) - max(box.y0, first.y0)
            if shared > 0.5 * min(box.height_um, first.height_um):
                row.append(i)
                break
        else:
            rows.append([i])
    return [i for row in rows for i in sorted(row, key=lambda k: (boxes[k].x0, boxes[k].y0))]


def core_scores(
    cores: Cores,
    parts: Raster,
    tils_um: tuple[NDArray[np.floating], NDArray[np.floating]],
    *,
    min_stroma_mm2: float,
    area_per_til_um2: float,
) -> list[dict[str, Any]]:
    """One entry a core, and a last one, number 0, for what lies in none; they sum to the slide."""
    stroma = cores.areas_mm2(parts.values == Part.STROMA, parts.grid)
    tumour = cores.areas_mm2(parts.values == Part.TUMOUR, parts.grid)
    n_tils = np.bincount(cores.number_at(*tils_um), minlength=len(cores) + 1)
    out = []
    for i in (*range(1, len(cores) + 1), 0):
        enough = stroma[i] > 0 and stroma[i] >= min_stroma_mm2
        density = float(n_tils[i] / stroma[i]) if enough else None
        box = [round(v, 1) for v in (b.x0, b.y0, b.x1, b.y1)] if (b := cores.boxes[i - 1] if i else None) else None
        out.append(
            {
                "core": i,
                "box_um": box,
                "tissue_mm2": cores.tissue_mm2[i - 1] if i else None,
                "stroma_mm2": float(stroma[i]),
                "tumour_mm2": float(tumour[i]),
                "n_tils": int(n_tils[i]),
                "til_density_per_mm2": density,
                "stil_area_pct": None if density is None else min(100.0, density * area_per_til_um2 / 1e4),
            }
        )
    return out


def core_spread(cores: list[dict[str, Any]]) -> dict[str, Any]:
    """Spread of the density between the cores that have one; null with fewer than two."""
    values = [c["til_density_per_mm2"] for c in cores if c["core"] and c["til_density_per_mm2"] is not None]
    if len(values) < 2:
        return {"n": len(values), "mean": None, "sd": None, "min": None, "max": None, "cv_pct": None}
    mean = math.fsum(values) / len(values)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    cv = 100 * sd / mean if mean > 0 else None
    return {"n": len(values), "mean": mean, "sd": sd, "min": min(values), "max": max(values), "cv_pct": cv}
