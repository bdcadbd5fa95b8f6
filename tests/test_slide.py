"""Slides of known content: what is read is what was written, at every resolution and through every window."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from tiffs import APERIO, H, W, gradient, noise, reduced, write_tiff

from tilscore.errors import MppError
from tilscore.info import describe, format_info
from tilscore.slide import open_slide
from tilscore.slide.openslide_reader import OpenSlideSlide, _lattice, _middle
from tilscore.slide.resample import choose_level
from tilscore.slide.tiff_reader import TiffSlide
from tilscore.space import Grid, Window

ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiff(tmp_path_factory.mktemp("slide") / "noise.tif", noise(), mpp=0.25, factors=(2, 4))


def test_every_pixel_is_read_back_exactly(pyramid: Path) -> None:
    with open_slide(pyramid) as slide:
        assert (slide.reader, slide.vendor, slide.mpp_source) == ("tiff", "generic-tiff", "tiff-resolution")
        assert slide.mpp == pytest.approx(0.25)
        assert [g.width_px for g in slide.levels] == [700, 350, 175]
        assert [g.mpp for g in slide.levels] == pytest.approx([0.25, 0.5, 1.0])
        np.testing.assert_array_equal(slide.read(slide.level0.window), noise())
        np.testing.assert_array_equal(slide.read(slide.levels[2].window), reduced(noise(), 4))
        assert slide.n_unreadable_px == 0


def test_outside_is_white(pyramid: Path) -> None:
    with open_slide(pyramid) as slide:
        got = slide.read(Window(slide.level0, -30, -20, W + 50, H + 70))
        np.testing.assert_array_equal(got[20 : 20 + H, 30 : 30 + W], noise())
        got[20 : 20 + H, 30 : 30 + W] = 255
        assert (got == 255).all()
        assert (slide.read(Window(slide.level0, 5000, 5000, 10, 10)) == 255).all()
        assert slide.read(Window(slide.level0, 3, 3, 0, 7)).shape == (7, 0, 3)


@pytest.mark.parametrize("target", [0.2, 0.25, 0.3, 0.41, 0.5, 0.55, 0.77, 1.0, 1.3, 4.0])
@pytest.mark.parametrize("factors", [(), (2,), (2, 4)])
def test_gradient_at_any_resolution(tmp_path: Path, target: float, factors: tuple[int, ...]) -> None:
    slide = open_slide(write_tiff(tmp_path / "g.tif", np.rint(gradient()).astype(np.uint8), mpp=0.25, factors=factors))
    grid = slide.level0.at(target)
    got = slide.thumbnail(target)
    assert got.shape == (*grid.shape, 3)
    inner = slice(2, -3)  # the outermost pixels repeat the edge
    expected = gradient(grid.width_px, grid.height_px, step=target / 0.25)
    assert abs(got[inner, inner].astype(float) - expected[inner, inner]).max() <= 1.6  # two or three roundings


def test_edge_pixels_keep_the_slides_colour(tmp_path: Path) -> None:
    slide = open_slide(write_tiff(tmp_path / "s.tif", np.full((301, 203, 3), 90, np.uint8), mpp=0.25))
    for mpp in (0.2, 0.5, 0.6, 1.7, 8.0):
        assert (slide.thumbnail(mpp) == 90).all()


@settings(max_examples=40, deadline=None)
@given(data=st.data(), target=st.sampled_from([0.2, 0.25, 0.37, 0.4995, 0.5, 0.51, 0.9, 1.31, 2.0]))
def test_whole_equals_its_parts(pyramid: Path, data: st.DataObject, target: float) -> None:
    with open_slide(pyramid) as slide:
        grid = slide.level0.at(target)
        whole = slide.read(grid.window.grow(5))
        x = data.draw(st.integers(-5, grid.width_px - 1))
        y = data.draw(st.integers(-5, grid.height_px - 1))
        w = data.draw(st.integers(1, grid.width_px + 5 - x))
        h = data.draw(st.integers(1, grid.height_px + 5 - y))
        np.testing.assert_array_equal(slide.read(Window(grid, x, y, w, h)), whole[y + 5 : y + 5 + h, x + 5 : x + 5 + w])


def test_chunks_leave_no_seams(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_slide(pyramid) as slide:
        whole = {mpp: slide.thumbnail(mpp) for mpp in (0.2, 0.37, 1.31)}
        monkeypatch.setattr("tilscore.slide.base.CHUNK_PX", 100)
        for mpp, pixels in whole.items():
            np.testing.assert_array_equal(slide.thumbnail(mpp), pixels)


def test_level_choice() -> None:
    levels = (Grid(0.25, 4000, 4000), Grid(0.5, 2000, 2000), Grid(1.0, 1000, 1000))
    chosen = {mpp: choose_level(levels, mpp) for mpp in (0.1, 0.25, 0.49, 0.497, 0.5, 0.99, 0.9999, 8.0)}
    assert chosen == {0.1: 0, 0.25: 0, 0.49: 0, 0.497: 1, 0.5: 1, 0.99: 1, 0.9999: 2, 8.0: 2}


def test_downsample_that_is_no_whole_number(tmp_path: Path) -> None:
    pixels = np.rint(gradient(800, 600)).astype(np.uint8)
    small = cv2.resize(pixels, (230, 172), interpolation=cv2.INTER_AREA)  # 3.48 times
    path = tmp_path / "odd.tif"
    with tifffile.TiffWriter(path) as file:
        for image in (pixels, small, small[:40]):  # the last has another shape: a label, not a level
            file.write(image, tile=(128, 128), photometric="rgb", resolution=(4e4, 4e4), resolutionunit="CENTIMETER")
    slide = open_slide(path)
    assert [g.mpp for g in slide.levels] == pytest.approx([0.25, 0.25 * 3.4833], rel=1e-3)
    got = slide.read(slide.level0.at(1.0).window).astype(float)
    assert abs(got[2:-2, 2:-2] - gradient(200, 150, step=4.0)[2:-2, 2:-2]).max() < 2.5


def write_ome(path: Path, images: list[np.ndarray]) -> Path:
    """An OME-TIFF of several images, each a series of its own at 0.5 um/px."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for image in images:
            said = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
            file.write(image, tile=(128, 128), photometric="rgb", metadata=said)
    return path


