"""Drawings made in QuPath, on fields and on whole slides."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tiny_sets import EPI, INF, STR, nuclei, picture

from tilscore.datasets import UNTYPED, read_set
from tilscore.datasets.describe import describe_sets
from tilscore.errors import AnnotationError, DataError, MppError
from tilscore.labels import UNKNOWN, Region


def ring(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def polygon(*box: float) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [ring(*box)]}


def points(*xy: tuple[float, float]) -> dict[str, Any]:
    return {"type": "MultiPoint", "coordinates": [list(p) for p in xy]}


def drawn(geometry: dict[str, Any], word: str = "", kind: str = "annotation", **more: Any) -> dict[str, Any]:
    """A feature as QuPath 0.5 writes it."""
    properties: dict[str, Any] = {"objectType": kind}
    if word:
        properties["classification"] = {"name": word, "color": [200, 0, 0]}
    if "name" in more:
        properties["name"] = more.pop("name")
    one = {"type": "Feature", "id": "5a9f6f0c-4a3d-4f5e-9a44-0d1f7b8a4c11", "geometry": geometry}
    return {**one, "properties": properties, **more}


def export(path: Path, *features: dict[str, Any]) -> None:
    text = json.dumps({"type": "FeatureCollection", "features": list(features)}).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def test_a_field(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", 200, 160)
    export(
        tmp_path / "a.geojson",
        drawn(polygon(20, 30, 120, 110), name="ROI"),
        drawn(points((30.25, 40.5), (60, 50)), "Immune cells"),
        drawn({"type": "Point", "coordinates": [70, 60]}, "Tumor: Ki67+"),
        drawn(points((80, 90))),
        drawn(polygon(40, 60, 50, 70), "Stroma", kind="detection"),
        drawn(polygon(90, 90, 100, 104), "Stroma", kind="cell", nucleusGeometry=polygon(94, 94, 98, 98)),
        drawn({"type": "LineString", "coordinates": [[0, 0], [9, 9]]}),
        drawn(polygon(0, 0, 64, 64), kind="tile"),
    )
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    want = [(30.25, 40.5, INF), (60, 50, INF), (70, 60, EPI), (80, 90, UNTYPED), (45, 65, STR), (96, 96, STR)]
    assert nuclei(got) == sorted((x - 20, y - 30, c) for x, y, c in want)
    np.testing.assert_array_equal(got.image, pixels[30:110, 20:120])
    assert got.known is not None
    assert got.known.all()
    assert (got.mpp, got.group, got.regions) == (0.5, "a", None)


def test_areas_overlap_and_are_bounded(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 300, 260)
    hole = {"type": "Polygon", "coordinates": [ring(0, 0, 200, 200), ring(100, 100, 110, 110)]}
    export(
        tmp_path / "a.geojson.gz",
        drawn(polygon(10, 10, 70, 70), "Tumor"),
        drawn(hole, "Stroma"),
        drawn(polygon(120, 120, 190, 250), "Necrosis"),
        drawn(polygon(140, 0, 150, 10), "Ignore*"),
        drawn(polygon(0, 0, 200, 200), "Region*"),
    )
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert got.regions is not None
    assert got.known is not None
    assert got.regions.shape == (200, 200)
    assert (got.regions[11:69, 11:69] == Region.TUMOUR).all(), "the smaller one lies on top"
    assert (got.regions[72:98, 2:198] == Region.STROMA).all()
    assert (got.regions[102:108, 102:108] == UNKNOWN).all(), "a hole"
    assert (got.regions[122:199, 122:188] == Region.NECROSIS).all()
    assert (got.regions[1:9, 141:149] == UNKNOWN).all(), "ignored"
    assert not got.known.any(), "nobody marked nuclei, so none is a negative"


def test_an_outline_that_crosses_itself_keeps_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "a.png", 200, 100)
    bow_tie = [[0, 0], [200, 100], [200, 0], [0, 100], [0, 0]]
    export(tmp_path / "a.geojson", drawn({"type": "Polygon", "coordinates": [bow_tie]}, "Tumor"))
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert got.regions is not None
    half = (got.regions[:, :100] == Region.TUMOUR).mean(), (got.regions[:, 100:] == Region.TUMOUR).mean()
    np.testing.assert_allclose(half, 0.5, atol=0.02)
    assert "an area that crosses itself was mended" in capsys.readouterr().err


def test_a_nucleus_belongs_to_one_area_and_one_outside_is_told(tmp_path: Path) -> None:
    """Two triangles that share the middle of their boxes: each nucleus is taught once."""
    picture(tmp_path / "a.png", 200, 160)
    lower = {"type": "Polygon", "coordinates": [[[0, 0], [0, 100], [100, 100], [0, 0]]]}
    upper = {"type": "Polygon", "coordinates": [[[20, 0], [120, 0], [120, 100], [20, 0]]]}
    points = ((30, 60), (90, 40), (40, 30), (110, 98), (150, 20), (20, 150))
    marks = [drawn({"type": "Point", "coordinates": list(xy)}, "Lymphocyte") for xy in points]
    export(tmp_path / "a.geojson", drawn(lower, "Region*"), drawn(upper, "Region*"), *marks)
    first, second = read_set("qupath", tmp_path, mpp=0.5)
    assert nuclei(first) == [(30.0, 60.0, INF), (40.0, 30.0, INF)], "its own, and one that lies between the two"
    assert nuclei(second) == [(70.0, 40.0, INF), (90.0, 98.0, INF)]
    assert (first.n_left_out, second.n_left_out) == (2, 0)
    assert "left out    2 nuclei marked outside every annotated area" in describe_sets([first, second])


def test_outlined_nuclei_are_told_from_areas_by_their_size(tmp_path: Path) -> None:
    """`Tumor` is a class of both: 20 um across is a nucleus, 50 um an area."""
    picture(tmp_path / "a.png", 200, 160)
    nucleus, area = drawn(polygon(10, 10, 50, 50), "Tumor"), drawn(polygon(60, 20, 160, 120), "Tumor")
    export(tmp_path / "a.geojson", nucleus, area)
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert nuclei(got) == [(30.0, 30.0, EPI)]
    assert got.regions is not None
    assert got.known is not None
    assert got.known.all()
    assert (got.regions[22:118, 62:158] == Region.TUMOUR).all()
    assert (got.regions[:, :58] == UNKNOWN).all()
    export(tmp_path / "a.geojson", drawn(polygon(60, 20, 160, 120), "Lymphocyte"))
    with pytest.raises(AnnotationError, match=r"an area with a class of nuclei \(found Lymphocyte, 2500 um2\)"):
        read_set("qupath", tmp_path, mpp=0.5)
    export(tmp_path / "a.geojson", drawn(polygon(60, 20, 160, 120), "Necroses"))
    with pytest.raises(DataError, match=r"Necroses.*nearest known class: Necrosis"):
        read_set("qupath", tmp_path, mpp=0.5)


def test_without_marks_an_area_says_that_there_is_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 200, 160)
    export(tmp_path / "a.geojson", drawn(polygon(0, 0, 100, 100)), drawn(polygon(20, 20, 40, 40), "Ignore*"))
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert got.known is not None
    assert got.known[:18].all()
    assert not got.known[22:38, 22:38].any()


def test_a_field_without_area_is_annotated_as_a_whole(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 200, 160)
    export(tmp_path / "a.geojson", drawn(points((199, 1)), "Lymphocyte"))
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert got.image.shape == (160, 200, 3)
    assert got.known is not None
    assert got.known.all()


def slide_of(path: Path, mpp: float = 0.25) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 255, (512, 768, 3), np.uint8)
    per_cm = round(1e4 / mpp)
    options = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), **options)  # type: ignore[arg-type]
    return pixels


def test_a_slide_gives_a_sample_an_area(tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    (tmp_path / "annotations").mkdir()
    pixels = slide_of(tmp_path / "slides" / "TCGA-A1-A0SP-01Z-00-DX1.tif")
    export(
        tmp_path / "annotations" / "TCGA-A1-A0SP-01Z-00-DX1.geojson",
        drawn(polygon(400, 300, 600, 400), name="Annotated area"),
        drawn(polygon(10, 20, 210, 220)),
        drawn({"type": "Polygon", "coordinates": [[[500, 10], [700, 10], [500, 210], [500, 10]]]}, "ROI"),
        drawn(points((15, 25), (450, 310), (650, 200)), "Immune cells"),
    )
    got = read_set("qupath", tmp_path)
    assert [s.image.shape[:2] for s in got] == [(200, 200), (200, 200), (100, 200)]
    assert {s.group for s in got} == {"TCGA-A1-A0SP"}, "areas of a slide stay together"
    assert [nuclei(s) for s in got] == [[(150.0, 190.0, INF)], [(5.0, 5.0, INF)], [(50.0, 10.0, INF)]]
    np.testing.assert_array_equal(got[1].image, pixels[20:220, 10:210])
    known = got[0].known
    assert known is not None
    assert known[50, 50]
    assert not known[150, 150]
    assert known.mean() == pytest.approx(0.5, abs=0.01), "a triangle is half of its box"
    assert got[0].mpp == pytest.approx(0.25)


def test_a_slide_keeps_the_resolution_that_it_states(tmp_path: Path) -> None:
    """`mpp` is for images that state none that can be true; a 40x slide is not read at twice its size."""
    pixels = slide_of(tmp_path / "s.tif")
    export(tmp_path / "s.geojson", drawn(polygon(0, 0, 100, 100), "ROI"))
    assert [s.mpp for s in read_set("qupath", tmp_path, mpp=0.26)] == [0.25]
    with pytest.raises(MppError, match=r"another resolution than `mpp` \(found 0.25 and 0.5 um/px\); leave `mpp` out"):
        read_set("qupath", tmp_path, mpp=0.5)
    slide_of(tmp_path / "s.tif", mpp=1.0)
    with pytest.raises(MppError, match="another resolution"):  # too coarse to be taken, but stated
        read_set("qupath", tmp_path, mpp=0.5)
    print_setting = {"resolution": (72, 72), "resolutionunit": "INCH"}
    tifffile.imwrite(tmp_path / "s.tif", pixels, photometric="rgb", tile=(256, 256), **print_setting)  # type: ignore[arg-type]
    assert [s.mpp for s in read_set("qupath", tmp_path, mpp=0.5)] == [0.5]


def test_coordinates_are_of_the_scanned_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QuPath opens the scanned part of a slide: a drawing is shifted by its corner."""
    from tilscore.slide.tiff_reader import TiffSlide
    from tilscore.space import BoxUm

    pixels = slide_of(tmp_path / "s.tif")
    inside = TiffSlide.__init__

    def scanned(self: TiffSlide, *args: Any, **options: Any) -> None:
        inside(self, *args, **options)
        self.bounds_um = BoxUm(100 * 0.25, 60 * 0.25, 700 * 0.25, 500 * 0.25)

    monkeypatch.setattr(TiffSlide, "__init__", scanned)
    export(tmp_path / "s.geojson", drawn(polygon(10, 20, 110, 90), "ROI"), drawn(points((12, 24)), "Tumor"))
    (got,) = read_set("qupath", tmp_path)
    np.testing.assert_array_equal(got.image, pixels[80:150, 110:210])
    assert nuclei(got) == [(2.0, 4.0, EPI)]


