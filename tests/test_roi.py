"""Drawn areas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tilscore.errors import AnnotationError
from tilscore.raster import fill_polygons
from tilscore.roi import read_roi
from tilscore.space import BoxUm, Grid

LEVEL0 = Grid(0.5, 2000, 1600)
SQUARE = [[100, 200], [500, 200], [500, 600], [100, 600], [100, 200]]
HOLE = [[200, 300], [300, 300], [300, 400], [200, 400], [200, 300]]


def write(tmp_path: Path, value: object) -> Path:
    path = tmp_path / "roi.geojson"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def polygon(*rings: list) -> dict:
    return {"type": "Polygon", "coordinates": list(rings)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda g: g,
        lambda g: {"type": "Feature", "geometry": g, "properties": {}},
        lambda g: [{"type": "Feature", "geometry": g}],
        lambda g: {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": g}]},
        lambda g: {"type": "MultiPolygon", "coordinates": [g["coordinates"]]},
        lambda g: {"type": "GeometryCollection", "geometries": [g, {"type": "Point", "coordinates": [1, 2]}]},
    ],
)
def test_every_wrapping_gives_the_same_area(tmp_path: Path, wrap) -> None:  # type: ignore[no-untyped-def]
    polygons = read_roi(write(tmp_path, wrap(polygon(SQUARE, HOLE))), LEVEL0)
    mask = fill_polygons(LEVEL0.at(4.0), polygons)
    area_um2 = mask.sum() * 16
    assert area_um2 == pytest.approx(200 * 200 - 50 * 50, rel=0.04)
    assert mask[30, 30]
    assert not mask[43, 31], "the hole"
    assert not mask[20, 30]


def test_the_scanned_part_is_added(tmp_path: Path) -> None:
    path = write(tmp_path, polygon(SQUARE))
    here, there = read_roi(path, LEVEL0)[0][0], read_roi(path, LEVEL0, BoxUm(70, 30, 900, 700))[0][0]
    np.testing.assert_allclose(there - here, np.broadcast_to((70, 30), here.shape))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "not GeoJSON"),
        ("[" * 100_000, "not GeoJSON"),
        ("7", "not GeoJSON"),
        ({"type": "Polygone"}, "Polygone"),
        ({"type": "FeatureCollection", "features": []}, "no polygon"),
        ({"type": "Point", "coordinates": [1, 2]}, "no polygon"),
        (polygon([[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]), "crosses itself"),
        (polygon([[0, 0], [10, 0], [20, 0], [0, 0]]), r"crosses itself|size 0"),
        (polygon([[0, 0], [10, 0]]), "four points"),
        (polygon([["a", 0], [10, 0], [1, 1], [0, 0]]), "no numbers"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 0], [5, 5], [0, 0]]]}', "not finite"),
        (polygon([[9000, 9000], [9100, 9000], [9100, 9100], [9000, 9000]]), "outside the slide"),
        ([[[[[[[[[[polygon(SQUARE)]]]]]]]]]], "too deeply"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1%s, 0], [5, 5], [0, 0]]]}' % ("0" * 400), "no numbers"),
        (polygon([[0, 0], [1e300, 0], [5, 5], [0, 0]]), "no slide has"),
        ({"type": "MultiPolygon", "coordinates": 7}, "no numbers"),
        (polygon([[-9, 0], [0, 0], [0, 9], [-9, 0]]), "outside the slide"),
    ],
)
def test_what_is_no_area_is_one_clear_line(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(AnnotationError, match=message) as caught:
        read_roi(write(tmp_path, value), LEVEL0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("far_px", [10, 1e5, 5e8])
def test_what_lies_outside_the_slide_is_cut_off(tmp_path: Path, far_px: float) -> None:
    low, high = -far_px, 800
    square = [[low, low], [high, low], [high, high], [low, high], [low, low]]
    polygons = read_roi(write(tmp_path, polygon(square)), LEVEL0)
    assert all(ring.min() >= 0 and ring.max() <= 400 for rings in polygons for ring in rings)
    mask = fill_polygons(LEVEL0.at(4.0), polygons)
    assert mask[:100, :100].all()
    assert mask.sum() == pytest.approx(100 * 100, rel=0.03)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"none\.geojson"):
        read_roi(tmp_path / "none.geojson", LEVEL0)
