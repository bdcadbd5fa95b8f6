"""Fields, workers, handles and what a slide tells of itself."""

from __future__ import annotations

import json
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiffs import gradient, noise, write_tiff

from tilscore.cli import main
from tilscore.errors import MppError
from tilscore.info import describe, format_info
from tilscore.slide import Slide, open_slide, tiled
from tilscore.slide.openslide_reader import OpenSlideSlide
from tilscore.slide.tiff_reader import TiffSlide


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_fields(tmp_path: Path, suffix: str) -> None:
    pixels = np.rint(gradient()).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"f.{suffix}", quality=98, dpi=(300, 300))
    with pytest.raises(MppError, match="--mpp"):
        open_slide(tmp_path / f"f.{suffix}")
    slide = open_slide(tmp_path / f"f.{suffix}", mpp=0.5)
    assert slide.is_field
    assert (slide.reader, slide.mpp_source) == ("field", "given")
    assert abs(slide.read(slide.level0.window).astype(int) - pixels).max() <= 4


def test_transparent_field_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 3, 4), np.uint8)
    rgba[1, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "t.png")
    slide = open_slide(tmp_path / "t.png", mpp=0.5)
    np.testing.assert_array_equal(slide.read(slide.level0.window)[:, 0, 0], [255, 0, 255, 255])


def test_content_not_name_decides(tmp_path: Path) -> None:
    tiff = write_tiff(tmp_path / "slide.tif", noise())
    os.rename(tiff, tmp_path / "slide.jpg")
    assert open_slide(tmp_path / "slide.jpg").reader == "tiff"


@pytest.mark.parametrize("suffix", ["svs", "ndpi", "scn", "mrxs"])
def test_tiff_under_another_suffix(tmp_path: Path, suffix: str) -> None:
    """A TIFF is what it holds; tifffile takes any that is named .ndpi for Hamamatsu's and finds no page in it."""
    path = write_tiff(tmp_path / f"x.{suffix}", noise(), mpp=0.5)
    with open_slide(path) as slide:
        assert slide.reader == "tiff"
        assert slide.mpp == pytest.approx(0.5)
        assert (slide.read(slide.level0.window) == noise()).mean() > 0.9


def _mean_in_worker(slide: Slide) -> float:
    return float(slide.read(slide.level0.window).mean())


@pytest.mark.parametrize("kind", ["tif", "openslide", "png"])
def test_open_slide_travels_to_workers(tmp_path: Path, kind: str) -> None:
    if kind == "tif":
        slide = open_slide(write_tiff(tmp_path / "s.tif", noise()))
    elif kind == "openslide":
        slide = OpenSlideSlide(write_tiff(tmp_path / "s.tif", noise()))
    else:
        Image.fromarray(noise()).save(tmp_path / "s.png")
        slide = open_slide(tmp_path / "s.png", mpp=0.5)
    mean = _mean_in_worker(slide)
    assert len(pickle.dumps(slide)) < 10_000  # neither handle nor pixels
    for method in ("fork", "spawn") if kind == "tif" else ("fork",):
        with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
            assert pool.submit(_mean_in_worker, slide).result(60) == mean


SHARED: list[Slide] = []


def _owned_by_worker() -> tuple[float, bool]:
    return _mean_in_worker(SHARED[0]), SHARED[0]._owner == os.getpid()


@pytest.mark.parametrize("kind", [TiffSlide, OpenSlideSlide])
def test_handle_that_a_fork_inherits_is_not_used(tmp_path: Path, kind: type[Slide]) -> None:
    SHARED[:] = [kind(write_tiff(tmp_path / "s.tif", noise()))]
    mean = _mean_in_worker(SHARED[0])
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        assert pool.submit(_owned_by_worker).result(60) == (mean, True)


def test_fingerprint_tells_slides_apart(tmp_path: Path) -> None:
    a = open_slide(write_tiff(tmp_path / "a.tif", noise()))
    other = noise()
    other[0, 0] += 1
    b = open_slide(write_tiff(tmp_path / "b.tif", other))
    assert a.fingerprint() != b.fingerprint()
    assert a.fingerprint() == open_slide(a.path, mpp=0.3).fingerprint()  # of the image, not of its settings


def test_no_file_stays_open(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise())
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        with open_slide(path) as slide:
            slide.thumbnail(4.0)
        with OpenSlideSlide(path) as slide:
            slide.thumbnail(4.0)
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)
    with pytest.raises(ValueError, match="closed"):
        slide.thumbnail(4.0)


def test_the_tiles_decoded_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled, "CACHE_BYTES", 5 * 128 * 128 * 3)
    with open_slide(write_tiff(tmp_path / "a.tif", noise())) as slide:
        for _ in range(2):
            assert (slide.read(slide.level0.window) == noise()).all()
        file = slide._held()
        assert file.n_bytes == sum(tile.nbytes for tile in file.cache.values()) <= tiled.CACHE_BYTES
        assert len(file.cache) >= 5


def test_info(tmp_path: Path) -> None:
    with open_slide(write_tiff(tmp_path / "a.tif", noise(), mpp=0.6)) as slide:
        facts = describe(slide)
        assert facts["size_um"] == [420.0, 324.0]
        assert facts["flags"] == ["low_resolution"]
        text = format_info(facts)
    assert "700 x 540 px" in text
    assert "0.6 um/px (tiff-resolution)" in text


def test_info_tells_every_slide_in_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "c.png"):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "b.png").touch()
    names = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png", "d.png")]
    assert main(["info", *names, "--mpp", "0.5"]) == 1
    said = capsys.readouterr()
    blocks = said.out.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [f"path        {name}" for name in names]
    assert blocks[1] == f"path        {names[1]}\nerror       {names[1]}: file is empty; copy the slide again"
    assert "no such file" in blocks[3]
    assert said.err == "tilscore: 2 of 4 slides cannot be read\n"
    assert main(["info", *names, "--mpp", "0.5", "--json"]) == 1
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [fact["path"] for fact in facts] == names
    assert [fact.get("code") for fact in facts] == [None, "slide_unreadable", None, "slide_unreadable"]
    assert main(["info", names[0], "--mpp", "0.5"]) == 0
    assert capsys.readouterr().err == ""
