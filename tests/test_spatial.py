"""Border, clusters, envelope, and the file they go to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilscore.cells import Cells
from tilscore.labels import Cell, Region
from tilscore.raster import Raster
from tilscore.space import Grid
from tilscore.spatial import SpatialConfig, spatial_statistics, write_spatial
from tilscore.spatial.border import BorderConfig, border_profile, signed_distance
from tilscore.spatial.clusters import dbscan
from tilscore.spatial.envelope import global_envelope
from tilscore.spatial.processes import poisson, thomas
from tilscore.spatial.squares import Squares


def test_bands_of_a_straight_border() -> None:
    """Tumour left of x = 400 um: areas and counts of the bands are known exactly."""
    grid = Grid(4.0, 200, 100)
    tumour = np.zeros(grid.shape, bool)
    tumour[:, :100] = True
    away = signed_distance(tumour, 4.0)
    assert away[50, 98:102] == pytest.approx([-6, -2, 2, 6])
    points = np.array([[390.0, 40], [430, 200], [440, 300], [480, 5]])
    cfg = BorderConfig(edges_um=(-200.0, 0.0, 50.0, 100.0))
    found = border_profile(points, tumour, np.ones(grid.shape, bool), grid, cfg)
    assert [b["n"] for b in found] == [1, 2, 1]
    assert [b["area_mm2"] for b in found] == pytest.approx([0.08, 0.4 * 0.048, 0.4 * 0.052])
    assert all(b["low"] <= b["density_per_mm2"] <= b["high"] for b in found)
    assert border_profile(points, ~np.ones_like(tumour), np.ones_like(tumour), grid, cfg) == []


def test_tumour_around_the_window_has_a_border_too() -> None:
    """The profile of a window is that of the whole, restricted to it; the tumour may lie just outside."""
    grid = Grid(4.0, 200, 100)
    tumour = np.zeros(grid.shape, bool)
    tumour[:, :100] = True
    tumour[:, 60:80] = False  # a gap, so that the nearest border of the window at 85 to 95 lies on either side
    points = np.array([[390.0, 40], [410, 44], [470, 44]])
    cfg = BorderConfig(edges_um=(-200.0, 0.0, 50.0, 100.0))
    away = signed_distance(tumour, grid.mpp)
    for cols in (slice(100, 120), slice(85, 95), slice(85, 120)):
        window = np.zeros(grid.shape, bool)
        window[10:40, cols] = True
        found = border_profile(points, tumour, window, grid, cfg)
        bands = [window & (away >= b["from_um"]) & (away < b["to_um"]) for b in found]
        assert len(bands) == 3
        assert [b["area_mm2"] for b in found] == pytest.approx([m.sum() * 16e-6 for m in bands])
        col, row = grid.index(points).T
        assert [b["n"] for b in found] == [m[row, col].sum() for m in bands]
    far = np.zeros(grid.shape, bool)
    far[10:40, 130:150] = True  # 120 um from the tumour
    assert border_profile(points, tumour, far, grid, cfg) == []


def test_clusters_are_those_of_scikit_learn() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    rng = np.random.default_rng(3)
    points = np.concatenate(
        [thomas(rng, 500, 1500, 1500, parents_per_mm2=10, sigma_um=15), poisson(rng, 200, 1500, 1500)]
    )
    found = dbscan(points, eps_um=20, min_points=6)
    theirs = cluster.DBSCAN(eps=20, min_samples=6).fit(points)
    core = theirs.core_sample_indices_
    assert ((found.label == -1) == (theirs.labels_ == -1)).all()
    assert len(found.sizes) == theirs.labels_.max() + 1 > 5
    assert len(set(zip(found.label[core], theirs.labels_[core], strict=True))) == len(found.sizes)
    assert found.sizes.sum() == (found.label >= 0).sum()
    assert len(dbscan(points[:0], eps_um=20, min_points=6).sizes) == 0


def test_the_envelope_test_has_its_size() -> None:
    """Curves with structure (random walks of cubed steps): rejected in 5 % of 600, within 3 standard errors. The
    pointwise envelope rejects far more often, so this can fail."""
    rng = np.random.default_rng(4)
    curves = rng.normal(size=(600, 40, 12)).cumsum(2) ** 3
    got = [global_envelope(c[0], c[1:]) for c in curves]
    assert np.mean([g.outside for g in got]) == pytest.approx(0.05, abs=0.027)
    pointwise = [((c[0] > c[1:].max(0)) | (c[0] < c[1:].min(0))).any() for c in curves]
    assert np.mean(pointwise) > 0.1
    for c, g in zip(curves, got, strict=True):
        assert g.outside == bool(((c[0] < g.low) | (c[0] > g.high)).any())


def test_tied_curves_stay_in_the_envelope_together() -> None:
    """Of 20 values two are largest and two smallest: each is one of the four most extreme, so p is 4 / 20 for it. At a
    level of 5 % none of them is rejected, and the envelope holds them all."""
    values = np.array([9.0, 9, 0, 0, *np.linspace(3, 6, 16)])[:, None]
    got = global_envelope(values[0], values[1:])
    assert (got.p, got.outside) == (0.2, False)
    assert (got.low[0], got.high[0]) == (0, 9)
    got = global_envelope(values[0], values[1:], level=0.2)
    assert got.outside
    assert (got.low[0], got.high[0]) == (3, 6)


def test_an_envelope_needs_enough_curves() -> None:
    with pytest.raises(ValueError, match="too few"):
        global_envelope(np.zeros(3), np.zeros((10, 3)))
    with pytest.raises(ValueError, match="unequal"):
        global_envelope(np.zeros(3), np.zeros((50, 4)))


def scene(n_tils: float = 300, shift_px: int = 0) -> tuple[Cells, Raster, np.ndarray]:
    """Stripes of tumour and stroma, 1.2 x 1.2 mm; what lies before them goes on as they begin."""
    rng = np.random.default_rng(7)
    grid = Grid(4.0, 300 + shift_px, 300 + shift_px)
    bed = np.zeros(grid.shape, bool)
    bed[shift_px:, shift_px:] = True
    stripes = np.where(np.arange(300) // 50 % 2, Region.TUMOUR, Region.STROMA).astype(np.uint8)
    values = np.broadcast_to(np.pad(stripes, (shift_px, 0), mode="edge"), grid.shape)
    tils = thomas(rng, n_tils, 1200, 1200, parents_per_mm2=15, sigma_um=40) if n_tils else np.zeros((0, 2))
    tumour = poisson(rng, 1500, 1200, 1200)
    x, y = np.concatenate([tils, tumour]).T + shift_px * grid.mpp
    label = np.repeat([Cell.INFLAMMATORY, Cell.EPITHELIAL], [len(tils), len(tumour)])
    return Cells(x, y, label, np.ones(len(x))), Raster(values, grid), bed


def test_the_file(tmp_path: Path) -> None:
    cells, regions, bed = scene()
    made = spatial_statistics(cells, regions, bed)
    write_spatial(tmp_path / "spatial.json", "a", made)
    read = json.loads((tmp_path / "spatial.json").read_text())
    assert read["slide_id"] == "a"
    assert read["window_mm2"] == pytest.approx(1.44)
    assert read["n_tils"] == (cells.label == Cell.INFLAMMATORY).sum()
    for entry in read["statistics"].values():
        assert entry["status"] == "ok"
        assert entry["reference"]
        assert entry["units"]
    assert max(read["statistics"]["til_to_til"]["g"]) > 1.5
    assert 0 < read["statistics"]["mixing"]["morisita_horn"][0]["value"] < 1


def test_few_cells_have_a_reason_and_no_number() -> None:
    for n_tils, keep in ((0, slice(None)), (300, None)):
        cells, regions, bed = scene(n_tils)
        cells = cells.of(Cell.INFLAMMATORY) if keep is None else cells
        made = spatial_statistics(cells, regions, bed)["statistics"]
        silent = {k: v["reason"] for k, v in made.items() if v["status"] == "none"}
        assert set(silent) == ({"tumour_to_til", "nearest", "mixing"} if n_tils else set(made))
        assert all("few" in reason for reason in silent.values())
    empty = spatial_statistics(cells, regions, np.zeros_like(bed))
    assert empty["window_mm2"] == 0
    assert {v["status"] for v in empty["statistics"].values()} == {"none"}


def test_distances_beyond_the_window_are_null(tmp_path: Path) -> None:
    cells, regions, bed = scene()
    small = np.zeros_like(bed)
    small[:35, :35] = True
    scale = np.random.default_rng(3).uniform(0, 35 * regions.grid.mpp, (2, len(cells)))
    made = spatial_statistics(Cells(*scale, cells.label, np.ones(len(cells))), regions, small)
    write_spatial(tmp_path / "spatial.json", "a", made)
    for name in ("til_to_til", "tumour_to_til"):
        entry = json.loads((tmp_path / "spatial.json").read_text())["statistics"][name]
        side = 35 * regions.grid.mpp
        assert entry["g"][0] > 0
        assert all(v is None for r, v in zip(entry["r_um"], entry["g"], strict=True) if r > 1.5 * side)
        assert entry["k_um2"][-1] is None
        assert entry["l_um"][-1] is None
        assert 0 not in entry["g"]


def test_moving_everything_changes_nothing() -> None:
    """By a multiple of all squares, as these lie from the slide's origin on; positions are float32."""
    cfg = SpatialConfig(mixing_um=(100.0, 200.0))
    a, b = (spatial_statistics(*scene(shift_px=s), cfg)["statistics"] for s in (0, 250))
    for made in (a, b):
        made["hotspots"].pop("max_at_um", None)
    one, other = list(numbers(a)), list(numbers(b))
    assert len(one) > 300
    assert other == pytest.approx(one, rel=1e-3, abs=1e-3)


