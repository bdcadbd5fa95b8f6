"""The density map, evaluable stroma and the choice of fields."""

from __future__ import annotations

import numpy as np
import pytest
from slidemaps import cells_at, lattice, maps

from tilscore.cells import Cells
from tilscore.labels import Area, Cell, Region
from tilscore.overlay.views import FieldConfig, MapConfig, choose_fields, evaluable_stroma, til_density_map
from tilscore.space import Grid


def test_uniform_density_gives_a_flat_map_equal_to_it():
    grid = Grid(4.0, 500, 400)
    stroma = np.ones(grid.shape, bool)
    density, _ = til_density_map(cells_at(lattice(0, 0, 2000, 1600, 25.0)), stroma, grid)
    assert np.isfinite(density).all()
    assert density == pytest.approx(1e6 / 25**2, rel=0.03)


def test_density_is_per_stroma_and_not_per_tissue():
    """Stripes of stroma, 40 % of the area, with TILs inside and outside: only the inside counts."""
    grid = Grid(4.0, 500, 500)
    stroma = np.zeros(grid.shape, bool)
    stroma[:, np.arange(500) % 50 < 20] = True
    density, coarse = til_density_map(cells_at(lattice(0, 0, 2000, 2000, 20.0)), stroma, grid)
    inside = density[20:-20, 20:-20]
    assert np.nanmean(inside) == pytest.approx(1e6 / 20**2, rel=0.03)
    stripes = np.arange(coarse.width_px) % 10 < 4
    assert np.isfinite(density[:, stripes]).all()
    assert np.isnan(density[:, ~stripes]).all()


def test_density_is_undefined_where_there_is_too_little_stroma():
    grid = Grid(4.0, 500, 500)
    stroma = np.zeros(grid.shape, bool)
    stroma[:, :200] = True
    stroma[300:303, 400:403] = True
    density, _ = til_density_map(cells_at(lattice(0, 0, 2000, 2000, 20.0)), stroma, grid, MapConfig())
    assert np.isfinite(density[:, :40]).all()
    assert np.isnan(density[:, 40:]).all()


def test_other_cells_are_not_tils():
    grid = Grid(4.0, 100, 100)
    cells = cells_at(lattice(0, 0, 400, 400, 20), Cell.EPITHELIAL)
    density, _ = til_density_map(cells, np.ones(grid.shape, bool), grid)
    assert not density.any()


def test_density_of_the_smallest_image():
    grid = Grid(4.0, 3, 2)
    cell, stroma = cells_at(np.array([[3.0, 3.0]])), np.ones(grid.shape, bool)
    assert np.isnan(til_density_map(cell, stroma, grid)[0]).all()
    density, _ = til_density_map(cell, stroma, grid, MapConfig(min_stroma_frac=0))
    assert density == pytest.approx(1 / grid.box.area_mm2, rel=1e-3)


def test_evaluable_stroma_needs_stroma_tissue_and_bed():
    regions, tissue = maps(Grid(1.0, 80, 80))
    regions.values[:, :5] = Region.TUMOUR
    tissue.values[:5] = Area.PEN
    bed = np.ones(regions.grid.shape, bool)
    bed[:, 15:] = False
    expected = np.zeros(regions.grid.shape, bool)
    expected[10:, 5:15] = True
    assert np.array_equal(evaluable_stroma(regions, tissue, bed), expected)


def test_fields_find_the_hot_the_cold_and_the_doubtful_place():
    level0 = Grid(1.0, 2000, 1000)
    regions, tissue = maps(level0)
    regions.values[:, 375:] = Region.TUMOUR
    hot = cells_at(lattice(200, 200, 400, 400, 10))
    warm = cells_at(np.array([p for p in lattice(0, 0, 1500, 1000, 50) if p[0] < 1000 or p[1] < 500]))
    doubt = cells_at(lattice(700, 100, 900, 300, 40), prob=0.32)
    in_tumour = cells_at(lattice(1700, 600, 1900, 800, 20))
    cells = Cells.concat([hot, warm, doubt, in_tumour])
    fields = {f.name: f for f in choose_fields(cells, regions, tissue)}
    assert len(fields) == 6
    hottest, coldest = fields["Highest TIL density"], fields["Coldest stroma"]
    assert hottest.box.x0 <= 200 <= 400 <= hottest.box.x1
    assert hottest.box.y0 <= 200 <= 400 <= hottest.box.y1
    assert hottest.til_density_per_mm2 == pytest.approx(hottest.n_tils / 0.0625, rel=0.05)
    assert (coldest.n_tils, coldest.box.x0 > 950, coldest.box.y0 > 450) == (0, True, True)
    assert fields["Most doubtful TILs"].box.x0 <= 710 <= 890 <= fields["Most doubtful TILs"].box.x1
    assert fields["Tumour-rich"].stroma_mm2 == 0
    assert fields["Most inflammatory cells in tumour"].box.x0 > 1600
    boxes = [f.box for f in fields.values()]
    apart = [max(abs(a.x0 - b.x0), abs(a.y0 - b.y0)) >= 250 for i, a in enumerate(boxes) for b in boxes[:i]]
    assert all(apart)
    assert all(level0.box.x0 <= b.x0 and b.x1 <= 2000 and b.y0 >= 0 and b.y1 <= 1000 for b in boxes)


