"""The bed: which pieces of tissue it lies on, and what a site changes."""

from __future__ import annotations

import numpy as np
import pytest
from beds import GRID, line, maps, score_slide, spread, tils, with_nest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.errors import UsageError
from tilscore.labels import Area, Region
from tilscore.masks import distance_px
from tilscore.raster import Raster
from tilscore.score import BedConfig, Score, ScoreConfig, score_with_parts
from tilscore.score.bed import find_nests, find_reach
from tilscore.score.recount import Recount
from tilscore.space import BoxUm, Grid


def two_cores(gap_um: float, *, across: Area = Area.GLASS) -> Score:
    """Two cores side by side, 0.6 mm wide, tumour along the left edge of the first alone."""
    regions, tissue = maps()
    regions.values[:, :50] = Region.TUMOUR
    tissue.values[:, 75 : 75 + round(gap_um / 8)] = across
    return score_slide(spread(), regions, tissue, ScoreConfig(bed=BedConfig(radius_um=1000)))


def test_the_bed_ends_at_glass() -> None:
    """A core without tumour has no bed, however near the next one lies; a crack is none of its ends."""
    apart, cracked = two_cores(120), two_cores(80)
    assert apart.stroma_mm2 == pytest.approx(0.4 * 1.6)
    assert [c["stroma_mm2"] for c in apart.cores] == pytest.approx([0.64, 0, 0])
    assert apart.cores[1]["til_density_per_mm2"] is None
    assert cracked.stroma_mm2 == pytest.approx((1.0 - 0.08) * 1.6, rel=0.01)


@pytest.mark.parametrize("across", [Area.PEN, Area.BLUR, Area.FOLD])
def test_the_bed_crosses_what_may_be_tissue(across: Area) -> None:
    assert two_cores(120, across=across).stroma_mm2 == pytest.approx((1.0 - 0.12) * 1.6, rel=0.01)


def test_each_core_has_the_bed_of_its_own_nests() -> None:
    """A core with a nest at its far end gains nothing from its neighbour's."""
    regions, tissue = maps()
    tissue.values[:, 75:90] = Area.GLASS
    regions.values[:, 100:150] = Region.TUMOUR  # the first core's right end, 400 to 600 um
    alone = score_slide(spread(), regions, tissue).stroma_mm2
    regions.values[:, 450:] = Region.TUMOUR  # the second one's right end, from 1,800 um on
    both = score_slide(spread(), regions, tissue).stroma_mm2
    assert both - alone == pytest.approx(0.25 * 1.6, rel=0.01)


def test_a_field_is_as_large_as_its_picture() -> None:
    """385 pixels of 1.3 um are 125.1 pixels of 4 um: a pixel that is covered by less than half is glass."""
    level0 = Grid(1.3, 385, 385)
    grid = level0.at(4.0)
    regions = Raster(np.full(grid.shape, Region.STROMA, np.uint8), grid)
    tissue = Raster(np.ones(level0.at(8.0).shape, np.uint8), level0.at(8.0))
    made = score_with_parts(Cells.empty(), regions, tissue, given=np.ones(grid.shape, bool), box=level0.box)
    assert grid.shape == (126, 126)
    assert made.score.stroma_mm2 == made.score.tissue_mm2 == pytest.approx(0.5**2)
    assert made.score.stroma_mm2 == pytest.approx(level0.box.area_mm2, rel=0.003)
    assert Grid(4.0, 5, 4).centres_in(BoxUm(0, 0, 18.0, 13.9)).sum() == 5 * 3


