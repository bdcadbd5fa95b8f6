"""Run folders: a run goes on with its own settings alone, and a new one begins in a folder of its own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from tiny_model import Canary
from tiny_sets import picture, text

from tilscore.cli import main
from tilscore.config import load_config
from tilscore.errors import ConfigError, DataError
from tilscore.modelstore import find_model, save_model
from tilscore.network.config import Calibration, ModelConfig, NetConfig
from tilscore.network.nets import TilNet
from tilscore.train import PhantomSetConfig, SetConfig, TrainConfig, train
from tilscore.train.data import read_sets
from tilscore.train.folder import check_folder, note_run
from tilscore.train.targets import LossConfig

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "tiny.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fields of noise with a nucleus each, in the project's own layout."""
    root = tmp_path_factory.mktemp("data")
    for i in range(4):
        picture(root / "fields" / f"d{i}.png", 80, 80, seed=i)
        text(root / "fields" / f"d{i}_cells.csv", "x_px,y_px,label\n40.5,40.5,stromal\n")
    return root


def begun(out: Path, cfg: TrainConfig) -> TrainConfig:
    """A folder as a run of `cfg` leaves it that was stopped after its first checkpoint."""
    note_run(cfg, out, {"fold": None, "held_out": []})
    (out / "checkpoints").mkdir()
    (out / "checkpoints" / "last.ckpt").write_bytes(b"")
    return cfg


