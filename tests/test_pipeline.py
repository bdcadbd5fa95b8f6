"""The command line from slide to score, on a phantom and on whatever goes wrong."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest

from tilscore import NOTE, __version__, cli
from tilscore.cells import read_cells
from tilscore.cli import main
from tilscore.modelstore import list_models
from tilscore.overlay.slidepanel import area_text
from tilscore.phantom import PhantomConfig, write_phantom
from tilscore.raster import MADE_BY
from tilscore.results.artefacts import ARTEFACTS
from tilscore.results.provenance import settings_of

COLUMNS = (
    "slide_id,status,reasons,til_density_per_mm2,stil_area_pct,n_tils,stroma_mm2,tumour_mm2,tissue_mm2,"
    "mpp_um,mpp_source,model,seconds,til_density_low,til_density_high,stil_area_low,stil_area_high,"
    "infiltrated_area_pct,calibrated_stil_pct,itil_density_per_mm2,contact_itil_density_per_mm2,n_cores,site,specimen,"
    "settings,version"
)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phantom") / "ph.tif"
    write_phantom(path, PhantomConfig(size_mm=(1.4, 1.2), seed=3, til_density_per_mm2=1500))
    return path


def run(*args: object, out: Path, verb: str = "run") -> int:
    return main([verb, *map(str, args), "--out", str(out), "--quiet"])


def rows(out: Path) -> dict[str, dict[str, str]]:
    with open(out / "scores.csv", newline="", encoding="utf-8") as f:
        return {r["slide_id"]: r for r in csv.DictReader(f)}


@pytest.fixture(scope="module")
def done(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert run(phantom, out=out) == 0
    return out


def test_the_score_is_near_the_truth(phantom: Path, done: Path) -> None:
    truth = json.loads(phantom.with_suffix(".truth.json").read_text())
    row = rows(done)["ph"]
    assert (done / "scores.csv").read_text().startswith(COLUMNS + "\n")
    assert row["status"] == "ok"
    assert float(row["til_density_per_mm2"]) == pytest.approx(truth["til_density_per_mm2"], rel=0.15)
    assert float(row["stroma_mm2"]) == pytest.approx(truth["stroma_mm2"], rel=0.15)
    assert float(row["tissue_mm2"]) == pytest.approx(truth["tissue_mm2"], rel=0.05)
    assert row["model"].startswith("tilscore-lite@")
    notes = json.loads((done / "ph" / "provenance.json").read_text())
    assert (row["settings"], row["version"]) == (settings_of(notes), __version__)
    assert row["settings"]


def test_every_artefact_is_there_and_opens(done: Path) -> None:
    folder = done / "ph"
    wanted = {name for names in ARTEFACTS.values() for name in names} | {"provenance.json"}
    assert {p.name for p in folder.iterdir()} == wanted
    cells = read_cells(folder / "cells.parquet")
    assert len(cells) > 500
    assert cells.prob.min() > 0
    for name, mpp in (("regions.tif", 4.0), ("tissue.tif", 8.0)):
        with openslide.OpenSlide(folder / name) as slide:
            assert slide.dimensions[0] * mpp == pytest.approx(1400, abs=8)
            stated = slide.properties.get("openslide.mpp-x") or 1e4 / float(slide.properties["tiff.XResolution"])
            assert float(stated) == pytest.approx(mpp, rel=1e-3)
    notes = json.loads((folder / "provenance.json").read_text())
    assert set(notes["seconds"]) == {"tissue", "infer", "score", "overlay"}
    assert len(notes["model"]["sha256"]) == 64
    assert "://" not in (folder / "report.html").read_text(), "nothing is fetched"


def test_explain_counts_the_score_again(phantom: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(phantom), "--out", str(done), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["agrees"]
    assert made["slide_id"] == "ph"
    assert main(["explain", str(done / "ph")]) == 0
    assert rows(done)["ph"]["n_tils"] in capsys.readouterr().out.replace(",", "")


def test_stages_one_by_one_give_the_same(phantom: Path, done: Path, tmp_path: Path) -> None:
    for verb in ("tissue", "infer", "score", "overlay"):
        assert run(phantom, out=tmp_path, verb=verb) == 0
    one, two = (json.loads((o / "ph" / "score.json").read_text()) for o in (done, tmp_path))
    assert one == two


def test_a_stage_without_the_one_before_says_which(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb, missing, before in (
        ("infer", "tissue.tif: class map", "tissue"),
        ("score", "cells.parquet: table of cells", "infer"),
        ("overlay", "cells.parquet: table of cells", "infer"),
    ):
        assert run(phantom, out=tmp_path, verb=verb) == 1
        assert f"{missing} is not there; run `tilscore {before}` first\n" in capsys.readouterr().out
    assert {name: stage for stage, names in ARTEFACTS.items() for name in names if name in MADE_BY} == MADE_BY


def test_resume_leaves_what_is_done_alone(phantom: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (done / "ph" / "score.json").stat().st_mtime_ns
    assert run(phantom, "--resume", out=done) == 0
    assert "done before" in capsys.readouterr().out
    assert (done / "ph" / "score.json").stat().st_mtime_ns == before


def test_blocks_elsewhere_change_little(phantom: Path, done: Path, tmp_path: Path) -> None:
    """Another block size and origin: the cell count moves by less than 1 %."""
    config = tmp_path / "c.yaml"
    config.write_text("infer: {block_um: 200, origin_um: 76}\n")
    assert run(phantom, "--config", config, out=tmp_path) == 0
    n = [len(read_cells(o / "ph" / "cells.parquet")) for o in (done, tmp_path)]
    assert abs(n[0] - n[1]) < 0.01 * n[0]


def test_turned_views_find_about_the_same_cells_and_are_recorded(phantom: Path, done: Path, tmp_path: Path) -> None:
    assert run(phantom, "--turns", "2", out=tmp_path) == 0
    plain, both = (read_cells(o / "ph" / "cells.parquet") for o in (done, tmp_path))
    assert len(plain) != len(both) or (plain.prob != both.prob).any()
    assert abs(len(plain) - len(both)) < 0.05 * len(plain)
    notes = [json.loads((o / "ph" / "provenance.json").read_text())["infer"]["turns"] for o in (done, tmp_path)]
    assert notes == [1, 2]


def test_three_views_are_wrong_usage(phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(phantom, "--turns", "3", out=tmp_path) == 2
    assert "turned views" in capsys.readouterr().err


def test_a_drawn_area_is_the_bed(phantom: Path, tmp_path: Path) -> None:
    ring = [[600, 600], [1800, 600], [1800, 1600], [600, 1600], [600, 600]]
    left = [[600, 600], [800, 600], [800, 1600], [600, 1600], [600, 600]]
    roi = tmp_path / "roi.geojson"
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [r]}, "properties": {"classification": c}}
        for r, c in ((ring, {"name": "ROI"}), (left, {"name": "Fold"}))
    ]
    roi.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert run(phantom, "--roi", roi, "--geojson", out=tmp_path) == 0
    account = json.loads((tmp_path / "ph" / "score.json").read_text())["area_account_mm2"]
    bed = sum(account[k] for k in ("tumour", "stroma", "fat", "necrosis", "other"))
    assert bed == pytest.approx(0.5 * 0.5, rel=0.05)
    report = (tmp_path / "ph" / "report.html").read_text(encoding="utf-8")
    assert f'<th scope="row">Fold</th><td class="num">{area_text(account["fold"])}</td>' in report
    with gzip.open(tmp_path / "ph" / "cells.geojson.gz", "rt", encoding="utf-8") as f:
        features = json.load(f)["features"]
    assert len(features) == len(read_cells(tmp_path / "ph" / "cells.parquet"))


def test_a_drawing_is_of_one_slide(phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The area of one slide, laid on all of an archive, would score the wrong tissue without a word."""
    roi = tmp_path / "roi.geojson"
    assert run(phantom, tmp_path / "other.svs", "--roi", roi, out=tmp_path / "out") == 2
    assert "column roi" in capsys.readouterr().err
    table = tmp_path / "slides.csv"
    table.write_text(f"path,roi\n{phantom},own.geojson\nother.svs,\n")
    assert run(table, "--roi", roi, out=tmp_path / "out") == 1


