"""Fields that nobody annotated: teachers alone teach on them, and nothing is tested on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_sets import mask, picture, sample, text

from tilscore.cli import main
from tilscore.config import load_config
from tilscore.datasets import Sample, describe_sets, read_set, with_derived_regions
from tilscore.datasets.crops import plain_crop
from tilscore.errors import ConfigError, DataError
from tilscore.labels import UNKNOWN, Cell, Region
from tilscore.modelstore import save_model
from tilscore.network.config import ModelConfig, NetConfig
from tilscore.network.nets import CellMaps, TilNet
from tilscore.train import SetConfig, TrainConfig, predict_model, split, train
from tilscore.train.targets import Lesson, LossConfig, Targets, encode, loss

SMALL = NetConfig(width=16)
TINY = load_config(TrainConfig, Path(__file__).parents[1] / "configs/train/tiny.yaml")


def pictures(root: Path) -> Path:
    """A folder of three pictures of 96 px."""
    for i, name in enumerate(("b.JPG", "a.png", "c.tif")):
        picture(root / name, 96, 96, seed=i)
    return root


def unannotated(**more: object) -> Sample:
    return sample(n=0, known=np.zeros((64, 64), bool), **more)


# The reader


def test_every_picture_is_a_field_of_which_nothing_is_known(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "b.png")
    for name in ("a.jpeg", "c.tif", "d.BMP", ".hidden.png", "below/e.png"):
        picture(tmp_path / name)
    text(tmp_path / "notes.txt", "mine")
    got = read_set("pictures", tmp_path, mpp=0.4, organ="breast")
    assert [(s.name, s.group, s.mpp, s.organ) for s in got] == [(n, n, 0.4, "breast") for n in "abcd"]
    np.testing.assert_array_equal(got[1].image, pixels)
    for one in map(with_derived_regions, got):
        assert not one.annotated
        assert one.known_mm2 == len(one.label) == 0
        assert (plain_crop(one).regions == UNKNOWN).all()
        assert not plain_crop(one).known.any()


def test_pictures_need_a_resolution_and_have_no_classes(tmp_path: Path) -> None:
    pictures(tmp_path)
    with pytest.raises(ConfigError, match="give its `mpp`"):
        read_set("pictures", tmp_path)
    with pytest.raises(ConfigError, match="no classes; leave out `classes`"):
        read_set("pictures", tmp_path, mpp=0.5, classes={"x": "other"})


def test_pictures_know_their_patients(tmp_path: Path) -> None:
    pictures(tmp_path)
    text(tmp_path / "fields.csv", "name,patient,centre\na.png,P1,C1\nb,P1,\n")
    got = read_set("pictures", tmp_path, mpp=0.5)
    assert [(s.group, s.patient, s.centre) for s in got] == [("P1", "P1", "C1"), ("P1", "P1", ""), ("c", "", "")]
    text(tmp_path / "fields.csv", "name,patient\nd,P1\n")
    with pytest.raises(DataError, match="a field that is not there"):
        read_set("pictures", tmp_path, mpp=0.5)


@pytest.mark.parametrize("name", ["a_cells.csv", "a_known.png", "a_regions.png", "a.geojson", "a.png.geojson.gz"])
def test_annotations_beside_pictures_are_not_passed_over(tmp_path: Path, name: str) -> None:
    pictures(tmp_path)
    if name.endswith(".png"):
        mask(tmp_path / name, np.ones((96, 96), np.uint8))
    else:
        text(tmp_path / name, "")
    with pytest.raises(DataError, match=rf"annotations lie beside .*found {name}\); read them as `plain` or `qupath`"):
        read_set("pictures", tmp_path, mpp=0.5)


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    picture(tmp_path / "below" / "a.png")
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(DataError, match=r"no picture in this folder; .* \.bmp, .*\.tiff$"):
            read_set("pictures", folder, mpp=0.5)


# What is known


@pytest.mark.parametrize(
    "more",
    [
        {"known": None},
        {"regions": np.full((64, 64), Region.STROMA, np.uint8)},
        {"known": np.arange(4096).reshape(64, 64) == 5},
        {"complete": (Cell.INFLAMMATORY,)},
    ],
)
def test_whatever_is_told_is_an_annotation(more: dict[str, object]) -> None:
    blank = unannotated(regions=np.full((64, 64), UNKNOWN, np.uint8))
    assert not blank.annotated
    assert replace(blank, **more).annotated  # type: ignore[arg-type]
    assert sample(n=1, known=np.zeros((64, 64), bool)).annotated


def test_a_description_says_that_nothing_is_annotated() -> None:
    told = describe_sets([unannotated()])
    assert "annotated   nothing: it tests no model" in told
    assert not any(word in told for word in ("nuclei", "known", "regions"))
    told = describe_sets([unannotated(), sample(name="b")])
    assert "annotated   1 of 2 images" in told
    assert "nuclei      1: " in told
    assert "annotated" not in describe_sets([sample()])


# Training


def test_a_lesson_alone_teaches_where_nothing_is_annotated() -> None:
    """Nuclei and regions learn from it; types and places, which are taught at annotated nuclei, do not."""
    targets = Targets(*(torch.from_numpy(t)[None] for t in encode(plain_crop(unannotated()), LossConfig())))
    shapes = [(1, 1, 32, 32), (1, len(Cell), 32, 32), (1, 2, 32, 32), (1, len(Region), 8, 8)]
    lesson = Lesson(torch.full(shapes[0], 0.6), torch.full(shapes[1], 0.25), torch.full(shapes[3], 0.2))
    for taught in (None, lesson):
        maps = CellMaps(*(torch.randn(s, generator=torch.Generator().manual_seed(1)) for s in shapes))
        for m in maps:
            m.requires_grad_()
        terms = loss(maps, targets, LossConfig(), taught)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        pulled = [m.grad is not None and bool(m.grad.any()) for m in maps]
        assert pulled == [taught is not None, False, False, taught is not None]
        assert taught is not None or not any(terms.values())


def test_training_asks_for_teachers_and_holds_no_such_set_out(tmp_path: Path) -> None:
    pictures(tmp_path / "data" / "own")
    own = SetConfig("own", format="pictures", mpp=0.5)
    cfg = replace(TINY, sets=(own,), steps=2)
    with pytest.raises(ConfigError, match=r"own: nothing is annotated in this set, it teaches.*; give `teachers`"):
        train(cfg, tmp_path / "data", tmp_path / "run", progress=False)
    teacher = str(save_model(tmp_path / "t", TilNet(SMALL), ModelConfig(name="t", net=SMALL)).folder)
    cfg = replace(cfg, teachers=(teacher,))
    with pytest.raises(ConfigError, match=r"own: nothing is annotated in this set, held out.*; set `train_only: true`"):
        train(cfg, tmp_path / "data", tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    cfg = replace(cfg, sets=(replace(own, train_only=True),))
    assert train(cfg, tmp_path / "data", tmp_path / "run", progress=False).is_dir()


def test_a_held_out_patient_is_neither_shown_nor_tested_by_such_fields(capsys: pytest.CaptureFixture[str]) -> None:
    fields = [sample("s", f"s{i}", patient=f"P{i}") for i in range(2)]
    own = [unannotated(source="own", name=f"o{i}", patient=f"P{i}") for i in range(3)]
    cfg = TrainConfig("m", (SetConfig("s"), SetConfig("own", train_only=True)), folds=2)
    learn, held = split([*fields, *own], cfg, 0)
    (out,) = held
    assert {s.source for s in held} == {"s"}
    assert [s.patient for s in learn if s.source == "own"] == [s.patient for s in own if s.patient != out.patient]
    assert "own: nothing is annotated, and nothing can be tested, on 1 of its fields" in capsys.readouterr().err


# Evaluation


def test_an_evaluation_measures_annotated_fields_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path / "own")
    picture(tmp_path / "fields" / "a.png", 96, 96)
    text(tmp_path / "fields" / "a_cells.csv", "x_px,y_px,label\n30.5,30.5,stromal\n")
    model = str(save_model(tmp_path / "m", TilNet(SMALL), ModelConfig(name="m", net=SMALL)).folder)
    own = SetConfig("own", format="pictures", mpp=0.5)
    both = replace(TINY, sets=(*TINY.sets, own))
    assert [f.source for f in predict_model(both, tmp_path, model)] == ["fields"]
    assert "own: nothing is annotated, and nothing can be tested, on 3 of its fields" in capsys.readouterr().err
    path = text(tmp_path / "c.yaml", "name: m\nsets: [{folder: own, format: pictures, mpp: 0.5}]\n")
    assert main(["evaluate", "--config", str(path), "--data", str(tmp_path), "--model", model]) == 1
    got = capsys.readouterr()
    assert not got.out
    assert "nothing is annotated: there is nothing to measure" in got.err
