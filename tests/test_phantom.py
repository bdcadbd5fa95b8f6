"""Phantoms: their truth is exact, and their pixels depend on the place alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.cells import read_cells
from tilscore.cli import main
from tilscore.errors import OutputError
from tilscore.labels import Area, Cell, Region
from tilscore.phantom import PhantomConfig, draw_window, make_phantom, training_tile, truth_of, write_phantom
from tilscore.phantom.place import Nuclei, add_apart, overlaps
from tilscore.raster import fill_polygons, read_raster
from tilscore.space import BoxUm, Window

CFG = PhantomConfig(
    size_mm=(0.7, 0.6), seed=4, til_density_per_mm2=1500, nest_um=90, necrosis_frac=0.1, pen=True, blur=True
)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(CFG)


@pytest.fixture(scope="module")
def picture(phantom):
    return draw_window(phantom, phantom.grid.window)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("phantom") / "p.tif"
    return path, write_phantom(path, CFG)


def test_slide_opens_in_openslide(written) -> None:
    with openslide.OpenSlide(written[0]) as slide:
        assert slide.dimensions == (1400, 1200)
        assert float(slide.properties["openslide.mpp-x"]) == 0.5
        corner = np.asarray(slide.read_region((1360, 1160), 0, (30, 30)))[..., :3]
    assert corner.mean() > 220


def test_truth_follows_from_cells_and_regions(written) -> None:
    path, truth = written
    assert json.loads(path.with_name("p.truth.json").read_text()) == json.loads(json.dumps(truth))
    cells = read_cells(path.with_name("p.cells.parquet"))
    regions = read_raster(path.with_name("p.regions.tif"))
    where = regions.sample(cells.x_um, cells.y_um)
    np.testing.assert_array_equal(where, cells.region)
    n = int(((cells.label == Cell.INFLAMMATORY) & (where == Region.STROMA)).sum())
    stroma_mm2 = (regions.values == Region.STROMA).sum() * 16e-6
    assert truth["n_tils"] == n > 100
    assert truth["stroma_mm2"] == pytest.approx(stroma_mm2)
    assert truth["til_density_per_mm2"] == pytest.approx(n / stroma_mm2)
    assert truth["tumour_mm2"] == pytest.approx((regions.values == Region.TUMOUR).sum() * 16e-6)
    assert truth["tissue_mm2"] >= sum((regions.values == r).sum() for r in Region if r) * 16e-6


def test_as_many_tils_as_asked_for(written) -> None:
    assert written[1]["n_tils"] == round(CFG.til_density_per_mm2 * written[1]["stroma_mm2"])


def test_area_share_is_that_of_the_discs(phantom) -> None:
    truth = truth_of(phantom)
    cells = phantom.cells()
    tils = np.flatnonzero((cells.label == Cell.INFLAMMATORY) & (cells.region == Region.STROMA))
    fine = phantom.regions.grid.at(0.25)
    stroma = phantom.regions.on(fine).values == Region.STROMA
    clear = ~phantom.areas.on(fine).mask(Area.PEN, Area.BLUR)
    covered, seen = np.zeros((2, *fine.shape), bool)
    for k in tils:
        radius2 = phantom.bank.area_um2[phantom.nuclei.variant[k]] / np.pi
        x, y = float(cells.x_um[k]), float(cells.y_um[k])
        near = fine.covering_window(BoxUm(x - 5, y - 5, x + 5, y + 5)).clip()
        rows, cols = ((np.arange(p, p + n) + 0.5) * 0.25 for p, n in ((near.y, near.h), (near.x, near.w)))
        disc = (rows[:, None] - y) ** 2 + (cols[None, :] - x) ** 2 <= radius2
        covered[near.slices] |= disc
        seen[near.slices] |= disc & clear[fine.index(y), fine.index(x)]
    share = 100 * (covered & stroma).sum() / stroma.sum()
    assert truth["stil_area_pct"] == pytest.approx(share, rel=0.01)
    share = 100 * (seen & stroma & clear).sum() / (stroma & clear).sum()
    assert truth["clear"]["stil_area_pct"] == pytest.approx(share, rel=0.01)


def test_clear_truth_leaves_out_ink_and_blur(phantom) -> None:
    truth = truth_of(phantom)
    for name, value in (("pen", Area.PEN), ("blur", Area.BLUR)):
        polygons = [[np.array(ring)] for ring in truth[f"{name}_um"]]
        drawn = fill_polygons(phantom.areas.grid, polygons)
        seen = phantom.areas.mask(value) | phantom.areas.mask(Area.PEN)
        assert truth[f"{name}_mm2"] > 0.005
        assert (drawn & ~seen).sum() + (phantom.areas.mask(value) & ~drawn).sum() < 0.1 * drawn.sum()
    clear = (phantom.regions.values == Region.STROMA) & ~phantom.areas.mask(Area.PEN, Area.BLUR)
    assert truth["clear"]["stroma_mm2"] == pytest.approx(clear.sum() * 16e-6)
    assert truth["clear"]["n_tils"] < truth["n_tils"]


def test_same_seed_same_bytes_other_seed_others(tmp_path: Path) -> None:
    small = replace(CFG, size_mm=(0.25, 0.25), shape="field")
    files = []
    for name, seed in (("a", 4), ("b", 4), ("c", 8)):
        write_phantom(tmp_path / f"{name}.tif", replace(small, seed=seed))
        files.append((tmp_path / f"{name}.tif").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_file_holds_the_drawn_pixels(written, picture) -> None:
    with openslide.OpenSlide(written[0]) as slide:
        seen = np.asarray(slide.read_region((600, 500), 0, (400, 300)))[..., :3]
    assert np.abs(seen.astype(int) - picture[500:800, 600:1000]).mean() < 6


def test_any_window_shows_the_same_pixels(phantom, picture) -> None:
    part = draw_window(phantom, Window(phantom.grid, 490, 433, 55, 190))
    np.testing.assert_array_equal(part, picture[433:623, 490:545])
    over = draw_window(phantom, Window(phantom.grid, -5, -5, 20, 20))
    assert (over[:5] == 255).all()
    assert (over[5:, 5:] < 255).any()


def test_blocks_have_no_seam(picture) -> None:
    step = np.abs(np.diff(picture.astype(float), axis=1)).mean((0, 2))
    for edge in range(512, picture.shape[1], 512):
        assert step[edge - 1] < 1.2 * np.median(step[edge - 40 : edge + 40])


def test_nuclei_show_where_the_truth_says(phantom, picture) -> None:
    grey = picture.astype(float).mean(2)
    cells = phantom.cells()
    clear = phantom.areas.sample(cells.x_um, cells.y_um) == Area.TISSUE
    j, i = phantom.grid.index(cells.y_um[clear]), phantom.grid.index(cells.x_um[clear])
    lymph = cells.label[clear] == Cell.INFLAMMATORY
    assert np.quantile(grey[j, i][lymph], 0.98) < 150
    stroma = phantom.regions.on(phantom.grid).values == Region.STROMA
    assert np.median(grey[stroma]) > 170


def test_no_tils_when_none_are_asked_for() -> None:
    none = make_phantom(replace(CFG, til_density_per_mm2=0, itil_density_per_mm2=0, pen=False, blur=False))
    truth = truth_of(none)
    assert (truth["n_tils"], truth["n_itils"], truth["til_density_per_mm2"], truth["stil_area_pct"]) == (0, 0, 0, 0)
    assert truth["n_cells"]["inflammatory"] == 0
    assert truth["n_cells"]["epithelial"] > 100
    assert truth["pen_mm2"] == truth["blur_mm2"] == 0


def test_nuclei_keep_apart(phantom) -> None:
    nuclei, bank = phantom.nuclei, phantom.bank
    assert len(overlaps(nuclei, bank)) == 0
    # the same by drawing the ellipses one after the other
    count = np.zeros((2 * phantom.grid.height_px, 2 * phantom.grid.width_px), np.uint8)
    for x, y, v in zip(nuclei.x_um, nuclei.y_um, nuclei.variant, strict=True):
        axes = (2 * 0.95 * bank.a_um[v] / 0.25, 2 * 0.95 * bank.b_um[v] / 0.25)
        one = cv2.ellipse2Poly((0, 0), (int(axes[0] / 2), int(axes[1] / 2)), int(np.degrees(bank.theta[v])), 0, 360, 10)
        patch = np.zeros((121, 121), np.uint8)
        cv2.fillConvexPoly(patch, one + 60, 1)
        r, c = int(y / 0.25) - 60, int(x / 0.25) - 60
        r0, c0 = max(r, 0), max(c, 0)
        part = count[r0 : r + 121, c0 : c + 121]
        part += patch[r0 - r : r0 - r + part.shape[0], c0 - c : c0 - c + part.shape[1]]
    assert count.max() == 1


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_greedy_placing_keeps_the_first_and_parts_the_rest(seed: int) -> None:
    bank = make_phantom(PhantomConfig(size_mm=(0.05, 0.05), shape="field")).bank
    rng = np.random.default_rng(seed)
    new = Nuclei(*rng.uniform(1900, 2100, (2, 300)).astype(np.float32), rng.integers(0, len(bank.kind), 300))
    keep = add_apart(Nuclei.empty(), new, bank)
    assert keep.sum() > 20
    assert len(overlaps(new[keep], bank)) == 0
    again = add_apart(new[keep], new[~keep], bank)
    assert not again.any()


@pytest.mark.parametrize("shape", ["core", "section"])
def test_shares_are_as_asked_for(shape: str) -> None:
    few = {"til_density_per_mm2": 0, "itil_density_per_mm2": 0, "fibroblasts_per_mm2": 0}
    cfg = PhantomConfig((3.0, 2.0), 6, shape=shape, tumour_frac=0.4, fat_frac=0.2, necrosis_frac=0, lumen_frac=0, **few)
    truth = truth_of(make_phantom(cfg))
    assert truth["tumour_mm2"] / truth["tissue_mm2"] == pytest.approx(0.4, abs=0.05)
    assert truth["fat_mm2"] / truth["tissue_mm2"] == pytest.approx(0.2, abs=0.05)
    assert 0.1 < truth["tissue_mm2"] / 6 < 0.8


def test_too_dense_is_refused() -> None:
    with pytest.raises(ValueError, match="TILs"):
        PhantomConfig(til_density_per_mm2=20_000)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"mpp": 1.6}, {"mpp": float("nan")}, {"nest_um": float("nan")}])
def test_wrong_settings_are_one_line(tmp_path: Path, wrong: dict[str, float], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError, match="needs"):
        PhantomConfig(**wrong)
    options = [f"--{name}={value}" for name, value in wrong.items() if name != "nest_um"] or ["--til-density=-1"]
    assert main(["phantom", str(tmp_path / "x.tif"), *options]) == 2
    assert capsys.readouterr().err.startswith("tilscore: error: this phantom cannot be drawn: needs")


def test_no_room_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tilscore.phantom.populate._inflammatory", refuse)
    assert main(["phantom", str(tmp_path / "x.tif"), "--size-mm", "0.3"]) == 2
    assert "no room" in capsys.readouterr().err


def refuse(*_: object) -> None:
    raise ValueError("no room for 9 inflammatory cells in 1 pixels")


@pytest.mark.parametrize("why", ["a folder", "a full disk"])
def test_a_phantom_that_fails_leaves_what_was_there(tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(CFG, size_mm=(0.25, 0.25), shape="field")
    write_phantom(tmp_path / "p.tif", small)
    (tmp_path / "q").mkdir()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if why == "a full disk":
        monkeypatch.setattr("tilscore.phantom.write.write_pyramid", full)
    with pytest.raises(OutputError):
        write_phantom(tmp_path / ("q" if why == "a folder" else "p.tif"), replace(small, seed=5))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_training_tile() -> None:
    image, cells, regions = training_tile(8, 256, 0.5)
    assert image.shape == (256, 256, 3)
    assert regions.shape == (256, 256)
    assert len(cells) > 10
    assert cells.x_um.max() <= 128
    at = regions[(cells.y_um / 0.5).astype(int).clip(0, 255), (cells.x_um / 0.5).astype(int).clip(0, 255)]
    assert (at == cells.region).mean() > 0.95