def test_the_account_sums_to_the_slide_and_not_to_the_map() -> None:
    """Glass ends where the slide ends; the last pixels of the map reach beyond."""
    level0 = Grid(1.3, 385, 386)
    regions = Raster(np.full(level0.at(4.0).shape, Region.STROMA, np.uint8), level0.at(4.0))
    tissue = Raster(np.zeros(level0.at(8.0).shape, np.uint8), level0.at(8.0))
    tissue.values[20:40, 20:40] = Area.TISSUE
    given = np.ones(regions.grid.shape, bool)
    cells = spread()[regions.grid.box.contains(spread().x_um, spread().y_um)]
    made = score_with_parts(cells, regions, tissue, given=given, box=level0.box)
    assert made.score.status == "ok"
    assert sum(made.score.area_account_mm2.values()) == pytest.approx(level0.box.area_mm2, rel=1e-12)
    assert line(made.score, "glass")["mm2"] == pytest.approx(level0.box.area_mm2 - 0.16**2, rel=1e-12)
    assert Recount(made.score, made.parts.raster, cells).differences() == []
    whole = score_with_parts(Cells.empty(), *maps(grid=Grid(4.0, 10, 10)), box=BoxUm(0, 0, 39, 40))
    assert whole.score.area_account_mm2["glass"] == 0


def test_a_lymph_node_is_scored_between_its_nests_only() -> None:
    """Two bars of tumour 200 um apart: what lies between them counts, what lies outside does not."""
    regions, tissue = maps()
    regions.values[:, 200:225] = regions.values[:, 275:300] = Region.TUMOUR
    breast = score_slide(spread(), regions, tissue, site="breast")
    node = score_slide(spread(), regions, tissue, site="lymph_node")
    assert node.stroma_mm2 == pytest.approx(0.2 * 1.6, rel=0.01)
    assert breast.stroma_mm2 == pytest.approx(0.7 * 1.6, rel=0.01)
    assert "lymph_node" in node.reasons
    assert (breast.site, node.site) == ("breast", "lymph_node")
    assert not {"site_unknown"} & {*breast.notes, *breast.reasons}
    assert "site_unknown" in score_slide(spread(), regions, tissue).notes


def test_a_field_of_a_lymph_node_is_scored_between_its_nests_and_a_drawn_area_as_drawn() -> None:
    regions, tissue = maps()
    regions.values[:, 200:225] = regions.values[:, 275:300] = Region.TUMOUR
    everything = np.ones(GRID.shape, bool)
    right = everything.copy()
    right[:, :250] = False
    field = score_slide(spread(), regions, tissue, site="lymph_node", given=everything)
    assert field == score_slide(spread(), regions, tissue, site="lymph_node")
    half = score_slide(spread(), regions, tissue, site="lymph_node", given=right)
    assert half.stroma_mm2 == pytest.approx(0.1 * 1.6, rel=0.01)
    drawn = score_slide(spread(), regions, tissue, site="lymph_node", given=everything, drawn={"roi": right})
    assert drawn.stroma_mm2 == pytest.approx(0.9 * 1.6)
    assert drawn.constants["bed"] == "given"


def test_a_compact_deposit_in_a_node_has_no_stroma() -> None:
    score = score_slide(spread(), *with_nest(), site="lymph_node")
    assert score.status == "not_evaluable"
    assert score.reasons[0] in ("no_stroma", "stroma_too_small")


def test_organs_carry_their_warning() -> None:
    assert "site_liver" in score_slide(spread(), *with_nest(), site="liver").reasons
    with pytest.raises(UsageError, match="lymph_node"):
        score_slide(spread(), *with_nest(), site="lymphnode")


def test_files_of_tumour_cells_make_a_bed_and_scattered_specks_do_not() -> None:
    """Strands of 12 x 200 um, as in lobular carcinoma: each below the size of a nest, all together not."""
    for step, status in ((6, "ok"), (30, "not_evaluable")):
        regions, tissue = maps()
        for y in range(20, 300, step):
            regions.values[y : y + 3, 200:250] = Region.TUMOUR
        score = score_slide(Cells.empty(), regions, tissue)
        assert score.status == status, f"every {step * 4} um"


def reach_of(nests: NDArray[np.bool_], cfg: BedConfig | None = None) -> NDArray[np.bool_]:
    """What the bed of these nests reaches where all is tissue, at 4 um."""
    grid = Grid(4.0, nests.shape[1], nests.shape[0])
    return find_reach(nests, np.zeros_like(nests), grid, cfg or BedConfig())


