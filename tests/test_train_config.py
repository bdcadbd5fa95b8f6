"""What a training config may say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tilscore.cli import main
from tilscore.config import as_values, load_config, parse_config
from tilscore.errors import ConfigError
from tilscore.train import TrainConfig

REPO = Path(__file__).parents[1]
SET = {"folder": "fields", "mpp": 0.5}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 0}, "train.steps"), ({"steps": -1}, "train.steps"), ({"steps_per_epoch": 0}, "steps_per_epoch"),
        ({"batch": 0}, "train.batch"), ({"accumulate": 0}, "train.accumulate"), ({"folds": 0}, "train.folds"),
        ({"workers": -1}, "train.workers"), ({"threads": -2}, "train.threads"), ({"patience": -1}, "train.patience"),
        ({"learning_rate": -1.0}, "train.learning_rate"), ({"ema_decay": 1.5}, "train.ema_decay"),
        ({"seed": -1}, "train.seed"), ({"crop_px": 100}, "train.crop_px.* multiple of 32"), ({"crop_px": 0}, "crop_px"),
        ({"precision": "half"}, "precision.*bf16-mixed"), ({"phantoms": {"n": -1}}, "phantoms.n"),
        ({"phantoms": {"size_px": 0}}, "phantoms.size_px"), ({"loss": {"lesson": 2.0}}, "loss.lesson"),
        ({"loss": {"type_weights": [1.0, 1.0, -1.0, 1.0]}}, "loss.type_weights"),
        ({"augment": {"jpeg_quality_low": 200}}, "augment.jpeg_quality_low"),
        ({"augment": {"blur_chance": 1.5}}, "augment.blur_chance"), ({"augment": {"mpp_low": 0.0}}, "augment.mpp_low"),
        ({"augment": {"mpp_low": 0.7}}, "mpp_low is above mpp_high"),
        ({"sets": [{**SET, "mpp_low": 0.7}]}, "mpp_low is above augment.mpp_high"),
        ({"sets": [{**SET, "mpp": 0.0}]}, "sets.mpp"), ({"sets": [{**SET, "mpp": float("nan")}]}, "sets.mpp"),
        ({"sets": [{**SET, "weight": -1.0}]}, "sets.weight"), ({"sets": [{**SET, "mpp_low": 0.0}]}, "sets.mpp_low"),
        ({"sets": [{**SET, "shift_px": float("nan")}]}, "sets.shift_px"),
        ({"sets": [{**SET, "weight": 0.0}], "phantoms": {"n": 0}}, "no set has a weight"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_trained_with_is_named(change: dict[str, object], named: str) -> None:
    values = {"name": "m", "sets": [SET], **change}
    with pytest.raises(ConfigError, match=named):
        parse_config(TrainConfig, values, where="x.yaml")


@pytest.mark.parametrize("steps", ["0", "-1"])
def test_no_steps_are_no_steps_of_the_config(tmp_path: Path, steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"name": "m", "sets": [SET]}))
    assert main(["train", "--config", str(path), "--data", str(tmp_path), "--describe", "--steps", steps]) == 2
    assert f"train.steps: must be 1 to 1000000000 (found {steps})" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((REPO / "configs" / "train").glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_configs_may_be_written_down(path: Path) -> None:
    cfg = load_config(TrainConfig, path)
    assert parse_config(TrainConfig, as_values(cfg), where="x.yaml") == cfg