def test_a_blank_field_is_not_evaluable(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((600, 600, 3), 243, np.uint8))
    assert run(tmp_path / "blank.png", "--mpp", 0.5, out=tmp_path / "out") == 0
    row = rows(tmp_path / "out")["blank"]
    assert (row["status"], row["reasons"]) == ("not_evaluable", "no_tissue")
    assert row["til_density_per_mm2"] == row["stil_area_pct"] == row["n_tils"] == ""


def test_bad_slides_fail_and_the_good_one_is_scored(
    phantom: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.svs").touch()
    (tmp_path / "text.svs").write_text("<html>not a slide</html>")
    (tmp_path / "cut.tif").write_bytes(phantom.read_bytes()[: phantom.stat().st_size // 2])
    cv2.imwrite(str(tmp_path / "nompp.png"), np.full((64, 64, 3), 200, np.uint8))
    names = ["empty.svs", "text.svs", "cut.tif", "nompp.png", "missing.svs"]
    table = tmp_path / "slides.csv"
    table.write_text("path\n" + "".join(f"{n}\n" for n in names) + f"{phantom}\n")
    assert run(table, out=tmp_path / "out") == 1
    found = rows(tmp_path / "out")
    assert found["ph"]["status"] == "ok"
    for name in names:
        row = found[name.split(".")[0]]
        assert row["status"] == "failed"
        assert row["til_density_per_mm2"] == row["n_tils"] == ""
        folder = tmp_path / "out" / name.split(".")[0]
        assert {p.name for p in folder.iterdir()} <= {"error.json", "provenance.json"}
        assert json.loads((folder / "error.json").read_text())["trace"] == []
    assert found["nompp"]["reasons"] == "mpp"
    text = capsys.readouterr()
    assert "Traceback" not in text.out + text.err
    assert "--mpp" in text.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "x.svs", "--out", "o", "--model", "no-such"], "no such model"),
        (["run", "x.svs", "--out", "/proc/none"], "cannot be written"),
        (["run", "x.csv", "--out", "o"], "x.csv"),
        (["phantom", "p.tif", "--size-mm", "0"], "--size-mm"),
        (["phantom", "p.tif", "--til-density", "-5"], "cannot be drawn"),
        (["phantom", "p.png"], "is written as TIFF"),
        (["evaluate", "--config", "x", "--data", "."], "--model or --folds"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_empty_name_is_not_the_folder_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script whose variable is not set (`--out "$RESULTS"`) must not write where it stands."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["tissue", "x.svs", "--out", ""])
    assert caught.value.code == 2
    assert "--out: is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_unknown_key_of_the_settings_names_the_nearest(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("score: {bed: {radius: 100}}\n")
    assert run(phantom, "--config", config, out=tmp_path) == 2
    assert "did you mean 'radius_um'" in capsys.readouterr().err


def test_shipped_models_are_small_and_whole() -> None:
    models = {m.config.name: m for m in list_models()}
    assert "tilscore-lite" in models
    for model in models.values():
        assert (model.folder / "model.safetensors").stat().st_size < 20e6
        assert (model.folder / "README.md").exists()
        model.load()


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    heavy = ("torch", "cv2", "tiatoolbox", "pandas", "matplotlib")
    code = f"import sys, tilscore.cli as c; c.parser(); print([m for m in {heavy} if m in sys.modules])"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
    assert time.perf_counter() - start < 5


def test_every_verb_and_option_says_what_it_is() -> None:
    silent = []

    def walk(parser: argparse.ArgumentParser) -> None:
        assert NOTE in (parser.description or ""), parser.prog
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for sub in action._name_parser_map.values():
                    walk(sub)
            elif not action.help:
                silent.append(f"{parser.prog} {action.dest}")
        assert "%%" not in parser.format_help()

    walk(cli.parser())
    assert not silent
