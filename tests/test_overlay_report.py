"""The HTML report: complete, self-contained, and harmless whatever the names are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beds import score_slide
from pages import Page
from test_overlay import NO_SCORE, SMALL, a_score, a_slide, cells_at, lattice, maps

from tilscore.cells import Cells
from tilscore.labels import Area, Cell, Region
from tilscore.overlay import Title, compose
from tilscore.overlay.panels import Panels, draw_panels
from tilscore.overlay.report import definitions, flatten, render_report, write_report
from tilscore.overlay.slidepanel import Key
from tilscore.score import REASONS, BedConfig, ScoreConfig
from tilscore.score.parts import divide
from tilscore.slide import open_slide

HOSTILE = "<img src=x onerror=alert(1)>\"'</title><script>alert(2)</script>"
NOTES = {
    "slide": {"fingerprint": "f" * 64, "reader": "field", "flags": []},
    "model": {"name": "m", "sha256": "a" * 64},
    "seconds": {"tissue": 1.5},
    "config": {"tissue": {"mpp": 8.0}},
}


@pytest.fixture(scope="module")
def panels(tmp_path_factory: pytest.TempPathFactory) -> Panels:
    with open_slide(a_slide(tmp_path_factory.mktemp("slide"), 600, 600), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        bed = np.ones(regions.grid.shape, bool)
        return draw_panels(slide, cells_at(lattice(0, 0, 300, 300, 20)), regions, tissue, SMALL, bed=bed)


def title(slide_id: str) -> Title:
    return Title(slide_id, "model 1", 0.5, "given")


def test_hostile_names_stay_text(panels: Panels):
    calm = Page(render_report(panels, a_score(), title("slide"), {**NOTES, "k": {"k": "v"}}))
    notes = {**NOTES, "k": {HOSTILE: HOSTILE}}
    score = a_score(reasons=(HOSTILE,))
    wild = Page(render_report(panels, score, Title(HOSTILE, HOSTILE, 0.5, HOSTILE), notes))
    added = [t for t in wild.tags if t not in ("ul", "li", "section")]
    assert added == [t for t in calm.tags if t not in ("ul", "li", "section")]
    assert not [name for name, _ in wild.attributes if name.startswith("on")]
    assert "script" not in wild.tags
    assert HOSTILE in wild.text


def test_nothing_is_fetched(panels: Panels):
    html = render_report(panels, a_score(), title("slide"), NOTES)
    page = Page(html)
    sources = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert len(sources) >= 8
    assert all(re.match(r"data:image/(jpeg|png);base64,[A-Za-z0-9+/=]+$", value) for value in sources)
    rest = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", rest)
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes


def test_the_report_holds_what_was_found(panels: Panels):
    text = Page(render_report(panels, a_score(), title("slide 7"), NOTES)).text
    for part in (
        "slide 7",
        "512",
        "3.30",
        "38.5 µm²",
        "within 250 µm of tumour",
        "f" * 64,
        "a" * 64,
        "not a medical device",
        "colon",
    ):
        assert part.lower() in text.lower()
    for definition in definitions(a_score()):
        assert definition.meaning in text


def test_settings_are_told_once(panels: Panels):
    made = {"tissue": {"tissue": {"mpp": 8.0}}, "score": {"score": {}, "roi": "d" * 64, "site": None}}
    text = Page(render_report(panels, a_score(), title("s"), {**NOTES, "made_with": made})).text
    assert text.count("tissue.mpp") == 1
    assert "made_with.score.roi" in text
    assert "d" * 64 in text


def test_a_flagged_part_is_named_once(panels: Panels):
    row = {"part": "aggregate_flagged", "role": "flagged", "meaning": "m", "mm2": 0.5, "n_tils": 3}
    score = a_score(account=({**row, "score_without_this_exclusion": 7.0},))
    assert '<th scope="row">Aggregate, flagged</th>' in render_report(panels, score, title("s"), NOTES)


def test_every_overlay_can_be_switched_off(panels: Panels):
    page = Page(render_report(panels, a_score(), title("s"), NOTES))
    ids = [value for name, value in page.attributes if name == "id"]
    assert ids == [value for name, value in page.attributes if name == "for"]
    assert len(ids) == len(set(ids)) == 3 + len(panels.fields)


def test_the_numbers_stand_in_full_rows(panels: Panels):
    """On the screen as on paper: none is left alone in a row of its own."""
    html = render_report(panels, a_score(), title("s"), NOTES)
    n = len(re.findall(r'class="card[ "]', html))
    across = [int(v) for v in re.findall(r"\.cards \{[^}]*repeat\((\d+), 1fr\)", html)]
    assert n > 6
    assert across == [(n + 1) // 2] * 2


def test_a_slide_without_score_shows_no_number(panels: Panels):
    score = replace(a_score(), status="not_evaluable", reasons=("stroma_too_small",))
    html = render_report(replace(panels, heat=None), score, title("s"), NOTES)
    page = Page(html.split("</style>")[1])
    text = page.text
    assert "no score is given for this slide" in text
    assert REASONS["stroma_too_small"][1:] in text
    assert "512" not in text
    assert "per mm²" not in text
    assert "TILs counted" not in text
    assert ">in evaluable stroma<" not in html


def test_all_glass(tmp_path: Path):
    with open_slide(a_slide(tmp_path, 256, 256, 245), mpp=0.5) as slide:
        panels = draw_panels(slide, Cells.empty(), *maps(slide.level0, area=Area.GLASS), SMALL, evaluable=False)
    write_report(tmp_path / "report.html", panels, NO_SCORE, title("glass"), {})
    assert "no tissue was found" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_real_score_fits(tmp_path: Path):
    """The page and the report take what `score_slide` gives."""
    with open_slide(a_slide(tmp_path, 600, 600), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        regions.values[:, :30] = Region.TUMOUR
        cells = cells_at(lattice(0, 0, 300, 300, 20))
        cfg = ScoreConfig(bed=BedConfig(radius_um=100))
        bed = divide(regions, tissue, cfg, cfg.bed).bed()
        score = score_slide(cells, regions, tissue, cfg)
        panels = draw_panels(slide, cells, regions, tissue, SMALL, bed=bed)
    assert score.status == "ok"
    assert panels.cell_rows[Cell.INFLAMMATORY].n_evaluable == score.n_tils
    text = Page(render_report(panels, score, title("real"), NOTES)).text
    assert f"{score.n_tils}" in text
    assert "within 100 µm of tumour" in text
    assert compose(panels, score, title("real"), SMALL).width == SMALL.width_px


def test_cells_below_min_prob_are_in_no_picture_and_no_count(tmp_path: Path):
    with open_slide(a_slide(tmp_path, 600, 600), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        regions.values[:, :30] = Region.TUMOUR
        points = cells_at(lattice(0, 0, 300, 300, 20))
        cells = Cells(points.x_um, points.y_um, points.label, np.where(np.arange(len(points)) % 3, 0.9, 0.4))
        cfg = ScoreConfig(bed=BedConfig(radius_um=100), min_prob=0.5)
        score = score_slide(cells, regions, tissue, cfg)
        bed = divide(regions, tissue, cfg, cfg.bed).bed()
        panels = draw_panels(slide, cells, regions, tissue, SMALL, bed=bed, min_prob=cfg.min_prob)
    assert panels.cell_rows[Cell.INFLAMMATORY].n_evaluable == score.n_tils
    assert sum(panels.cell_rows[Cell.INFLAMMATORY].n_in.values()) == (cells.prob >= 0.5).sum()
    shown = panels.fields[0]
    inside = shown.field.box.contains(cells.x_um, cells.y_um)
    assert shown.n_cells[Cell.INFLAMMATORY] == (inside & (cells.prob >= 0.5)).sum()


def test_the_bed_of_a_lymph_node_is_told_as_it_is(panels: Panels):
    score = a_score(constants={"area_per_til_um2": 28.3, "bed": {"radius_um": 250.0, "inside_only": True}})
    text = Page(render_report(panels, score, title("node"), NOTES)).text
    assert "between the nests of tumour, nothing around them" in text
    assert "within 250" not in text
    assert "not to be scored" not in text


def test_flatten_names_every_leaf():
    nested = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": None}], "f": ""}
    assert list(flatten(nested)) == [("a.b", "1"), ("a.c", "1, 2"), ("d[0].e", "none"), ("f", "none")]


def test_what_was_drawn_and_left_out_is_in_the_definitions(panels: Panels):
    """Evaluable stroma is not all stroma of the bed where some was drawn as benign; a part of size 0 is not told."""
    row = {"role": "excluded", "meaning": "m", "n_tils": 0, "score_without_this_exclusion": 1.0}
    score = a_score(account=({**row, "part": "benign", "mm2": 0.1}, {**row, "part": "crush", "mm2": 0.0}))
    told = {d.name: d.meaning for d in definitions(score)}
    for name in ("Evaluable stroma", "Tumour in bed"):
        assert "without what was drawn as benign or in situ" in told[name]
        assert "crushed" not in told[name]
        assert "drawn" not in {d.name: d.meaning for d in definitions(a_score())}[name]


def test_wide_tables_can_be_moved_on_a_narrow_screen(panels: Panels):
    """A table of many columns would have one letter a line on a telephone, or push the page wider than the screen."""
    row = {"part": "glass", "role": "rest", "meaning": "m", "mm2": 0.5, "n_tils": 3}
    row["score_without_this_exclusion"] = None
    html = render_report(panels, a_score(account=(row,)), title("s"), NOTES)
    tables = re.findall(r'(<div class="wide">)?<table>\s*<thead>(.*?)</thead>', html, re.S)
    assert {bool(wide) for wide, head in tables if head.count("<th") > 3} == {True}
    assert len([head for _, head in tables if head.count("<th") > 3]) == 2
    assert "@media screen and (max-width: 700px)" in html
    assert '<th scope="row">Glass</th>' in html


def test_a_ring_of_a_legend_has_its_colour(panels: Panels):
    """Its border takes the colour of the text; a ring's own ground is not shown."""
    overview = replace(panels.overview, keys=(Key("ring", (200, 0, 150), "Lymphoid aggregate", "1 mm²"),))
    html = render_report(replace(panels, overview=overview), a_score(), title("s"), NOTES)
    assert '<span class="key ring" style="color: rgb(200, 0, 150);' in html


def test_tables_and_legends_can_be_read_by_all(panels: Panels):
    """Each row of numbers has a heading for who cannot see the table; colours of a legend stay in high contrast."""
    row = {"part": "glass", "role": "rest", "meaning": "m", "mm2": 0.5, "n_tils": 3}
    score = a_score(account=(row | {"score_without_this_exclusion": None},))
    html = render_report(panels, score, title("s"), NOTES)
    tables = [t for t in re.findall(r"<table.*?</table>", html, re.DOTALL) if "prov" not in t]
    assert len(tables) >= 4
    for table in tables:
        head, _, body = table.partition("<tbody>")
        assert not re.search(r"<th[^>]*>\s*</th>", head), "a column without a heading"
        assert body.count("<tr>") == len(re.findall(r'<tr>\s*<th scope="row">', body)) > 0
    assert re.search(r"\.key \{[^}]*forced-color-adjust: none", html)