def test_old_exports_and_names_of_classes(tmp_path: Path) -> None:
    """QuPath 0.2 wrote the type as the identifier; 0.4 and later write derived classes as a list."""
    picture(tmp_path / "a.png", 100, 100)
    old = {"type": "Feature", "id": "PathDetectionObject", "geometry": polygon(10, 10, 14, 14)}
    names = {"objectType": "annotation", "classification": {"names": ["Immune cells", "CD8"]}}
    new = {"type": "Feature", "geometry": points((50, 60)), "properties": names}
    (tmp_path / "a.json").write_text(json.dumps([{**old, "properties": {"classification": {"name": "Tumor"}}}, new]))
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert nuclei(got) == [(12.0, 12.0, EPI), (50.0, 60.0, INF)]


def test_facts_of_the_fields(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.png", 60, 60)
        export(tmp_path / f"{name}.geojson", drawn(points((5, 5)), "Tumor"))
    (tmp_path / "fields.csv").write_text("name,patient,centre,scanner\na,P1,Here,GT450\nb,P1,Here,\n")
    a, b = read_set("qupath", tmp_path, mpp=0.5, scanner="vs200", organ="breast")
    assert a.group == b.group == "P1"
    assert (a.scanner, b.scanner, a.organ, a.centre) == ("gt450", "vs200", "breast", "Here")
    (tmp_path / "fields.csv").write_text("name,patient\na.png,P1\nb,P2\n")
    assert [s.patient for s in read_set("qupath", tmp_path, mpp=0.5)] == ["P1", "P2"], "by the name of the file too"
    (tmp_path / "fields.csv").write_text("name,patient\na.png,P1\na,P2\n")
    with pytest.raises(DataError, match="there twice"):
        read_set("qupath", tmp_path, mpp=0.5)
    (tmp_path / "fields.csv").write_text("name,patient\na.tif,P1\nb,P1\n")
    with pytest.raises(DataError, match=r"names a field that is not there \(found a.tif\)"):
        read_set("qupath", tmp_path, mpp=0.5)
    (tmp_path / "fields.csv").write_text("name,person\na,P1\n")
    with pytest.raises(DataError, match="column person"):
        read_set("qupath", tmp_path, mpp=0.5)


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    export(path, drawn(points((5, 5)), "Tumor"))
    with pytest.raises(DataError, match="its image is missing"):
        read_set("qupath", tmp_path)
    picture(tmp_path / "a.png", 100, 100)
    with pytest.raises(MppError):
        read_set("qupath", tmp_path)
    export(path, drawn(points((5, 5)), "Lymphozyte"))
    with pytest.raises(DataError, match=r"Lymphozyte.*nearest known class: Lymphocyte"):
        read_set("qupath", tmp_path, mpp=0.5)
    export(path, drawn(points((500, 5)), "Tumor"))
    with pytest.raises(AnnotationError, match="1 nuclei and 0 annotated areas off the image"):
        read_set("qupath", tmp_path, mpp=0.5)
    for bad in ('{"type": "FeatureColl', "[1, 2]", '{"a": 1}'):
        path.write_text(bad)
        with pytest.raises(AnnotationError, match="is not GeoJSON"):
            read_set("qupath", tmp_path, mpp=0.5)
    export(path, drawn({"type": "Point", "coordinates": ["x", 1]}, "Tumor"))
    with pytest.raises(AnnotationError, match="a shape that is none"):
        read_set("qupath", tmp_path, mpp=0.5)


def test_a_slide_needs_an_area(tmp_path: Path) -> None:
    slide_of(tmp_path / "s.tif")
    export(tmp_path / "s.geojson", drawn(points((5, 5)), "Tumor"))
    with pytest.raises(AnnotationError, match=r"no annotated area on a slide; draw a rectangle"):
        read_set("qupath", tmp_path)


def test_cells_that_this_project_writes_read_back(tmp_path: Path) -> None:
    from tilscore.cells import Cells
    from tilscore.qupath.cells import write_cells_geojson
    from tilscore.space import Grid

    picture(tmp_path / "a.png", 200, 160)
    x, y = np.array([10.25, 70.5]), np.array([20.0, 33.25])
    none = np.zeros(2, np.uint8)
    cells = Cells(x * 0.5, y * 0.5, np.array([INF, STR], np.uint8), np.ones(2), none)
    write_cells_geojson(tmp_path / "a.geojson", cells, Grid(0.5, 200, 160))
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert nuclei(got) == [(10.25, 20.0, INF), (70.5, 33.25, STR)]
