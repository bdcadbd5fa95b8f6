"""The pictures of annotated sets: those that a run would read, as it would read them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_sets import picture, text

from tilscore.datasets import read_plain, read_set
from tilscore.datasets.derive import with_derived_regions
from tilscore.datasets.reading import read_rgb
from tilscore.errors import DataError, MppError, SlideError
from tilscore.slide import open_slide


@pytest.mark.parametrize("deep", [256, 1])
def test_a_picture_of_16_bits_is_refused(tmp_path: Path, deep: int) -> None:
    """Grey levels of 8 or 12 bits in such a file would be read as black."""
    pixels = picture(tmp_path / "a.png").astype(np.uint16) * deep
    text(tmp_path / "a_cells.csv", "x_px,y_px,label\n3.5,4.5,stromal\n")
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    with pytest.raises(DataError, match=r"a\.png: is not an 8-bit colour image \(found \(30, 40, 3\) uint16\)"):
        read_plain(tmp_path, 0.5)
    with pytest.raises(SlideError, match="is not 8-bit RGB"):
        open_slide(tmp_path / "a.png", mpp=0.5)


def test_a_grey_picture_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), picture(tmp_path / "b.png")[..., 0])
    with pytest.raises(DataError, match=r"is not an 8-bit colour image \(found \(30, 40\) uint8\)"):
        read_rgb(tmp_path / "a.jpg")


def test_transparent_parts_are_white_as_in_a_run(tmp_path: Path) -> None:
    pixels = np.dstack([picture(tmp_path / "a.png"), np.full((30, 40), 255, np.uint8)])
    pixels[:10, :, 3], pixels[10:20, :, 3] = 0, 100
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    slide = open_slide(tmp_path / "a.png", mpp=0.5)
    got = read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(got, slide.read(slide.level0.window))
    assert (got[:10] == 255).all()


def test_the_fourth_channel_of_a_bmp_means_nothing(tmp_path: Path) -> None:
    """Programs fill it with zeros: taken for transparency, all would be white."""
    pixels = picture(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "a.bmp"), np.dstack([pixels[..., ::-1], np.zeros((30, 40), np.uint8)]))
    assert cv2.imread(str(tmp_path / "a.bmp"), cv2.IMREAD_UNCHANGED).shape == (30, 40, 4)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.bmp"), pixels)


def drawing(path: Path, side: float = 20.0) -> None:
    """An annotated square with a nucleus in it."""
    square = [[[5, 5], [5 + side, 5], [5 + side, 5 + side], [5, 5 + side], [5, 5]]]
    area = {"geometry": {"type": "Polygon", "coordinates": square}, "properties": {"name": "ROI"}}
    dot = {"geometry": {"type": "Point", "coordinates": [5.1, 5.1]}, "properties": {"classification": "Stroma"}}
    text(path, json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", **f} for f in (area, dot)]}))


@pytest.mark.parametrize("beside", ["a.jpg", "a.tif"])
def test_a_drawing_beside_two_pictures_names_its_own(tmp_path: Path, beside: str) -> None:
    """A thumbnail beside its slide would be learned from, at another resolution."""
    pixels = picture(tmp_path / "a.png")
    drawing(tmp_path / "a.geojson")
    for other in ("a.xml", "a.txt", "a.db"):
        text(tmp_path / other, "not a picture")
    assert len(read_set("qupath", tmp_path, mpp=0.5)) == 1
    picture(tmp_path / beside, seed=1)
    with pytest.raises(
        DataError, match=r"two images have its name \(found a\.\w+, a\.\w+\); call it .*a\.png\.geojson"
    ):
        read_set("qupath", tmp_path, mpp=0.5)
    (tmp_path / "a.geojson").rename(tmp_path / "a.png.geojson")
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    np.testing.assert_array_equal(got.image, pixels[5:25, 5:25])


def test_a_picture_without_a_resolution_asks_for_that_of_the_set(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    drawing(tmp_path / "a.geojson")
    with pytest.raises(MppError, match=r"a\.png: the file states no resolution; give the set its `mpp`"):
        read_set("qupath", tmp_path)


def test_a_field_of_less_than_a_micron_has_no_regions(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    drawing(tmp_path / "a.geojson", side=0.5)
    (got,) = read_set("qupath", tmp_path, mpp=0.3)
    assert got.image.shape == (1, 1, 3)
    assert with_derived_regions(got).regions is None
