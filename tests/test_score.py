"""The score: closed-form slides, laws, and every way of having none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from beds import GRID, maps, score_slide, tils, with_nest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.cells import Cells
from tilscore.errors import DataError
from tilscore.labels import Area, Cell, Region
from tilscore.raster import Raster
from tilscore.score import REASONS, Score, ScoreConfig, read_score, write_score
from tilscore.score.bed import BedConfig
from tilscore.space import Grid


def test_a_nest_and_its_ring() -> None:
    """Bed = the disc of nest radius + bed radius; density and area are those of the ring, whatever lies outside."""
    regions, tissue = with_nest(200)
    inside = tils([1000, 1000, 1350], [800, 1150, 800])
    outside = tils([1500, 100], [800, 100])
    wrong = tils([1000], [1180], Cell.STROMAL)
    score = score_slide(Cells.concat([inside, outside, wrong]), regions, tissue)
    ring = np.pi * (0.45**2 - 0.2**2)
    assert score.status == "ok"
    assert score.stroma_mm2 == pytest.approx(ring, rel=0.01)
    assert score.tumour_mm2 == pytest.approx(np.pi * 0.2**2, rel=0.01)
    assert score.n_tils == 2
    assert score.til_density_per_mm2 == pytest.approx(2 / score.stroma_mm2)
    assert score.itil_density_per_mm2 == pytest.approx(1 / score.tumour_mm2)
    assert score.stil_area_pct == pytest.approx(100 * 2 * 28.3e-6 / score.stroma_mm2)
    assert score.tissue_mm2 == pytest.approx(2 * 1.6)


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_the_account_sums_to_the_slide(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid(4.0, int(rng.integers(1, 90)), int(rng.integers(1, 90)))
    coarse = grid.at(8.0)
    regions = Raster(rng.integers(0, len(Region), grid.shape).astype(np.uint8), grid)
    tissue = Raster(rng.integers(0, len(Area), coarse.shape).astype(np.uint8), coarse)
    given = rng.random(grid.shape) < 0.5 if seed % 2 else None
    cfg = ScoreConfig(bed=BedConfig(radius_um=40, min_nest_um2=30))
    account = score_slide(Cells.empty(), regions, tissue, cfg, given=given).area_account_mm2
    n_px = {k: round(v / grid.pixel_mm2) for k, v in account.items()}
    assert sum(n_px.values()) == grid.width_px * grid.height_px
    for k, n in n_px.items():
        assert account[k] == n * grid.pixel_mm2


@pytest.mark.parametrize(("n_px", "status"), [(1, "ok"), (0, "not_evaluable")])
def test_no_least_area_is_asked_for(n_px: int, status: str) -> None:
    """A pixel of stroma is a score then, and none is none; tumour has to be there."""
    cfg = ScoreConfig(min_stroma_mm2=0, min_tumour_mm2=0)
    regions, tissue = maps(region=Region.TUMOUR)
    regions.values[100, 100 : 100 + n_px] = Region.STROMA
    score = score_slide(tils([402.0], [402.0]), regions, tissue, cfg)
    assert score.status == status
    assert [core["til_density_per_mm2"] for core in score.cores] == ([1 / 16e-6, None] if n_px else [])
    assert score_slide(Cells.empty(), *maps(), cfg).reasons == ("no_tumour",)


@settings(max_examples=8)
@given(shift_x=st.integers(0, 40), shift_y=st.integers(0, 40), n=st.integers(0, 30))
def test_moving_everything_changes_nothing(shift_x: int, shift_y: int, n: int) -> None:
    rng = np.random.default_rng(n)
    block = rng.choice([Region.STROMA, Region.TUMOUR], (60, 60), p=[0.6, 0.4]).astype(np.uint8)
    block = block.repeat(4, 0).repeat(4, 1)
    xy = rng.uniform(0, 960, (2, n))
    scores = []
    for dx, dy in ((0, 0), (2 * shift_x, 2 * shift_y)):
        regions, tissue = maps(Region.OTHER, Grid(4.0, 400, 400))
        tissue.values[:] = Area.GLASS
        regions.values[dy : dy + 240, dx : dx + 240] = block
        tissue.values[dy // 2 : dy // 2 + 120, dx // 2 : dx // 2 + 120] = Area.TISSUE
        cells = tils(list(xy[0] + 4 * dx), list(xy[1] + 4 * dy))
        scores.append(score_slide(cells, regions, tissue))
    a, b = scores
    assert (a.n_tils, a.stroma_mm2, a.til_density_per_mm2) == (b.n_tils, b.stroma_mm2, b.til_density_per_mm2)


@settings(max_examples=8)
@given(x=st.floats(1010, 1240), y=st.floats(810, 1040))
def test_one_more_til_is_one_more(x: float, y: float) -> None:
    regions, tissue = with_nest(100)
    base = tils([1300.0], [800.0])
    one, two = (score_slide(c, regions, tissue) for c in (base, Cells.concat([base, tils([x], [y])])))
    in_nest = regions.sample([x], [y])[0] == Region.TUMOUR
    assert two.n_tils - one.n_tils == (0 if in_nest else 1)


@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_the_same_slide_twice_has_the_same_density(seed: int) -> None:
    """Two copies beside each other, with glass between that no bed crosses."""
    rng = np.random.default_rng(seed)
    one = np.full((100, 200), Region.OTHER, np.uint8)
    one[:, 70:130] = rng.choice([Region.STROMA, Region.TUMOUR], (10, 6)).repeat(10, 0).repeat(10, 1)
    one[40:60, 90:110], one[80:, 90:110] = Region.TUMOUR, Region.STROMA
    n = int(rng.integers(1, 40))
    x, y = rng.uniform(280, 520, n), rng.uniform(0, 400, n)
    scores = []
    for copies in (1, 2):
        grid = Grid(4.0, 200 * copies, 100)
        regions = Raster(np.tile(one, copies), grid)
        tissue = Raster((regions.values != Region.OTHER).astype(np.uint8), grid)
        xs = np.concatenate([x + 800 * k for k in range(copies)])
        scores.append(score_slide(tils(list(xs), list(np.tile(y, copies))), regions, tissue))
    a, b = scores
    assert a.status == "ok"
    assert (b.n_tils, b.stroma_mm2) == (2 * (a.n_tils or 0), pytest.approx(2 * a.stroma_mm2))
    assert b.til_density_per_mm2 == pytest.approx(a.til_density_per_mm2)


def test_cells_below_the_asked_probability_do_not_count() -> None:
    regions, tissue = with_nest(200)
    cells = Cells(np.array([1350.0, 1360, 1370]), np.full(3, 800.0), np.zeros(3), np.array([0.29, 0.3, 0.9]))
    n = [score_slide(cells, regions, tissue, ScoreConfig(min_prob=p)).n_tils for p in (0.0, 0.295, 0.95)]
    assert n == [3, 2, 0]


def test_maps_and_cells_that_are_none_are_refused() -> None:
    for which in (0, 1):
        both = with_nest(200)
        both[which].values[3, 3] = 255
        with pytest.raises(DataError, match="no class"):
            score_slide(Cells.empty(), *both)
    with pytest.raises(DataError, match="position"):
        score_slide(tils([float("nan")], [1.0]), *with_nest(200))


def test_cells_and_maps_of_another_frame_are_refused() -> None:
    """Positions in pixels, or maps at another resolution than they are said to be, would be another score."""
    regions, tissue = (
        Raster(np.full((50, 60), Region.STROMA, np.uint8), Grid(4.0, 60, 50)),
        Raster(np.ones((25, 30), np.uint8), Grid(8.0, 30, 25)),
    )
    at = np.array([10.0, 239.0], np.float32)
    cells = Cells(at, np.minimum(at, 199), np.zeros(2), np.ones(2))
    given = np.ones(regions.grid.shape, bool)
    assert score_slide(cells, regions, tissue, given=given).n_tils == 2
    with pytest.raises(DataError, match=r"outside the region map \(found 1 of 2\); give positions in microns"):
        score_slide(Cells(2 * at, cells.y_um, cells.label, cells.prob), regions, tissue, given=given)
    with pytest.raises(DataError, match=r"not of one slide \(found 240 um and 120 um\)"):
        score_slide(cells, regions, Raster(tissue.values, Grid(4.0, 30, 25)), given=given)


def test_every_flag_of_a_slide_has_words() -> None:
    known = {"low_resolution", "upsampled", "mpp_differs_from_file", "mpp_against_objective"}
    assert known <= set(REASONS)


def test_isolated_tils_are_all_counted() -> None:
    regions, tissue = with_nest(300)
    x, y = (g.ravel().astype(float) for g in np.meshgrid(np.arange(602, 1400, 150), np.arange(402, 1200, 150)))
    score = score_slide(tils(list(x), list(y)), regions, tissue)
    away = np.hypot(x - 1000, y - 800)
    assert score.n_tils == int(((away > 300) & (away < 549)).sum()) > 10


def test_a_thin_core_has_a_score() -> None:
    """1.0 x 0.8 mm with 0.3 mm2 of tumour."""
    grid = Grid(4.0, 250, 200)
    regions, tissue = with_nest(np.sqrt(0.3 / np.pi) * 1000, grid)
    score = score_slide(tils([50.0], [50.0]), regions, tissue)
    assert score.status == "ok"
    assert 0.45 < score.stroma_mm2 < 0.5, "all of the core but its far corners"
    assert score.til_density_low is not None
    assert score.til_density_low <= (score.til_density_per_mm2 or 0) <= (score.til_density_high or 0)


def test_the_given_area_is_the_bed() -> None:
    regions, tissue = maps()
    given = np.zeros(GRID.shape, bool)
    given[:, :250] = True
    score = score_slide(tils([100, 1500], [100, 100]), regions, tissue, given=given)
    assert (score.status, score.n_tils) == ("ok", 1)
    assert score.stroma_mm2 == pytest.approx(1.6)


def case(name: str) -> Score:
    regions, tissue = maps()
    given = None
    if name == "no_tissue":
        tissue.values[:] = Area.GLASS
    if name == "no_stroma":
        regions.values[:] = Region.TUMOUR
    if name == "stroma_too_small":
        regions.values[:] = Region.TUMOUR
        regions.values[100:130, 100:130] = Region.STROMA
    if name == "roi_empty":
        tissue.values[:, :100] = Area.PEN
        given = np.zeros(GRID.shape, bool)
        given[:, :150] = True
    if name == "speck":
        regions.values[100:110, 100:110] = Region.TUMOUR
    return score_slide(tils([1000.0], [800.0]), regions, tissue, given=given)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("no_tissue", "no_tissue"),
        ("no_tumour", "no_tumour"),
        ("speck", "no_tumour"),
        ("no_stroma", "no_stroma"),
        ("stroma_too_small", "stroma_too_small"),
        ("roi_empty", "roi_empty"),
    ],
)
def test_what_cannot_be_scored_has_a_reason_and_no_number(name: str, code: str) -> None:
    score = case(name)
    assert (score.status, score.reasons) == ("not_evaluable", (code,))
    numbers = (score.til_density_per_mm2, score.stil_area_pct, score.n_tils, score.itil_density_per_mm2)
    assert numbers == (None, None, None, None)


def test_little_stroma_is_flagged() -> None:
    regions, tissue = maps(region=Region.TUMOUR)
    regions.values[:75, :75] = Region.STROMA
    score = score_slide(Cells.empty(), regions, tissue, flags=("low_resolution",))
    assert (score.status, score.n_tils) == ("ok", 0)
    assert score.reasons == ("low_resolution", "little_stroma")
    assert score.til_density_low == 0
    assert score.til_density_high == pytest.approx(3.689 / score.stroma_mm2, rel=1e-3), "exact Poisson limit"


def test_a_bed_around_little_tumour_is_flagged_unless_it_was_given() -> None:
    """Nests of 0.017 and 0.023 mm2, on either side of the limit."""
    few, more = (with_nest(radius) for radius in (74, 86))
    assert score_slide(Cells.empty(), *few).reasons == ("little_tumour",)
    assert score_slide(Cells.empty(), *more).reasons == ()
    assert score_slide(Cells.empty(), *few, given=np.ones(GRID.shape, bool)).reasons == ()


def test_a_given_area_without_tumour_is_scored_and_flagged() -> None:
    everything = np.ones(GRID.shape, bool)
    score = score_slide(Cells.empty(), *maps(), given=everything)
    assert (score.status, score.reasons) == ("ok", ("no_tumour_in_area",))
    out = score_slide(Cells.empty(), *maps(), given=everything, drawn={"exclude": everything})
    assert (out.status, out.reasons) == ("not_evaluable", ("roi_left_out",))


@pytest.mark.parametrize("kind", ["exclude", "benign"])
def test_a_given_area_on_glass_is_empty_whatever_was_drawn_elsewhere(kind: str) -> None:
    regions, tissue = with_nest(200)
    tissue.values[:, :100] = Area.GLASS
    roi, elsewhere = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    roi[:, :150], elsewhere[:, 300:] = True, True
    score = score_slide(Cells.empty(), regions, tissue, drawn={"roi": roi, kind: elsewhere})
    assert (score.status, score.reasons) == ("not_evaluable", ("roi_empty",))


def test_json_there_and_back(tmp_path: Path) -> None:
    score = case("no_tumour")
    write_score(tmp_path / "score.json", score, "a", ScoreConfig())
    assert read_score(tmp_path / "score.json") == score
    assert json.loads((tmp_path / "score.json").read_text())["til_density_per_mm2"] is None
    (tmp_path / "score.json").write_text("[]")
    with pytest.raises(DataError, match="is not a score"):
        read_score(tmp_path / "score.json")


def test_words_hold_with_any_settings() -> None:
    """A limit that was set differently is not told as the default one."""
    cfg = ScoreConfig(little_stroma_mm2=10.0, little_tumour_mm2=10.0)
    reasons = score_slide(Cells.empty(), *with_nest(200), cfg).reasons
    assert reasons == ("little_tumour", "little_stroma")
    assert not any("0." in REASONS[code] for code in (*reasons, "no_tumour_in_area"))
    assert not any("trained" in REASONS[code] for code in ("low_resolution", "upsampled")), "coarse views are learned"
