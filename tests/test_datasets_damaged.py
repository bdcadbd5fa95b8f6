"""Files of published layouts that are not as published: a line that says what and where, and no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from badfiles import png_bomb
from scipy.io import savemat
from tiny_sets import EPI, nuclei, picture, squares, text

from tilscore.datasets import read_set
from tilscore.datasets.reading import read_mask, read_mat, read_rgb
from tilscore.errors import DataError


def coco_file(root: Path, edit: Callable[[dict[str, Any]], object] = bool) -> None:
    picture(root / "a.png")
    held: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "Neoplastic"}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 3, "bbox": [2, 4, 6, 8], "segmentation": []}],
    }
    edit(held)
    text(root / "set.json", json.dumps(held))


@pytest.mark.parametrize("shape", [[], [[]], None])
def test_coco_objects_without_an_outline_have_their_box(tmp_path: Path, shape: Any) -> None:
    coco_file(tmp_path, lambda held: held["annotations"][0].update(segmentation=shape))
    (got,) = read_set("coco", tmp_path)
    assert nuclei(got) == [(5.0, 8.0, EPI)]


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("images", "id"),
        ("images", "file_name"),
        ("annotations", "image_id"),
        ("annotations", "category_id"),
        ("categories", "id"),
        ("categories", "name"),
    ],
)
def test_coco_entries_without_a_key_are_named(tmp_path: Path, part: str, key: str) -> None:
    coco_file(tmp_path, lambda held: held[part][0].pop(key))
    with pytest.raises(DataError, match=rf"set\.json.*{part}\[0\] without {key}"):
        read_set("coco", tmp_path)


def test_coco_parts_that_are_no_lists_are_an_error(tmp_path: Path) -> None:
    coco_file(tmp_path, lambda held: held.update(images={"a.png": 1}))
    with pytest.raises(DataError, match=r"images\[0\] without id"):
        read_set("coco", tmp_path)


def test_tiger_objects_without_a_box_are_named(tmp_path: Path) -> None:
    part = tmp_path / "tissue-cells"
    picture(part / "images" / "a.png")
    held = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "lymphocytes and plasma cells"}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 1}],
    }
    text(part / "tiger-coco.json", json.dumps(held))
    with pytest.raises(DataError, match=r"object without box \(found id 7: 'bbox'\)"):
        read_set("tiger", tmp_path)


def consep(root: Path, value: float) -> None:
    picture(root / "Train" / "Images" / "train_1.png")
    inst, types = np.zeros((30, 40)), np.full((30, 40), 2.0)
    inst[4:8, 4:8], inst[0, 0] = 1, value
    (root / "Train" / "Labels").mkdir(parents=True)
    savemat(root / "Train" / "Labels" / "train_1.mat", {"inst_map": inst, "type_map": types})


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_number_of_a_nucleus_that_is_none_is_an_error(tmp_path: Path, value: float) -> None:
    consep(tmp_path, value)
    with pytest.raises(DataError, match=rf"train_1\.mat: a map holds a value.*found {value}"):
        read_set("consep", tmp_path)


def test_a_missing_matlab_file_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.mat: MATLAB file is missing; unpack"):
        read_mat(tmp_path / "a.mat", "inst_map")


def test_lizard_has_a_class_a_nucleus(tmp_path: Path) -> None:
    picture(tmp_path / "Lizard_Images1" / "consep_1.png")
    (tmp_path / "Labels").mkdir()
    held = {"inst_map": np.eye(30, 40), "id": np.array([[1], [2]]), "class": np.array([[3]])}
    savemat(tmp_path / "Labels" / "consep_1.mat", held)
    with pytest.raises(DataError, match=r"consep_1\.mat: not one class a nucleus \(found 2 id, 1 class\)"):
        read_set("lizard", tmp_path)


@pytest.mark.parametrize("shape", [(2, 3), (1, 3), (2, 4)])
def test_centres_of_crchisto_are_rows_of_x_and_y(tmp_path: Path, shape: tuple[int, int]) -> None:
    place = tmp_path / "Detection" / "img1"
    place.mkdir(parents=True)
    for word in ("epithelial", "fibroblast", "inflammatory", "others"):
        (tmp_path / "Classification" / "img1").mkdir(parents=True, exist_ok=True)
        savemat(tmp_path / "Classification" / "img1" / f"img1_{word}.mat", {"detection": np.zeros((0, 0))})
    cv2.imwrite(str(place / "img1.bmp"), np.full((30, 40, 3), 200, np.uint8))
    savemat(place / "img1_detection.mat", {"detection": np.full(shape, 9.0)})
    with pytest.raises(DataError, match=r"img1_detection\.mat: detection is no array \[n 2\]"):
        read_set("crchisto", tmp_path)


@pytest.mark.parametrize("layout", ["conic", "pannuke"])
def test_arrays_of_pictures_have_colours_of_8_bits(tmp_path: Path, layout: str) -> None:
    np.save(tmp_path / "labels.npy", np.zeros((1, 64, 64, 2), np.uint16))
    np.save(tmp_path / "masks.npy", np.zeros((1, 64, 64, 6)))
    np.save(tmp_path / "types.npy", np.array(["Breast"]))
    text(tmp_path / "patch_info.csv", "patch_info\nconsep_1-0000\n")
    np.save(tmp_path / "images.npy", np.full((1, 64, 64, 3), 0.8))
    with pytest.raises(DataError, match=r"images\.npy: grey levels .* \(found float64 up to 0\.8\); multiply"):
        read_set(layout, tmp_path)
    np.save(tmp_path / "images.npy", np.full((1, 64, 64), 200, np.uint8))
    with pytest.raises(DataError, match=r"images\.npy: pictures are no array \[n h w 3\] \(found \(1, 64, 64\)\)"):
        read_set(layout, tmp_path)


def test_a_folder_above_or_below_that_of_lizard_says_which_to_give(tmp_path: Path) -> None:
    root = tmp_path / "lizard"
    labels = root / "lizard_labels" / "Lizard_Labels" / "Labels"
    labels.mkdir(parents=True)
    held = {"inst_map": squares((2, 4)), "id": np.array([[1]]), "class": np.array([[3]])}
    for name, part in (("consep_1", 1), ("dpath_4", 2)):
        savemat(labels / f"{name}.mat", held)
        picture(root / f"lizard_images{part}" / f"Lizard_Images{part}" / f"{name}.png")
    assert len(read_set("lizard", tmp_path)) == 2, "nothing else lies there"
    for below in (root / "lizard_labels", labels, root / "lizard_images1"):
        with pytest.raises(DataError, match=f"{below.name}: .* below this folder.*that holds lizard_images1"):
            read_set("lizard", below)
    second = root / "lizard_images2" / "Lizard_Images2"
    second.rename(tmp_path / "not unpacked")
    with pytest.raises(DataError, match=r"no dpath_4\.png.*that holds lizard_images1"):
        read_set("lizard", root)
    (tmp_path / "not unpacked").rename(second)
    (tmp_path / "consep" / "Test" / "Labels").mkdir(parents=True)
    savemat(tmp_path / "consep" / "Test" / "Labels" / "test_1.mat", held)
    with pytest.raises(DataError, match=r"several sets below this folder \(found consep/Test/Labels, lizard/"):
        read_set("lizard", tmp_path)
    assert len(read_set("lizard", root)) == 2


def test_a_picture_too_large_to_decode_is_told(tmp_path: Path) -> None:
    """Of 100,000 x 100,000 px: OpenCV and Pillow raise errors of their own for it."""
    for name in ("a.png", "a_regions.png"):
        png_bomb(tmp_path / name, 100_000)
    with pytest.raises(DataError, match=r"a\.png: picture cannot be decoded .*cut it into smaller pictures"):
        read_rgb(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a_regions\.png: picture cannot be decoded"):
        read_mask(tmp_path / "a_regions.png", (10, 10))
