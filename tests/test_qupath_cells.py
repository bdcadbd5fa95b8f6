"""Cells for QuPath."""

from __future__ import annotations

import gzip
import json
import uuid
from pathlib import Path

import numpy as np
import pytest

from tilscore.cells import Cells
from tilscore.errors import OutputError
from tilscore.labels import CELL_COLOURS, Cell
from tilscore.qupath.cells import write_cells_geojson
from tilscore.space import BoxUm, Grid

LEVEL0 = Grid(0.25, 80_000, 60_000)


def some_cells(n: int) -> Cells:
    rng = np.random.default_rng(n)
    return Cells(
        rng.uniform(0, LEVEL0.width_um, n),
        rng.uniform(0, LEVEL0.height_um, n),
        rng.integers(0, len(Cell), n),
        rng.random(n),
    )


def read(path: Path) -> list[dict]:  # type: ignore[type-arg]
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    value = json.loads(text)
    assert value["type"] == "FeatureCollection"
    return list(value["features"])


@pytest.mark.parametrize("name", ["cells.geojson", "cells.geojson.gz"])
@pytest.mark.parametrize("n", [0, 1, 10_000, 20_001])
def test_every_cell_is_a_detection_in_its_place(tmp_path: Path, name: str, n: int) -> None:
    cells = some_cells(n)
    write_cells_geojson(tmp_path / name, cells, LEVEL0)
    features = read(tmp_path / name)
    assert len(features) == n
    assert len({uuid.UUID(f["id"]) for f in features}) == n
    assert {uuid.UUID(f["id"]).version for f in features} <= {4}
    xy = np.array([f["geometry"]["coordinates"] for f in features]).reshape(n, 2)
    np.testing.assert_allclose(xy * LEVEL0.mpp, np.column_stack([cells.x_um, cells.y_um]), atol=0.0026)
    for f, label, prob in zip(features, cells.label, cells.prob, strict=True):
        kind = Cell(label)
        assert (f["type"], f["geometry"]["type"]) == ("Feature", "Point")
        assert f["properties"] == {
            "objectType": "detection",
            "classification": {"name": kind.name.capitalize(), "color": list(CELL_COLOURS[kind])},
            "measurements": {"prob": pytest.approx(float(prob), abs=5.1e-4)},
        }


def test_the_scanned_part_is_the_origin(tmp_path: Path) -> None:
    cells = Cells(*(np.array([v]) for v in (1000.0, 500.0, 0, 0.9)))
    write_cells_geojson(tmp_path / "a.geojson", cells, LEVEL0, BoxUm(250, 100, 9000, 8000))
    assert read(tmp_path / "a.geojson")[0]["geometry"]["coordinates"] == [3000, 1600]


def test_the_same_cells_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_cells_geojson(tmp_path / name, some_cells(500), LEVEL0)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[3:8] == bytes(5), "no name and no time in the header"


def test_equal_cells_have_ids_of_their_own(tmp_path: Path) -> None:
    cells = some_cells(1)[np.zeros(20_001, np.int64)]
    write_cells_geojson(tmp_path / "a.geojson", cells, LEVEL0)
    assert len({f["id"] for f in read(tmp_path / "a.geojson")}) == 20_001


def test_a_cell_without_a_place_leaves_no_file(tmp_path: Path) -> None:
    cells = Cells(*(np.array([v]) for v in (np.nan, 500.0, 0, 0.9)))
    with pytest.raises(OutputError, match="without a position"):
        write_cells_geojson(tmp_path / "a.geojson", cells, LEVEL0)
    assert list(tmp_path.iterdir()) == []