def test_another_image_of_an_ome_tiff_is_no_level(tmp_path: Path) -> None:
    blank = np.full_like(reduced(noise(), 4), 243)
    with open_slide(write_ome(tmp_path / "two.ome.tif", [noise(), blank])) as slide:
        assert (slide.vendor, slide.mpp_source) == ("ome-tiff", "ome-xml")
        assert [g.width_px for g in slide.levels] == [W]
        assert slide.thumbnail(2.0).std() > 10
        assert "1 further image of the file" in format_info(describe(slide))


@pytest.mark.parametrize("subifds", [True, False])
def test_levels_of_ome_tiffs(tmp_path: Path, subifds: bool) -> None:
    """As SubIFDs, or as reduced pages that the XML does not name."""
    xml = f'<OME><Image><Pixels SizeX="{W}" SizeY="{H}" PhysicalSizeX="0.5" PhysicalSizeY="0.5"/></Image></OME>'
    how = {"ome": True, "subifds": True} if subifds else {"description": xml}
    path = write_tiff(tmp_path / "p.ome.tif", noise(), factors=(2, 4), **how)
    with open_slide(path) as slide:
        assert slide.vendor == "ome-tiff"
        assert [g.width_px for g in slide.levels] == [700, 350, 175]
        assert "further" not in format_info(describe(slide))


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "jpeg", "jpeg2000", "zstd"])
def test_compressions(tmp_path: Path, compression: str | None) -> None:
    pixels = np.rint(gradient()).astype(np.uint8)
    slide = open_slide(write_tiff(tmp_path / "c.tif", pixels, compression=compression))
    inner = slice(0, 512)  # the padded tiles at the edge ring in JPEG
    difference = abs(slide.read(slide.level0.window).astype(int) - pixels)
    assert difference[inner, inner].max() <= (4 if compression == "jpeg" else 0)


def test_strips(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "s.tif", noise(), photometric="rgb", rowsperstrip=33, resolution=(2e4, 2e4), resolutionunit=3
    )
    slide = open_slide(tmp_path / "s.tif")
    np.testing.assert_array_equal(slide.read(slide.level0.window), noise())


def test_ome_tiff_with_subifds(tmp_path: Path) -> None:
    slide = open_slide(write_tiff(tmp_path / "x.ome.tif", noise(), mpp=0.31, factors=(2, 4), subifds=True, ome=True))
    assert (slide.vendor, slide.mpp_source) == ("ome-tiff", "ome-xml")
    assert [g.mpp for g in slide.levels] == pytest.approx([0.31, 0.62, 1.24])
    np.testing.assert_array_equal(slide.read(slide.levels[1].window), reduced(noise(), 2))


@pytest.mark.parametrize(("unit", "value"), [("nm", 310.0), ("mm", 3.1e-4), ("&#181;m", 0.31), ("μm", 0.31)])
def test_ome_units(tmp_path: Path, unit: str, value: float) -> None:
    xml = (
        '<?xml version="1.0"?><OME><Image><Pixels SizeX="64" SizeY="48" PhysicalSizeX="9" PhysicalSizeY="9"/></Image>'
        f'<Image><Pixels SizeX="{W}" SizeY="{H}" PhysicalSizeX="{value}" PhysicalSizeXUnit="{unit}"'
        f' PhysicalSizeY="{value}" PhysicalSizeYUnit="{unit}"/></Image></OME>'
    )
    slide = open_slide(write_tiff(tmp_path / "x.tif", noise(), mpp=0.9, description=xml.encode()))
    assert (slide.mpp, slide.mpp_source) == (pytest.approx(0.31), "ome-xml")