def test_the_typical_field_is_no_colder_than_the_coldest():
    """A small slide whose one cold place is nearest to its median as well: nothing is typical there."""
    level0 = Grid(1.0, 900, 260)
    regions, tissue = maps(level0)
    half = regions.grid.height_px // 2
    regions.values[half:, int(regions.grid.width_px * 0.655) :] = Region.TUMOUR
    parts = [cells_at(lattice(x, 0, x + 300, 260, step)) for x, step in ((0, 20), (300, 60), (600, 52))]
    fields = {f.name: f.til_density_per_mm2 for f in choose_fields(Cells.concat(parts), regions, tissue)}
    assert fields.get("Typical stroma (median density)", np.inf) >= fields["Coldest stroma"]
    assert fields["Highest TIL density"] > fields["Coldest stroma"]


def test_the_field_of_doubtful_tils_holds_some_that_count():
    """Doubtful cells outside the bed say nothing of the score; without a bed they are no TILs."""
    level0 = Grid(1.0, 2000, 600)
    regions, tissue = maps(level0)
    bed = np.zeros(regions.grid.shape, bool)
    bed[:, :200] = True
    many = cells_at(lattice(1600, 200, 1800, 400, 10), prob=0.32)
    few = cells_at(lattice(200, 200, 400, 400, 40), prob=0.32)
    cells = Cells.concat([many, few, cells_at(lattice(600, 200, 790, 400, 20))])
    fields = {f.name: f for f in choose_fields(cells, regions, tissue, bed)}
    assert fields["Most doubtful TILs"].n_tils > 0
    fields = {f.name: f for f in choose_fields(cells, regions, tissue, np.zeros_like(bed))}
    assert fields["Most doubtful inflammatory cells"].box.x0 > 1500
    assert "Most doubtful TILs" not in fields


def test_the_fields_of_tumour_lie_in_the_bed_where_it_holds_tumour():
    """Tumour outside a given area was not scored; where the area holds none, the slide's own is shown."""
    level0 = Grid(1.0, 2000, 600)
    regions, tissue = maps(level0)
    regions.values[:, 100:180] = regions.values[:, 300:] = Region.TUMOUR
    inside = np.zeros(regions.grid.shape, bool)
    inside[:, 20:200] = True
    far = [cells_at(lattice(1300, 100, 1900, 500, 20), label) for label in (Cell.EPITHELIAL, Cell.INFLAMMATORY)]
    cells = Cells.concat([*far, cells_at(lattice(500, 250, 700, 350, 40))])
    fields = {f.name: f.box for f in choose_fields(cells, regions, tissue, inside)}
    assert "Tumour-rich" in fields
    assert all(box.x1 < 1000 for box in fields.values())
    fields = {f.name: f.box for f in choose_fields(cells, regions, tissue, np.zeros_like(inside))}
    assert fields["Tumour-rich"].x0 > 1000


def test_fields_without_cells_stroma_or_tissue():
    level0 = Grid(1.0, 1000, 1000)
    none = Cells.empty()
    assert [f.name for f in choose_fields(none, *maps(level0, Region.FAT))] == ["Tissue"]
    assert choose_fields(none, *maps(level0, area=Area.GLASS)) == ()
    small = choose_fields(none, *maps(Grid(1.0, 100, 60)), cfg=FieldConfig())
    assert [(f.name, f.box.width_um) for f in small] == [("Whole image", 100.0)]
