"""Models that teach: what a lesson adds to the annotation, and that no teacher tells what is held out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from tiny_sets import sample
from torch import Tensor, nn

from tilscore.cli import main
from tilscore.datasets.crops import plain_crop
from tilscore.errors import ConfigError
from tilscore.labels import UNKNOWN, Cell, Region
from tilscore.modelstore import save_model
from tilscore.network.config import ModelConfig, NetConfig
from tilscore.network.nets import CellMaps, TilNet
from tilscore.train.config import SetConfig, TrainConfig
from tilscore.train.folder import note_run
from tilscore.train.merged import merged
from tilscore.train.targets import Lesson, LossConfig, Targets, encode, loss
from tilscore.train.teachers import Teachers, check_start, check_teachers

SMALL = NetConfig(width=16)


def targets(**more: object) -> Targets:
    """Of one field of 64 px with four nuclei, without regions."""
    arrays = encode(plain_crop(sample(n=4, **more)), LossConfig())  # type: ignore[arg-type]
    return Targets(*(torch.from_numpy(np.asarray(a))[None] for a in arrays))


def lesson_of(t: Targets, detection: float = 0.0) -> Lesson:
    """Teachers who say `detection` everywhere, and equal shares of classes and regions."""
    h, w = t.peak_B1hw.shape[2:]
    regions = torch.full((1, len(Region), h // 4, w // 4), 1 / len(Region))
    return Lesson(torch.full((1, 1, h, w), detection), torch.full((1, len(Cell), h, w), 1 / len(Cell)), regions)


def saying(lesson: Lesson) -> CellMaps:
    """Maps of a network that says exactly the lesson."""
    h, w = lesson.detection_B1hw.shape[2:]
    types, regions = lesson.types_BChw.log(), lesson.regions_BRhw.log()
    return CellMaps(lesson.detection_B1hw.clamp(1e-6, 1 - 1e-6).logit(), types, torch.zeros(1, 2, h, w), regions)


def test_a_whole_lesson_is_all_that_is_taught() -> None:
    """With a share of 1 nothing beats the teacher's own maps: no detection loss, and the entropy of the rest."""
    t, cfg = targets(), LossConfig(lesson=1.0)
    lesson = lesson_of(t, 0.4)
    terms = loss(saying(lesson), t, cfg, lesson)
    assert float(terms["detection"]) == pytest.approx(0, abs=1e-6)
    assert float(terms["types"]) == pytest.approx(math.log(len(Cell)), rel=1e-5)
    assert float(terms["regions"]) == pytest.approx(math.log(len(Region)), rel=1e-5)


def test_no_lesson_and_a_lesson_of_no_share_are_the_same_where_all_is_annotated() -> None:
    t, cfg = targets(), LossConfig(lesson=0.0)
    t = t._replace(regions_Bhw=torch.full_like(t.regions_Bhw, Region.STROMA))
    maps = saying(lesson_of(t, 0.3))
    plain, taught = loss(maps, t, cfg), loss(maps, t, cfg, lesson_of(t, 0.9))
    for key in ("detection", "offset", "regions", "types"):
        assert float(plain[key]) == pytest.approx(float(taught[key]), rel=1e-5), key


def test_the_target_is_the_mean_of_annotation_and_lesson() -> None:
    """One pixel of a region, closed form: cross-entropy against the mixture."""
    t, cfg = targets(), LossConfig(lesson=0.25)
    regions = torch.full_like(t.regions_Bhw, UNKNOWN)
    t = t._replace(regions_Bhw=regions)
    lesson = lesson_of(t)
    said = torch.zeros_like(lesson.regions_BRhw)
    said[:, Region.TUMOUR] = 1
    drawn = t._replace(regions_Bhw=torch.full_like(regions, Region.STROMA))
    logits = torch.zeros_like(said)
    logits[:, Region.TUMOUR] = 2
    maps = saying(lesson)._replace(regions_BRhw=logits)
    log_p = torch.tensor([0.0, 2.0, 0.0, 0.0, 0.0]).log_softmax(0)
    want = -(0.75 * log_p[Region.STROMA] + 0.25 * log_p[Region.TUMOUR])
    assert float(loss(maps, drawn, cfg, lesson._replace(regions_BRhw=said))["regions"]) == pytest.approx(float(want))
    alone = loss(maps, t, cfg, lesson._replace(regions_BRhw=said))["regions"]
    assert float(alone) == pytest.approx(float(-log_p[Region.TUMOUR]))


def test_untyped_nuclei_and_unknown_ground_are_taught_by_the_lesson_alone() -> None:
    blank = np.zeros((64, 64), bool)
    t = targets(label=np.full(4, -1, np.int8), known=blank)
    lesson = lesson_of(t, 0.4)
    types = torch.zeros_like(lesson.types_BChw)
    types[:, Cell.STROMAL] = 1
    maps = saying(lesson)
    terms = loss(maps, t, LossConfig(), lesson._replace(types_BChw=types))
    assert float(terms["types"]) == pytest.approx(math.log(len(Cell)), rel=1e-5)
    assert float(loss(maps, t, LossConfig())["types"]) == 0
    other = lesson._replace(detection_B1hw=torch.full_like(lesson.detection_B1hw, 0.9))
    assert float(loss(maps, t, LossConfig(), other)["detection"]) > float(terms["detection"]) * 1.5