@pytest.mark.parametrize(("side_px", "reach_um"), [(25, 83.33), (30, 156.67), (40, 250.0), (60, 250.0)])
def test_a_lonely_nest_reaches_as_far_as_it_is_large(side_px: int, reach_um: float) -> None:
    """A square of 10,000 to 57,600 um2: the area of a square rounded by its reach."""
    nests = np.zeros((250, 250), bool)
    nests[100 : 100 + side_px, 100 : 100 + side_px] = True
    side = 4 * side_px
    expected = side**2 + 4 * side * reach_um + np.pi * reach_um**2
    assert reach_of(nests).sum() * 16 == pytest.approx(expected, rel=0.05)


@given(st.integers(300, 1400), st.floats(1.0, 1.05))
def test_a_nest_that_is_seen_a_little_larger_moves_the_bed_a_little(n_px: int, more: float) -> None:
    """Around the size from which it is trusted too: 0.2 mm2 came and went there, the whole disc of the radius."""
    y, x = np.mgrid[:180, :180]
    order = np.argsort(np.hypot(x - 90, y - 90), axis=None, kind="stable")
    areas = []
    for n in (n_px, round(n_px * more)):
        nests = np.zeros(180 * 180, bool)
        nests[order[:n]] = True
        nests = find_nests(nests.reshape(180, 180), 4.0, BedConfig())
        areas.append(reach_of(nests).sum() * 16 / 1e6)
    assert 0 <= areas[1] - areas[0] < 0.04


def test_small_nests_together_reach_as_far_as_a_large_one() -> None:
    """Nine of 5,184 um2, 100 um from each other, as of a tumour that grows in small groups."""
    nests = np.zeros((320, 320), bool)
    for row in (100, 143, 186):
        for column in (100, 143, 186):
            nests[row : row + 18, column : column + 18] = True
    np.testing.assert_array_equal(reach_of(nests), distance_px(nests) <= 250 / 4)
    one = np.zeros_like(nests)
    one[143:161, 143:161] = True
    assert reach_of(one).sum() < 1.2 * one.sum()
    np.testing.assert_array_equal(reach_of(one, BedConfig(full_reach_um2=0)), distance_px(one) <= 250 / 4)


def test_a_speck_in_a_node_stays_in_its_bed() -> None:
    """The band that is taken back is wider than the one that it has."""
    nests = np.zeros((200, 200), bool)
    nests[90:120, 90:120] = True
    np.testing.assert_array_equal(reach_of(nests, BedConfig(inside_only=True)), nests)


def test_a_scar_between_nests_belongs_to_the_bed_and_a_large_void_does_not() -> None:
    """A ring of tumour leaves a disc that is farther than the bed's radius from it."""
    for inner_um, share in ((450, 1.0), (550, 250 / 550)):
        grid = Grid(4.0, 600, 600)
        regions, tissue = maps(grid=grid)
        y, x = np.mgrid[:600, :600]
        away = np.hypot(x + 0.5 - 300, y + 0.5 - 300) * 4
        regions.values[(away > inner_um) & (away < inner_um + 100)] = Region.TUMOUR
        stroma_mm2 = score_slide(Cells.empty(), regions, tissue).stroma_mm2
        outside = np.pi * ((inner_um + 350) ** 2 - (inner_um + 100) ** 2)
        inside = np.pi * (inner_um**2 - (0 if share == 1 else (inner_um - 250) ** 2))
        assert stroma_mm2 * 1e6 == pytest.approx(outside + inside, rel=0.01)


@pytest.mark.parametrize("area", [Area.GLASS, Area.PEN, Area.BLUR, Area.FOLD])
def test_what_is_no_sound_tissue_is_no_bed(area: Area) -> None:
    """Beside a nest, the left half of the slide is unfit: its stroma and its TILs do not count."""
    regions, tissue = with_nest(200)
    whole = score_slide(tils([700, 1300], [800, 800]), regions, tissue)
    tissue.values[:, :125] = area
    half = score_slide(tils([700, 1300], [800, 800]), regions, tissue)
    assert (whole.n_tils, half.n_tils) == (2, 1)
    assert half.stroma_mm2 == pytest.approx(whole.stroma_mm2 / 2, rel=0.01)
    assert half.tumour_mm2 == pytest.approx(whole.tumour_mm2 / 2, rel=0.01)
    assert half.area_account_mm2[area.name.lower()] == pytest.approx(1.6)
