"""The bed by cores, drawn areas, exclusions and sites."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from beds import GRID, away, line, maps, score_slide, spread, tils, with_nest

from tilscore.cells import Cells
from tilscore.errors import AnnotationError
from tilscore.labels import Area, Region
from tilscore.qupath.roi import read_areas
from tilscore.raster import Raster
from tilscore.score import (
    BedConfig,
    Part,
    Score,
    ScoreConfig,
    score_with_parts,
)
from tilscore.score.cores import find_cores, reading_order
from tilscore.space import BoxUm, Grid

# cores


def test_cores_are_numbered_as_they_are_read() -> None:
    upright = [BoxUm(x, y, x + 1, y + 15) for x, y in ((8, 1), (2, 0), (5, 2))]
    assert reading_order(upright) == [1, 2, 0]
    across = [BoxUm(0, y, 15, y + 1) for y in (6, 0, 3)]
    assert reading_order(across) == [1, 2, 0]


@pytest.mark.parametrize("width_um", [800, 1200, 1600])
def test_each_core_has_its_score(width_um: int) -> None:
    """Two thin cores with the same nests: 30 TILs in one, 90 in the other; a crack of 40 um does not part them."""
    grid = Grid(4.0, 1000, 600)
    regions = Raster(np.full(grid.shape, Region.STROMA, np.uint8), grid)
    tissue = Raster(np.zeros((300, 500), np.uint8), grid.at(8.0))
    w = width_um // 8
    starts = (10, 20 + w + 20)
    rng = np.random.default_rng(0)
    cells = []
    for start, n in zip(starts, (30, 90), strict=True):
        tissue.values[20:280, start : start + w] = Area.TISSUE
        tissue.values[140:145, start : start + w] = Area.GLASS
        for y in range(50, 550, 60):
            regions.values[y : y + 20, 2 * start + w - 10 : 2 * start + w + 10] = Region.TUMOUR
        x0 = 8 * start
        left = rng.uniform(x0 + 4 * w - 240, x0 + 4 * w - 60, n), rng.uniform(500, 1000, n)
        cells.append(tils(*left))
    score = score_slide(Cells.concat(cells), regions, tissue)
    assert (score.status, score.n_cores) == ("ok", 2)
    one, two, rest = score.cores
    assert (one["n_tils"], two["n_tils"], rest["n_tils"]) == (30, 90, 0)
    assert one["box_um"][0] == pytest.approx(8 * starts[0], abs=16)
    assert sum(c["stroma_mm2"] for c in score.cores) == pytest.approx(score.stroma_mm2)
    assert two["til_density_per_mm2"] / one["til_density_per_mm2"] == pytest.approx(3, rel=0.02)
    spread = score.core_spread
    assert spread["sd"] == pytest.approx((two["til_density_per_mm2"] - one["til_density_per_mm2"]) / math.sqrt(2))


def test_pen_is_no_core_and_joins_none() -> None:
    tissue = Raster(np.zeros((300, 400), np.uint8), Grid(8.0, 400, 300))
    tissue.values[20:120, 20:100] = Area.TISSUE
    tissue.values[20:120, 300:380] = Area.TISSUE
    tissue.values[60:70, 100:300] = Area.PEN  # a line from one to the other
    tissue.values[200:280, 100:300] = Area.PEN  # a number written on the glass
    tissue.values[40:50, 40:60] = Area.BLUR
    cores = find_cores(tissue, ScoreConfig().cores)
    assert len(cores) == 2
    assert cores.tissue_mm2 == pytest.approx([0.512, 0.512])


def test_debris_is_no_core() -> None:
    tissue = Raster(np.zeros((200, 250), np.uint8), Grid(8.0, 250, 200))
    tissue.values[10:60, 10:60] = Area.TISSUE
    tissue.values[150:155, 150:155] = Area.FOLD
    assert len(find_cores(tissue, ScoreConfig().cores)) == 1


def test_a_clustered_tiny_core_has_a_wide_interval() -> None:
    """1.0 x 0.8 mm with 0.3 mm2 of tumour, its TILs in three clusters."""
    grid = Grid(4.0, 250, 200)
    regions = Raster(np.full(grid.shape, Region.STROMA, np.uint8), grid)
    regions.values[:, :94] = Region.TUMOUR
    tissue = Raster(np.ones((100, 125), np.uint8), grid.at(8.0))
    rng = np.random.default_rng(0)
    centres = np.array([[500, 200], [600, 600], [550, 420]]).repeat(50, 0) + rng.normal(0, 30, (150, 2))
    score = score_slide(tils(centres[:, 0], centres[:, 1]), regions, tissue)
    assert score.tumour_mm2 == pytest.approx(0.3, rel=0.01)
    assert (score.status, score.reasons) == ("ok", ("wide_interval",))
    assert score.til_density_low < score.til_density_per_mm2 < score.til_density_high


# exclusions


@pytest.mark.parametrize(
    ("area", "kind"),
    [(Area.BLUR, ""), (Area.FOLD, ""), (None, "exclude"), (None, "crush"), (None, "fold")],
)
def test_without_an_exclusion_the_score_is_that_of_the_clean_slide(area: Area | None, kind: str) -> None:
    """The left quarter of the bed is taken out: the account tells exactly what the score was before."""
    clean = score_slide(spread(), *with_nest())
    regions, tissue = with_nest()
    drawn = {}
    if area is not None:
        tissue.values[:, :90] = area
    else:
        drawn[kind] = np.zeros(GRID.shape, bool)
        drawn[kind][:, :180] = True
    score = score_slide(spread(), regions, tissue, drawn=drawn)
    name = area.name.lower() if area is not None else "excluded" if kind == "exclude" else kind
    row = line(score, name)
    assert row["mm2"] == pytest.approx(0.72 * 1.6)
    assert score.til_density_per_mm2 != clean.til_density_per_mm2
    assert row["score_without_this_exclusion"] == pytest.approx(clean.til_density_per_mm2, rel=1e-12)
    assert row["stroma_mm2"] == pytest.approx(clean.stroma_mm2 - score.stroma_mm2)


@pytest.mark.parametrize("drawn", [False, True])
def test_what_the_score_would_be_without_pen_cannot_be_known(drawn: bool) -> None:
    regions, tissue = with_nest()
    under = np.zeros(GRID.shape, bool)
    under[:, :180] = True
    if not drawn:
        tissue.values[:, :90] = Area.PEN
    row = line(score_slide(spread(), regions, tissue, drawn={"pen": under} if drawn else {}), "pen")
    assert row["mm2"] == pytest.approx(0.72 * 1.6)
    assert (row["role"], row["stroma_mm2"], row["score_without_this_exclusion"]) == ("excluded", None, None)


def test_what_is_drawn_as_fold_does_not_uncover_pen_and_blur() -> None:
    regions, tissue = with_nest()
    tissue.values[:, :40], tissue.values[:, 40:60] = Area.PEN, Area.BLUR
    found = score_slide(spread(), regions, tissue).area_account_mm2
    drawn = score_slide(spread(), regions, tissue, drawn={"fold": np.ones(GRID.shape, bool)}).area_account_mm2
    assert {k: drawn[k] for k in ("pen", "blur")} == {k: found[k] for k in ("pen", "blur")}
    assert drawn["pen"] * drawn["blur"] * drawn["fold"] > 0


@pytest.mark.parametrize("region", [Region.NECROSIS, Region.FAT])
def test_without_leaving_out_necrosis_or_fat(region: Region) -> None:
    regions, tissue = with_nest()
    clean = score_slide(spread(), regions, tissue)
    hole = away(1300, 800) < 60
    regions.values[hole] = region
    score = score_slide(spread(), regions, tissue)
    row = line(score, region.name.lower())
    assert row["n_px"] == hole.sum()
    assert row["score_without_this_exclusion"] == pytest.approx(clean.til_density_per_mm2, rel=1e-12)


def test_tumour_that_was_drawn_as_left_out_was_not_missed() -> None:
    """No tumour is left to score around, but it was seen: the reason says so."""
    regions, tissue = with_nest()
    for kind in ("exclude", "crush"):
        score = score_slide(spread(), regions, tissue, drawn={kind: np.ones(GRID.shape, bool)})
        assert (score.status, score.reasons[0]) == ("not_evaluable", "tumour_left_out")
    aside = np.zeros(GRID.shape, bool)
    aside[:, :20] = True
    assert score_slide(spread(), *maps(), drawn={"exclude": aside}).reasons[0] == "no_tumour"


def test_tumour_under_an_exclusion_makes_no_bed_around_it() -> None:
    """A misread gland that a pathologist leaves out is not there: the score is as if it had been read as stroma.

    Under the drawing, within the bed of the nest that is left, the account tells its stroma all the same.
    """
    regions, tissue = maps()
    nest, gland = away(500, 800) <= 100, away(1200, 800) <= 100
    regions.values[nest] = Region.TUMOUR
    without = score_with_parts(spread(), regions, tissue)
    regions.values[gland] = Region.TUMOUR
    drawn = away(1200, 800) <= 480
    parts = score_with_parts(spread(), regions, tissue, drawn={"exclude": drawn}).parts
    score = score_slide(spread(), regions, tissue, drawn={"exclude": drawn})
    assert ((parts.values == Part.STROMA) == (without.parts.stroma() & ~drawn)).all()
    both = without.parts.stroma() & drawn
    row = line(score, "excluded")
    assert both.any()
    assert row["stroma_mm2"] == pytest.approx(both.sum() * GRID.pixel_mm2, rel=1e-12)
    assert row["score_without_this_exclusion"] == pytest.approx(without.score.til_density_per_mm2, rel=1e-12)
    assert sum(r["n_px"] for r in score.account) == GRID.width_px * GRID.height_px
    crushed = score_slide(spread(), regions, tissue, drawn={"crush": gland})
    assert crushed.stroma_mm2 == pytest.approx(score_slide(spread(), regions, tissue).stroma_mm2, rel=1e-12)


def test_the_account_sums_to_tissue_and_slide() -> None:
    rng = np.random.default_rng(5)
    coarse = GRID.at(8.0)
    regions = Raster(rng.integers(0, len(Region), GRID.shape).astype(np.uint8), GRID)
    tissue = Raster(rng.integers(0, len(Area), coarse.shape).astype(np.uint8), coarse)
    drawn = {k: rng.random(GRID.shape) < 0.1 for k in ("exclude", "crush", "benign", "necrosis", "pen", "blur", "tls")}
    cfg = ScoreConfig(edge_um=8, benign_band_um=4, bed=BedConfig(radius_um=40, min_nest_um2=30))
    score = score_slide(spread(), regions, tissue, cfg, drawn=drawn)
    rows = [r for r in score.account if r["role"] != "flagged"]
    assert sum(r["n_px"] for r in rows) == GRID.width_px * GRID.height_px
    assert sum(r["n_tils"] for r in rows) == 600
    tissue_px = sum(r["n_px"] for r in rows if r["part"] not in ("glass", "pen", "blur", "fold"))
    assert score.tissue_mm2 == pytest.approx(tissue_px * 16e-6, rel=1e-12)
    assert {r["part"]: r["mm2"] for r in rows} == score.area_account_mm2


def test_the_rim_is_taken_out_on_request() -> None:
    regions, tissue = with_nest()
    tissue.values[:, 175:] = Area.GLASS
    plain = score_slide(spread(), regions, tissue)
    score = score_slide(spread(), regions, tissue, ScoreConfig(edge_um=48))
    assert line(plain, "edge")["mm2"] == 0
    assert plain.stroma_mm2 > score.stroma_mm2
    row = line(score, "edge")
    assert row["score_without_this_exclusion"] == pytest.approx(plain.til_density_per_mm2, rel=1e-12)


# drawn areas


def test_a_band_around_benign_epithelium_is_left_out() -> None:
    """A benign duct far from the nest in a given bed: the duct and 200 um around it, nothing more."""
    regions, tissue = maps()
    regions.values[away(500, 800) <= 60] = Region.TUMOUR
    drawn = {"benign": away(500, 800) <= 60, "roi": np.ones(GRID.shape, bool)}
    score = score_slide(spread(), regions, tissue, drawn=drawn)
    assert line(score, "benign")["mm2"] == pytest.approx(math.pi * 0.26**2, rel=0.01)
    assert score.tumour_mm2 == 0
    without = line(score, "benign")["score_without_this_exclusion"]
    n = int((regions.sample(spread().x_um, spread().y_um) == Region.STROMA).sum())
    assert without == pytest.approx(n / (3.2 - (regions.values == 1).sum() * 16e-6))


def test_the_band_ends_where_the_invasive_nest_is_nearer() -> None:
    regions, tissue = maps()
    regions.values[:, 200:225] = regions.values[:, 275:300] = Region.TUMOUR
    benign = np.zeros(GRID.shape, bool)
    benign[:, 200:225] = True
    parts = score_with_parts(spread(), regions, tissue, drawn={"benign": benign}).parts
    row = parts.values[200]
    assert (row[150:225] == Part.BENIGN).all()
    assert (row[225:249] == Part.BENIGN).all()
    assert (row[251:275] == Part.STROMA).all(), "halfway, 25 px of 4 um from each"


def evaluable(name: str) -> Score:
    regions, tissue = with_nest()
    drawn: dict[str, np.ndarray] = {}
    specimen = None
    if name == "benign_only":
        drawn["benign"] = away(1000, 800) < 250
    elif name == "necrosis_only":
        regions.values[:] = Region.NECROSIS
    elif name == "drawn necrosis":
        drawn["necrosis"] = np.ones(GRID.shape, bool)
    elif name == "blank":
        tissue.values[:] = Area.GLASS
    elif name == "no_tumour":
        regions.values[:] = Region.STROMA
    elif name == "cytology":
        specimen = "cytology_block"
    elif name == "necrotic field":
        regions.values[:] = Region.NECROSIS
        drawn["roi"] = np.ones(GRID.shape, bool)
    return score_slide(spread(), regions, tissue, drawn=drawn, specimen=specimen)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("benign_only", "benign_only"),
        ("necrosis_only", "necrosis_only"),
        ("drawn necrosis", "necrosis_only"),
        ("necrotic field", "necrosis_only"),
        ("blank", "no_tissue"),
        ("no_tumour", "no_tumour"),
        ("cytology", "cytology_no_stroma"),
    ],
)
def test_what_is_not_evaluable_says_why(name: str, code: str) -> None:
    score = evaluable(name)
    assert (score.status, score.reasons) == ("not_evaluable", (code,))
    assert score.til_density_per_mm2 is score.stil_area_pct is score.infiltrated_area_pct is score.n_tils is None
    assert not score.compat
    assert not score.intervals
    assert all(row["score_without_this_exclusion"] is None for row in score.account)


def test_class_names_say_what_an_area_is_for(tmp_path: Path) -> None:
    def square(x: int, name: str | None) -> dict:
        ring = [[x, 0], [x + 50, 0], [x + 50, 50], [x, 50], [x, 0]]
        given = {} if name is None else {"classification": {"name": name}}
        return {"type": "Feature", "properties": given, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    names = [None, "Tumor", "Region*", "Ignore*", "In situ", "DCIS", "Necrosis", "TLS", "Crush artefact", "Fold"]
    path = tmp_path / "a.geojson"
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": [square(60 * i, n) for i, n in enumerate(names)]})
    )
    areas = read_areas(path, Grid(0.5, 2000, 100))
    counts = {kind: len(polygons) for kind, polygons in areas.items()}
    assert counts == {"roi": 3, "exclude": 1, "benign": 2, "necrosis": 1, "tls": 1, "crush": 1, "fold": 1}
    path.write_text(json.dumps(square(0, "Immune cells")))
    with pytest.raises(AnnotationError, match="Immune cells"):
        read_areas(path, Grid(0.5, 2000, 100))
