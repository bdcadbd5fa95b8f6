"""The drawing primitives and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from slidemaps import cells_at, lattice, maps

from tilscore.cells import Cells
from tilscore.labels import CELL_COLOURS, Area, Cell, Region
from tilscore.overlay import Title, compose, write_overlay
from tilscore.overlay.draw import (
    ColourScale,
    ScaleBar,
    cover_of,
    draw_badges,
    draw_frame,
    draw_scale_bar,
    shorten,
    warp,
)
from tilscore.overlay.draw import font as face
from tilscore.overlay.fieldpanels import FieldPanel, draw_cells
from tilscore.overlay.page import field_text, number
from tilscore.overlay.panels import OverlayConfig, draw_panels
from tilscore.overlay.views import Field
from tilscore.score import Score
from tilscore.score.parts import left_out_of
from tilscore.score.run import score_with_parts
from tilscore.slide import open_slide
from tilscore.space import BoxUm, Grid, Window

SMALL = OverlayConfig(width_px=1200, panel_height_px=200, field_px=120)


def a_score(**changed: Any) -> Score:
    known: dict[str, Any] = {
        "status": "ok",
        "reasons": (),
        "til_density_per_mm2": 512.0,
        "stil_area_pct": 3.3,
        "n_tils": 12,
        "itil_density_per_mm2": 98.0,
        "stroma_mm2": 0.5,
        "tumour_mm2": 0.25,
        "tissue_mm2": 0.75,
        "area_account_mm2": {},
        "constants": {"area_per_til_um2": 38.5, "bed": {"radius_um": 250.0}},
        "infiltrated_area_pct": 14.2,
        "contact_itil_density_per_mm2": 120.0,
        "intervals": {"til_density_per_mm2": {"low": 401.0, "high": 655.0}},
    }
    return Score(**known | changed)


NOTHING = np.zeros((1, 1, 3), np.uint8)
_NONE = dict.fromkeys(("til_density_per_mm2", "stil_area_pct", "n_tils", "itil_density_per_mm2"))
_EMPTY = dict.fromkeys(("stroma_mm2", "tumour_mm2", "tissue_mm2"), 0.0)
NO_SCORE = a_score(status="not_evaluable", reasons=("no_tissue",), **_NONE, **_EMPTY)
TITLE = Title("slide", "model 1", 1.0, "given")


def a_slide(folder: Path, width_px: int, height_px: int, value: int | None = None) -> Path:
    path = folder / "slide.png"
    noise = np.random.default_rng(0).integers(120, 230, (height_px, width_px, 3), np.uint8)
    Image.fromarray(noise if value is None else np.full_like(noise, value)).save(path)
    return path


@pytest.mark.parametrize(
    ("width_px", "mpp", "length_um", "label"),
    [
        (700, 10.0, 1000.0, "1 mm"),
        (560, 250 / 560, 50.0, "50 µm"),
        (1000, 0.25, 50.0, "50 µm"),
        (700, 40.0, 5000.0, "5 mm"),
    ],
)
def test_scale_bar_is_as_long_as_it_says(width_px: int, mpp: float, length_um: float, label: str):
    picture = np.full((width_px, width_px, 3), 128, np.uint8)
    bar = draw_scale_bar(picture, mpp)
    assert (bar.length_um, bar.label) == (length_um, label)
    drawn = (picture == 0).all(-1).sum(1)
    assert drawn[drawn > 0][-1] == bar.length_px == round(length_um / mpp)


def test_scale_bar_is_round_and_fits():
    for mpp in np.geomspace(0.01, 500, 60):
        bar = ScaleBar.fitting(600, float(mpp))
        assert bar.length_px <= 151
        assert f"{bar.length_um:e}"[0] in "125"


def test_a_cell_changes_exactly_the_pixels_around_it():
    window = Window(Grid(0.5, 1000, 1000), 100, 200, 200, 160)
    picture = np.full((160, 200, 3), 255, np.uint8)
    draw_cells(picture, cells_at(np.array([[90.0, 140.0]]), Cell.STROMAL), np.array([False]), window, 4.0)
    rows, cols = np.nonzero((picture != 255).any(-1))
    # the centre lies at 90 um / 0.5 - 100 = 80 px and 140 / 0.5 - 200 = 80 px, at a pixel's edge
    distance = np.hypot(rows + 0.5 - 80, cols + 0.5 - 80)
    assert distance.min() > 8 - 3
    assert distance.max() < 8 + 3
    assert (rows + 0.5).mean() == pytest.approx(80, abs=0.2)
    assert (cols + 0.5).mean() == pytest.approx(80, abs=0.2)
    assert (picture == CELL_COLOURS[Cell.STROMAL]).all(-1).any()


def test_only_counted_tils_get_a_dot():
    window = Window(Grid(0.5, 200, 200), 0, 0, 200, 200)
    centres = {}
    for counted in (True, False):
        picture = np.full((200, 200, 3), 10, np.uint8)
        draw_cells(picture, cells_at(np.array([[50.0, 50.0]])), np.array([counted]), window, 4.0)
        centres[counted] = bool((picture[98:102, 98:102] != 10).any())
    assert centres == {True: True, False: False}


def test_cover_keeps_positions():
    grid = Grid(4.0, 100, 100)
    mask = np.zeros(grid.shape, bool)
    mask[10:30, 40:70] = True
    for mpp in (1.0, 4.0, 8.0, 12.0):
        cover = cover_of(mask, grid, grid.at(mpp).window)
        ys, xs = np.indices(cover.shape)
        assert cover.sum() * mpp**2 == pytest.approx(mask.sum() * 16, rel=0.02)
        assert ((xs + 0.5) * cover).sum() / cover.sum() * mpp == pytest.approx(220, abs=1)
        assert ((ys + 0.5) * cover).sum() / cover.sum() * mpp == pytest.approx(80, abs=1)


def test_warp_is_zero_outside():
    grid = Grid(4.0, 10, 10)
    out = warp(np.ones(grid.shape, np.float32), grid, Window(grid, -3, 0, 16, 10))
    assert out.sum(0).tolist() == [0] * 3 + [10] * 10 + [0] * 3


def test_a_badge_covers_no_label():
    """A core's number must be legible where a field lies in its corner, on tissue of any colour."""
    picture = np.full((400, 400, 3), 90, np.uint8)
    label = draw_frame(picture, (100, 100, 220, 220), "core 1")
    x0, y0, x1, y1 = (round(v) for v in label)
    named = picture[y0:y1, x0:x1].copy()
    assert (named.max(-1) > 220).mean() > 0.5, "a plate behind the label"
    draw_badges(picture, [(140, 140, 200, 200), (300, 300, 380, 380)], labels=[label])
    assert np.array_equal(picture[y0:y1, x0:x1], named)


