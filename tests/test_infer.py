"""Inference: blocks, ownership and geometry, with a detector whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tilscore.backends import BlockResult
from tilscore.errors import ConfigError, SlideError
from tilscore.infer import InferConfig, InferResult, infer_slide
from tilscore.infer.blocks import plan_blocks
from tilscore.labels import Area, Cell, Region
from tilscore.modelstore import DEFAULT_MODEL
from tilscore.network.config import MPP
from tilscore.network.peaks import Peaks
from tilscore.phantom import PhantomConfig, write_phantom
from tilscore.pyramid import write_pyramid
from tilscore.raster import Raster
from tilscore.run import Run
from tilscore.slide import SlideSpec, open_slide, readahead
from tilscore.space import BoxUm, Grid, Window
from tilscore.stain import white_table
from tilscore.tissue import find_tissue

N_DOTS = 300


class DotFinder:
    """Finds single dark pixels; green means epithelial. Regions: stroma where the field is darker than 235."""

    name = "dots"
    batch = 3

    def detect(self, images: NDArray[np.uint8], threshold: float) -> list[BlockResult]:
        out = []
        for image in images:
            y, x = np.nonzero(image[..., 0] < 60)
            green = image[y, x, 1] > 100
            types = np.zeros((len(x), 4), np.float32)
            types[np.arange(len(x)), np.where(green, Cell.EPITHELIAL, Cell.INFLAMMATORY)] = 1
            ones = np.ones(len(x), np.float32)
            mean = cv2.resize(image[..., 2], None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
            regions = np.where(mean < 235, Region.STROMA, Region.OTHER).astype(np.uint8)
            out.append(BlockResult(Peaks(x + np.float32(0.5), y + np.float32(0.5), ones, types), regions))
        return out

    def rest(self) -> None:
        """It holds nothing."""


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[SlideSpec, NDArray[np.int64], NDArray[np.bool_]]:
    """A 500 x 400 um field at 0.5 um/px with dots on it, the left half darker."""
    rng = np.random.default_rng(1)
    image = np.full((800, 1000, 3), 250, np.uint8)
    image[:, :496] = 220
    flat = rng.choice(800 * 1000, N_DOTS, replace=False)
    xy = np.stack([flat % 1000, flat // 1000], 1)
    green = np.arange(N_DOTS) % 3 == 0
    image[xy[:, 1], xy[:, 0]] = (0, 0, 0)
    image[xy[green, 1], xy[green, 0]] = (0, 200, 0)
    path = tmp_path_factory.mktemp("field") / "dots.png"
    cv2.imwrite(str(path), image[..., ::-1])
    return SlideSpec("dots", path, mpp=0.5), xy, green


def find(spec: SlideSpec, cfg: InferConfig, tissue_value: int = Area.TISSUE, zoom: int = 1) -> InferResult:
    with open_slide(spec.path, mpp=spec.mpp) as slide:
        grid = slide.level0.at(8.0)
        tissue = Raster(np.full(grid.shape, tissue_value, np.uint8), grid)
        return infer_slide(spec, slide, tissue, DotFinder(), cfg, threshold=0.5, zoom=zoom)


@settings(max_examples=12)
@given(
    block=st.sampled_from([64.0, 128.0, 200.0, 512.0]),
    halo=st.sampled_from([16.0, 32.0, 48.0]),
    origin=st.integers(0, 500),
)
def test_each_cell_is_found_once_wherever_the_blocks_lie(field, block: float, halo: float, origin: int) -> None:
    spec, xy, green = field
    cfg = InferConfig(block_um=block, halo_um=halo, origin_um=origin, workers=0)
    result = find(spec, cfg)
    got = sorted(zip(result.cells.x_um, result.cells.y_um, result.cells.label, strict=True))
    label = np.where(green, Cell.EPITHELIAL, Cell.INFLAMMATORY)
    expected = sorted(zip((xy[:, 0] + 0.5) * MPP, (xy[:, 1] + 0.5) * MPP, label, strict=True))
    np.testing.assert_allclose(np.array(got), np.array(expected), atol=1e-4)
    truth = np.full(result.regions.grid.shape, Region.OTHER, np.uint8)
    truth[:, :62] = Region.STROMA
    np.testing.assert_array_equal(result.regions.values, truth)
    np.testing.assert_array_equal(result.cells.region == Region.STROMA, result.cells.x_um < 248)


def test_a_network_that_magnifies_sees_smaller_blocks(tmp_path: Path) -> None:
    """It needs as much memory for half of their side; a size that is given holds for every network."""
    path = tmp_path / "empty.png"
    cv2.imwrite(str(path), np.full((100, 4000, 3), 220, np.uint8))
    spec, cfg = SlideSpec("empty", path, mpp=0.5), InferConfig(workers=0)
    assert [find(spec, cfg, zoom=zoom).n_blocks for zoom in (1, 2)] == [2, 4]
    assert [find(spec, replace(cfg, block_um=512), zoom=zoom).n_blocks for zoom in (1, 2)] == [4, 4]


def test_worker_processes_end_with_a_large_slide(field, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stay for the slide after a small one; either way the next one is read."""
    spec, _, _ = field
    for many, kept in ((1000, True), (10, False), (1000, True)):
        monkeypatch.setattr(readahead, "MANY", many)
        assert len(find(spec, InferConfig(block_um=64, workers=2)).cells) == N_DOTS
        assert (2 in readahead._POOLS) == kept


