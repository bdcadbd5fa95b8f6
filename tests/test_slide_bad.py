"""Damaged, misnamed and hostile files: one line that says what is wrong, soon; and one bad tile costs only itself."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from badfiles import picture, png_bomb, refused, svs, write
from PIL import Image
from tiffs import write_tiff

from tilscore.errors import MppError, SlideError
from tilscore.slide import open_slide
from tilscore.slide.openslide_reader import OpenSlideSlide
from tilscore.space import Window


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """Whatever the file, the answer comes within seconds."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("suffix", [".svs", ".tif", ".png", ".ndpi", ".mrxs", ".vms"])
def test_empty_and_text_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"")
    assert "empty" in refused(path)
    for text in (
        "hello\n",
        "<!DOCTYPE html><html>404</html>",
        "\0" * 5000,
        "version https://git-lfs.github.com/spec/v1",
    ):
        path.write_text(text)
        assert "not an image" in refused(path)


@pytest.mark.parametrize("share", [100, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["tif", "svs", "png", "jpg"])
def test_cut_files(tmp_path: Path, kind: str, share: float) -> None:
    """A cut file is refused, or what is lost is counted; never a full picture from half a file."""
    path = tmp_path / f"x.{kind}"
    if kind in ("png", "jpg"):
        Image.fromarray(picture()).save(path)
    else:
        svs(path) if kind == "svs" else write(path)
    data = path.read_bytes()
    path.write_bytes(data[: 100 if share == 100 else int(len(data) * share)])
    if kind in ("png", "jpg") or share == 100:
        refused(path)
        return
    slide = open_slide(path, mpp=0.5)
    slide.thumbnail(0.5)
    lost = slide.n_unreadable_px / (640 * 512)
    assert lost == pytest.approx(0.5, abs=0.15) if share == 0.5 else 0 < lost <= 0.05


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.svs")
    assert "a folder" in refused(tmp_path)
    (tmp_path / "dangling.svs").symlink_to(tmp_path / "gone.svs")
    assert "leads nowhere" in refused(tmp_path / "dangling.svs")
    (tmp_path / "a.svs").symlink_to(tmp_path / "b.svs")
    (tmp_path / "b.svs").symlink_to(tmp_path / "a.svs")
    refused(tmp_path / "a.svs")
    refused(tmp_path / ("x" * 400))
    refused(Path("nul\0byte.svs"))
    refused(tmp_path / "line\nbreak.svs")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in the file system are a Unix thing")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.svs")
    assert "pipe" in refused(tmp_path / "pipe.svs")
    assert "pipe or device" in refused(Path("/dev/zero"))


def test_picture_named_as_slide_needs_an_mpp(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "x.svs", format="PNG")
    refused(tmp_path / "x.svs", MppError, mpp=None)


PIXELS = {
    "16 bits": (np.uint16, (512, 640, 3), {}),
    "1 samples of 8 bits": (np.uint8, (512, 640), {"photometric": "minisblack"}),
    "4 samples of 8 bits": (np.uint8, (512, 640, 4), {"extrasamples": ["unspecified"]}),
    "4 samples": (np.uint8, (512, 640, 4), {"photometric": "separated"}),
    "5 samples": (np.uint8, (512, 640, 5), {"extrasamples": ["unspecified"] * 2}),
    "32 bits float": (np.float32, (512, 640, 3), {}),
    "colour space YCBCR": (np.uint8, (3, 512, 640), {"planarconfig": "separate", "photometric": "ycbcr"}),
    "compression WEBP": (np.uint8, (512, 640, 3), {"compression": "webp"}),
}


@pytest.mark.parametrize("found", PIXELS)
def test_pixels_that_are_not_rgb8(tmp_path: Path, found: str) -> None:
    dtype, shape, options = PIXELS[found]
    line = refused(write(tmp_path / "x.tif", np.ones(shape, dtype), **options))
    assert found in line
    assert "8-bit RGB" in line


@pytest.mark.parametrize("mode", ["L", "I;16", "CMYK", "1"])
def test_fields_that_are_not_rgb8(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.new(mode, (40, 30)).save(path)
    assert "not 8-bit RGB" in refused(path)


@pytest.mark.parametrize("side", [10_000, 12_000, 50_000, 2**31 - 1])
def test_picture_bomb(tmp_path: Path, side: int) -> None:
    assert "million" in refused(png_bomb(tmp_path / "b.png", side))


def patched(path: Path, page: int = 0, **tags: int) -> Path:
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in tags.items():
            file.pages[page].tags[name].overwrite(value)
    return path


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageWidth": 2**32 - 1}, {"ImageLength": 0}, {"ImageWidth": 0}, {"TileWidth": 0}, {"TileWidth": 65_535},
        {"ImageLength": 10_000_000}, {"Compression": 9999}, {"BitsPerSample": 16},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["tif", "svs"])
def test_impossible_tags(tmp_path: Path, tags: dict[str, object], kind: str) -> None:
    path = svs(tmp_path / "x.svs") if kind == "svs" else write(tmp_path / "x.tif")
    if "BitsPerSample" in tags:
        tags = {"BitsPerSample": (16, 16, 16)}
    refused(patched(path, **tags))  # type: ignore[arg-type]


def test_tile_larger_than_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", picture(100, 80))
    assert "tiles of 65520 x 65520" in refused(patched(path, TileWidth=65_520, TileLength=65_520))