def test_teachers_say_the_mean_and_do_not_learn(tmp_path: Path) -> None:
    names = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        names.append(str(save_model(tmp_path / str(seed), TilNet(SMALL), ModelConfig(name="t", net=SMALL)).folder))
    image = torch.full((1, 3, 64, 64), 180.0)
    one, two = (Teachers([name]).tell(image) for name in names)
    both = Teachers(names)
    assert not any(p.requires_grad or net.training for net in both.nets for p in net.parameters())
    for got, a, b in zip(both.tell(image), one, two, strict=True):
        assert float((a - b).abs().max()) > 1e-4
        torch.testing.assert_close(got, (a + b) / 2)


def stirred_net(encoder: str) -> TilNet:
    """A network of noise whose normalisations do something."""
    torch.manual_seed(3)
    net = TilNet(NetConfig(encoder=encoder, width=16)).eval()
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor in (norm.weight.data, norm.running_var):
            tensor.uniform_(0.5, 1.5)
        for tensor in (norm.bias.data, norm.running_mean):
            tensor.uniform_(-0.2, 0.2)
    return net


@pytest.mark.parametrize("encoder", ["efficientnet_lite0", "resnet18", "mobilenetv2_100", "densenet121"])
def test_merged_normalisations_change_nothing_that_is_said(encoder: str) -> None:
    net = stirred_net(encoder)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    lean = merged(net)
    left = [[k for k, m in n.named_modules() if isinstance(m, nn.BatchNorm2d)] for n in (net, lean)]
    assert len(left[1]) <= len(left[0]) / 2
    assert encoder == "densenet121" or left[1] == ["fused.0"], "it follows a sum"
    image = torch.rand(2, 3, 96, 64) * 255
    with torch.no_grad():
        for got, want in zip(lean(image), net(image), strict=True):
            assert float(want.std()) > 1e-3
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in before.items())


class Backwards(nn.Module):
    """Lists its layers the other way round than it uses them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 1), nn.BatchNorm2d(width)
        nn.init.uniform_(self.norm.running_mean)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x))


def test_a_normalisation_that_does_not_follow_is_not_merged() -> None:
    net = stirred_net("resnet18")
    net.smooth_8 = Backwards(16).eval()
    assert merged(net) is net


def test_a_student_is_trained_beside_its_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fold 0 teaches fold 0 and is refused for fold 1; the lesson changes what is learned."""
    for i in range(4):
        one = sample(name=f"f{i}", n=9, size=96)
        folder = tmp_path / "data" / "fields"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{one.name}.png"), one.image)
        table = pd.DataFrame({"x_px": one.x_px, "y_px": one.y_px, "label": [Cell(v).name.lower() for v in one.label]})
        table.to_csv(folder / f"{one.name}_cells.csv", index=False)
    config = str(Path(__file__).parents[1] / "configs/train/tiny.yaml")
    args = ["train", "--config", config, "--data", str(tmp_path / "data"), "--quiet"]
    assert main([*args, "--out", str(tmp_path / "teacher"), "--fold", "0"]) == 0
    taught = [*args, "--teachers", str(tmp_path / "teacher" / "model")]
    assert main([*taught, "--out", str(tmp_path / "student"), "--fold", "0"]) == 0
    one, two = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("teacher", "student"))
    assert list(one) == list(two)
    assert not all(np.array_equal(one[k], two[k]) for k in one)
    capsys.readouterr()
    assert main([*taught, "--out", str(tmp_path / "leak"), "--fold", "1"]) == 2
    assert "may have learned" in capsys.readouterr().err


def test_a_teacher_that_may_know_what_is_held_out_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    model = str(save_model(run / "model", TilNet(SMALL), ModelConfig(name="t", net=SMALL)).folder)
    check_teachers([model], [])
    with pytest.raises(ConfigError, match="held out"):
        check_teachers([model], ["s/a"])
    (run / "run.json").write_text(json.dumps({"held_out": ["s/b"]}))
    with pytest.raises(ConfigError, match="held out"):
        check_teachers([model], ["s/a"])
    (run / "run.json").write_text(json.dumps({"held_out": ["s/b", "s/a"]}))
    check_teachers([model], ["s/a"])


def test_a_start_that_learned_what_is_held_out_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    model = str(save_model(run / "model", TilNet(SMALL), ModelConfig(name="t", net=SMALL)).folder)
    s_a, s_c, others = sample("s", "a"), sample("s", "c"), [sample("other", "a"), sample("s2", "a")]
    check_start(model, [s_a])
    check_start("", [s_a])
    cfg = TrainConfig("t", (SetConfig("s"),))
    note_run(cfg, run, {"held_out": []})
    check_start(model, [])
    check_start(model, others)
    with pytest.raises(ConfigError, match=r"learned from fields held out \(found s/a\)"):
        check_start(model, [*others, s_a])
    note_run(cfg, run, {"held_out": ["s/a", "s/b"]})
    check_start(model, [s_a])
    with pytest.raises(ConfigError, match="found s/c"):
        check_start(model, [s_a, s_c])
