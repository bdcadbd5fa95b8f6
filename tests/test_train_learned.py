"""A model knows what it learned from wherever it goes, and nobody learns a name from it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_model import tiny_model
from tiny_sets import picture, sample, text

from tilscore.cli import main
from tilscore.config import load_config
from tilscore.errors import ConfigError
from tilscore.modelstore import find_model
from tilscore.network.config import ModelConfig
from tilscore.train import PhantomSetConfig, TrainConfig, train
from tilscore.train.data import field_hash

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "tiny.yaml"


def fields(folder: Path, seeds: range, name: str = "Mueller_Anna") -> None:
    for i in seeds:
        picture(folder / f"{name}-{i}.png", seed=i)
        text(folder / f"{name}-{i}_cells.csv", "x_px,y_px,label\n10.5,10.5,stromal\n")


def test_copies_and_descendants_of_a_model_know_what_it_learned_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The field that a run held out is none of them, and the same pictures under other names are."""
    monkeypatch.setenv("TILSCORE_MODELS", str(tmp_path / "store"))
    fields(tmp_path / "data" / "fields", range(3))
    fields(tmp_path / "more" / "fields", range(10, 12))
    cfg = replace(load_config(TrainConfig, CONFIG), phantoms=PhantomSetConfig(n=1, size_px=64), stain_crops=0, steps=1)
    made = train(cfg, tmp_path / "data", tmp_path / "run", fold=0, progress=False)
    assert main(["models", "add", str(made), "--name", "mine"]) == 0
    child = train(replace(cfg, init="mine"), tmp_path / "more", tmp_path / "child", progress=False)
    held = json.loads((tmp_path / "run" / "run.json").read_text())["held_out"]
    shutil.rmtree(tmp_path / "run")
    copied = shutil.copytree(child, tmp_path / "elsewhere")
    fields(tmp_path / "again" / "fields", range(3), name="x")
    n = 3 - len(held)
    for model, data in (("mine", "data"), ("mine", "again"), (str(copied), "data"), (str(child), "again")):
        args = ["--config", CONFIG, "--data", tmp_path / data, "--model", model, "--bootstrap", 1]
        assert main(["evaluate", *map(str, args)]) == 0
        assert f"the model learned from {n} of these 3 fields" in capsys.readouterr().err, (model, data)
    assert len(find_model(str(copied)).config.learned) == n + 2
    pupil = train(replace(cfg, teachers=("mine",)), tmp_path / "more", tmp_path / "pupil", progress=False)
    assert find_model(str(pupil)).config.learned == find_model(str(copied)).config.learned
    assert "Mueller" not in (copied / "config.json").read_text()
    with pytest.raises(ConfigError, match="the model to start from learned from fields held out"):
        train(replace(cfg, init="mine"), tmp_path / "again", tmp_path / "new", fold=1, progress=False)


def test_models_without_hashes_are_read_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m")
    values = json.loads((folder / "config.json").read_text())
    del values["learned_from"]
    (folder / "config.json").write_text(json.dumps(values))
    assert find_model(str(folder)).config.learned == frozenset()
    (folder / "config.json").write_text(json.dumps(values | {"learned_from": "Mueller_Anna"}))
    with pytest.raises(ConfigError, match="learned_from: hashes of 12"):
        find_model(str(folder))


def test_a_hash_is_of_the_pixels() -> None:
    one = sample("s", "a")
    assert field_hash(one) == field_hash(sample("t", "b"))
    assert field_hash(one) != field_hash(replace(one, image=one.image[:, ::-1].copy() + 1))
    assert field_hash(replace(one, image=one.image[:32])) != field_hash(replace(one, image=one.image[:, :32]))
    config = ModelConfig("m").having_learned([field_hash(one)]).having_learned(["0" * 12])
    assert config.learned == {field_hash(one), "0" * 12}