def test_page_loop_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif")
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        at, n_tags = page.offset, len(page.tags)
    data = bytearray(path.read_bytes())
    data[at + 2 + 12 * n_tags : at + 6 + 12 * n_tags] = at.to_bytes(4, "little")  # the next page is this page
    path.write_bytes(data)
    with open_slide(path) as slide:
        assert len(slide.levels) == 1


# ---- tiles


def spoil(path: Path, index: int, how: str, number: int = 0) -> None:
    """Damage one tile of a page."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        page = file.pages[number]
        offsets, counts = list(page.dataoffsets), list(page.databytecounts)
        handle = file.filehandle
        if how == "noise":
            handle.seek(offsets[index])
            handle.write(np.random.default_rng(2).bytes(counts[index]))
        elif how == "half":
            handle.seek(offsets[index] + counts[index] // 2)
            handle.write(bytes(counts[index] - counts[index] // 2))
        elif how in ("zero count", "huge count"):
            counts[index] = 0 if how == "zero count" else 2**31
            page.tags["TileByteCounts"].overwrite(counts)
        elif how == "far offset":
            offsets[index] = 2**31
            page.tags["TileOffsets"].overwrite(offsets)


@pytest.mark.parametrize("how", ["noise", "half", "zero count", "huge count", "far offset"])
@pytest.mark.parametrize("reader", ["tif", "svs", "openslide"])
def test_one_bad_tile_costs_only_itself(tmp_path: Path, how: str, reader: str) -> None:
    path = svs(tmp_path / "x.svs") if reader != "tif" else write(tmp_path / "x.tif", compression="deflate")
    if reader == "openslide" and how == "far offset":
        pytest.skip("OpenSlide refuses the whole file")
    if reader == "openslide" and how == "half":
        pytest.skip("libjpeg fills the rest of a cut JPEG and OpenSlide does not tell")
    good = open_slide(path).thumbnail(0.25 if reader != "tif" else 0.5)
    spoil(path, 7, how)  # second row, third column of 5 x 4
    slide = OpenSlideSlide(path) if reader == "openslide" else open_slide(path)
    got = slide.thumbnail(slide.mpp)
    tile = (slice(128, 256), slice(256, 384))
    assert slide.n_unreadable_px == 128 * 128
    assert (got[tile] == 255).all()
    got[tile] = good[tile]
    np.testing.assert_array_equal(got, good)
    (box,) = slide.unreadable
    assert (box.x0 / slide.mpp, box.y0 / slide.mpp) == pytest.approx((256, 128))
    slide.read(Window(slide.level0, 260, 130, 10, 10))  # once more: it counts once
    assert slide.n_unreadable_px == 128 * 128


@pytest.mark.parametrize("how", ["noise", "zero count"])
def test_a_tile_lost_on_a_coarse_level_is_read_from_the_next_finer_one(tmp_path: Path, how: str) -> None:
    path = write_tiff(tmp_path / "x.tif", picture(), factors=(2, 4))
    good = open_slide(path).thumbnail(2.0)
    spoil(path, 0, how, number=2)
    with open_slide(path) as slide:
        np.testing.assert_allclose(slide.thumbnail(2.0).astype(int), good, atol=2)
        assert slide.unreadable == ()
    spoil(path, 0, how, number=1)
    spoil(path, 1, how)
    with open_slide(path) as slide:
        got = slide.thumbnail(2.0)
        assert slide.n_unreadable_px == 128 * 128, "level 0 has the rest of it"
    np.testing.assert_allclose(got[:32, :32].astype(int), good[:32, :32], atol=2)
    assert (got[1:31, 33:63] == 255).all()


def test_hole_through_openslide_is_white_and_counted(tmp_path: Path) -> None:
    path = svs(tmp_path / "x.svs")
    spoil(path, 0, "zero count")
    with OpenSlideSlide(path) as slide:
        assert (slide.read(Window(slide.level0, 0, 0, 100, 100)) == 255).all()
        assert slide.n_unreadable_px == 128 * 128


def test_a_slide_with_too_many_bad_tiles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tilscore.slide.base.MOST_BAD_PIECES", 3)
    path = write(tmp_path / "x.tif", compression="deflate")
    for index in range(4):
        spoil(path, index, "zero count")
    assert "tiles cannot be read" in refused(path)


def test_tile_that_unpacks_to_more_than_it_may(tmp_path: Path) -> None:
    """A JPEG of 8,000 x 8,000 px in the place of a tile is not decoded."""
    path = svs(tmp_path / "x.svs")
    bomb = cv2.imencode(".jpg", np.zeros((8000, 8000, 3), np.uint8))[1].tobytes()
    offset = path.stat().st_size
    with open(path, "ab") as f:
        f.write(bomb)
    with tifffile.TiffFile(path, mode="r+b") as file:
        page = file.pages[0]
        page.tags["TileOffsets"].overwrite([offset, *page.dataoffsets[1:]])
        page.tags["TileByteCounts"].overwrite([len(bomb), *page.databytecounts[1:]])
    with open_slide(path) as slide:
        slide.thumbnail(2.0)
        assert slide.n_unreadable_px == 128 * 128


def test_file_that_vanishes(tmp_path: Path) -> None:
    path = svs(tmp_path / "x.svs")
    slide = pickle.loads(pickle.dumps(open_slide(path)))  # as a worker gets it: not yet open
    path.unlink()
    with pytest.raises(SlideError, match="cannot be read"):
        slide.thumbnail(4.0)
