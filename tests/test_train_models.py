"""The sets of a training by their names, and the names and calibrations of the models that come out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny_sets import mask, picture, sample, text

from tilscore.cli import main
from tilscore.config import load_config
from tilscore.errors import ConfigError, ModelError, UsageError
from tilscore.labels import Region
from tilscore.modelstore import find_model, save_model
from tilscore.network.config import Calibration, ModelConfig
from tilscore.network.nets import TilNet
from tilscore.network.quantise import observe
from tilscore.train import PhantomSetConfig, SetConfig, TrainConfig, quantise_model, read_sets, split, train
from tilscore.train.crossval import inherited_from, learned_from
from tilscore.train.run import _inherited

REPO = Path(__file__).parents[1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four fields of noise with a nucleus each, in the project's own layout."""
    for i in range(4):
        picture(tmp_path / "data" / "fields" / f"d{i}.png", seed=i)
        text(tmp_path / "data" / "fields" / f"d{i}_cells.csv", "x_px,y_px,label\n10.5,10.5,stromal\n")
    return tmp_path / "data"


def test_sets_are_told_apart_by_name(data: Path) -> None:
    """Two sets of one folder (or one called as the phantoms) would take each other's weight and place."""
    labels, images = np.zeros((1, 64, 64, 2), np.uint16), np.zeros((1, 64, 64, 3), np.uint8)
    np.save(data / "fields" / "labels.npy", labels)
    np.save(data / "fields" / "images.npy", images)
    pd.DataFrame({"patch_info": ["p_1-0000"]}).to_csv(data / "fields" / "patch_info.csv", index=False)
    plain = SetConfig("fields", mpp=0.5)
    other = SetConfig("fields", name="patches", format="conic", train_only=True)
    cfg = TrainConfig("m", (plain, other))
    samples = read_sets(cfg, data)
    assert {s.source for s in samples} == {"fields", "patches"}
    assert {s.source for s in split(samples, cfg, 0)[1]} == {"fields"}
    with pytest.raises(ConfigError, match="sets: names no set to learn from"):
        read_sets(replace(cfg, sets=()), data)
    for name in ("", "phantom"):
        with pytest.raises(ConfigError, match=r"two sets have one name.*`name`"):
            read_sets(replace(cfg, sets=(plain, replace(other, name=name))), data)
    with pytest.raises(ConfigError, match=r"two sets hold the same field \(found d0 in fields and again\)"):
        read_sets(replace(cfg, sets=(plain, replace(plain, name="again", folder="./fields"))), data)


def test_calibration_is_tested_before_the_model_is_written(data: Path, tmp_path: Path) -> None:
    config = str(REPO / "configs/train/tiny.yaml")
    torch.manual_seed(0)
    run, model = tmp_path / "run", tmp_path / "m"
    for folder in (run / "model", model):
        save_model(folder, TilNet(), ModelConfig(name="m"))
    (run / "run.json").write_text(json.dumps({"held_out": ["fields/d0"]}))
    before = (model / "config.json").read_text()
    args = ["evaluate", "--config", config, "--data", str(data), "--folds", str(run), "--calibrate", str(model)]
    assert main(args) == 1, "one field alone has no other to test on"
    assert main([*args, "--threshold", "0.5"]) == 2
    assert main([*args[:-1], "tilscore-lite"]) == 2, "the shipped model is not changed"
    assert (model / "config.json").read_text() == before
    (run / "run.json").write_text(json.dumps({"held_out": ["fields/d0", "fields/d1"]}))
    assert main(args) == 0
    assert find_model(str(model)).config.calibration.fitted_on == "2 held-out fields"


