"""Which files of a folder are drawings made in QuPath, and of which image."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from test_datasets_qupath import drawn, export, points, polygon
from tiny_sets import EPI, nuclei, picture

from tilscore.datasets import read_set
from tilscore.errors import AnnotationError, DataError
from tilscore.labels import Region


def test_two_drawings_of_one_image_are_an_error(tmp_path: Path) -> None:
    """As two fields, one image could be on both sides of a fold."""
    picture(tmp_path / "S1.png", 100, 100)
    for name in ("S1.geojson", "S1.png.geojson"):
        export(tmp_path / name, drawn(points((5, 5)), "Tumor"))
    what = r"two drawings of one image \(found S1.geojson and S1.png.geojson\); put their objects into one file"
    with pytest.raises(DataError, match=what):
        read_set("qupath", tmp_path, mpp=0.5)


def test_drawings_of_every_kind_and_place_are_found(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    drawings = ["S1.geojson", "S2.json", "S3.GEOJSON", "S4.GeoJSON.gz", "annotations/S5.geojson", "annotations/S6.JSON"]
    for i, name in enumerate(drawings):
        picture(tmp_path / f"S{i + 1}.png", 60, 60)
        export(tmp_path / name, drawn(points((5, 5)), "Tumor"))
    (tmp_path / "project.json").write_text('{"version": 1}')
    (tmp_path / "README.json").write_text("{}")
    (tmp_path / "README.md").write_text("of this set")
    assert sorted(s.name for s in read_set("qupath", tmp_path, mpp=0.5)) == ["S1", "S2", "S3", "S4", "S5", "S6"]


def test_a_damaged_gzip_is_one_clear_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 100, 100)
    packed = gzip.compress(b"[]" * 500)
    (tmp_path / "a.geojson.gz").write_bytes(packed[:10] + b"\xff" * 8 + packed[18:])
    with pytest.raises(AnnotationError, match="is not GeoJSON"):
        read_set("qupath", tmp_path, mpp=0.5)


def test_a_collection_is_read_part_by_part(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 200, 160)
    parts = [points((5, 5)), {"type": "GeometryCollection", "geometries": [polygon(60, 20, 160, 120)]}]
    export(tmp_path / "a.geojson", drawn({"type": "GeometryCollection", "geometries": parts}, "Tumor"))
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert nuclei(got) == [(5.0, 5.0, EPI)]
    assert got.regions is not None
    assert (got.regions[22:118, 62:158] == Region.TUMOUR).all()


def test_a_region_of_interest_is_an_annotated_area(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 200, 160)
    export(tmp_path / "a.geojson", drawn(polygon(0, 0, 100, 80), "Region of interest"))
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert got.image.shape == (80, 100, 3)
