"""The single pictures of the overlay: overview, regions, TIL density and full-resolution fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.config import check_ranges
from tilscore.labels import CELL_COLOURS, REGION_COLOURS, Area, Cell, Region
from tilscore.masks import box_of
from tilscore.overlay.account import REGIONS, AreaRow, CellRow, cell_rows, region_areas, slide_areas
from tilscore.overlay.draw import ColourScale, Cover, Picture, blend, cover_of, grey, warp
from tilscore.overlay.fieldpanels import BED_LINE, FieldPanel, Maps, draw_field
from tilscore.overlay.slidepanel import Key, Panel, area_text, draw_bed, draw_overview, make_panel, mm2
from tilscore.overlay.views import FieldConfig, MapConfig, choose_fields, evaluable_stroma, til_density_map
from tilscore.raster import Raster
from tilscore.slide import Slide
from tilscore.space import BoxUm, Grid, Window

TICKS_PER_MM2 = (0.0, 100.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)
CELL_NAMES = {
    Cell.INFLAMMATORY: "Inflammatory, not counted",
    Cell.EPITHELIAL: "Epithelial",
    Cell.STROMAL: "Stromal",
    Cell.OTHER: "Other",
}


@dataclass(frozen=True)
class OverlayConfig:
    """How the overlay looks."""

    width_px: int = 2400
    """Width of the page: prints A4 at 290 dots per inch."""
    panel_height_px: int = 860
    """Greatest height of a slide picture, so that a page stays readable on a screen."""
    region_alpha: float = 0.5
    """Opacity of region colours inside the tumour bed (0..1); outside it is half of this."""
    heat_top_per_mm2: float = 5000.0
    """Top of the density scale, TILs per mm2: the same on every slide, so that pairs can be compared by eye."""
    heat_alpha: float = 0.9
    """Opacity of the density map (0..1)."""
    field_px: int = 560
    """Side of a field's picture: 0.45 um per pixel at the default field size."""
    cell_radius_um: float = 4.5
    """Radius of a cell's circle: just outside a lymphocyte's nucleus (radius 3 to 4 um)."""
    map: MapConfig = field(default_factory=MapConfig)
    fields: FieldConfig = field(default_factory=FieldConfig)

    def __post_init__(self) -> None:
        sizes = {"width_px": (800, 10_000), "panel_height_px": (100, 10_000), "field_px": (64, 4096)}
        shades = {"region_alpha": (0, 1), "heat_alpha": (0, 1), "heat_top_per_mm2": (1, 1e6)}
        check_ranges(self, "overlay", **sizes, **shades, cell_radius_um=(0.5, 100))


@dataclass(frozen=True)
class Panels:
    """All pictures of a slide, and what was counted for them; `heat` is None where there is no density to show."""

    overview: Panel
    regions: Panel
    heat: Panel | None
    scale: ColourScale
    fields: tuple[FieldPanel, ...]
    cell_keys: tuple[Key, ...]
    slide_areas: tuple[AreaRow, ...] = ()
    """What the slide consists of, from all of it down to sound tissue."""
    region_areas: tuple[AreaRow, ...] = ()
    """What the sound tissue consists of."""
    cell_rows: tuple[CellRow, ...] = ()


def draw_panels(
    slide: Slide,
    cells: Cells,
    regions: Raster,
    tissue: Raster,
    cfg: OverlayConfig | None = None,
    *,
    bed: NDArray[np.bool_] | None = None,
    evaluable: bool = True,
    min_prob: float = 0.0,
    cores: Sequence[Mapping[str, Any]] = (),
    left_out: NDArray[np.bool_] | None = None,
    given: NDArray[np.bool_] | None = None,
    aggregates: Sequence[Mapping[str, Any]] = (),
    tls: NDArray[np.bool_] | None = None,
) -> Panels:
    """Draw every picture of one slide.

    Parameters
    ----------
    cells : all nuclei of the slide.
    regions : values of `labels.Region`.
    tissue : values of `labels.Area`; usually of another mpp.
    bed : [h w] bool on the grid of `regions`, the tumour bed; None if there is none, then all tissue counts.
    evaluable : False leaves out the density map: a slide without a score shows no colours that read as one.
    min_prob : inflammatory cells of a lower probability are left out, as in the score.
    cores : pieces of tissue with `core` (their number) and `box_um`, as in `score.json`; framed if several.
    left_out : [h w] bool on the grid of `regions`: what was drawn as not to be scored.
    given : [h w] bool on that grid: the area that was drawn to be scored, on tissue or not; outlined with dashes.
    aggregates : lymphoid aggregates with place and area, as in `score.json`; circled.
    tls : [h w] bool on that grid: what was drawn as lymphoid aggregate; outlined in place of circles.

    Raises
    ------
    SlideError : the slide cannot be read.
    """
    cfg = cfg or OverlayConfig()
    cells = cells[(cells.prob >= min_prob) | (cells.label != Cell.INFLAMMATORY)]
    maps = Maps(cells, regions, tissue, bed, evaluable_stroma(regions, tissue, bed), left_out, given, tls)
    fields = choose_fields(cells, regions, tissue, bed, cfg.fields, whole=slide.level0.box)
    side_px = cfg.field_px * (2 if len(fields) == 1 else 1)
    whole = _fit(slide.level0.box, slide.level0, cfg)
    close = _fit(_tissue_box(tissue, slide.level0.box), slide.level0, cfg)
    picture = slide.read(close)
    scale = ColourScale(cfg.heat_top_per_mm2, tuple(t for t in TICKS_PER_MM2 if t <= cfg.heat_top_per_mm2))
    return Panels(
        draw_overview(slide.read(whole), whole, maps, fields, close, cores, aggregates),
        _regions(picture, close, maps, cfg),
        _heat(picture, close, maps, scale, cfg) if evaluable and maps.stroma.any() else None,
        scale,
        tuple(
            draw_field(i, f, slide, maps, side_px=side_px, radius_um=cfg.cell_radius_um)
            for i, f in enumerate(fields, 1)
        ),
        _cell_keys(),
        slide_areas(tissue, slide.level0),
        region_areas(maps),
        cell_rows(maps),
    )