def numbers(value: Any) -> Iterator[float]:
    """All numbers of nested values, in order."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, bool | str) or value is None:
        return
    if isinstance(value, Iterable):
        for v in value:
            yield from numbers(v)
    else:
        yield float(value)


def test_squares_sum_to_the_window() -> None:
    cells, regions, bed = scene()
    squares = Squares.of(bed, regions.grid, 130.0)
    points = np.stack([cells.x_um, cells.y_um], 1)
    assert squares.side_um == 128
    assert squares.area_mm2.sum() == pytest.approx(1.44)
    assert squares.count(points, regions.grid).sum() == len(cells)


def test_no_score_no_statistics() -> None:
    made = spatial_statistics(*scene(), evaluable=False)["statistics"]
    assert {(v["status"], v["reason"]) for v in made.values()} == {
        ("none", "the slide is not evaluable: see score.json")
    }


def test_doubtful_tils_are_left_out_as_in_the_score() -> None:
    cells, regions, bed = scene()
    prob = np.where(np.arange(len(cells)) % 2, 0.9, 0.3)
    doubtful = Cells(cells.x_um, cells.y_um, cells.label, prob)
    made = spatial_statistics(doubtful, regions, bed, min_prob=0.5)
    assert made["n_tils"] == ((cells.label == Cell.INFLAMMATORY) & (prob > 0.5)).sum()
    assert made["n_tumour_cells"] == (cells.label == Cell.EPITHELIAL).sum()


def test_benign_epithelium_has_no_tumour_border() -> None:
    """Stripes of tumour 200 um wide, the second one drawn as benign: the border is that of the first alone."""
    cells, regions, bed = scene()
    benign = np.zeros_like(bed)
    benign[:, 150:200] = True
    found = [spatial_statistics(cells, regions, bed & ~benign, no_tumour=b)["statistics"] for b in (None, benign)]
    first = np.where(benign, Region.OTHER, regions.values).astype(np.uint8)
    alone = spatial_statistics(cells, Raster(first, regions.grid), bed & ~benign)["statistics"]
    assert found[1]["border"] == alone["border"] != found[0]["border"]
    assert found[1]["hotspots"] == found[0]["hotspots"]


def test_settings_reach_the_statistics() -> None:
    cells, regions, bed = scene()
    made = spatial_statistics(cells, regions, bed, SpatialConfig(max_um=80.0, mixing_um=(100.0,)))
    assert made["statistics"]["til_to_til"]["r_um"][-1] == 80
    assert len(made["statistics"]["mixing"]["morisita_horn"]) == 1
    assert made["config"]["max_um"] == 80
