"""The HTML report: complete, self-contained, and harmless whatever the names are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pages import Page
from test_overlay import NO_SCORE, SMALL, AScore, a_slide, cells_at, lattice, maps

from tilscore.bed import find_bed
from tilscore.cells import Cells
from tilscore.labels import Area, Cell, Region
from tilscore.overlay import Title, compose
from tilscore.panels import Panels, draw_panels
from tilscore.report import definitions, flatten, render_report, write_report
from tilscore.score import REASONS, BedConfig, ScoreConfig, score_slide
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
    calm = Page(render_report(panels, AScore(), title("slide"), {**NOTES, "k": {"k": "v"}}))
    notes = {**NOTES, "k": {HOSTILE: HOSTILE}}
    score = AScore(reasons=(HOSTILE,))
    wild = Page(render_report(panels, score, Title(HOSTILE, HOSTILE, 0.5, HOSTILE), notes))
    added = [t for t in wild.tags if t not in ("ul", "li", "section")]
    assert added == [t for t in calm.tags if t not in ("ul", "li", "section")]
    assert not [name for name, _ in wild.attributes if name.startswith("on")]
    assert "script" not in wild.tags
    assert HOSTILE in wild.text


def test_nothing_is_fetched(panels: Panels):
    html = render_report(panels, AScore(), title("slide"), NOTES)
    page = Page(html)
    sources = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert len(sources) >= 8
    assert all(re.match(r"data:image/(jpeg|png);base64,[A-Za-z0-9+/=]+$", value) for value in sources)
    rest = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", rest)
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes


def test_the_report_holds_what_was_found(panels: Panels):
    text = Page(render_report(panels, AScore(), title("slide 7"), NOTES)).text
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
    for definition in definitions(AScore()):
        assert definition.meaning in text


def test_every_overlay_can_be_switched_off(panels: Panels):
    page = Page(render_report(panels, AScore(), title("s"), NOTES))
    ids = [value for name, value in page.attributes if name == "id"]
    assert ids == [value for name, value in page.attributes if name == "for"]
    assert len(ids) == len(set(ids)) == 3 + len(panels.fields)


def test_a_slide_without_score_shows_no_number(panels: Panels):
    score = replace(AScore(), status="not_evaluable", reasons=("stroma_too_small",))
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
        bed = find_bed(regions, tissue, cfg.bed)
        score = score_slide(cells, regions, tissue, cfg)
        panels = draw_panels(slide, cells, regions, tissue, SMALL, bed=bed)
    assert score.status == "ok"
    assert panels.cell_rows[Cell.INFLAMMATORY].n_evaluable == score.n_tils
    text = Page(render_report(panels, score, title("real"), NOTES)).text
    assert f"{score.n_tils}" in text
    assert "within 100 µm of tumour" in text
    assert compose(panels, score, title("real"), SMALL).width == SMALL.width_px


def test_flatten_names_every_leaf():
    nested = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": None}], "f": ""}
    assert list(flatten(nested)) == [("a.b", "1"), ("a.c", "1, 2"), ("d[0].e", "none"), ("f", "none")]
