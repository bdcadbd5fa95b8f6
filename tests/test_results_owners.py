"""Slides of one name: archives name them 1.svs in every patient's folder, and none may cost another its results."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tilscore.cli import main
from tilscore.pipeline import process
from tilscore.results.owners import Owner, full_path, owner_of
from tilscore.run import Run
from tilscore.slide import SlideSpec

KINDS = ("scored", "damaged", "gone")


def tilscore(verb: str, *args: object, out: Path) -> int:
    more = ["--device", "cpu"] if verb in ("run", "infer") else []
    return main([verb, *map(str, args), "--mpp", "0.5", "--out", str(out), "--quiet", *more])


def rows(out: Path) -> dict[str, dict[str, str]]:
    with open(out / "scores.csv", newline="", encoding="utf-8") as f:
        return {r["slide_id"]: r for r in csv.DictReader(f)}


def slide(path: Path, kind: str = "scored", height: int = 300) -> Path:
    """A blank field, which is read and not evaluable; a file that is none; or nothing at all."""
    path.parent.mkdir(exist_ok=True, parents=True)
    if kind == "damaged":
        path.write_text("no slide")
    elif kind == "scored":
        cv2.imwrite(str(path), np.full((height, 300, 3), 243, np.uint8))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def status(kind: str) -> str:
    return "not_evaluable" if kind == "scored" else "failed"


@pytest.mark.parametrize(("one", "two"), list(itertools.product(KINDS, KINDS)))
def test_slides_of_one_name_keep_their_rows_and_files(one: str, two: str, tmp_path: Path) -> None:
    first, second = slide(tmp_path / "p1" / "a.png", one), slide(tmp_path / "p2" / "a.png", two, 310)
    assert tilscore("run", first, out=tmp_path / "out") == (one != "scored")
    row, before = rows(tmp_path / "out")["a"], files(tmp_path / "out" / "a")
    for again in ([], ["--resume"]):
        assert tilscore("run", second, *again, out=tmp_path / "out") == (two != "scored")
    found = rows(tmp_path / "out")
    if one == "gone":  # nothing was read from a name that was mistyped
        assert [r["status"] for r in found.values()] == [status(two)]
        return
    assert found["a"] == row
    assert files(tmp_path / "out" / "a") == before
    (name,) = set(found) - {"a"}
    assert name.startswith("a-")
    assert found[name]["status"] == status(two)
    assert owner_of(tmp_path / "out" / name).path == full_path(second)


def test_together_later_and_by_stages_they_have_the_same_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = slide(tmp_path / "p1" / "a.png"), slide(tmp_path / "p2" / "a.png", height=310)
    together = tmp_path / "together"
    assert tilscore("run", tmp_path / "p1", tmp_path / "p2", out=together) == 0
    names = set(rows(together))
    assert len(names) == 2
    for path in (first, second):
        assert tilscore("run", path, "--resume", out=together) == 0
        assert "done before" in capsys.readouterr().out
    assert set(rows(together)) == names

    out = tmp_path / "out"
    assert tilscore("run", first, out=out) == 0
    for verb in ("tissue", "infer", "score", "overlay"):
        assert tilscore(verb, second, out=out) == 0
    assert set(rows(out)) == {"a", *(name for name in names if owner_of(together / name).path == full_path(second))}
    capsys.readouterr()
    assert tilscore("run", tmp_path / "p1", tmp_path / "p2", "--resume", out=out) == 0
    assert capsys.readouterr().out.count("done before") == 2
    for path in (first, second):
        assert main(["explain", str(path), "--out", str(out), "--json"]) == 0
        assert owner_of(out / json.loads(capsys.readouterr().out)["slide_id"]).path == full_path(path)


def test_relative_paths_of_two_folders_at_hand_are_two_slides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for patient, height in (("p1", 300), ("p2", 310)):
        slide(tmp_path / patient / "a.png", height=height)
        monkeypatch.chdir(tmp_path / patient)
        assert tilscore("run", "a.png", out=Path("..") / "out") == 0
    assert len(rows(tmp_path / "out")) == 2


def test_a_slide_that_was_moved_or_copied_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, out = slide(tmp_path / "p1" / "a.png"), tmp_path / "out"
    assert tilscore("run", first, out=out) == 0
    (tmp_path / "p2").mkdir()
    copied = Path(shutil.copy(first, tmp_path / "p2" / "a.png"))
    assert tilscore("run", copied, "--resume", out=out) == 0
    assert "done before" in capsys.readouterr().out
    assert set(rows(out)) == {"a"}


def listed(path: Path, slide: Path) -> Path:
    path.write_text(f"path,slide_id\n{slide},A\n")
    return path


def test_a_name_of_a_list_is_refused_before_the_first_slide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cohort of a list knows its slides by name: it would take another patient's score for its own."""
    first, out = slide(tmp_path / "p1" / "a.png"), tmp_path / "out"
    assert tilscore("run", listed(tmp_path / "one.csv", first), out=out) == 0
    row, before = rows(out), files(out / "A")
    for kind in ("scored", "damaged"):
        other = slide(tmp_path / "p2" / "b.png", kind, 310)
        assert tilscore("run", listed(tmp_path / "two.csv", other), slide(tmp_path / "c.png"), out=out) == 2
        said = capsys.readouterr().err
        assert f"has results of another slide of this name (found {first})" in said
        assert "slide_id" in said
        assert (rows(out), files(out / "A")) == (row, before)
    moved = first.rename(tmp_path / "p1" / "moved.png")
    assert tilscore("run", listed(tmp_path / "one.csv", moved), "--resume", out=out) == 0
    assert "done before" in capsys.readouterr().out


def test_a_list_that_was_put_right_takes_the_place_of_what_failed(tmp_path: Path) -> None:
    wrong, right, out = slide(tmp_path / "a.png", "damaged"), slide(tmp_path / "b.png"), tmp_path / "out"
    assert tilscore("run", listed(tmp_path / "one.csv", wrong), out=out) == 1
    assert tilscore("run", listed(tmp_path / "one.csv", right), out=out) == 0
    assert rows(out)["A"]["status"] == "not_evaluable"


def test_results_that_another_run_makes_meanwhile_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = slide(tmp_path / "p1" / "a.png"), slide(tmp_path / "p2" / "a.png", height=310)
    said: list[str] = []

    def say(text: str) -> None:
        if not said:  # the other run: between the look at all names and the second slide
            process([SlideSpec("A", first, 0.5)], Run(tmp_path / "out"), ("tissue",), say=lambda text: None)
        said.append(text)

    specs = [SlideSpec("b", first, 0.5), SlideSpec("A", second, 0.5)]
    assert process(specs, Run(tmp_path / "out"), ("tissue",), say=say) == (1, 1, 0, 0)
    assert "another slide of this name" in said[1]
    assert owner_of(tmp_path / "out" / "A").path == full_path(first)


def test_a_folder_that_tells_nothing_has_no_owner(tmp_path: Path) -> None:
    assert owner_of(tmp_path) == Owner("", "")
    for text in ("", "[]", '{"slide": []}'):
        (tmp_path / "provenance.json").write_text(text)
        assert owner_of(tmp_path) == Owner("", "")