def test_a_run_goes_on_with_its_own_settings_alone(tmp_path: Path) -> None:
    sets = (SetConfig("a", weight=2.0), SetConfig("b", options={"organs": ["breast"]}))
    cfg = begun(tmp_path, TrainConfig("m", sets, init="tilscore-lite"))
    assert check_folder(cfg, tmp_path, resume=True)
    told = {"steps": 9, "steps_per_epoch": 3, "patience": 2, "blend": 0.5, "stain_crops": 0}
    where = {"precision": "bf16-mixed", "devices": 2, "strategy": "ddp", "workers": 4, "threads": 2}
    assert check_folder(replace(cfg, **told, **where), tmp_path, resume=True)
    for other, message in (
        (
            replace(cfg, init=""),
            r"config\.yaml: .* other settings \(found init: tilscore-lite, now none\)",
        ),
        (replace(cfg, loss=LossConfig(lesson=0.3)), r"found loss\.lesson: .*, now 0\.3"),
        (replace(cfg, sets=(replace(sets[0], weight=3.0), sets[1])), r"found sets\[0\]\.weight: 2\.0, now 3\.0"),
        (replace(cfg, sets=sets[:1]), r"sets\[1\]\.folder: b, now none; .* more\)"),
        (replace(cfg, seed=2, folds=4, batch=2, crop_px=64), r"found seed: 1, now 2; batch: .*; crop_px: .*; 1 more"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_folder(other, tmp_path, resume=True)


def test_the_calibration_of_the_start_is_not_lost(data: Path, tmp_path: Path) -> None:
    """A resume that forgets --init is refused; before, it ended in a model without the calibration it had inherited."""
    torch.manual_seed(0)
    fitted = Calibration(detection_shift=0.5, fitted_on="36 fields")
    net = NetConfig(width=32)
    own = ModelConfig(name="start", net=net, calibration=fitted)
    start = str(save_model(tmp_path / "start" / "model", TilNet(net), own).folder)
    (tmp_path / "start" / "run.json").write_text('{"learned_from": ["mine/b"], "inherited_from": ["mine/a"]}')
    args = ["train", "--config", str(CONFIG), "--data", str(data), "--out", str(tmp_path / "r"), "--quiet"]
    assert main([*args, "--init", start, "--steps", "2"]) == 0
    assert json.loads((tmp_path / "r" / "run.json").read_text())["inherited_from"] == ["mine/a", "mine/b"]
    before = find_model(str(tmp_path / "r" / "model")).config.calibration
    assert before.detection_shift == 0.5
    assert main([*args, "--resume"]) == 2
    assert find_model(str(tmp_path / "r" / "model")).config.calibration == before
    noted = load_config(TrainConfig, tmp_path / "r" / "config.yaml")
    assert (noted.init, noted.net) == (start, net), "the network that was trained, not the config's"
    assert main([*args, "--init", start, "--resume"]) == 0, "more steps, and so other epochs, are no other run"
    assert find_model(str(tmp_path / "r" / "model")).config.calibration == before


def test_a_used_folder_is_refused_and_left_as_it_is(data: Path, tmp_path: Path) -> None:
    cfg = load_config(TrainConfig, CONFIG)
    for part in ("run.json", "checkpoints", "model"):
        out = tmp_path / part
        (out / part).mkdir(parents=True)
        with pytest.raises(ConfigError, match=rf"{part}: the folder holds a run; use --resume .* another --out"):
            train(cfg, data, out, progress=False)
        assert [p.name for p in out.iterdir()] == [part]
    with pytest.raises(ConfigError, match="no checkpoint to go on from"):
        train(cfg, data, tmp_path / "model", resume=True, progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    assert not check_folder(cfg, tmp_path / "mine", resume=False), "what is no run's does not matter"


def test_a_run_that_never_got_to_a_checkpoint_begins_anew_with_resume(data: Path, tmp_path: Path) -> None:
    cfg = load_config(TrainConfig, CONFIG)
    note_run(replace(cfg, seed=7), tmp_path / "r", {"fold": 1, "held_out": ["fields/d0"]})
    assert train(replace(cfg, steps=2), data, tmp_path / "r", resume=True, progress=False).is_dir()
    assert json.loads((tmp_path / "r" / "run.json").read_text())["fold"] is None


def test_an_error_in_the_settings_leaves_no_run_behind(data: Path, tmp_path: Path) -> None:
    """Mended, the same command finds its folder free."""
    cfg = replace(load_config(TrainConfig, CONFIG), patience=1)
    with pytest.raises(ConfigError, match="patience needs"):
        train(cfg, data, tmp_path / "r", progress=False)
    assert not (tmp_path / "r").exists()


def test_the_other_processes_of_a_run_find_what_the_first_has_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On several devices each process takes the same way, the others after the first has noted the run."""
    cfg = replace(load_config(TrainConfig, CONFIG), patience=1)
    note_run(cfg, tmp_path, {})
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with pytest.raises(ConfigError, match="patience needs"):  # further than the first would get
        train(cfg, data, tmp_path, progress=False)


def test_an_optional_set_is_left_out_aloud(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = load_config(TrainConfig, CONFIG)
    extra = SetConfig("elsewhere", mpp=0.5, optional=True)
    assert {s.source for s in read_sets(replace(cfg, sets=(*cfg.sets, extra)), data)} == {"fields"}
    assert f"elsewhere: left out, there is no {data / 'elsewhere'}" in capsys.readouterr().err
    with pytest.raises(DataError, match="none of the sets is there"):
        read_sets(replace(cfg, sets=(extra,)), data)
    with pytest.raises(DataError, match=r"elsewhere.*no <name>_cells\.csv|no <name>_cells\.csv.*elsewhere"):
        read_sets(replace(cfg, sets=(*cfg.sets, replace(extra, optional=False))), data)


def test_a_run_tells_the_sets_that_it_had(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its config lists no set that was left out, and it does not go on once that set has come."""
    cfg = load_config(TrainConfig, CONFIG)
    both = replace(cfg, sets=(*cfg.sets, SetConfig("elsewhere", mpp=0.5, optional=True)))
    train(both, data, tmp_path / "run", progress=False)
    assert load_config(TrainConfig, tmp_path / "run" / "config.yaml").sets == cfg.sets
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(data / "fields", tmp_path / "data" / "elsewhere")
    capsys.readouterr()
    with pytest.raises(ConfigError, match=r"other settings.*sets\[1\]"):
        train(both, tmp_path / "data", tmp_path / "run", resume=True, progress=False)
    assert capsys.readouterr().err == "", "nothing is left out where all is there"


def test_a_run_goes_on_with_its_own_fields_alone(data: Path, tmp_path: Path) -> None:
    """A field more and its crops are others; a run without a fold holds nothing out that would tell."""
    cfg = begun(tmp_path / "r", replace(load_config(TrainConfig, CONFIG), phantoms=PhantomSetConfig(n=0)))
    notes = {"held_out": [], "learned_from": ["fields/d0", "fields/d1", "fields/d2"]}
    note_run(cfg, tmp_path / "r", notes)
    with pytest.raises(ConfigError, match=r"go on with learned from other fields \(found fields/d3\); resume with"):
        train(cfg, data, tmp_path / "r", resume=True, progress=False)
    assert json.loads((tmp_path / "r" / "run.json").read_text()) == notes


def test_no_warning_tells_users_of_what_is_meant(data: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """No field held out, a run that goes on in the middle of an epoch: Lightning warns of both."""
    args = ["train", "--config", str(CONFIG), "--data", str(data), "--out", str(tmp_path / "r"), "--quiet"]
    assert main([*args, "--steps", "1"]) == 0
    assert main([*args, "--steps", "3", "--resume"]) == 0
    assert [str(w.message) for w in recwarn if "lightning" in w.filename] == []


def test_a_checkpoint_that_would_run_code_is_refused_and_never_run(data: Path, tmp_path: Path) -> None:
    cfg = begun(tmp_path / "r", replace(load_config(TrainConfig, CONFIG), phantoms=PhantomSetConfig(n=0)))
    note_run(cfg, tmp_path / "r", {"held_out": []})
    canary = tmp_path / "ran"
    for held in ({"global_step": 9, "state_dict": Canary(canary)}, Canary(canary)):
        torch.save(held, tmp_path / "r" / "checkpoints" / "last.ckpt")
        with pytest.raises(ConfigError, match=r"last\.ckpt: the checkpoint .* more than weights"):
            train(cfg, data, tmp_path / "r", resume=True, progress=False)
    (tmp_path / "r" / "checkpoints" / "last.ckpt").write_bytes(b"")
    with pytest.raises(ConfigError, match="is damaged"):
        train(cfg, data, tmp_path / "r", resume=True, progress=False)
    assert not canary.exists()