def test_aperio_and_openslide_agree(tmp_path: Path) -> None:
    """The direct decoder and OpenSlide give the same pixels, mpp and levels of one file."""
    pixels = cv2.GaussianBlur(noise(), (0, 0), 3)
    path = write_tiff(
        tmp_path / "a.svs", pixels, factors=(2,), compression="jpeg", description=APERIO.format(w=W, h=H)
    )  # fmt: skip
    with open_slide(path) as direct, OpenSlideSlide(path) as through:
        assert (direct.reader, direct.vendor, direct.mpp_source) == ("tiff", "aperio", "aperio.MPP")
        assert (through.reader, through.vendor, through.mpp_source) == ("openslide", "aperio", "aperio.MPP")
        assert direct.levels == through.levels
        assert direct.objective == through.objective == 20
        for mpp in (0.5, 0.8, 1.0):
            difference = abs(direct.thumbnail(mpp).astype(int) - through.thumbnail(mpp))
            assert difference.max() <= 1


def test_openslide_parts_of_fractional_level(tmp_path: Path) -> None:
    """OpenSlide shifts such levels by a part of a pixel; the shift must not depend on the window."""
    pixels = cv2.GaussianBlur(noise(1403, 1101), (0, 0), 2)
    slide = OpenSlideSlide(write_tiff(tmp_path / "f.tif", pixels, mpp=0.25, factors=(2,)))
    whole = slide.read(slide.levels[1].window)
    for x, y, w, h in ((0, 0, 50, 60), (333, 111, 300, 400), (511, 511, 3, 3), (690, 540, 11, 10)):
        np.testing.assert_array_equal(slide.read(Window(slide.levels[1], x, y, w, h)), whole[y : y + h, x : x + w])


@given(start=st.integers(0, 3000), n=st.integers(2, 3000), step=st.integers(1, 700))
def test_lattice_partitions(start: int, n: int, step: int) -> None:
    parts = list(_lattice(start, n, step))
    assert parts[0][0] == start
    assert sum(length for _, length in parts) == n
    assert all(a // step == (a + length - 1) // step for a, length in parts)
    if start // step != (start + n - 1) // step:
        cut = _middle(start, n, step)
        assert start < cut < start + n
        assert cut % step == 0


REAL = {
    "CMU-1-Small-Region.svs": ("tiff", 0.499, 1, None),
    "crimage_8905.tif": ("tiff", 0.501, 4, None),
    "her2st_B4.tif": ("tiff", 0.69, 5, None),
    "tcga-cr-7395-01a-01-ts1.svs": ("openslide", 0.5, 2, 0.5),
}


@pytest.mark.parametrize("name", REAL)
def test_real_slides(real_data: Path, name: str) -> None:
    reader, mpp, n_levels, given_mpp = REAL[name]
    path = real_data / "slides" / name
    if given_mpp:
        with pytest.raises(MppError, match="states no resolution"):
            open_slide(path)
    with open_slide(path, mpp=given_mpp) as slide:
        assert (slide.reader, slide.mpp, len(slide.levels)) == (reader, pytest.approx(mpp), n_levels)
        assert ("low_resolution" in slide.flags) == (mpp > 0.55)
        thumb = slide.thumbnail(8.0)
        assert thumb.shape == (*slide.level0.at(8.0).shape, 3)
        assert 120 < thumb.mean() < 250
        window = Window(slide.level0.at(1.0), 700, 700, 300, 300)
        parts = [slide.read(part) for part in window.split(150)]
        whole = np.vstack([np.hstack(parts[:2]), np.hstack(parts[2:])])
        np.testing.assert_array_equal(whole, slide.read(window))
        assert slide.n_unreadable_px == 0


def test_real_svs_as_openslide_reads_it(real_data: Path) -> None:
    path = real_data / "slides" / "CMU-1-Small-Region.svs"
    with TiffSlide(path) as direct, OpenSlideSlide(path) as through:
        window = Window(direct.level0, 1000, 1500, 400, 500)
        np.testing.assert_array_equal(direct.read(window), through.read(window))


@pytest.mark.skipif("TILSCORE_SLOW" not in os.environ, reason="imports tiatoolbox, up to 40 s; set TILSCORE_SLOW")
def test_tiatoolbox_is_exact_and_leaves_logging_alone(tmp_path: Path) -> None:
    """The last resort, in a process of its own: importing it takes many seconds, and changes the process."""
    import imagecodecs

    pixels = cv2.GaussianBlur(noise(), (0, 0), 2)
    np.save(tmp_path / "x.npy", pixels)
    (tmp_path / "x.jp2").write_bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="jp2"))
    code = """
import logging, sys, warnings
import numpy as np
from tilscore.slide import open_slide
show = warnings.showwarning
with open_slide("x.jp2", mpp=0.5) as slide:
    assert slide.reader == "tiatoolbox"
    assert (slide.read(slide.level0.window) == np.load("x.npy")).all()
assert not logging.getLogger().handlers and warnings.showwarning is show and not logging.root.manager.disable
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=ENV, check=False
    )
    assert run.returncode == 0, run.stderr
