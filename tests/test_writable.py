"""What cannot be written is said before the work, not after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilscore.cli import main
from tilscore.errors import UsageError
from tilscore.files import check_can_write

TINY = Path(__file__).parents[1] / "configs" / "train" / "tiny.yaml"
VERBS = [
    ["run", "gone.svs", "--out", "PLACE"],
    ["tissue", "gone.svs", "--out", "PLACE"],
    ["phantom", "PLACE"],
    ["train", "--config", str(TINY), "--data", ".", "--out", "PLACE"],
    ["evaluate", "--config", "gone.yaml", "--data", "gone", "--model", "gone", "--out", "PLACE"],
    ["evaluate", "--config", "gone.yaml", "--data", "gone", "--folds", "gone", "--html", "PLACE"],
    ["models", "export", "tilscore-lite", "--out", "PLACE"],
    ["cohort", "simulate", "PLACE"],
    ["cohort", "analyse", "gone.csv", "--results", "gone", "--out", "PLACE"],
    ["cohort", "rank", "gone.csv", "--results", "gone", "--out", "PLACE"],
    ["cohort", "assays", "gone.csv", "--results", "gone", "--assays", "gone.csv", "--out", "PLACE"],
    ["cohort", "agree", "gone.csv", "--pred", "a", "--truth", "b", "--out", "PLACE"],
    ["cohort", "calibrate", "gone.csv", "--out", "PLACE"],
]


@pytest.mark.parametrize("args", VERBS, ids=lambda args: " ".join(args[:2]) + (" html" if "--html" in args else ""))
def test_every_verb_says_so_before_it_reads_anything(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "further" / "out"
    assert main([str(place) if a == "PLACE" else a for a in args]) == 2
    said = capsys.readouterr().err
    assert f"{place}: cannot be written" in said
    assert said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_files_and_folders_are_told_apart_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    (tmp_path / "folder").mkdir()
    for path, folder in ((tmp_path / "a.json", False), (tmp_path / "folder", True), (tmp_path / "x" / "y", False)):
        check_can_write(path, folder=folder)
    for path, folder, found in ((tmp_path / "a.json", True, "a file"), (tmp_path / "folder", False, "a folder")):
        with pytest.raises(UsageError, match=f"cannot be written .found {found}"):
            check_can_write(path, folder=folder)
    with pytest.raises(UsageError, match="cannot be written"):
        check_can_write(tmp_path / ("x" * 300))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "folder"]