def test_colour_scale_rises_and_ends_at_its_top():
    scale = ColourScale(5000, (0, 5000))
    light = scale.colours(np.linspace(0, 5000, 50)).astype(int) @ np.array([299, 587, 114])
    assert (np.diff(light) > 0).all()
    assert np.array_equal(scale.colours(np.array(9e9)), scale.colours(np.array(5000.0)))


@pytest.mark.parametrize(
    ("width", "height", "kind"),
    [(256, 256, "stroma"), (256, 256, "glass"), (40, 700, "tumour"), (3000, 200, "stroma"), (900, 700, "tumour")],
)
def test_page_of_any_shape_and_content(tmp_path: Path, width: int, height: int, kind: str):
    with open_slide(a_slide(tmp_path, width, height, 245 if kind == "glass" else None), mpp=0.5) as slide:
        region = Region.STROMA if kind == "stroma" else Region.TUMOUR
        regions, tissue = maps(slide.level0, region, Area.GLASS if kind == "glass" else Area.TISSUE)
        score = NO_SCORE if kind == "glass" else a_score()
        panels = draw_panels(slide, Cells.empty(), regions, tissue, SMALL, evaluable=score.status == "ok")
    page = compose(panels, score, TITLE, SMALL)
    assert page.width == 1200
    assert (panels.heat is not None) == (kind == "stroma")
    assert bool(panels.fields) == (kind != "glass")
    longest = max(panels.overview.drawn.shape[:2])
    assert longest <= 1200
    shown = panels.overview.drawn.shape[1] / panels.overview.drawn.shape[0]
    assert shown == pytest.approx(width / height, rel=0.15)


