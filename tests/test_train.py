"""Training and its data: layouts, crops, regions, and the stage itself on a tiny set."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tilscore.cli import main
from tilscore.config import load_config
from tilscore.datasets import UNTYPED, Sample, read_plain, with_derived_regions
from tilscore.datasets.crops import AugmentConfig, crop_at, plain_crop, random_crop
from tilscore.errors import ConfigError, DataError
from tilscore.labels import UNKNOWN, Cell, Region
from tilscore.modelstore import save_model
from tilscore.network.config import Calibration, ModelConfig
from tilscore.network.nets import CellMaps, TilNet
from tilscore.train import Crops, TrainConfig, predict_folds, predict_model, split, train
from tilscore.train.data import field_id
from tilscore.train.run import blend, usable_precision
from tilscore.train.targets import LossConfig, Targets, encode, loss

REPO = Path(__file__).parents[1]


def dots(seed: int, mpp: float = 0.5, size: int = 320, n: int = 25) -> Sample:
    """Dark dots on white, one a nucleus, well apart and away from the border."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*2 * [np.linspace(20, size - 20, 5)]), -1).reshape(-1, 2)[:n]
    xy = np.round(grid + rng.uniform(-6, 6, grid.shape))
    image = np.full((size, size, 3), 245, np.uint8)
    for x, y in xy:
        cv2.circle(image, (int(x), int(y)), 4, (90, 60, 140), -1)
    label = rng.integers(-1, 4, n).astype(np.int8)
    return Sample(
        f"d{seed}",
        "fields",
        image,
        mpp,
        xy[:, 0] + np.float32(0.5),
        xy[:, 1] + np.float32(0.5),
        label,
        group=f"d{seed}",
    )


def write(sample: Sample, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{sample.name}.png"), sample.image[..., ::-1])
    names = ["" if v == UNTYPED else Cell(v).name.lower() for v in sample.label]
    table = pd.DataFrame({"x_px": sample.x_px, "y_px": sample.y_px, "label": names})
    table.to_csv(folder / f"{sample.name}_cells.csv", index=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for seed in range(4):
        write(dots(seed), root / "fields")
    return root


def test_the_layout_there_and_back(data: Path) -> None:
    for seed, got in enumerate(read_plain(data / "fields", 0.5)):
        want = dots(seed)
        np.testing.assert_array_equal(got.image, want.image)
        np.testing.assert_array_equal(got.label, want.label)
        np.testing.assert_array_equal(got.x_px, want.x_px)


def test_an_unknown_class_is_an_error(tmp_path: Path) -> None:
    write(dots(0), tmp_path)
    table = tmp_path / "d0_cells.csv"
    table.write_text(table.read_text().replace("stromal", "fibroblast"))
    with pytest.raises(DataError, match="fibroblast"):
        read_plain(tmp_path, 0.5)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), mpp=st.sampled_from([0.25, 0.4, 0.5, 0.55]))
def test_dots_stay_under_their_labels(seed: int, mpp: float) -> None:
    """However a crop is turned and scaled, each nucleus lies where its label says."""
    quiet = AugmentConfig(stain_gain=0, stain_shift=0, colour_gain=0, blur_chance=0, jpeg_chance=0, noise_chance=0)
    sample = dots(1, mpp=mpp)
    crop = random_crop(sample, 128, quiet, np.random.default_rng(seed))
    for x, y in zip(crop.x_px, crop.y_px, strict=True):
        if 8 < x < 120 and 8 < y < 120:
            window = 255.0 - crop.image[int(y) - 7 : int(y) + 8, int(x) - 7 : int(x) + 8, 1].astype(float)
            dark = np.clip(window - 40, 0, None)
            rows, cols = np.mgrid[-7:8, -7:8]
            gap = [
                (dark * rows).sum() / dark.sum() + int(y) + 0.5 - y,
                (dark * cols).sum() / dark.sum() + int(x) + 0.5 - x,
            ]
            assert np.hypot(*gap) < 0.7