def columns_px(cfg: OverlayConfig, width_um: float, height_um: float) -> int:
    """Width of one slide picture: a third of the page, or all of it for a slide that is wide."""
    return (cfg.width_px - 200) // 3 if width_um < 2.5 * height_um else cfg.width_px - 120


def _fit(box: BoxUm, level0: Grid, cfg: OverlayConfig) -> Window:
    """The window over `box` whose picture is as large as the page allows."""
    width, height = max(box.width_um, 1.0), max(box.height_um, 1.0)
    column = columns_px(cfg, level0.width_um, level0.height_um)
    grid = level0.at(max(width / (column - 2), height / (cfg.panel_height_px - 2)))
    return grid.covering_window(box).clip()


def _tissue_box(tissue: Raster, whole: BoxUm) -> BoxUm:
    """The box of all tissue and a margin, or the whole slide where that would not save a third of it."""
    seen = tissue.mask(Area.TISSUE)
    if not seen.any():
        return whole
    box = box_of(seen, tissue.grid.mpp)
    box = box.grow(0.04 * max(box.width_um, box.height_um))
    box = BoxUm(max(box.x0, 0), max(box.y0, 0), min(box.x1, whole.x1), min(box.y1, whole.y1))
    return box if box.area_mm2 < 0.67 * whole.area_mm2 else whole


def _regions(view: Picture, window: Window, maps: Maps, cfg: OverlayConfig) -> Panel:
    regions, bed = maps.regions, maps.bed
    sound = maps.tissue.on(regions.grid).mask(Area.TISSUE)
    strength: Cover | float = 1.0 if bed is None else 0.5 + 0.5 * cover_of(bed, regions.grid, window)
    out, keys = grey(view), []
    for region, row in zip(REGIONS, region_areas(maps), strict=True):
        area = mm2(row.mm2) + ("" if row.bed_mm2 is None else f" ({area_text(row.bed_mm2)} in bed)")
        keys.append(Key("fill", REGION_COLOURS[region], row.name, area))
        cover = cover_of(regions.mask(region) & sound, regions.grid, window)
        out = blend(out, REGION_COLOURS[region], (cover * strength * cfg.region_alpha).astype(np.float32))
    draw_bed(out, maps, window)
    note = "" if bed is None else "Paler outside the tumour bed."
    return make_panel("Regions", view, out, window, tuple(keys), note)


def _heat(view: Picture, window: Window, maps: Maps, scale: ColourScale, cfg: OverlayConfig) -> Panel:
    density, grid = til_density_map(maps.cells, maps.stroma, maps.regions.grid, cfg.map)
    known = np.isfinite(density)
    weight = warp(known.astype(np.float32), grid, window)
    values = warp(np.nan_to_num(density), grid, window) / np.maximum(weight, np.float32(1e-6))
    alpha = cover_of(maps.stroma, maps.regions.grid, window) * (weight > 0.05) * np.float32(cfg.heat_alpha)
    out = blend(grey(view, 0.5), scale.colours(values), alpha.astype(np.float32))
    draw_bed(out, maps, window)
    note = f"Gaussian mean of sigma {cfg.map.sigma_um:g} µm; grey: no evaluable stroma."
    return make_panel("Stromal TIL density", view, out, window, (), note)


def _cell_keys() -> tuple[Key, ...]:
    rings = [Key("ring", CELL_COLOURS[c], CELL_NAMES[c]) for c in Cell]
    counted = Key("dot", CELL_COLOURS[Cell.INFLAMMATORY], "Counted TIL (in evaluable stroma)")
    edge = Key("line", REGION_COLOURS[Region.TUMOUR], "Tumour edge")
    return (counted, *rings, edge, Key("line", BED_LINE, "Tumour bed edge"))
