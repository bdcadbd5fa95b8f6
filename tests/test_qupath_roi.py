"""Drawn areas."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.errors import AnnotationError
from tilscore.qupath.roi import Polygon, read_areas
from tilscore.raster import fill_polygons
from tilscore.space import BoxUm, Grid

LEVEL0 = Grid(0.5, 2000, 1600)
SQUARE = [[100, 200], [500, 200], [500, 600], [100, 600], [100, 200]]
HOLE = [[200, 300], [300, 300], [300, 400], [200, 400], [200, 300]]


def read_roi(path: Path, level0: Grid, bounds_um: BoxUm | None = None) -> list[Polygon]:
    return [p for polygons in read_areas(path, level0, bounds_um).values() for p in polygons]


def write(tmp_path: Path, value: object) -> Path:
    path = tmp_path / "roi.geojson"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def polygon(*rings: list) -> dict:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry: dict) -> dict:
    return {"type": "Feature", "geometry": geometry}


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
    # Edges at 50, 100, 150, 200, 250, 300 um: of 4 um pixels, 100 and 200 are borders, 50 and 250 middles (12.5, 62.5).
    assert mask.sum() == 50 * 50 - 13 * 12
    assert mask[30, 30]
    assert not mask[43, 31], "the hole"
    assert not mask[20, 30]


def test_the_scanned_part_is_added(tmp_path: Path) -> None:
    path = write(tmp_path, polygon(SQUARE))
    here, there = read_roi(path, LEVEL0)[0][0], read_roi(path, LEVEL0, BoxUm(70, 30, 900, 700))[0][0]
    np.testing.assert_allclose(there - here, np.broadcast_to((70, 30), here.shape))


def test_a_drawing_that_is_not_there_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such file; check the path"):
        read_areas(tmp_path / "gone.geojson", LEVEL0)
    with pytest.raises(AnnotationError, match="not a file"):
        read_areas(tmp_path, LEVEL0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "not GeoJSON"),
        ("[" * 100_000, "not GeoJSON"),
        ("7", "not GeoJSON"),
        ({"type": "Polygone"}, "Polygone"),
        ({"type": "FeatureCollection", "features": []}, "no polygon"),
        ({"type": "Point", "coordinates": [1, 2]}, "no polygon"),
        (polygon([[0, 0], [10, 0], [20, 0], [0, 0]]), "size 0"),
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


def test_an_outline_that_crosses_itself_is_mended_as_in_training_sets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bow_tie = [[0, 0], [400, 400], [400, 0], [0, 400], [0, 0]]
    path = write(tmp_path, [feature(polygon(ring)) for ring in (bow_tie, [[x + 600, y] for x, y in SQUARE], bow_tie)])
    mask = fill_polygons(LEVEL0.at(4.0), read_roi(path, LEVEL0, BoxUm(0, 400, 900, 800)))
    assert mask[100:150, :50].mean() == pytest.approx(0.5, abs=0.02)
    assert mask[125, 5]
    assert mask[125, 45]
    assert not mask[105, 25]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"tilscore: {path}: 2 areas that cross themselves were mended")
    assert "200 200" in said, "in the drawing's own pixels"
    read_roi(write(tmp_path, polygon(SQUARE, HOLE)), LEVEL0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("far_px", [10, 1e5, 5e8])
def test_what_lies_outside_the_slide_is_cut_off(tmp_path: Path, far_px: float) -> None:
    low, high = -far_px, 800
    square = [[low, low], [high, low], [high, high], [low, high], [low, low]]
    polygons = read_roi(write(tmp_path, polygon(square)), LEVEL0)
    assert all(ring.min() >= 0 and ring.max() <= 400 for rings in polygons for ring in rings)
    mask = fill_polygons(LEVEL0.at(4.0), polygons)
    assert mask[:100, :100].all()
    assert mask.sum() == 100 * 100


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"none\.geojson"):
        read_roi(tmp_path / "none.geojson", LEVEL0)


def test_a_gzipped_drawing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "roi.geojson.gz"
    packed = gzip.compress(b"\xef\xbb\xbf" + json.dumps(polygon(SQUARE)).encode())
    path.write_bytes(packed)
    assert len(read_roi(path, LEVEL0)) == 1
    for damaged in (packed[:-20], packed[:12] + b"\xff" * 20 + packed[32:], packed[:2] + b"\x07" + packed[3:]):
        path.write_bytes(damaged)
        with pytest.raises(AnnotationError, match="is not GeoJSON") as caught:
            read_roi(path, LEVEL0)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr("tilscore.qupath.roi.LARGEST_BYTES", 5000)
    path.write_bytes(gzip.compress(b" " * 5001))
    with pytest.raises(AnnotationError, match=r"too large for a drawing \(found over 5000 bytes unpacked\)"):
        read_roi(path, LEVEL0)


GRID = Grid(4.0, 60, 50)


def test_a_zipped_drawing_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "area.geojson.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("area.geojson", json.dumps(polygon(SQUARE)))
    with pytest.raises(AnnotationError, match="is a zip archive; unpack it"):
        read_areas(path, LEVEL0)


def ring(*points: tuple[float, float]) -> np.ndarray:
    return np.array([*points, points[0]], float)


def test_pixels_count_by_their_centres() -> None:
    square = ring((40, 40), (80, 40), (80, 80), (40, 80))
    expected = np.zeros(GRID.shape, bool)
    expected[10:20, 10:20] = True
    np.testing.assert_array_equal(fill_polygons(GRID, [[square]]), expected)
    turns = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    disc = np.stack([100 + 30 * np.cos(turns), 100 + 30 * np.sin(turns)], 1)
    y, x = (np.indices(GRID.shape) + 0.5) * 4
    np.testing.assert_array_equal(fill_polygons(GRID, [[disc]]), np.hypot(x - 100, y - 100) < 29.999)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-40, 280), st.floats(-40, 240)), min_size=3, max_size=9),
    st.floats(-20, 260),
)
def test_areas_that_abut_share_no_pixel_and_leave_none_out(points: list[tuple[float, float]], cut_um: float) -> None:
    """Any polygon, cut by a vertical line, is the sum of its halves; shapely tells which centres it holds."""
    shape = shapely.Polygon(points).buffer(0)
    if shape.area < 1:
        return
    halves = [shape.intersection(shapely.box(*b)) for b in ((-99, -99, cut_um, 999), (cut_um, -99, 999, 999))]

    def filled(shape: shapely.Geometry) -> np.ndarray:
        parts = [p for p in getattr(shape, "geoms", [shape]) if p.geom_type == "Polygon" and not p.is_empty]
        return fill_polygons(GRID, [[np.array(r.coords) for r in (p.exterior, *p.interiors)] for p in parts])

    whole, (left, right) = filled(shape), map(filled, halves)
    y, x = (np.indices(GRID.shape) + 0.5) * 4
    near = shapely.distance(shape.boundary, shapely.points(x, y)) < 1e-6
    np.testing.assert_array_equal(whole[~near], shapely.contains_xy(shape, x, y)[~near])
    near |= abs(x - cut_um) < 1e-6
    np.testing.assert_array_equal((left ^ right)[~near], whole[~near])


@pytest.mark.parametrize(
    ("classification", "kind"),
    [
        ({"names": ["Ignore*", "Artefact"]}, "exclude"), ({"names": ["DCIS"]}, "benign"),
        ({"name": "Tumor"}, "roi"), ("Necrosis", "necrosis"), (None, "roi"),
        ({}, "roi"), ({"names": []}, "roi"), ({"name": ""}, "roi"), ({"name": None}, "roi"), ("", "roi"),
        ({"name": "Unclassified"}, "roi"), ({"name": "None", "color": [1, 2, 3]}, "roi"),
        ({"name": "Tumor: Positive"}, "roi"), ("DCIS: Negative", "benign"), ({"names": ["Necrosis: a"]}, "necrosis"),
    ],
)  # fmt: skip
def test_what_an_area_is_for_is_read_in_each_form(tmp_path: Path, classification: object, kind: str) -> None:
    value = {"type": "Feature", "geometry": polygon(SQUARE), "properties": {"classification": classification}}
    assert list(read_areas(write(tmp_path, value), LEVEL0)) == [kind]


def test_an_unclassified_area_counts_by_its_name(tmp_path: Path) -> None:
    properties = {"classification": {"name": "Unclassified"}, "name": "Artefact"}
    value = {"type": "Feature", "geometry": polygon(SQUARE), "properties": properties}
    assert list(read_areas(write(tmp_path, value), LEVEL0)) == ["exclude"]


def test_a_class_without_a_name_is_no_permission_to_score(tmp_path: Path) -> None:
    value = {"type": "Feature", "geometry": polygon(SQUARE), "properties": {"classification": {"color": [1, 2, 3]}}}
    with pytest.raises(AnnotationError, match="means nothing here"):
        read_areas(write(tmp_path, value), LEVEL0)


def test_points_of_any_class_may_lie_beside_the_area(tmp_path: Path) -> None:
    cell = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [5, 5]}}
    cell["properties"] = {"classification": {"name": "Immune cells"}}
    area = {"type": "Feature", "geometry": polygon(SQUARE), "properties": {"classification": {"name": "Tumor"}}}
    assert list(read_areas(write(tmp_path, [cell, area]), LEVEL0)) == ["roi"]


@pytest.mark.parametrize("told", ["detection", "cell", "tile", "tmaCore", "tma_core", "PathTileObject"])
@pytest.mark.parametrize("by_id", [False, True])
def test_what_nobody_drew_is_no_area(tmp_path: Path, told: str, by_id: bool) -> None:
    """Exporting all objects from QuPath must not make every tumour cell an area to score."""
    other = {"type": "Feature", "geometry": polygon(SQUARE), "properties": {"classification": {"name": "Tumor"}}}
    other |= {"id": told} if by_id else {}
    other["properties"] |= {} if by_id else {"objectType": told}
    with pytest.raises(AnnotationError, match=rf"no drawn area.*found 2, the first of type {told}\); export"):
        read_areas(write(tmp_path, [other, other]), LEVEL0)
    area = {"type": "Feature", "id": "PathAnnotationObject", "geometry": polygon(SQUARE), "properties": {}}
    area["properties"] = {"objectType": "annotation", "classification": {"name": "DCIS"}}
    assert list(read_areas(write(tmp_path, [other, area]), LEVEL0)) == ["benign"]
