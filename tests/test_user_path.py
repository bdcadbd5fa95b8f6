"""A user's path: annotate in QuPath, fine-tune, evaluate, add to the store, score a slide with the model by name."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file

from tilscore.backends.devices import computes_int8
from tilscore.cells import read_cells
from tilscore.cli import main
from tilscore.labels import Cell
from tilscore.modelstore import find_model
from tilscore.phantom import PhantomConfig, training_tile, write_phantom

REPO = Path(__file__).parents[1]
SIZE_PX, MPP = 224, 0.5


def qupath_object(geometry: dict, name: str) -> dict:
    """An object as QuPath exports it."""
    properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
    return {"type": "Feature", "id": str(uuid.uuid4()), "geometry": geometry, "properties": properties}


def annotate(folder: Path, seed: int) -> int:
    """One field and what a pathologist would draw on it: a rectangle, and a set of points a class; how many points."""
    n_points = 0
    image, cells, _ = training_tile(seed=seed, size_px=SIZE_PX, mpp=MPP)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f"field{seed}.png")
    ring = [[0, 0], [SIZE_PX, 0], [SIZE_PX, SIZE_PX], [0, SIZE_PX], [0, 0]]
    objects = [qupath_object({"type": "Polygon", "coordinates": [ring]}, "ROI")]
    for one in Cell:
        own = cells.of(one)
        xy = [[float(x) / MPP, float(y) / MPP] for x, y in zip(own.x_um, own.y_um, strict=True)]
        xy = [p for p in xy if min(p) >= 0 and max(p) < SIZE_PX]
        n_points += len(xy)
        if xy:
            objects.append(qupath_object({"type": "MultiPoint", "coordinates": xy}, one.name.capitalize()))
    text = json.dumps({"type": "FeatureCollection", "features": objects})
    (folder / f"field{seed}.geojson").write_text(text, encoding="utf-8")
    return n_points


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The recipe's settings, cut to one epoch of two small steps."""
    values = yaml.safe_load((REPO / "configs" / "train" / "fine-tune.yaml").read_text())
    values |= {"phantoms": {"n": 0}, "steps": 2, "steps_per_epoch": 2, "batch": 2, "crop_px": 64, "folds": 3}
    values["sets"][0]["mpp"] = MPP
    (tmp_path / "tune.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "tune.yaml"


def test_from_annotated_fields_to_a_score(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TILSCORE_MODELS", str(tmp_path / "store"))
    n_cells = [annotate(tmp_path / "data" / "fields", seed) for seed in (11, 12, 14)]
    assert min(n_cells) > 5
    sets = ["--config", str(config), "--data", str(tmp_path / "data")]

    run = tmp_path / "run"
    assert main(["train", *sets, "--out", str(run), "--fold", "0", "--quiet"]) == 0
    before, after = (load_file(m / "model.safetensors") for m in (find_model("tilscore-lite").folder, run / "model"))
    assert any((before[k] != after[k]).any() for k in before if not k.startswith("activations."))
    assert (run / "held_out.json").is_file()

    assert (
        main(
            [
                "evaluate",
                *sets,
                "--model",
                str(run / "model"),
                "--out",
                str(tmp_path / "figures.json"),
                "--bootstrap",
                "20",
            ]
        )
        == 0
    )
    figures = json.loads((tmp_path / "figures.json").read_text())
    (pool,) = figures["pools"]
    assert (pool["n_fields"], pool["n_nuclei"]) == (3, sum(n_cells))  # all that was drawn was read
    assert pool["figures"]["detection/f1"]["value"] > 0.8  # two steps do not undo what the shipped model knows

    assert main(["models", "add", str(run / "model"), "--name", "clinic-a"]) == 0
    assert main(["models", "verify", "clinic-a"]) == 0
    capsys.readouterr()
    assert main(["models", "list"]) == 0
    ident = find_model("clinic-a").ident
    assert ident.startswith("clinic-a@")
    assert ident in capsys.readouterr().out

    write_phantom(tmp_path / "slide.tif", PhantomConfig(size_mm=(0.5, 0.4), seed=5))
    out = tmp_path / "results"
    slide = [str(tmp_path / "slide.tif"), "--out", str(out), "--device", "cpu", "--workers", "0", "--quiet"]
    assert main(["run", *slide, "--model", "clinic-a"]) == 0
    backend = json.loads((out / "slide" / "provenance.json").read_text())["infer"]["backend"]
    assert backend == ("openvino-cpu-int8" if computes_int8() else "openvino-cpu")  # training observed the activations
    scores = pd.read_csv(out / "scores.csv")
    assert scores["status"].tolist() in (["ok"], ["not_evaluable"])
    assert scores["model"].tolist() == [ident]
    assert len(read_cells(out / "slide" / "cells.parquet")) > 20
