"""Ink, dust, frames, folds, blur and lost tiles are told from tissue; truth is drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from drawn_tissue import INKS, MPP, SIDE, box, ink, nuclei, render, share, stain

from tilscore.errors import SlideError
from tilscore.labels import Area
from tilscore.slide import open_slide
from tilscore.space import Grid
from tilscore.tissue import TissueConfig, find_tissue, segment
from tilscore.tissue.focus import FocusConfig


@pytest.mark.parametrize("name", INKS)
def test_pen(name: str) -> None:
    tissue, mark, far = box(100, 280, 40, 260), box(20, 60, 30, 270), box(100, 280, 40, 260)
    areas = segment(ink(render(stain(tissue)), mark, INKS[name]), MPP)
    assert share(areas, mark, Area.PEN) > 0.95
    assert share(areas, far, Area.TISSUE) > 0.98
    assert np.count_nonzero(areas == Area.TISSUE) == pytest.approx(tissue.sum(), rel=0.03)


@pytest.mark.parametrize("name", ["green", "black", "blue"])
def test_pen_over_tissue_wins(name: str) -> None:
    tissue, mark = box(40, 260, 40, 260), box(120, 170, 10, 290)
    areas = segment(ink(render(stain(tissue)), mark, INKS[name]), MPP)
    assert share(areas, mark & tissue, Area.PEN) > 0.9
    assert share(areas, tissue & ~box(110, 180, 0, 300), Area.TISSUE) > 0.98


@pytest.mark.parametrize("strength", [0.18, 0.25])
def test_faded_black_ink_takes_no_tissue_with_it(strength: float) -> None:
    """Too pale for a pen mark, streaky: the tissue that it crosses had been dropped with it, as neutral on average."""
    tissue, mark = box(200, 250, 60, 130), box(0, 300, 85, 115)
    streaks = strength * np.clip(np.random.default_rng(4).normal(1, 0.3, (SIDE, SIDE)), 0, 2) * mark
    areas = segment(render(stain(tissue, (0.08, 0.06)) + streaks[..., None]), MPP)
    assert share(areas, tissue & ~box(0, 300, 80, 120), Area.TISSUE) > 0.95
    assert share(areas, box(0, 185, 0, 300), Area.TISSUE) < 0.01


@pytest.mark.parametrize("name", INKS)
def test_all_pen(name: str) -> None:
    image = ink(render(np.zeros((SIDE, SIDE, 3))), np.ones((SIDE, SIDE), bool), INKS[name])
    assert not (segment(image, MPP) == Area.TISSUE).any()


def test_dust_smears_and_coverslip_edges_are_glass() -> None:
    rng = np.random.default_rng(3)
    od = np.zeros((SIDE, SIDE, 3))
    for y, x in rng.integers(5, SIDE - 5, (60, 2)):
        od[y : y + 2, x : x + 2] = 0.8
    od[:, 280:282] = 0.3
    od[15:17] = 0.15
    od += 0.03 * np.exp(-((np.mgrid[:SIDE, :SIDE] - 150) ** 2).sum(0) / 200)[..., None]
    specks = stain(box(60, 64, 60, 64)) + stain(box(200, 205, 100, 106))
    assert not (segment(render(od + specks), MPP) == Area.TISSUE).any()


def test_dark_frame_is_glass() -> None:
    free, touching = box(90, 150, 90, 220), box(170, 220, 30, 220)
    image = render(stain(free | touching))
    image[:25], image[-10:], image[:, :30], image[:, -4:] = 20, 20, 20, 20
    areas = segment(image, MPP)
    assert np.count_nonzero(areas) == pytest.approx((free | touching).sum(), rel=0.06)
    assert share(areas, free, Area.TISSUE) > 0.99
    assert share(areas, touching, Area.TISSUE) > 0.96
    assert not areas[:, :28].any()


def test_fold_is_flagged_and_dense_nuclei_are_not() -> None:
    tissue, fold = box(20, 280, 20, 280), box(60, 240, 100, 112)
    nest = (np.mgrid[:SIDE, :SIDE] - np.array([150, 200])[:, None, None]).astype(float)
    lymphoid = np.hypot(*nest) < 30
    band = box(250, 265, 40, 240)
    od = stain(tissue & ~lymphoid & ~band) + stain(lymphoid | band, (0.75, 0.10))
    areas = segment(render(od * np.where(fold, 2.2, 1.0)[..., None]), MPP)
    assert share(areas, fold, Area.FOLD) > 0.8
    assert np.count_nonzero((areas == Area.FOLD) & ~fold) < 0.25 * fold.sum()
    assert share(areas, lymphoid | band, Area.TISSUE) > 0.98


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_blur_is_flagged_where_it_is(tmp_path: Path, strength: float) -> None:
    side, mpp = 1600, 0.5
    sharp = nuclei(side, mpp, strength)
    image = sharp.copy()
    image[400:1200, 400:1200] = cv2.GaussianBlur(sharp, (0, 0), 3.0 / mpp)[400:1200, 400:1200]
    path = tmp_path / "field.png"
    cv2.imwrite(str(path), image[..., ::-1])
    with open_slide(path, mpp=mpp) as slide:
        areas = find_tissue(slide)
        small_blocks = find_tissue(slide, TissueConfig(focus=FocusConfig(block_px=64)))
        unchecked = find_tissue(slide, TissueConfig(focus=None))
    assert areas.grid == Grid(8.0, 100, 100)
    soft = areas.mask(Area.BLUR)
    truth = box(25, 75, 25, 75, side=100)
    assert soft[truth].mean() > 0.9
    assert soft[~truth].mean() < 0.02
    assert np.argwhere(soft).mean(axis=0) == pytest.approx([49.5, 49.5], abs=1.0)
    assert (small_blocks.values == areas.values).all()
    assert (unchecked.values == Area.TISSUE).mean() > 0.98


LOST = {
    "half a core and all below": ((16, 56), (40, 64), "7[5-9]"),
    "all below the glass under a core": ((8, 24), (32, 64), "8[5-9]"),
    "tiles in the glass": ((8, 24), (41, 46), None),
}


@pytest.mark.parametrize("case", LOST)
def test_lost_tissue_is_not_glass(tmp_path: Path, case: str) -> None:
    """Rows of tiles that are lost count as a whole, also those that touch no tissue that is left."""
    (top, bottom), (first, last), share_pct = LOST[case]
    image = cv2.resize(render(stain(box(top, bottom, 24, 40, side=64))), None, fx=8, fy=8)
    path = tmp_path / "cut.tif"
    tifffile.imwrite(
        path, image, tile=(64, 64), photometric="rgb", compression="deflate", resolution=(1e4, 1e4), resolutionunit=3
    )
    with tifffile.TiffFile(path, mode="r+b") as file:
        tag, counts = file.pages[0].tags["TileByteCounts"], list(file.pages[0].databytecounts)
        counts[first:last] = [0] * (last - first)
        tag.overwrite(counts)
    cfg = TissueConfig(focus=None, min_tissue_um2=1000)
    with open_slide(path, mpp=1.0, allow_upsampling=True) as slide:
        if share_pct is None:
            assert find_tissue(slide, cfg).mask(Area.TISSUE).sum() > 200
            assert len(slide.unreadable) == 5
        else:
            with pytest.raises(SlideError, match=rf"tissue cannot be read \(found {share_pct}\."):
                find_tissue(slide, cfg)