def test_half_resolution_is_the_mean_of_four_pixels() -> None:
    """Training sees a 0.25 um/px field as inference sees a 0.25 um/px slide."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (128, 128, 3), np.uint8)
    none = np.zeros(0, np.float32)
    crop = plain_crop(Sample("n", "s", image, 0.25, none, none, none.astype(np.int8)))
    mean = image.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(crop.image[:63, :63].astype(float) - mean[:63, :63]).max() <= 1.0


def test_ground_outside_the_image_is_unknown() -> None:
    crop = crop_at(dots(0), np.array([[1.0, 0, -260], [0, 1.0, 0]]), 128)
    assert crop.known[:, :60].all()
    assert not crop.known[:, 61:].any()
    assert (crop.regions == UNKNOWN).all()


def test_derived_regions_of_a_closed_form_field() -> None:
    """Epithelial nuclei on the left, stromal on the right: tumour, a gap nobody knows, stroma."""
    y, x = np.mgrid[5:200:10, 5:400:10].reshape(2, -1)
    left, right = x < 150, x > 250
    keep = left | right
    label = np.where(left, Cell.EPITHELIAL, Cell.STROMAL)[keep].astype(np.int8)
    pink = np.full((200, 400, 3), (220, 150, 190), np.uint8)
    pink[80:120, 330:370] = 250
    sample = Sample("n", "s", pink, 1.0, x[keep].astype(np.float32), y[keep].astype(np.float32), label)
    regions = with_derived_regions(sample).regions
    assert regions is not None
    assert (regions[:, :140] == Region.TUMOUR).all()
    assert (regions[:, 170:230] == UNKNOWN).all()
    assert (regions[:70, 270:] == Region.STROMA).all()
    assert (regions[90:110, 340:360] == Region.OTHER).all()
    known = np.ones((200, 400), bool)
    known[:, 300:] = False  # unmarked epithelium may lie there
    part = with_derived_regions(replace(sample, known=known)).regions
    assert part is not None
    assert (part[:, 300:] == UNKNOWN).all()
    np.testing.assert_array_equal(part[:, :300], regions[:, :300])


def test_folds_partition_the_fields(data: Path) -> None:
    cfg = load_config(TrainConfig, REPO / "configs/train/tiny.yaml")
    samples = read_plain(data / "fields", 0.5)
    held = [s.name for fold in range(cfg.folds) for s in split(samples, cfg, fold)[1]]
    assert sorted(held) == [s.name for s in samples]
    for fold in range(cfg.folds):
        learn, out = split(samples, cfg, fold)
        assert not {s.group for s in learn} & {s.group for s in out}


def test_a_crop_depends_on_seed_and_number_alone(data: Path) -> None:
    cfg = load_config(TrainConfig, REPO / "configs/train/tiny.yaml")
    samples = read_plain(data / "fields", 0.5)
    a, b = Crops(samples, cfg, epoch=3)[1], Crops(samples, cfg, epoch=3)[1]
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0], Crops(samples, cfg, epoch=4)[1][0])


def test_a_set_may_be_shown_coarser_than_the_others(data: Path) -> None:
    """Dots of 4 um seen through scans of up to 8 um/px lose their edge; the other set keeps it."""
    cfg = load_config(TrainConfig, REPO / "configs/train/tiny.yaml")
    quiet = replace(cfg.augment, coarse_chance=0.0, blur_chance=0.0, coarse_mpp_high=8.0)
    here, there = replace(cfg.sets[0], folder="here", coarse_chance=1.0), replace(cfg.sets[0], folder="there")
    cfg = replace(cfg, augment=quiet, sets=(here, there), steps_per_epoch=10)
    field = read_plain(data / "fields", 0.5)[0]

    def edge(source: str) -> float:
        crops = Crops([replace(field, source=source)], cfg, epoch=0)
        return float(np.median([np.abs(np.diff(crops[i][0][0, 1].astype(int), axis=0)).max() for i in range(8)]))

    assert edge("here") < 0.6 * edge("there")


def test_the_stage(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Train both folds, the same seed giving the same weights; then pool them with `evaluate`."""
    config = str(REPO / "configs/train/tiny.yaml")
    for run, fold in (("a", "0"), ("b", "1"), ("again", "0")):
        args = ["train", "--config", config, "--data", str(data), "--out", str(tmp_path / run), "--fold", fold]
        assert main([*args, "--quiet"]) == 0
    files = {p.name for p in (tmp_path / "a").iterdir()}
    assert {"config.yaml", "run.json", "checkpoints", "log", "tensorboard", "model", "held_out.json"} <= files
    assert {"curves.png", "examples.png"} <= files
    one, two = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("a", "again"))
    assert all(np.array_equal(one[k], two[k]) for k in one)
    out = tmp_path / "cv.json"
    runs = [str(tmp_path / "a"), str(tmp_path / "b")]
    common = ["evaluate", "--config", config, "--data", str(data), "--folds"]
    assert main([*common, *runs, "--out", str(out), "--bootstrap", "20"]) == 0
    assert "fields: 4 fields, 100 nuclei" in capsys.readouterr().out
    assert json.loads(out.read_text())["pools"][0]["n_nuclei"] == 100
    assert main([*common, *runs[:1], *runs[:1]]) == 1, "one fold twice is no cross-validation"
    # More fields by another day: what a run held out stays what it held out.
    noted = json.loads((tmp_path / "a" / "run.json").read_text())["held_out"]
    cfg, data = load_config(TrainConfig, Path(config)), shutil.copytree(data, tmp_path / "data")
    for seed in range(40, 47):
        write(dots(seed), data / "fields")
    assert {field_id(s) for s in split(read_plain(data / "fields", 0.5), cfg, 0)[1]} != set(noted)
    assert [field_id(f.sample) for f in predict_folds(cfg, data, [tmp_path / "a"])[0]] == noted
    (data / noted[0]).with_name(f"{noted[0].split('/')[1]}_cells.csv").unlink()
    with pytest.raises(DataError, match="held out are not there"):
        predict_folds(cfg, data, [tmp_path / "a"])


