"""Windows and Macs, as far as Linux can stand in for them: without what they lack, and with what is otherwise there."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiffs import noise, write_tiff
from tiny_sets import sample

from tilscore import cli, files
from tilscore.cells import read_cells
from tilscore.cli import main
from tilscore.errors import OutputError, UsageError
from tilscore.files import check_can_write, write_text
from tilscore.phantom import PhantomConfig, write_phantom
from tilscore.pipeline import process
from tilscore.run import Run
from tilscore.slide import SlideSpec
from tilscore.slide.tiff_tiles import read_at
from tilscore.train.config import SetConfig, TrainConfig
from tilscore.train.data import Crops

REPO = Path(__file__).parents[1]
LACKS = """
import multiprocessing, multiprocessing.context, os
for name in ("pread", "fork", "forkpty", "statvfs", "killpg"):
    delattr(os, name)
multiprocessing.set_start_method("spawn")
multiprocessing.get_all_start_methods = lambda: ["spawn"]
del multiprocessing.context._concrete_contexts["forkserver"]
"""
"""What every Python of the test runs first: afterwards it has as little of POSIX as Windows has."""


def test_a_slide_is_scored_without_what_windows_lacks(tmp_path: Path) -> None:
    """Its readers are processes that begin anew, and find the same cells."""
    write_phantom(tmp_path / "a.tif", PhantomConfig(size_mm=(0.6, 0.5)))
    (tmp_path / "windows").mkdir()
    (tmp_path / "windows" / "sitecustomize.py").write_text(LACKS, encoding="utf-8")
    verb = ["run", str(tmp_path / "a.tif"), "--device=cpu", "--workers=1", "--block-um=256", "--quiet", "--out"]
    assert main([*verb, str(tmp_path / "here")]) == 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "windows"), str(REPO)])}
    command = [sys.executable, "-m", "tilscore", *verb, str(tmp_path / "there")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ours, theirs = (read_cells(tmp_path / name / "a" / "cells.parquet") for name in ("here", "there"))
    assert len(ours) > 100
    np.testing.assert_array_equal(ours.x_um, theirs.x_um)


def test_a_file_is_read_by_position_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(bytes(range(100)))
    monkeypatch.delattr(os, "pread")
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    assert [read_at(fd, 3, at) for at in (20, 90, 5)] == [bytes(range(at, at + 3)) for at in (20, 90, 5)]
    os.close(fd)


def test_a_drive_that_is_not_there_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Z:` is its own parent."""
    asked = []

    def exists(path: Path) -> bool:
        asked.append(path)
        assert len(asked) < 20, "it is looked for without end"
        return False

    def touch(path: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "exists", exists)
    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(UsageError, match="cannot be written"):
        check_can_write(Path("/results/run"), folder=True)


def test_a_file_that_is_open_elsewhere_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def replace(source: Path, target: Path) -> None:
        tries.append(target)
        if len(tries) < 3:
            raise PermissionError(13, "Access is denied")
        rename(source, target)

    rename = os.rename
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match=r"Access is denied.*; check the folder") as told:
        write_text(tmp_path / "a.txt", "a")
    assert "close it" not in str(told.value), "on other systems no program keeps a file from being replaced"
    monkeypatch.setattr(files, "_WINDOWS", True)
    write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "a"
    tries.clear()
    monkeypatch.setattr(files, "_PATIENCE_S", 0.0)
    with pytest.raises(OutputError, match="close it where it is open"):
        write_text(tmp_path / "a.txt", "b")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_table_that_a_spreadsheet_holds_is_told_before_the_first_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(source: Path, target: Path) -> None:
        if Path(target).name == "scores.csv":
            raise PermissionError(13, "Access is denied")
        os.rename(source, target)

    (tmp_path / "scores.csv").touch()
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match=r"scores.csv: cannot be replaced .*close it"):
        process([SlideSpec("a", tmp_path / "gone.svs")], Run(tmp_path))
    assert not (tmp_path / "a").exists()


def test_patterns_are_matched_where_the_shell_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b", "a"):
        write_tiff(tmp_path / f"{name}.tif", noise())
    monkeypatch.setattr(cli, "_WINDOWS", True)
    assert main(["info", str(tmp_path / "*.tif"), "--json"]) == 0
    assert [json.loads(line)["path"][-5:] for line in capsys.readouterr().out.splitlines()] == ["a.tif", "b.tif"]
    assert main(["info", str(tmp_path / "*.svs")]) == 1, "what matches nothing is told by its pattern"
    monkeypatch.setattr(cli, "_WINDOWS", False)
    assert main(["info", str(tmp_path / "*.tif")]) == 1


def test_crops_reach_workers_that_begin_anew() -> None:
    cfg = TrainConfig("c", sets=(SetConfig("s"),), crop_px=64, batch=1, steps_per_epoch=2)
    crops = Crops([sample(size=128)], cfg, epoch=0)
    for one, other in zip(crops[1], pickle.loads(pickle.dumps(crops))[1], strict=True):
        np.testing.assert_array_equal(one, other)