def test_worker_processes_read_the_same(field) -> None:
    spec, _, _ = field
    alone = find(spec, InferConfig(block_um=64, workers=0))
    helped = find(spec, InferConfig(block_um=64, workers=2))
    assert alone.n_blocks == helped.n_blocks > 20
    for name in ("x_um", "y_um", "label", "prob", "region"):
        np.testing.assert_array_equal(getattr(alone.cells, name), getattr(helped.cells, name))


@given(red=st.integers(160, 255), green=st.integers(160, 255), blue=st.integers(160, 255))
def test_white_balance_makes_tinted_glass_white_and_keeps_absorption(red: int, green: int, blue: int) -> None:
    """Glass comes to 240, and what lets half of the light through still does."""
    table = white_table((red, green, blue))
    glass = np.array([[[red, green, blue]]], np.uint8)
    np.testing.assert_allclose(cv2.LUT(glass, table), 240, atol=1)
    np.testing.assert_allclose(cv2.LUT(glass // 2, table), 120, atol=2)
    np.testing.assert_array_equal(white_table((240, 240, 240))[0, :, 1], np.arange(256))


def test_glass_and_pen_hold_no_cells(field) -> None:
    spec, _, _ = field
    for value in (Area.GLASS, Area.PEN):
        result = find(spec, InferConfig(workers=0), value)
        assert (result.n_blocks, len(result.cells)) == (0, 0)
    assert len(find(spec, InferConfig(workers=0), Area.FOLD).cells) == N_DOTS


@settings(max_examples=25)
@given(w=st.integers(1, 3000), h=st.integers(1, 3000), block=st.floats(30, 700), origin=st.floats(0, 2000))
def test_keep_windows_partition_the_slide(w: int, h: int, block: float, origin: float) -> None:
    grid = Grid(MPP, w, h)
    tissue = Raster(np.ones(grid.at(8.0).shape, np.uint8), grid.at(8.0))
    hits = np.zeros(grid.shape, np.uint8)
    for b in plan_blocks(grid, tissue, block_um=block, halo_um=32, origin_um=origin):
        hits[b.keep.slices] += 1
        assert b.read.w % 32 == 0
        assert b.read.h % 32 == 0
    assert (hits == 1).all()


@settings(max_examples=25)
@given(
    spots=st.lists(st.tuples(st.integers(0, 1599), st.integers(0, 1199), st.integers(1, 400)), max_size=5),
    mpp=st.floats(4.0, 16.0),
    block=st.floats(64, 900),
    halo=st.floats(0, 100),
    origin=st.floats(0, 900),
)
def test_blocks_lie_on_the_tissue(spots, mpp: float, block: float, halo: float, origin: float) -> None:
    """Every pixel under tissue is kept by one block, in phase with the network; whole squares would read no fewer."""
    grid = Grid(MPP, 1600, 1200)
    there = grid.at(mpp)
    values = np.zeros(there.shape, np.uint8)
    for x, y, side in spots:
        box = BoxUm(x * MPP, y * MPP, (x + side) * MPP, (y + side) * MPP)
        values[there.covering_window(box).slices] = Area.TISSUE
    tissue = Raster(values, there)
    blocks = plan_blocks(grid, tissue, block_um=block, halo_um=halo, origin_um=origin)
    hits = np.zeros(grid.shape, np.uint8)
    for b in blocks:
        hits[b.keep.slices] += 1
        assert {n % 32 for n in (b.read.x, b.read.y, b.read.w, b.read.h)} == {0}
    assert hits.max() <= 1
    y, x = (np.arange(n) + 0.5 for n in grid.shape)
    under = tissue.sample(*np.meshgrid(grid.to_um(x), grid.to_um(y))) == Area.TISSUE
    assert (hits[under] == 1).all()
    assert bool(blocks) == bool(under.any())
    size = max(round(block / 32), 1) * 64
    start = round(origin / 16) * 32 % size
    squares = Window(grid, start - size, start - size, 1600 + 2 * size, 1200 + 2 * size).split(size)
    margin = blocks[0].read.w - blocks[0].keep.w if blocks else 0
    n_squares = sum(under[square.slices].any() for square in squares)
    assert sum(b.read.w * b.read.h for b in blocks) <= n_squares * (size + max(margin, 64)) ** 2


def test_a_thin_diagonal_core_costs_a_third_of_its_squares() -> None:
    """Tissue 200 um wide across 4 mm; its squares only shrunk to it would cost 0.43 of them."""
    grid = Grid(MPP, 8000, 8000)
    y, x = np.indices(grid.at(8.0).shape)
    core = Raster(np.where(np.abs(x - y) < 18, np.uint8(Area.TISSUE), np.uint8(Area.GLASS)), grid.at(8.0))
    blocks = plan_blocks(grid, core, block_um=768, halo_um=32, origin_um=0)
    read_mm2 = sum(b.read.box.area_mm2 for b in blocks)
    on = core.mask(Area.TISSUE)
    squares = [square for square in grid.window.split(1536) if on[core.grid.covering_window(square.box).slices].any()]
    assert read_mm2 < 0.35 * sum(square.grow(64).box.area_mm2 for square in squares)
    assert len({b.read.shape for b in blocks}) < len(blocks)


@pytest.mark.parametrize("workers", [0, 1])
def test_too_much_unreadable_tissue_fails_the_slide(tmp_path: Path, workers: int) -> None:
    """One of sixteen JPEG tiles is noise: a number from such pixels is worse than none."""
    grid = Grid(0.5, 1024, 1024)
    rng = np.random.default_rng(0)
    tiles = [cv2.GaussianBlur(rng.integers(0, 255, (256, 256, 3), np.uint8), (0, 0), 2) for _ in range(16)]
    path = tmp_path / "torn.tif"
    write_pyramid(path, grid, tiles, compression="jpeg", tile_px=256)
    cfg = InferConfig(block_um=128, workers=workers)
    assert find(SlideSpec("whole", path), cfg).unreadable_frac == 0
    with tifffile.TiffFile(path) as tif:
        at, n = tif.pages[0].dataoffsets[5], tif.pages[0].databytecounts[5]
    raw = bytearray(path.read_bytes())
    raw[at : at + n] = rng.bytes(n)
    torn = tmp_path / "torn2.tif"
    torn.write_bytes(raw)
    with pytest.raises(SlideError, match=r"cannot be read \(found [5-8]"):
        find(SlideSpec("torn", torn), cfg)


def test_a_real_slide_is_read_from_its_path(real_data: Path) -> None:
    spec = SlideSpec("a", real_data / "slides" / "CMU-1-Small-Region.svs")
    results = [find(spec, InferConfig(block_um=200, workers=w)) for w in (0, 1)]
    np.testing.assert_array_equal(results[0].regions.values, results[1].regions.values)


def test_tiles_of_any_size_find_the_same_cells_of_a_real_slide(real_data: Path) -> None:
    """Less than 1 % more or fewer, on the slide that depends most on what the network sees around a tile."""
    run = Run(Path(), model_name=DEFAULT_MODEL, device="cpu")
    spec = SlideSpec("frozen", next((real_data / "slides").glob("tcga-*.svs")), mpp=0.5)
    with open_slide(spec.path, mpp=spec.mpp) as slide:
        tissue, threshold = find_tissue(slide), run.model.config.detection_threshold
        large, small = (
            len(infer_slide(spec, slide, tissue, run.backend, InferConfig(block_um=b), threshold=threshold).cells)
            for b in (None, 256)
        )
    assert large > 20_000
    assert abs(small / large - 1) < 0.01


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"block_um": float("nan")}, {"block_um": 0.0}, {"halo_um": -1.0}])
def test_settings_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"infer.{next(iter(wrong))}"):
        InferConfig(**wrong)


def test_lost_tissue_is_no_glass(tmp_path: Path) -> None:
    """Half of the slide is lost: on the coarse levels alone nothing changes, on all of them the slide fails."""
    path = tmp_path / "x.tif"
    write_phantom(path, PhantomConfig(size_mm=(0.9, 0.7), seed=3))
    with open_slide(path) as slide:
        whole = find_tissue(slide).area_mm2(Area.TISSUE)
    with tifffile.TiffFile(path) as file:
        n_pages = len(file.pages)
    for number in range(n_pages - 1, -1, -1):
        with tifffile.TiffFile(path, mode="r+b") as file:
            counts = file.pages[number].databytecounts
            half = len(counts) // 2
            file.pages[number].tags["TileByteCounts"].overwrite([*counts[:half], *([0] * (len(counts) - half))])
        with open_slide(path) as slide:
            if number > 0:
                assert find_tissue(slide).area_mm2(Area.TISSUE) == pytest.approx(whole, rel=0.03)
            else:
                with pytest.raises(SlideError, match="too much of the tissue"):
                    find_tissue(slide)