def test_a_threshold_that_was_asked_for_is_that_of_every_class(data: Path, tmp_path: Path) -> None:
    cfg = load_config(TrainConfig, REPO / "configs/train/tiny.yaml")
    torch.manual_seed(0)
    strict = ModelConfig(name="m", detection_threshold=0.9, calibration=Calibration(class_thresholds=(0.9,) * 4))
    folder = str(save_model(tmp_path / "m", TilNet(), strict).folder)
    n_cells = [sum(f.kept.sum() for f in predict_model(cfg, data, folder, threshold=t)) for t in (None, 0.001)]
    assert n_cells[0] == 0
    assert n_cells[1] > 0


def test_describe_tells_what_is_read(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(REPO / "configs/train/tiny.yaml")
    assert main(["train", "--config", config, "--data", str(data), "--describe"]) == 0
    assert "100: " in capsys.readouterr().out


def test_crops_of_sets_that_tell_nothing_do_not_weigh() -> None:
    """A crop without known ground and nuclei changes neither the detection nor the type loss of the others."""
    full = dots(3)
    blank = replace(
        full, x_px=full.x_px[:0], y_px=full.y_px[:0], label=full.label[:0], known=np.zeros((320, 320), bool)
    )
    both = [encode(plain_crop(s), LossConfig()) for s in (full, blank)]
    maps = [torch.randn(2, n, 160, 160, generator=torch.Generator().manual_seed(n)) for n in (1, 4, 2)]
    out = CellMaps(*maps, torch.zeros(2, 5, 40, 40))
    terms = loss(out, Targets(*(torch.from_numpy(np.stack(t)) for t in zip(*both, strict=True))), LossConfig())
    alone = CellMaps(*(m[:1] for m in out))
    want = loss(alone, Targets(*(torch.from_numpy(t)[None] for t in both[0])), LossConfig())
    for name in ("detection", "types", "offset"):
        assert terms[name].item() == pytest.approx(want[name].item(), rel=1e-5)


def test_resume_goes_on_where_it_stopped(data: Path, tmp_path: Path) -> None:
    config = REPO / "configs/train/tiny.yaml"
    base = ["train", "--config", str(config), "--data", str(data), "--quiet"]
    assert main([*base, "--out", str(tmp_path / "r"), "--steps", "2"]) == 0
    before = load_file(tmp_path / "r" / "model" / "model.safetensors")
    assert main([*base, "--out", str(tmp_path / "r"), "--resume"]) == 0
    after = load_file(tmp_path / "r" / "model" / "model.safetensors")
    log = pd.read_csv(tmp_path / "r" / "log-2" / "metrics.csv")
    assert log["epoch"].min() == 1, "the first epoch is not run again"
    last = torch.load(tmp_path / "r" / "checkpoints" / "last.ckpt", weights_only=False)
    assert last["global_step"] == 4
    assert any(not np.array_equal(before[k], after[k]) for k in before)


def test_resume_after_the_last_step_keeps_the_averaged_weights(data: Path, tmp_path: Path) -> None:
    base = ["train", "--config", str(REPO / "configs/train/tiny.yaml"), "--data", str(data), "--quiet", "--fold", "0"]
    assert main([*base, "--out", str(tmp_path / "r")]) == 0
    before = load_file(tmp_path / "r" / "model" / "model.safetensors")
    assert main([*base, "--out", str(tmp_path / "r"), "--resume"]) == 0
    after = load_file(tmp_path / "r" / "model" / "model.safetensors")
    assert all(np.array_equal(before[k], after[k]) for k in before)
    assert main([*base[:-1], "1", "--out", str(tmp_path / "r"), "--resume"]) == 2, "another fold is another run"


def test_patience_goes_on_after_a_resume_and_needs_nuclei_to_find(data: Path, tmp_path: Path) -> None:
    cfg = replace(load_config(TrainConfig, REPO / "configs/train/tiny.yaml"), patience=3)
    train(replace(cfg, steps=2), data, tmp_path / "r", fold=0, progress=False)
    train(cfg, data, tmp_path / "r", fold=0, resume=True, progress=False)
    last = torch.load(tmp_path / "r" / "checkpoints" / "last.ckpt", weights_only=False)
    assert last["global_step"] == 4
    blind = shutil.copytree(data, tmp_path / "data")
    for path in (blind / "fields").glob("*_cells.csv"):
        name = path.name.removesuffix("_cells.csv")
        cv2.imwrite(str(path.with_name(f"{name}_known.png")), np.zeros((320, 320), np.uint8))
    with pytest.raises(ConfigError, match="patience needs"):
        train(cfg, blind, tmp_path / "s", fold=0, progress=False)


@pytest.mark.parametrize("path", sorted((REPO / "configs/train").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_config_is_valid(path: Path) -> None:
    assert load_config(TrainConfig, path).sets


def test_bfloat16_is_not_emulated() -> None:
    """A processor without it gets float32; whatever else was asked for stays."""
    assert usable_precision("bf16-mixed", native=False) == "32-true"
    assert usable_precision("bf16-mixed", native=True) == "bf16-mixed"
    assert usable_precision("32-true", native=False) == "32-true"


def test_blend_is_the_mean_of_start_and_end() -> None:
    start, net = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    net.weight.data, net.running_mean = torch.tensor([2.0, 3.0, 5.0]), torch.ones(3)
    blend(net, start, 0.75)
    torch.testing.assert_close(net.weight.data, torch.tensor([1.75, 2.5, 4.0]))
    torch.testing.assert_close(net.running_mean, torch.full((3,), 0.75))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.5])
def test_blend_needs_a_start_and_a_share(share: float, tmp_path: Path) -> None:
    cfg = TrainConfig(name="x", sets=(), blend=share)
    with pytest.raises(ConfigError, match="blend"):
        train(cfg, tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing is written"
