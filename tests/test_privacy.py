"""What is handed on tells no folder: it may be named for a patient, a user or a server."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import tiny_model
from tiny_sets import picture, text

from tilscore.cli import main
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation

FOLDER = "Mueller_Anna"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (folder := tmp_path / FOLDER).mkdir()
    return folder


def telling(folder: Path) -> set[str]:
    """The files below a folder in which the name of the folder above stands."""
    found = set()
    for path in (p for p in folder.rglob("*") if p.is_file()):
        data = [path.read_bytes()]
        if path.suffix == ".xlsx":
            with zipfile.ZipFile(path) as book:
                data = [book.read(name) for name in book.namelist()]
        if any(FOLDER.encode() in part for part in data):
            found.add(path.name)
    return found


def test_of_a_slide_only_the_records_of_a_run_tell_where_it_was(home: Path) -> None:
    cv2.imwrite(str(home / "a.png"), np.full((300, 300, 3), 243, np.uint8))
    (home / "bad.png").write_text("none")
    ring = [[20, 20], [200, 20], [200, 200], [20, 20]]
    (home / "roi.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    (home / "curve.json").write_text('{"input": "til_density_per_mm2", "knots_x": [0, 9], "knots_y": [0, 9]}')
    (home / "c.yaml").write_text(f"score: {{calibration: '{home}/curve.json'}}\n")
    (home / "slides.csv").write_text("path,roi\na.png,roi.geojson\nbad.png,\n")
    args = [home / "slides.csv", "--config", home / "c.yaml", "--mpp", 0.5, "--out", home / "out", "--device", "cpu"]
    assert main(["run", *map(str, args), "--quiet"]) == 1
    assert telling(home / "out") == {"provenance.json", "error.json"}
    report = (home / "out" / "a" / "report.html").read_text(encoding="utf-8")
    assert "<td>a.png</td>" in report
    assert "<td>curve.json</td>" in report
    assert json.loads((home / "out" / "a" / "score.json").read_text())["constants"]["calibration"] == "curve.json"


def test_a_cohorts_tables_and_page_tell_no_folder(home: Path) -> None:
    write_simulation(home / "co", SimulateConfig(patients=16, pairs=14, series=0))
    for verb, more in (("analyse", []), ("rank", []), ("assays", ["--assays", home / "co" / "assays.csv"])):
        args = [home / "co" / "slides.csv", "--results", home / "co", "--out", home / "coh", *more]
        assert main(["cohort", verb, *map(str, args)]) == 0
    agree = [home / "co" / "scores.csv", "--pred", "til_density_low", "--truth", "til_density_high"]
    assert main(["cohort", "agree", *map(str, agree), "--out", str(home / "coh" / "agreement")]) == 0
    assert len(list((home / "coh").rglob("*.xlsx"))) == 3
    assert telling(home / "coh") == set()
    assert ",SIM-001_baseline_B1_1.svs," in (home / "coh" / "slides.csv").read_text()


def test_an_evaluation_names_the_model_and_not_its_folder(home: Path) -> None:
    picture(home / "data" / "fields" / "d0.png")
    text(home / "data" / "fields" / "d0_cells.csv", "x_px,y_px,label\n10.5,10.5,stromal\n")
    tiny_model(home / "model")
    config = Path(__file__).parents[1] / "configs" / "train" / "tiny.yaml"
    args = ["--config", config, "--data", home / "data", "--model", home / "model", "--bootstrap", 2]
    made = ["--out", home / "made" / "e.json", "--html", home / "made" / "e.html"]
    assert main(["evaluate", *map(str, [*args, *made])]) == 0
    assert telling(home / "made") == set()
    assert json.loads((home / "made" / "e.json").read_text())["title"].startswith("small@")
