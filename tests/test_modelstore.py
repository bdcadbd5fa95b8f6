"""Models on disk."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from tilscore.errors import ConfigError, ModelError
from tilscore.modelstore import ModelConfig, find_model, list_models, save_model
from tilscore.nets import TilNet


@pytest.fixture(scope="module")
def net() -> TilNet:
    torch.manual_seed(0)
    return TilNet().eval()


@pytest.fixture
def folder(net: TilNet, tmp_path: Path) -> Path:
    save_model(tmp_path / "small", net, ModelConfig(name="small", detection_threshold=0.31))
    return tmp_path / "small"


def test_there_and_back(net: TilNet, folder: Path) -> None:
    model = find_model(str(folder))
    assert model.config.detection_threshold == 0.31
    image = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        for a, b in zip(net(image), model.load()(image), strict=True):
            assert torch.equal(a, b)


def test_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILSCORE_MODELS", str(folder.parent))
    assert find_model("small").folder == folder
    assert "small" in [m.config.name for m in list_models()]


def test_one_flipped_byte_is_noticed(folder: Path) -> None:
    weights = folder / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(ModelError, match="sha256"):
        find_model(str(folder))


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_and_never_run(tmp_path: Path, folder: Path) -> None:
    canary = tmp_path / "ran"
    for path in (tmp_path / "model.pt", folder / "model.safetensors"):
        path.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(ModelError, match="pickled weights"):
        find_model(str(tmp_path / "model.pt"))
    values = json.loads((folder / "config.json").read_text())
    from tilscore.files import sha256

    values["weights_sha256"] = sha256(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError):
        find_model(str(folder)).load()
    assert not canary.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell_classes": ["epithelial", "inflammatory", "stromal", "other"]}, "cell_classes"),
        ({"format": 2}, "another format"),
        ({"net": {"widht": 64}}, "did you mean 'width'"),
        ({"net": {"width": 32}}, "do not fit"),
    ],
)
def test_a_foreign_config_is_refused(folder: Path, change: dict, message: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises((ModelError, ConfigError), match=message):
        find_model(str(folder)).load()


def test_weights_that_are_not_numbers_are_refused(net: TilNet, tmp_path: Path) -> None:
    broken = TilNet()
    broken.load_state_dict(net.state_dict())
    with torch.no_grad():
        broken.cell_head.weight[0, 0] = float("nan")
    save_model(tmp_path / "nan", broken, ModelConfig(name="nan"))
    with pytest.raises(ModelError, match="not finite"):
        find_model(str(tmp_path / "nan")).load()


def test_an_unknown_model_names_those_at_hand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILSCORE_MODELS", str(folder.parent))
    with pytest.raises(ModelError, match="small"):
        find_model("smal")
