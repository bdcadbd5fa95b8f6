"""Pictures of a training run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_sets import sample

from tilscore.datasets import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import CELL_COLOURS, Cell
from tilscore.network.nets import TilNet
from tilscore.train.pictures import (
    _curves,
    _figure,
    _lines,
    _middle,
    _read_log,
    _shown_scores,
    _title,
    draw_curves,
    draw_examples,
)


def write_log(folder: Path, rows: str) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,step,train/loss,val/a/f_detection\n" + rows)


def field(size: int = 300, mpp: float = 0.5) -> Sample:
    xy = np.array([[150.0, 150.0], [10.0, 10.0]], np.float32)
    image = np.full((size, size, 3), 230, np.uint8)
    return Sample("f", "set", image, mpp, xy[:, 0], xy[:, 1], np.array([Cell.STROMAL, UNTYPED], np.int8), group="f")


def test_a_resumed_run_is_one_curve(tmp_path: Path) -> None:
    write_log(tmp_path / "log", "0,9,2.0,\n0,9,,0.1\n1,19,1.5,0.2\n")
    write_log(tmp_path / "log-2", "1,19,1.4,0.3\n2,29,1.0,0.5\n")
    log = _read_log(tmp_path)
    assert log["step"].tolist() == [9, 19, 29]
    assert log["train/loss"].tolist() == [2.0, 1.4, 1.0]
    assert log["val/a/f_detection"].tolist() == [0.1, 0.3, 0.5]
    assert np.asarray(Image.open(draw_curves(tmp_path))).std() > 5


def test_steps_are_whole_and_a_figure_of_1_is_seen(tmp_path: Path) -> None:
    write_log(tmp_path / "log", "0,1,2.0,\n0,1,,1.0\n1,3,1.5,\n1,3,,1.0\n")
    left, right = _curves(_read_log(tmp_path)).axes
    assert all(tick == round(tick) for axes in (left, right) for tick in axes.get_xticks())
    assert right.get_ylim()[1] > 1.01
    assert right.get_ylabel() == "F, 0 to 1"


def test_the_mean_over_sets_is_no_set(tmp_path: Path) -> None:
    """It is named as what it is, has a look of its own, and takes no dashes from a set."""
    keys = ["val/a/f_detection", "val/a/f_class/stromal", "val/b/f_detection", "val/f_detection"]
    (tmp_path / "log").mkdir()
    rows = ["0,2.0,,,,", "0,,0.2,0.3,0.4,0.3", "9,,0.3,0.3,0.5,0.4"]
    text = "\n".join([",".join(["step", "train/loss", *keys]), *rows]) + "\n"
    (tmp_path / "log" / "metrics.csv").write_text(text)
    figure = _figure(4.0, 3.0)
    ax = figure.subplots()
    columns = _shown_scores(_read_log(tmp_path))
    _lines(ax, _read_log(tmp_path), columns)
    looks = {str(line.get_label()): (line.get_linestyle(), line.get_color()) for line in ax.lines}
    assert list(looks) == ["mean detection F1", "a: detection F1", "a: F_c stromal", "b: detection F1"]
    assert [looks[k][0] for k in ("a: detection F1", "a: F_c stromal", "b: detection F1")] == ["-", "-", "--"]
    assert looks["mean detection F1"][1] not in {v[1] for k, v in looks.items() if k != "mean detection F1"}


def test_a_folder_without_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no log"):
        draw_curves(tmp_path)


@pytest.mark.parametrize(("size", "mpp"), [(300, 0.5), (600, 0.25), (100, 0.5), (40, 1.0)])
def test_the_middle_of_a_field_fits_the_network(size: int, mpp: float) -> None:
    crop = _middle(field(size, mpp))
    side = crop.image.shape[0]
    assert crop.image.shape == (side, side, 3)
    assert side % 32 == 0
    assert crop.regions.shape == crop.known.shape == (side, side)
    if (size, mpp) == (300, 0.5):
        assert side == 256
        assert (crop.x_px[0], crop.y_px[0]) == (128.0, 128.0)  # the middle of the field is the middle of the crop


def test_annotated_nuclei_are_drawn_in_their_colour(tmp_path: Path) -> None:
    net = TilNet().train()
    path = draw_examples(net, [field()], tmp_path / "examples.png", threshold=0.99)
    assert net.training
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    ring = pixels[: int(0.8 * height), : width // 2]
    assert (abs(ring - np.array(CELL_COLOURS[Cell.STROMAL])).max(axis=2) < 60).sum() > 10
    with pytest.raises(DataError, match="no field"):
        draw_examples(net, [], path)


def test_the_name_of_a_field_stays_over_its_own_picture() -> None:
    assert _title(sample("s", "a")) == "s/a, annotated"
    long = _title(sample("bcss", "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500"))
    assert long == "bcss/TCGA-A1-A0SK-DX1_xmin…, annotated"
    assert len(long) == 38
