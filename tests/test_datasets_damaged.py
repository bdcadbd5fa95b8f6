"""Files of published layouts that are not as published: a line that says what and where, and no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import EPI, nuclei, picture, text

from tilscore.datasets import read_set
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
