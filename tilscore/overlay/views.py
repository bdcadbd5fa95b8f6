"""Where to look: the map of stromal TIL density, and the fields that a reader should check first.

Both work on a coarse grid (`MapConfig.mpp`), so that a whole slide takes milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.config import check_ranges
from tilscore.labels import Area, Cell, Region
from tilscore.network.config import DETECTION_THRESHOLD
from tilscore.raster import Raster, in_mask
from tilscore.space import BoxUm, Grid

FloatMap = NDArray[np.float32]


@dataclass(frozen=True)
class MapConfig:
    """How the density map is smoothed."""

    mpp: float = 20.0
    """um per pixel of the map: a fifth of the smoothing width."""
    sigma_um: float = 75.0
    """Gaussian sigma, um: full width at half maximum 177 um, about one high-power field's radius."""
    min_stroma_frac: float = 0.10
    """Smallest share of stroma under the kernel: with less, a few cells would make the number."""

    def __post_init__(self) -> None:
        check_ranges(self, "overlay.map", mpp=(4, 500), sigma_um=(1, 5000), min_stroma_frac=(0, 1))


@dataclass(frozen=True)
class FieldConfig:
    """Which full-resolution fields are shown."""

    size_um: float = 250.0
    """Side of a field, um: small enough to see nuclei, large enough to see what they belong to."""
    n_max: int = 6
    """How many fields at most."""
    prob_threshold: float | None = None
    """Probability from which a nucleus is a cell; fields of doubt are those with many TILs close to it. None: what the
    model's operating point is for inflammatory cells."""
    doubt_width: float = 0.15
    """How far from `prob_threshold` a probability is still doubtful."""

    def __post_init__(self) -> None:
        shares = {"prob_threshold": (0, 1), "doubt_width": (0, 1)}
        check_ranges(self, "overlay.fields", size_um=(50, 2000), n_max=(0, 100), **shares)


@dataclass(frozen=True)
class Field:
    """A square of the slide to be looked at, and why."""

    name: str
    box: BoxUm
    n_tils: int
    """TILs counted: inflammatory cells in evaluable stroma."""
    stroma_mm2: float
    """Evaluable stroma, mm2."""

    @property
    def til_density_per_mm2(self) -> float | None:
        """None with less than 0.005 mm2 of stroma (8 % of a field): one TIL more would move it by 200."""
        return self.n_tils / self.stroma_mm2 if self.stroma_mm2 >= 0.005 else None


