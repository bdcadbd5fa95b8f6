"""Pyramids: what OpenSlide and we read back from them."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.pyramid import read_level0, write_pyramid
from tilscore.space import Grid

TILE = 256


def tiles(values):
    height, width = values.shape[:2]
    return (values[y : y + TILE, x : x + TILE] for y in range(0, height, TILE) for x in range(0, width, TILE))


def smooth_picture(height, width):
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / 61 + c) * np.cos(y / (47 + c)) for c in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def test_picture_opens_in_openslide_with_its_mpp_and_levels(tmp_path: Path) -> None:
    picture = smooth_picture(1100, 2301)
    write_pyramid(tmp_path / "a.tif", Grid(0.2527, 2301, 1100), tiles(picture), compression="jpeg", quality=95)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert slide.level_dimensions == ((2301, 1100), (576, 275))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.2527, rel=1e-6)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.2527, rel=1e-6)
        level0 = np.asarray(slide.read_region((0, 0), 0, (2301, 1100)))
        level1 = np.asarray(slide.read_region((0, 0), 1, (576, 275)))
    assert (level0[..., 3] == 255).all()
    assert np.abs(level0[..., :3].astype(int) - picture).mean() < 1.5
    mean = picture[:1100, :2300].reshape(275, 4, 575, 4, 3).mean((1, 3))
    assert np.abs(level1[:, :575, :3] - mean).mean() < 1.5


@pytest.mark.parametrize("shape", [(1, 1), (256, 256), (2001, 1303)])
def test_class_map_is_lossless_here_and_in_openslide(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
    path = tmp_path / "map.tif"
    write_pyramid(path, Grid(4.0, shape[1], shape[0]), tiles(values), compression="deflate", description="0 other")
    back, mpp = read_level0(path)
    assert mpp == 4.0
    np.testing.assert_array_equal(back, values)
    with openslide.OpenSlide(path) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == 4.0
        for level, size in enumerate(slide.level_dimensions):
            seen = np.asarray(slide.read_region((0, 0), level, size))
            np.testing.assert_array_equal(seen[..., 0], values[:: 2**level, :: 2**level])
        assert max(slide.level_dimensions[-1]) <= 1024


@given(mpp=st.floats(0.05, 500))
@settings(max_examples=25, deadline=None)
def test_any_resolution_survives(tmp_path_factory: pytest.TempPathFactory, mpp: float) -> None:
    path = tmp_path_factory.mktemp("mpp") / "m.tif"
    write_pyramid(path, Grid(mpp, 2, 1), iter([np.zeros((1, 2), np.uint8)]), compression="deflate")
    assert read_level0(path)[1] == pytest.approx(mpp, rel=1e-6)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "dtype"])
def test_wrong_blocks_are_refused_and_leave_no_file(tmp_path: Path, change: str) -> None:
    blocks = list(tiles(np.zeros((300, 600), np.uint8)))
    if change == "missing":
        blocks.pop()
    elif change == "extra":
        blocks.append(blocks[0])
    elif change == "shape":
        blocks[1] = blocks[1][:-1]
    else:
        blocks[1] = blocks[1].astype(np.int16)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="tile"):
        write_pyramid(tmp_path / "m.tif", Grid(1.0, 600, 300), blocks, compression="deflate")
    assert list(tmp_path.iterdir()) == []


def test_level_0_streams(tmp_path: Path) -> None:
    alive: set[int] = set()
    most = 0

    def blocks():
        nonlocal most
        for k in range(400):
            block = np.full((TILE, TILE, 3), k % 251, np.uint8)
            alive.add(k)
            weakref.finalize(block, alive.discard, k)
            most = max(most, len(alive))
            yield block

    write_pyramid(tmp_path / "s.tif", Grid(0.5, 20 * TILE, 20 * TILE), blocks(), compression="jpeg")
    assert most <= 20


def test_what_is_no_class_map_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    write_pyramid(path, Grid(1.0, 16, 16), iter([np.zeros((16, 16, 3), np.uint8)]), compression="jpeg")
    with pytest.raises(ValueError, match="one channel"):
        read_level0(path)
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8))
    with pytest.raises(ValueError, match="resolution"):
        read_level0(path)
    path.write_bytes(b"no TIFF at all")
    with pytest.raises(ValueError, match="TIFF"):
        read_level0(path)
    with pytest.raises(OSError, match="absent"):
        read_level0(tmp_path / "absent.tif")
    noise = np.random.default_rng(0).integers(0, 9, (512, 512)).astype(np.uint8)
    write_pyramid(path, Grid(1.0, 512, 512), tiles(noise), compression="deflate")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises((ValueError, OSError)):
        read_level0(path)
