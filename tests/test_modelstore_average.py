"""The mean of models: laws of a mean, and what may not be averaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_model import tiny_model

from tilscore.cli import main
from tilscore.errors import ModelError, UsageError
from tilscore.modelcard import Calibration, NetConfig, StainLimit, StainRange
from tilscore.modelstore import find_model, save_model
from tilscore.modelstore.average import average_models
from tilscore.nets import TilNet


def test_the_mean_of_a_model_with_itself_is_that_model(tmp_path: Path) -> None:
    one = tiny_model(tmp_path / "a")
    made = average_models([str(one)] * 3, tmp_path / "m")
    assert made.config.weights_sha256 == find_model(str(one)).config.weights_sha256


def test_each_weight_is_the_mean_in_any_order(tmp_path: Path) -> None:
    folders = [str(tiny_model(tmp_path / f"{seed}", seed)) for seed in range(3)]
    states = [find_model(folder).load().state_dict() for folder in folders]
    made = average_models(folders, tmp_path / "m", name="mean")
    assert made.config.name == "mean"
    for key, value in made.load().state_dict().items():
        each = torch.stack([state[key].double() for state in states])
        torch.testing.assert_close(value.double(), each.mean(0), rtol=1e-6, atol=1e-7)
    again = average_models(folders[::-1], tmp_path / "n")
    for key, value in again.load().state_dict().items():
        torch.testing.assert_close(value, made.load().state_dict()[key])


def test_ranges_are_joined_and_the_calibration_goes(tmp_path: Path) -> None:
    for i, (low, high) in enumerate([(0.1, 0.5), (0.2, 0.9)]):
        folder = tiny_model(tmp_path / f"{i}", i)
        config = find_model(str(folder)).config
        limits = (StainLimit("focus", low, 0.3 + 0.1 * i, high),)
        config = replace(
            config,
            detection_threshold=0.2 + 0.2 * i,
            stain_range=StainRange(limits, 5),
            calibration=Calibration(detection_slope=2.0, fitted_on="x"),
        )
        save_model(folder, find_model(str(folder)).load(), config)
    made = average_models([str(tmp_path / "0"), str(tmp_path / "1")], tmp_path / "m").config
    limit = made.stain_range.limit("focus")
    assert limit is not None
    assert (limit.low, limit.typical, limit.high) == (0.1, pytest.approx(0.35), 0.9)
    assert made.calibration == Calibration()
    assert made.detection_threshold == pytest.approx(0.3)


def test_what_cannot_be_averaged(tmp_path: Path) -> None:
    one = tiny_model(tmp_path / "a")
    config = find_model(str(one)).config
    wide = NetConfig(width=32)
    save_model(tmp_path / "b", TilNet(wide), replace(config, net=wide))
    with pytest.raises(ModelError, match="not of one shape"):
        average_models([str(one), str(tmp_path / "b")], tmp_path / "m")
    with pytest.raises(UsageError, match="two models or more"):
        average_models([str(one)], tmp_path / "m")
    with pytest.raises(ModelError, match="already"):
        average_models([str(one), str(one)], one)
    assert not (tmp_path / "m").exists()


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tiny_model(tmp_path / "a"), tiny_model(tmp_path / "b", 1)
    assert main(["models", "average", str(one), str(two), "--out", str(tmp_path / "m"), "--name", "both"]) == 0
    assert "not calibrated" in capsys.readouterr().out
    assert json.loads((tmp_path / "m" / "config.json").read_text())["name"] == "both"
    assert main(["models", "verify", str(tmp_path / "m")]) == 0
