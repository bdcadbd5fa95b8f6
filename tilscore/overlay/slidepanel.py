"""The picture of the whole slide with its legend, and what all slide pictures share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilscore.labels import AREA_COLOURS, RGB, Area
from tilscore.overlay.draw import (
    PAPER,
    Picture,
    cover_of,
    draw_badges,
    draw_frame,
    draw_scale_bar,
    hatch,
    outline,
    ring,
)
from tilscore.overlay.fieldpanels import BED_LINE, Maps
from tilscore.overlay.views import Field
from tilscore.raster import in_mask
from tilscore.space import BoxUm, Window

TISSUE_LINE: RGB = (0, 150, 200)
LEFT_OUT: RGB = (230, 120, 0)
AGGREGATE_LINE: RGB = (200, 0, 150)
DASH_PX = 9
LEAST_RING_PX = 8.0
"""Radius of the smallest ring around an aggregate: as large as a letter, so that it is seen."""


@dataclass(frozen=True)
class Key:
    """One legend entry: `kind` is `fill`, `line`, `dash`, `hatch`, `ring` or `dot`."""

    kind: str
    colour: RGB
    label: str
    value: str = ""


@dataclass(frozen=True)
class Panel:
    """A picture of the slide without and with its overlay, both [h w 3] uint8, and its legend."""

    title: str
    plain: Picture
    drawn: Picture
    mpp: float
    keys: tuple[Key, ...]
    note: str = ""


def mm2(area: float) -> str:
    """An area in mm2 as text, to 0.001 mm2 (63 pixels of a region map) below 1."""
    return f"{area_text(area)} mm²"


def area_text(area_mm2: float | None) -> str:
    """An area in mm2 without its unit; a dash for None."""
    if area_mm2 is None:
        return "-"
    if 0 < area_mm2 < 0.0005:
        return "<0.001"
    places = 0 if area_mm2 == 0 or area_mm2 >= 100 else 1 if area_mm2 >= 10 else 2 if area_mm2 >= 1 else 3
    return f"{area_mm2:,.{places}f}"


def draw_overview(
    view: Picture,
    window: Window,
    maps: Maps,
    fields: tuple[Field, ...],
    close: Window,
    cores: Sequence[Mapping[str, Any]] = (),
    aggregates: Sequence[Mapping[str, Any]] = (),
) -> Panel:
    """All of the slide: what is tissue, bed and left out, and where the fields, cores and aggregates lie.

    Parameters
    ----------
    view : the picture of `window`. close : the part that the other slide pictures show. cores, aggregates : as in
        `score.json`.
    """
    tissue, regions = maps.tissue, maps.regions
    out = view.copy()
    keys = [Key("line", TISSUE_LINE, "Tissue", mm2(tissue.area_mm2(Area.TISSUE)))]
    for area in (Area.PEN, Area.BLUR, Area.FOLD):
        mask = tissue.mask(area)
        if mask.any():
            out = hatch(out, cover_of(mask, tissue.grid, window), AREA_COLOURS[area])
        keys.append(Key("hatch", AREA_COLOURS[area], f"{area.name.capitalize()}, left out", mm2(tissue.area_mm2(area))))
    if maps.left_out is not None and maps.left_out.any():
        out = hatch(out, cover_of(maps.left_out, regions.grid, window), LEFT_OUT)
        keys.append(Key("hatch", LEFT_OUT, "Drawn, left out", mm2(int(maps.left_out.sum()) * regions.grid.pixel_mm2)))
    outline(out, cover_of(tissue.mask(Area.TISSUE), tissue.grid, window), TISSUE_LINE, 2)
    if maps.given is not None:
        outline(out, cover_of(maps.given, regions.grid, window), BED_LINE, 3, casing=PAPER, dash_px=DASH_PX)
        keys.insert(1, Key("dash", BED_LINE, "Given area", mm2(int(maps.given.sum()) * regions.grid.pixel_mm2)))
    if maps.bed is not None:
        draw_bed(out, maps, window)
        keys.insert(1, Key("line", BED_LINE, "Tumour bed", mm2(int(maps.bed.sum()) * regions.grid.pixel_mm2)))
    keys += _draw_aggregates(out, maps, window, aggregates)
    labels = []
    if close.box.area_mm2 < 0.67 * window.box.area_mm2:
        labels.append(draw_frame(out, pixels(close.box, window), "B, C", at_end=True))
    numbered = [c for c in cores if c["core"]]
    for core in numbered if len(numbered) > 1 else ():
        box = pixels(BoxUm(*core["box_um"]), window)
        # Many small fragments have no room for a word.
        labels.append(draw_frame(out, box, f"core {core['core']}" if box[2] - box[0] > 80 else str(core["core"])))
    panel = make_panel("Slide", view, out, window, tuple(keys), "")
    draw_badges(out, [pixels(f.box, window) for f in fields], labels=labels)
    return panel


def _draw_aggregates(
    picture: Picture, maps: Maps, window: Window, aggregates: Sequence[Mapping[str, Any]]
) -> list[Key]:
    """Outline what was drawn as TLS, and circle what was found, in place; their legend. A circle has the area of its
    aggregate, but for the smallest."""
    if not aggregates:
        return []
    drawn = maps.tls is not None and maps.tls.any()
    if drawn:
        outline(picture, cover_of(np.asarray(maps.tls), maps.regions.grid, window), AGGREGATE_LINE, 2, casing=PAPER)
    x_um, y_um = (np.array([a[axis] for a in aggregates], np.float64) for axis in ("x_um", "y_um"))
    inside = in_mask(np.asarray(maps.tls), maps.regions.grid, x_um, y_um) if drawn else x_um < 0
    x_px, y_px = window.grid.to_px(x_um) - window.x, window.grid.to_px(y_um) - window.y
    for one, x, y, is_drawn in zip(aggregates, x_px, y_px, inside, strict=True):
        radius_px = max(math.sqrt(one["mm2"] * 1e6 / math.pi) / window.grid.mpp, LEAST_RING_PX)
        for colour, line_px in () if is_drawn else ((PAPER, 4), (AGGREGATE_LINE, 2)):
            ring(picture, float(x), float(y), radius_px, colour, line_px, False)
    return [Key("ring", AGGREGATE_LINE, "Lymphoid aggregate", mm2(sum(a["mm2"] for a in aggregates)))]


def draw_bed(picture: Picture, maps: Maps, window: Window) -> None:
    if maps.bed is not None:
        outline(picture, cover_of(maps.bed, maps.regions.grid, window), BED_LINE, 3, casing=PAPER)


def pixels(box: BoxUm, window: Window) -> tuple[float, float, float, float]:
    """`box` in the pixels of the picture of `window`."""
    x0, y0, x1, y1 = (float(v) for v in window.grid.to_px([box.x0, box.y0, box.x1, box.y1]))
    return x0 - window.x, y0 - window.y, x1 - window.x, y1 - window.y


def make_panel(title: str, view: Picture, out: Picture, window: Window, keys: tuple[Key, ...], note: str) -> Panel:
    """The panel, with a scale bar on both pictures."""
    plain = view.copy()
    for picture in (plain, out):
        draw_scale_bar(picture, window.grid.mpp)
    return Panel(title, plain, out, window.grid.mpp, keys, note)