def test_the_same_page_twice_and_another_without_score(tmp_path: Path):
    with open_slide(a_slide(tmp_path, 600, 600), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        cells = cells_at(lattice(20, 20, 280, 280, 20))
        bed = np.zeros(regions.grid.shape, bool)
        bed[10:60, 10:60] = True
        first, second = (
            compose(draw_panels(slide, cells, regions, tissue, SMALL, bed=bed), a_score(), TITLE, SMALL)
            for _ in range(2)
        )
        hidden = draw_panels(slide, cells, regions, tissue, SMALL, bed=bed, evaluable=False)
    assert first.tobytes() == second.tobytes()
    assert hidden.heat is None
    page = compose(hidden, NO_SCORE, TITLE, SMALL)
    write_overlay(tmp_path / "out" / "overlay.png", page)
    with Image.open(tmp_path / "out" / "overlay.png") as again:
        assert again.size == page.size


def test_a_drawn_field_differs_from_the_plain_one_only_by_its_cells(tmp_path: Path):
    with open_slide(a_slide(tmp_path, 600, 600), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        panels = draw_panels(slide, cells_at(np.array([[150.0, 150.0]])), regions, tissue, SMALL)
    shown = panels.fields[0]
    box = shown.field.box
    rows, cols = np.nonzero((shown.plain != shown.drawn).any(-1))
    um = box.width_um / shown.plain.shape[1]
    x, y = box.x0 + (cols + 0.5) * um, box.y0 + (rows + 0.5) * um
    assert len(rows)
    assert np.hypot(x - 150, y - 150).max() < SMALL.cell_radius_um + 4
    assert shown.n_cells[Cell.INFLAMMATORY] == 1


def test_a_field_counts_what_it_shows(tmp_path: Path):
    """TILs, cells and stroma are those of the square that is drawn, wherever the pixels of the map begin."""
    with open_slide(a_slide(tmp_path, 1201, 1201), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        panels = draw_panels(slide, cells_at(lattice(0, 0, 600, 600, 3)), regions, tissue, SMALL)
    assert panels.fields
    for shown in panels.fields:
        assert shown.field.n_tils == shown.n_cells[Cell.INFLAMMATORY]
        assert shown.field.stroma_mm2 == pytest.approx(0.0625)


def test_what_was_drawn_as_left_out_is_seen(tmp_path: Path):
    with open_slide(a_slide(tmp_path, 600, 600), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        regions.values[:, :40] = Region.TUMOUR
        drawn = np.zeros(regions.grid.shape, bool)
        drawn[50:60, 20:40] = True
        made = score_with_parts(Cells.empty(), regions, tissue, drawn={"exclude": drawn})
        left_out = left_out_of(made.parts.raster)
        plain, shown = (draw_panels(slide, Cells.empty(), regions, tissue, SMALL, left_out=m) for m in (None, left_out))
    assert np.array_equal(left_out, drawn)
    changed = (plain.overview.drawn != shown.overview.drawn).any(-1)
    rows, cols = (np.flatnonzero(changed.any(axis=a)) * shown.overview.mpp for a in (1, 0))
    margin = 2 * shown.overview.mpp
    assert (rows[0], rows[-1]) == (pytest.approx(200, abs=margin), pytest.approx(240, abs=margin))
    assert (cols[0], cols[-1]) == (pytest.approx(80, abs=margin), pytest.approx(160, abs=margin))
    values = {key.label: key.value for key in shown.overview.keys}
    assert values["Drawn, left out"] == "0.003 mm²"
    assert "Drawn, left out" not in {key.label for key in plain.overview.keys}


def test_a_given_area_is_seen_where_it_misses_the_tissue(tmp_path: Path):
    """A dashed line around all of it, with its size, though nothing of it is tumour bed."""
    with open_slide(a_slide(tmp_path, 600, 600), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        tissue.values[:, 15:] = Area.GLASS
        given = np.zeros(regions.grid.shape, bool)
        given[20:60, 40:70] = True
        made = score_with_parts(Cells.empty(), regions, tissue, drawn={"roi": given})
        what, bed = (slide, Cells.empty(), regions, tissue, SMALL), made.parts.bed()
        plain, shown = (draw_panels(*what, bed=bed, evaluable=False, given=m) for m in (None, given))
    assert made.score.reasons == ("roi_empty",)
    changed = (plain.overview.drawn != shown.overview.drawn).any(-1)
    rows, cols = (np.flatnonzero(changed.any(axis=a)) * shown.overview.mpp for a in (1, 0))
    margin = 4 * shown.overview.mpp
    assert (rows[0], rows[-1]) == (pytest.approx(80, abs=margin), pytest.approx(240, abs=margin))
    assert (cols[0], cols[-1]) == (pytest.approx(160, abs=margin), pytest.approx(280, abs=margin))
    top = round(80 / shown.overview.mpp)
    dark = (shown.overview.drawn[top - 1 : top + 2, changed.any(axis=0)] < 60).all(-1).any(axis=0)
    assert 0.3 < dark.mean() < 0.8, "dashes with gaps"
    key = next(key for key in shown.overview.keys if key.label == "Given area")
    assert (key.kind, key.value) == ("dash", "0.019 mm²")
    assert "Given area" not in {key.label for key in plain.overview.keys}
    assert compose(shown, NO_SCORE, TITLE, SMALL).height > compose(plain, NO_SCORE, TITLE, SMALL).height


def test_accounts_add_up(tmp_path: Path):
    with open_slide(a_slide(tmp_path, 600, 400), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        tissue.values[:5] = Area.PEN
        tissue.values[-5:] = Area.GLASS
        tissue.values[-5:, :3] = Area.FOLD
        regions.values[:, :30] = Region.TUMOUR
        cells = cells_at(lattice(0, 0, 300, 200, 20))
        panels = draw_panels(slide, cells, regions, tissue, SMALL)
    areas = {row.name: row.mm2 for row in panels.slide_areas}
    assert areas["Pen"] == pytest.approx(tissue.area_mm2(Area.PEN))
    assert areas["Fold"] == pytest.approx(3 * 5 * 64e-6)
    whole, *parts = areas.values()
    assert whole == pytest.approx(0.06)
    assert sum(parts) == pytest.approx(whole)
    row = panels.cell_rows[Cell.INFLAMMATORY]
    assert sum(row.n_in.values()) == len(cells) == 150
    assert row.n_evaluable == int(((cells.x_um >= 120) & (cells.y_um >= 40) & (cells.y_um < 160)).sum())


def test_texts():
    numbers = [number(v) for v in (None, 0.0, 5.8e-6, 0.01234, 5.0, 1234.6, float("nan"))]
    assert numbers == ["-", "0", "<0.001", "0.0123", "5.00", "1,235", "-"]
    long = shorten("x" * 500, face(20), 300)
    assert face(20).getlength(long) <= 300
    assert "…" in long


@pytest.mark.parametrize(("n", "text"), [(1, "1 TIL counted in 0.020 mm²"), (1200, "1,200 TILs counted in 0.020 mm²")])
def test_a_field_tells_its_count(n: int, text: str):
    shown = Field("Tissue", BoxUm(0, 0, 250, 250), n, 0.02)
    assert field_text(FieldPanel(1, shown, NOTHING, NOTHING, {}), True)[0].startswith(text)