def evaluable_stroma(regions: Raster, tissue: Raster, bed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """[h w] bool on the grid of `regions`: stroma on sound tissue inside the tumour bed (None: everywhere)."""
    mask = regions.mask(Region.STROMA) & tissue.on(regions.grid).mask(Area.TISSUE)
    return mask if bed is None else mask & bed


def til_density_map(
    cells: Cells, stroma: NDArray[np.bool_], grid: Grid, cfg: MapConfig | None = None
) -> tuple[FloatMap, Grid]:
    """TILs per mm2 of stroma: smoothed count over smoothed area, with the same Gaussian.

    Parameters
    ----------
    cells : of any class; inflammatory cells inside `stroma` are counted.
    stroma : [h w] bool on `grid`, the evaluable stroma.

    Returns
    -------
    [h w] float32, NaN where there is no stroma or too little under the kernel; and its grid.
    """
    cfg = cfg or MapConfig()
    coarse = grid.at(cfg.mpp)
    tils = cells[(cells.label == Cell.INFLAMMATORY) & in_mask(stroma, grid, cells.x_um, cells.y_um)]
    area, count = _area_map(stroma, grid, coarse), _count_map(tils, coarse)
    sigma = cfg.sigma_um / cfg.mpp
    smooth_area, smooth_count = (
        cv2.GaussianBlur(m, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) for m in (area, count)
    )
    enough = (area > 0) & (smooth_area >= cfg.min_stroma_frac * coarse.pixel_mm2)
    density = np.full(coarse.shape, np.nan, np.float32)
    density[enough] = smooth_count[enough] / smooth_area[enough]
    return density, coarse


def _area_map(mask: NDArray[np.bool_], grid: Grid, coarse: Grid) -> FloatMap:
    """mm2 of `mask` under each pixel of `coarse` (each pixel of `grid` goes to the one that covers its centre)."""
    rows = coarse.index((np.arange(grid.height_px) + 0.5) * grid.mpp)
    cols = coarse.index((np.arange(grid.width_px) + 0.5) * grid.mpp)
    out = np.zeros(coarse.shape, np.float32)
    if mask.size:
        starts = [np.searchsorted(i, np.unique(i)) for i in (rows, cols)]
        sums = np.add.reduceat(np.add.reduceat(mask, starts[0], axis=0, dtype=np.float32), starts[1], axis=1)
        out[np.ix_(np.unique(rows), np.unique(cols))] = sums * np.float32(grid.pixel_mm2)
    return out


def _count_map(cells: Cells, coarse: Grid) -> FloatMap:
    """How many cells lie in each pixel of `coarse`."""
    x, y = coarse.index(cells.x_um), coarse.index(cells.y_um)
    inside = (x >= 0) & (y >= 0) & (x < coarse.width_px) & (y < coarse.height_px)
    flat = np.bincount(y[inside] * coarse.width_px + x[inside], minlength=coarse.width_px * coarse.height_px)
    return flat.reshape(coarse.shape).astype(np.float32)


@dataclass(frozen=True)
class _Sums:
    """What a field centred on each pixel of a coarse grid would hold; [h w] float32 each."""

    grid: Grid
    tissue_frac: FloatMap
    stroma_frac: FloatMap
    tumour_frac: FloatMap
    density: FloatMap
    """TILs per mm2 of stroma; 0 where there is none."""
    n_tils_in_tumour: FloatMap
    n_doubtful: FloatMap
    """Doubtful TILs; without any stroma, doubtful inflammatory cells."""
    n_epithelial: FloatMap
    n_cells: FloatMap


def _field_sums(
    cells: Cells,
    regions: Raster,
    tissue: Raster,
    stroma: NDArray[np.bool_],
    bed: NDArray[np.bool_] | None,
    cfg: FieldConfig,
) -> _Sums:
    grid = regions.grid
    coarse = grid.at(cfg.size_um / 12.5)
    size = 13

    def around(values: FloatMap) -> FloatMap:
        out = cv2.boxFilter(values, -1, (size, size), normalize=False, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(np.maximum(out, 0), np.float32)

    def frac(mask: NDArray[np.bool_]) -> FloatMap:
        return around(_area_map(mask, grid, coarse)) / np.float32(size * size * coarse.pixel_mm2)

    def n_around(keep: NDArray[np.bool_]) -> FloatMap:
        return np.asarray(np.rint(around(_count_map(cells[keep], coarse))), np.float32)

    sound = tissue.on(grid).mask(Area.TISSUE)
    tumour = regions.mask(Region.TUMOUR) & sound
    if bed is not None and (tumour & bed).any():
        tumour &= bed
    counted = in_mask(stroma, grid, cells.x_um, cells.y_um)
    til = cells.label == Cell.INFLAMMATORY
    threshold = DETECTION_THRESHOLD if cfg.prob_threshold is None else cfg.prob_threshold
    doubt = np.abs(cells.prob - threshold) <= cfg.doubt_width
    stroma_frac = frac(stroma)
    area_mm2 = stroma_frac * np.float32(size * size * coarse.pixel_mm2)
    n_tils = n_around(til & counted)
    density = np.where(area_mm2 > 0, n_tils / np.maximum(area_mm2, 1e-9), 0).astype(np.float32)
    in_tumour = n_around(til & in_mask(tumour, grid, cells.x_um, cells.y_um))
    return _Sums(
        coarse,
        frac(sound),
        stroma_frac,
        frac(tumour),
        density,
        in_tumour,
        n_around(til & doubt & (counted | ~stroma.any())),
        n_around(cells.label == Cell.EPITHELIAL),
        n_around(np.ones(len(cells), bool)),
    )


def _wishes(s: _Sums) -> list[tuple[str, NDArray[np.bool_], FloatMap]]:
    """Name, where it may lie, and what to maximise, in order of use."""
    # The most stroma that any field has, so that a slide with little stroma still gets its fields.
    most = float(s.stroma_frac.max(initial=0.0))
    some, much = (s.stroma_frac >= np.float32(min(share, 0.8 * most) or 1.0) for share in (0.25, 0.4))
    middle = float(np.median(s.density[much])) if much.any() else 0.0
    typical = -np.abs(s.density - middle) / np.float32(middle + 1) + np.float32(0.1) * s.stroma_frac
    cold = -s.density + s.stroma_frac
    tumour = s.tumour_frac + s.n_epithelial / np.float32(s.n_epithelial.max(initial=1.0))
    return [
        ("Highest TIL density", some & (s.density > 0), s.density),
        ("Coldest stroma", much, cold),  # before the typical one: that may be the coldest that a small slide has
        ("Typical stroma (median density)", much, typical),
        ("Tumour-rich", s.tumour_frac >= 0.2, tumour),
        ("Most doubtful TILs" if most else "Most doubtful inflammatory cells", s.n_doubtful >= 1, s.n_doubtful),
        ("Most inflammatory cells in tumour", s.n_tils_in_tumour >= 1, s.n_tils_in_tumour),
        ("Tissue", s.tissue_frac > 0, s.n_cells + s.tissue_frac),
    ]


def choose_fields(
    cells: Cells,
    regions: Raster,
    tissue: Raster,
    bed: NDArray[np.bool_] | None = None,
    cfg: FieldConfig | None = None,
    *,
    whole: BoxUm | None = None,
) -> tuple[Field, ...]:
    """Fields that show a reader where the model may be right or wrong; the same for the same input.

    They are, as far as the slide has them: highest TIL density, lowest and median density in stroma, most tumour, most
    TILs of doubtful probability, most inflammatory cells inside tumour (that of the bed, where it holds any). A slide
    with none of these gets one field of its tissue. Fields lie inside the slide, mostly on tissue, and do not overlap;
    a slide smaller than a field gets one field of its own size. `whole` is the box of the slide (None: that of
    `regions`).
    """
    cfg = cfg or FieldConfig()
    whole = whole or regions.grid.box
    side = min(cfg.size_um, max(whole.width_um, whole.height_um))
    stroma = evaluable_stroma(regions, tissue, bed)
    sums = _field_sums(cells, regions, tissue, stroma, bed, cfg)
    free = sums.tissue_frac >= min(0.5, 0.8 * float(sums.tissue_frac.max(initial=0.0)) or 1.0)
    free &= _inside(sums.grid, side)
    fields: list[Field] = []
    for wish, where, value in _wishes(sums):
        allowed = free & where
        if len(fields) == cfg.n_max or not allowed.any() or (wish == "Tissue" and fields):
            continue
        # The surroundings decide between equals, so that the middle of a place is shown and not its corner.
        ranked = value + np.float32(0.01) * cv2.GaussianBlur(value, (0, 0), 4.0)
        row, col = divmod(int(np.argmax(np.where(allowed, ranked, -np.inf))), sums.grid.width_px)
        name = wish if max(whole.width_um, whole.height_um) > cfg.size_um else "Whole image"
        fields.append(_field(name, _box(sums.grid, row, col, side, whole), cells, stroma, regions.grid))
        reach = int(np.ceil(cfg.size_um * 1.05 / sums.grid.mpp))
        free[max(row - reach, 0) : row + reach + 1, max(col - reach, 0) : col + reach + 1] = False
    return tuple(fields)


def _inside(grid: Grid, size_um: float) -> NDArray[np.bool_]:
    """Pixels whose field lies inside the slide; the middle line where the slide is narrower than a field."""

    def fits(n_px: int) -> NDArray[np.bool_]:
        centre = (np.arange(n_px) + 0.5) * grid.mpp
        ok = (centre >= size_um / 2) & (centre <= n_px * grid.mpp - size_um / 2)
        return ok if ok.any() else np.arange(n_px) == n_px // 2

    return fits(grid.height_px)[:, None] & fits(grid.width_px)[None, :]


def _box(grid: Grid, row: int, col: int, size_um: float, whole: BoxUm) -> BoxUm:
    """The field around a pixel, moved into the slide; centred where the slide is narrower."""
    x0, y0 = (
        min(max((i + 0.5) * grid.mpp - size_um / 2, 0.0), room) if room > 0 else room / 2
        for i, room in ((col, whole.width_um - size_um), (row, whole.height_um - size_um))
    )
    return BoxUm(x0, y0, x0 + size_um, y0 + size_um)


def _field(name: str, box: BoxUm, cells: Cells, stroma: NDArray[np.bool_], grid: Grid) -> Field:
    part = grid.covering_window(box).clip()
    tils = cells[(cells.label == Cell.INFLAMMATORY) & box.contains(cells.x_um, cells.y_um)]
    n_tils = int(in_mask(stroma, grid, tils.x_um, tils.y_um).sum())
    # Fields seldom begin at a pixel's edge: each pixel gives the share of it that lies in the field.
    rows, cols = (
        np.clip(np.minimum(at + 1, high / grid.mpp) - np.maximum(at, low / grid.mpp), 0, 1)
        for at, low, high in (
            (part.y + np.arange(part.h), box.y0, box.y1),
            (part.x + np.arange(part.w), box.x0, box.x1),
        )
    )
    return Field(name, box, n_tils, float(rows @ stroma[part.slices] @ cols * grid.pixel_mm2))
