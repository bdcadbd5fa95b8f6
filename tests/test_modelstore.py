"""Models on disk."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_model import Canary

from tilscore.cli import main
from tilscore.config import as_values
from tilscore.errors import ConfigError, ModelError
from tilscore.files import sha256
from tilscore.modelstore import (
    ModelConfig,
    add_model,
    find_model,
    list_models,
    read_model,
    save_model,
    user_store,
    verify_model,
)
from tilscore.modelstore.firstcard import TO_WRITE
from tilscore.modelstore.store import shipped_store, write_config
from tilscore.network.config import Calibration, NetConfig
from tilscore.network.nets import TilNet

REPO = Path(__file__).parents[1]


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


def test_a_pickle_is_refused_and_never_run(tmp_path: Path, folder: Path) -> None:
    canary = tmp_path / "ran"
    for path in (tmp_path / "model.pt", folder / "model.safetensors"):
        path.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(ModelError, match="pickled weights"):
        find_model(str(tmp_path / "model.pt"))
    values = json.loads((folder / "config.json").read_text())
    values["weights_sha256"] = sha256(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError):
        find_model(str(folder)).load()
    assert not canary.exists()


def test_a_config_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 200_000)
    with pytest.raises(ModelError, match="is not a model's config"):
        find_model(str(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such rights")
@pytest.mark.parametrize("mask", [0o077, 0o022, 0o007])
def test_files_of_a_model_have_the_rights_that_the_user_gives_new_files(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        net = TilNet(NetConfig(width=32))
        folder = save_model(tmp_path / "m", net, ModelConfig(name="m", net=net.cfg)).folder
    finally:
        os.umask(before)
    assert {p.name: p.stat().st_mode & 0o777 for p in folder.iterdir()} == dict.fromkeys(
        ("README.md", "config.json", "model.safetensors"), 0o666 & ~mask
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell_classes": ["epithelial", "inflammatory", "stromal", "other"]}, "cell_classes"),
        ({"format": 2}, "another format"),
        ({"net": {"widht": 64}}, "did you mean 'width'"),
        ({"net": {"width": 32}}, "do not fit"),
        ({"mpp": 0.25}, r"another resolution \(found 0.25\); use a model for 0.5 um/px"),
        ({"name": "../../x"}, r"cannot be a model's name \(found ../../x\)"),
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


@pytest.mark.parametrize(("last", "gets"), [("model.safetensors", "new"), (".config.json.next", "old"), ("", "old")])
def test_a_process_that_is_killed_while_it_writes_leaves_a_model(
    net: TilNet, folder: Path, last: str, gets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the file `last` is in its place: the model is the old or the new one, and can be written again."""
    torch.manual_seed(7)
    idents, new = {"old": find_model(str(folder)).ident}, TilNet().eval()
    cfg = ModelConfig(name="small", detection_threshold=0.42)
    idents["new"] = save_model(folder.with_name("whole"), new, cfg).ident
    put = os.replace

    def killed(source: Path, target: Path) -> None:
        if last:
            put(source, target)
        if Path(target).name == last or not last:
            raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_model(folder, new, cfg)
    monkeypatch.setattr("os.replace", put)
    assert find_model(str(folder)).ident == idents[gets]
    assert verify_model(folder)[0] == []
    assert save_model(folder, net, ModelConfig(name="small", detection_threshold=0.31)).ident == idents["old"]
    assert find_model(str(folder)).ident == idents["old"]
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_saved_model_has_a_card_that_a_person_completes(net: TilNet, folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert "# small" in card
    assert find_model(str(folder)).config.weights_sha256 in card
    assert verify_model(folder) == ([], ["its card is not finished"])
    (folder / "README.md").write_text("mine")
    save_model(folder, net, ModelConfig(name="small"))
    assert (folder / "README.md").read_text() == "mine"


def test_a_card_that_nobody_wrote_on_follows_its_model(folder: Path, store: Path) -> None:
    torch.manual_seed(7)
    first = find_model(str(folder)).config.weights_sha256
    model = save_model(folder, TilNet(), ModelConfig(name="small", detection_threshold=0.42))
    card = model.card.read_text()
    assert "detection threshold | 0.42 |" in card
    assert model.config.weights_sha256 in card
    assert first not in card
    write_config(replace(model, config=replace(model.config, detection_threshold=0.77)))
    assert "detection threshold | 0.77 |" in model.card.read_text()
    assert "# mine" in add_model(str(folder), name="mine").card.read_text()


def test_a_card_that_a_person_worked_on_is_kept_and_told_to_be_of_other_weights(folder: Path) -> None:
    card = (folder / "README.md").read_text().replace(TO_WRITE, "Ours,", 1)
    (folder / "README.md").write_text(card)
    torch.manual_seed(7)
    save_model(folder, TilNet(), ModelConfig(name="small"))
    assert (folder / "README.md").read_text() == card
    assert verify_model(folder) == ([], ["its card is not finished", "its card is of other weights (sha256)"])
    (folder / "README.md").write_text("Its sha256 is in config.json; it began as 216a23ef...")
    assert verify_model(folder) == ([], [])


def test_where_models_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILSCORE_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert user_store() == tmp_path / "tilscore" / "models"
    assert [m.config.name for m in list_models()] == ["tilscore-accurate", "tilscore-lite"]
    monkeypatch.setenv("TILSCORE_MODELS", str(tmp_path / "own"))
    assert user_store() == tmp_path / "own"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILSCORE_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


def test_add(folder: Path, store: Path) -> None:
    added = add_model(str(folder), name="mine")
    assert added.folder == store / "mine"
    assert find_model("mine").ident == read_model(folder).ident.replace("small@", "mine@")
    assert find_model("mine").config.detection_threshold == 0.31
    assert add_model(str(folder), name="mine").ident == added.ident  # once more changes nothing
    assert sorted(p.name for p in store.iterdir()) == ["mine"]


def test_a_calibration_makes_another_model(folder: Path, store: Path) -> None:
    """Two operating points in one table of scores are told apart, and none takes the other's place unseen."""
    before = add_model(str(folder), name="mine")
    model = read_model(folder)
    config = replace(model.config, calibration=Calibration(detection_shift=0.5))
    (folder / "config.json").write_text(json.dumps(as_values(config)))
    assert find_model(str(folder)).ident.split("@")[1] != before.ident.split("@")[1]
    with pytest.raises(ModelError, match="another calibration"):
        add_model(str(folder), name="mine")
    assert find_model("mine").ident == before.ident


def test_add_never_replaces_nor_hides_another_model(folder: Path, store: Path, tmp_path: Path) -> None:
    add_model(str(folder))
    torch.manual_seed(1)
    save_model(tmp_path / "other", TilNet(), ModelConfig(name="small"))
    with pytest.raises(ModelError, match="another model has this name"):
        add_model(str(tmp_path / "other"))
    with pytest.raises(ModelError, match="comes with tilscore"):
        add_model(str(folder), name="tilscore-lite")
    for name in ("../small", ".hidden", "", "a/b"):
        with pytest.raises(ModelError, match="cannot be a model's name"):
            add_model(str(folder), name=name)


def test_a_damaged_model_is_not_added_and_is_named_by_verify(
    folder: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_model(str(folder), name="good")
    shutil.copytree(folder, store / "bad")
    (store / "bad" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelError, match="sha256"):
        add_model(str(store / "bad"), name="worse")
    (store / "good" / "old.pt").touch()
    assert main(["models", "verify"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("FAIL bad") and "sha256" in line for line in lines)
    assert any(line.startswith("ok   good") and "never read: old.pt" in line for line in lines)
    assert main(["models", "verify", "good"]) == 0


def test_the_verbs_with_and_without_a_word(folder: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_model(str(folder))
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out == listed
    assert str(store / "small") in listed
    assert main(["models", "small"]) == 0
    shown = capsys.readouterr().out
    assert main(["models", "show", "small"]) == 0
    assert capsys.readouterr().out == shown
    assert "inflammatory, epithelial, stromal, other" in shown
    assert main(["models", "smal"]) == 2


def test_every_model_of_the_checkout_is_in_the_package() -> None:
    """An installed tilscore finds its model too: pyproject.toml lists the folders."""
    listed = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    models = {place for place in listed if place.startswith("share/tilscore/models/")}
    assert models == {f"share/tilscore/models/{p.name}" for p in (REPO / "models").iterdir()}
    assert shipped_store() == REPO / "models"


@pytest.mark.parametrize("folder", sorted((REPO / "models").iterdir()), ids=lambda p: p.name)
def test_a_shipped_model_is_sound_and_its_card_finished(folder: Path) -> None:
    assert verify_model(folder) == ([], [])
    read_model(folder).load()


def test_a_card_in_another_encoding_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "README.md").write_bytes("Modèle de la clinique".encode("latin-1"))
    assert main(["models", "show", str(folder)]) == 0
    assert "le de la clinique" in capsys.readouterr().out