def test_a_copy_of_a_model_is_calibrated_on_fields_it_never_saw(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the shipped model, no model of other weights, and none on fields that it learned from."""
    monkeypatch.setenv("TILSCORE_MODELS", str(tmp_path / "store"))
    shipped = find_model("tilscore-lite")
    assert main(["models", "add", "tilscore-lite", "--name", "mine"]) == 0
    sets = ["--config", str(REPO / "configs/train/tiny.yaml"), "--data", str(data)]
    capsys.readouterr()
    assert main(["evaluate", *sets, "--model", "tilscore-lite", "--calibrate", "tilscore-lite"]) == 2
    assert "tilscore models add tilscore-lite --name NAME" in capsys.readouterr().err
    assert main(["evaluate", *sets, "--model", "tilscore-lite", "--calibrate", "mine"]) == 0
    told = capsys.readouterr().out
    assert told.index("as it was:") < told.index("calibrated, each part on the others:")
    found = find_model("mine").config
    assert found.calibration.fitted_on == "4 held-out fields"
    assert found.calibration.inflammatory_shift == shipped.config.calibration.inflammatory_shift
    assert find_model("tilscore-lite") == shipped
    torch.manual_seed(0)
    run = tmp_path / "run"
    save_model(run / "model", TilNet(), ModelConfig(name="m"))
    other = ["evaluate", *sets, "--model", str(run / "model"), "--calibrate"]
    assert main([*other, "mine"]) == 2
    assert "other weights" in capsys.readouterr().err
    (run / "run.json").write_text(json.dumps({"held_out": [], "learned_from": ["fields/d1"]}))
    assert main([*other, str(run / "model")]) == 1
    assert "learned from (found ['fields/d1'])" in capsys.readouterr().err


def test_a_model_from_elsewhere_is_observed_for_int8(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model, config = tmp_path / "m", str(REPO / "configs/train/tiny.yaml")
    before = save_model(model, TilNet(), ModelConfig(name="m", detection_threshold=0.2))
    sets = ["--config", config, "--data", str(data)]
    assert main(["evaluate", *sets, "--model", str(model), "--int8"]) == 2
    assert "tilscore models quantise" in capsys.readouterr().err
    assert main(["models", "quantise", str(model), *sets]) == 0
    after = find_model(str(model))
    assert after.config == replace(before.config, weights_sha256=after.config.weights_sha256)
    assert main(["evaluate", *sets, "--model", str(model), "--int8"]) == 0
    assert main(["evaluate", *sets, "--model", str(model), "--int8", "--turns", "2"]) == 2
    for others in ("hub:owner/name", "tilscore-lite"):
        with pytest.raises(UsageError, match="change a copy: tilscore models add"):
            quantise_model(load_config(TrainConfig, Path(config)), data, others)


def test_a_fine_tuned_model_says_whose_calibration_it_has(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fitted = Calibration(detection_shift=0.5, fitted_on="36 fields")
    parent = save_model(tmp_path / "m", TilNet(), ModelConfig(name="m", calibration=fitted))
    child = _inherited(parent, "child")
    assert child.name == "child"
    assert child.calibration == replace(fitted, fitted_on=f"inherited from {parent.ident}: 36 fields")
    bare = replace(parent, config=ModelConfig(name="m"))
    assert _inherited(bare, "child").calibration == Calibration(), "nothing was fitted, nothing is inherited"


def test_regions_alone_are_learned_and_cells_stay(data: Path, tmp_path: Path) -> None:
    """Every weight outside the region head, and what int8 goes by, is the parent's to the last bit.

    It may be its own teacher, though nobody knows that it never saw what is held out.
    """
    cfg = load_config(TrainConfig, REPO / "configs/train/tiny.yaml")
    for i in range(4):
        mask(data / "fields" / f"d{i}_regions.png", np.full((30, 40), Region.NECROSIS, np.uint8))
    torch.manual_seed(0)
    config = ModelConfig(name="m", detection_threshold=0.2)
    parent = save_model(tmp_path / "m", TilNet(), config, activations=observe(TilNet().eval(), [np.zeros((64, 64, 3))]))
    with pytest.raises(ConfigError, match=r"learned from a model.*give init"):
        replace(cfg, learn="regions")
    start = str(parent.folder)
    how = {"learn": "regions", "init": start, "teachers": (start,), "phantoms": PhantomSetConfig(n=0), "stain_crops": 5}
    cfg = replace(cfg, **how, learning_rate=0.01)
    made = find_model(str(train(cfg, data, tmp_path / "r", fold=0, progress=False)))
    before, after = (load_file(m.folder / "model.safetensors") for m in (parent, made))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert (changed, before.keys()) == ({"region_head"}, after.keys())
    own = {name: getattr(made.config, name) for name in ("weights_sha256", "learned_from")}
    assert made.config == replace(config, name="tiny", **own)
    noise = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        was, now = (m.load()(noise).regions_BRhw.softmax(1)[:, Region.NECROSIS].mean() for m in (parent, made))
    assert now > was


def test_a_name_that_no_model_can_have_is_refused_before_the_training(data: Path, tmp_path: Path) -> None:
    cfg = replace(load_config(TrainConfig, REPO / "configs/train/tiny.yaml"), name="my model")
    with pytest.raises(ModelError, match=r"cannot be a model's name \(found my model\)"):
        train(cfg, data, tmp_path / "r", progress=False)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "number", ["--threshold=1.5", "--threshold=0", "--radius=-1", "--radius=nan", "--bootstrap=-5"]
)
def test_numbers_under_which_nothing_is_found_are_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--config", "x.yaml", "--data", ".", "--model", "m", number]) == 2
    assert f"no such {number.partition('=')[0]}" in capsys.readouterr().err


def test_what_a_start_learned_from_is_not_forgotten(tmp_path: Path) -> None:
    """The fields of a grandparent taught the weights as well."""
    for name, notes in (
        ("a", {"learned_from": ["fields/d0"]}),
        ("b", {"learned_from": ["more/d0"], "inherited_from": ["fields/d0"]}),
    ):
        save_model(tmp_path / name / "model", TilNet(), ModelConfig(name=name))
        (tmp_path / name / "run.json").write_text(json.dumps({"held_out": [], **notes}))
    ours = [str(tmp_path / name / "model") for name in "ab"]
    assert inherited_from(ours[:1]) == ["fields/d0"]
    assert inherited_from(ours[1:]) == ["fields/d0", "more/d0"]
    assert learned_from(ours[1], [sample("fields", "d0"), sample("fields", "d1")]) == ["fields/d0"]


def test_figures_on_fields_that_a_model_learned_from_say_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They look like those of a very good model."""
    config, run = REPO / "configs/train/tiny.yaml", tmp_path / "run"
    save_model(run / "model", TilNet(), ModelConfig(name="m"))
    args = ["evaluate", "--config", str(config), "--data", str(data), "--model", str(run / "model")]
    args += ["--out", str(tmp_path / "e.json"), "--bootstrap", "1"]
    assert main(args) == 0
    assert "learned from" not in capsys.readouterr().err
    for held, n in (([], 4), (["fields/d0", "fields/d1"], 2)):
        (run / "run.json").write_text(json.dumps({"held_out": held}))
        (run / "config.yaml").write_text(config.read_text())
        assert main(args) == 0
        told = f"the model learned from {n} of these 4 fields"
        assert told in capsys.readouterr().err
        assert json.loads((tmp_path / "e.json").read_text())["title"].endswith(told)
    (run / "run.json").write_text(json.dumps({"held_out": [f"fields/d{i}" for i in range(4)]}))
    assert main(args) == 0
    assert "learned from" not in capsys.readouterr().err
    notes = {"held_out": [], "learned_from": ["fields/d2"]}
    (run / "run.json").write_text(json.dumps(notes))
    assert main(args) == 0, "the others were annotated since"
    assert "learned from 1 of these 4 fields" in capsys.readouterr().err
