"""What a run remembers of its slides: what stands is left alone, what does not is made again, nothing is mixed."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock

from tilscore import __version__
from tilscore.cli import main
from tilscore.errors import OutputError
from tilscore.pipeline import process
from tilscore.results.artefacts import STAGES
from tilscore.run import Run
from tilscore.slide import SlideSpec


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """A blank field: every stage runs, in little time."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((300, 300, 3), 243, np.uint8))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def tilscore(verb: str, *args: object, out: Path) -> int:
    return main([verb, *map(str, args), "--out", str(out), "--quiet", *(["--device", "cpu"] if verb == "run" else [])])


def notes(out: Path) -> dict:
    return json.loads((out / "a" / "provenance.json").read_text())


def row(out: Path) -> dict[str, str] | None:
    with open(out / "scores.csv", newline="", encoding="utf-8") as f:
        return next((r for r in csv.DictReader(f) if r["slide_id"] == "a"), None)


def made(out: Path) -> dict[str, int]:
    names = {"tissue": "tissue.tif", "infer": "cells.parquet", "score": "score.json", "overlay": "overlay.png"}
    return {stage: (out / "a" / name).stat().st_mtime_ns for stage, name in names.items()}


def square(path: Path, properties: dict | None = None) -> Path:
    ring = [[20, 20], [200, 20], [200, 200], [20, 200], [20, 20]]
    value = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties or {}}
    path.write_text(json.dumps(value))
    return path


def resumed(before: dict[str, int], out: Path) -> list[str]:
    """The stages that a resumed run has run again."""
    return [stage for stage, at in made(out).items() if before[stage] != at]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ([], []),
        (["--workers", 0], []),
        (["--mpp", 0.25], list(STAGES)),
        (["--precision", "full"], ["infer", "score", "overlay"]),
        (["--turns", 2], ["infer", "score", "overlay"]),
        (["--site", "liver"], ["score", "overlay"]),
        (["--roi", "roi.geojson"], ["score", "overlay"]),
        (["--config", "overlay.yaml"], ["overlay"]),
    ],
    ids=str,
)
def test_resume_makes_again_what_the_settings_change(
    field: Path, out: Path, change: list, again: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(field.parent)
    square(Path("roi.geojson"))
    Path("overlay.yaml").write_text("overlay: {field_px: 300}\n")
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    before = made(out)
    assert tilscore("run", field, "--mpp", 0.5, *change, "--resume", out=out) == 0
    assert resumed(before, out) == again
    assert row(out)["mpp_um"] == f"{notes(out)['slide']['mpp']:.6f}"
    assert set(notes(out)["made_with"]) == set(STAGES)


def test_a_geojson_that_is_asked_for_later_is_written(field: Path, out: Path) -> None:
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    before = made(out)
    assert tilscore("run", field, "--mpp", 0.5, "--geojson", "--resume", out=out) == 0
    assert (out / "a" / "cells.geojson.gz").exists()
    assert resumed(before, out) == []


def test_a_stage_refuses_what_another_slide_or_resolution_left(
    field: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tilscore("tissue", field, "--mpp", 0.5, out=out) == 0
    assert tilscore("infer", field, "--mpp", 0.25, out=out) == 1
    assert "another resolution" in capsys.readouterr().out
    assert row(out)["status"] == "failed"


def test_an_earlier_stage_takes_the_score_out_of_the_table(field: Path, out: Path) -> None:
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    assert row(out)["status"] == "not_evaluable"
    assert tilscore("tissue", field, "--mpp", 0.5, out=out) == 0
    assert row(out) is None
    assert set(notes(out)["made_with"]) == {"tissue"}
    assert "model" not in notes(out)


def test_a_wrong_drawing_costs_no_cells(field: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    before = made(out)["infer"]
    roi = square(field.parent / "roi.geojson", {"classification": {"name": "Nonsense"}})
    for path in (roi, field.parent / "moved.geojson"):
        assert tilscore("run", field, "--mpp", 0.5, "--roi", path, "--resume", out=out) == 1
        assert row(out)["reasons"] == "annotation"
        assert not (out / "a" / "score.json").exists()
    assert "internal error" not in capsys.readouterr().out
    assert tilscore("run", field, "--mpp", 0.5, "--resume", out=out) == 0
    assert made(out)["infer"] == before


def test_the_overlay_shows_the_area_that_was_scored(field: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roi = square(field.parent / "roi.geojson")
    assert tilscore("run", field, "--mpp", 0.5, "--roi", roi, out=out) == 0
    assert "Given area" in (out / "a" / "report.html").read_text(encoding="utf-8")
    assert tilscore("overlay", field, "--mpp", 0.5, "--roi", roi, out=out) == 0
    roi.write_text(roi.read_text().replace("200", "250"))
    assert tilscore("overlay", field, "--mpp", 0.5, "--roi", roi, out=out) == 1
    assert "was not what the score was made with" in capsys.readouterr().out
    assert "Given area" in (out / "a" / "report.html").read_text(encoding="utf-8")


def test_a_slide_that_is_away_loses_no_results(field: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A share that was down for a minute must not cost what nights have made."""
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    before = made(out)
    for args in (["run", field], ["run", field, "--resume"], ["score", field, "--mpp", 0.5]):
        if "--mpp" in args:
            field.rename(field.with_suffix(".away"))
        assert tilscore(*args, out=out) == 1
        assert (row(out)["status"], row(out)["n_tils"]) == ("failed", "")
        assert made(out) == before
        capsys.readouterr()
        assert main(["explain", str(field), "--out", str(out)]) == 2
        assert "it failed" in capsys.readouterr().err
    field.with_suffix(".away").rename(field)
    assert tilscore("run", field, "--mpp", 0.5, "--resume", out=out) == 0
    assert row(out)["status"] == "not_evaluable"
    assert made(out) == before
    assert not (out / "a" / "error.json").exists()


def test_a_rescan_at_the_same_place_is_the_same_slide(field: Path, out: Path) -> None:
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    before = made(out)
    cv2.imwrite(str(field), np.full((310, 300, 3), 243, np.uint8))
    assert tilscore("run", field, "--mpp", 0.5, "--resume", out=out) == 0
    assert resumed(before, out) == list(STAGES)


def test_a_killed_stage_leaves_no_note_of_what_is_gone(field: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    monkeypatch.setattr("tilscore.job.infer_slide", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    beside = out / "a" / ".123.cells.parquet"
    beside.touch()
    assert tilscore("run", field, "--mpp", 0.5, "--turns", 2, out=out) == 130
    assert row(out) is None, "the table tells no score that is gone"
    assert not beside.exists()
    assert set(notes(out)["made_with"]) == {"tissue"}
    assert "model" not in notes(out)
    assert not (out / "a" / "score.json").exists()


def test_a_resumed_run_tells_what_another_version_made(
    field: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as before:
        before.setattr("tilscore.job.__version__", "0.0.1")
        assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    assert set(notes(out)["made_by"].values()) == {"tilscore 0.0.1"}
    capsys.readouterr()
    assert tilscore("run", field, "--mpp", 0.5, "--resume", out=out) == 0
    assert "(done before, made by tilscore 0.0.1)" in capsys.readouterr().out
    (out / "a" / "report.html").unlink()
    assert tilscore("run", field, "--mpp", 0.5, "--resume", out=out) == 0
    assert "(made by tilscore 0.0.1)" in capsys.readouterr().out
    assert notes(out)["made_by"]["overlay"] == f"tilscore {__version__}"
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    assert "made by" not in capsys.readouterr().out


def test_lines_of_several_slides_are_numbered(field: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (field.parent / "none.svs").touch()
    assert tilscore("tissue", field.parent / "none.svs", field, "--mpp", 0.5, out=out) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["[1 of 2] none", "[2 of 2] a"]


def test_the_last_line_tells_what_became_of_the_slides(
    field: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (field.parent / "none.svs").touch()
    assert tilscore("run", field.parent / "none.svs", field, "--mpp", 0.5, out=out) == 1
    why, table = out / "SLIDE_ID" / "error.json", out / "scores.csv"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"1 of 2 slides done, 1 of them not evaluable, 1 failed (why: {why}): {table}"
    assert tilscore("run", field, "--mpp", 0.5, "--resume", out=out) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"1 of 1 slides done, 1 of them not evaluable: {table}"


def test_a_slide_in_work_by_another_run_is_passed_over(
    field: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / ".locks").mkdir(parents=True)
    with FileLock(out / ".locks" / "a"):
        assert tilscore("run", field, "--mpp", 0.5, out=out) == 0
    assert "in work by another run" in (said := capsys.readouterr().out)
    assert "0 of 1 slides done" in said
    assert not (out / "a").exists()
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 0


def test_what_stands_in_the_way_of_one_slide_stops_no_other(field: Path, out: Path) -> None:
    out.mkdir()
    (out / "b").write_text("a file where the folder of slide b should be")
    said: list[str] = []
    specs = [SlideSpec("b", field, 0.5), SlideSpec("a", field, 0.5)]
    assert process(specs, Run(out=out), ("tissue",), say=said.append) == (1, 1, 0, 0)
    assert "cannot be" in said[0]
    (out / "scores.csv").unlink()
    (out / "scores.csv").mkdir()
    with pytest.raises(OutputError):
        process(specs, Run(out=out), ("tissue",), say=said.append)


def test_a_log_that_cannot_be_written_stops_no_run(field: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **how: object) -> None:
        raise OSError(errno.EIO, "the terminal is gone")

    monkeypatch.setattr("builtins.print", full)
    assert tilscore("run", field, field.parent / "gone.png", "--mpp", 0.5, out=out) == 1
    assert row(out)["status"] == "not_evaluable"


def test_a_table_that_a_spreadsheet_has_changed_is_told_before_the_first_slide(
    field: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.mkdir()
    (out / "scores.csv").write_text("slide_id;status\na;ok\n")
    assert tilscore("run", field, "--mpp", 0.5, out=out) == 1
    assert "is not a table of this version" in capsys.readouterr().err
    assert not (out / "a").exists()


@pytest.mark.skipif(os.name == "nt", reason="a shell closes the streams")
def test_closed_streams_stop_no_run_and_stay_out_of_its_files(field: Path, out: Path) -> None:
    code = (
        "import os, sys; from tilscore.cli import main; at = main(sys.argv[1:]); "
        "opened = os.open(os.devnull, os.O_RDONLY); os._exit(at if opened > 2 else 77)"
    )
    args = ["tissue", str(field), "--mpp", "0.5", "--out", str(out)]
    run = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', sys.executable, "-c", code, *args]
    assert subprocess.run(run, check=False).returncode == 0
    assert (out / "a" / "tissue.tif").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_not_utf8(field: Path, out: Path) -> None:
    odd = field.parent / os.fsdecode(b"M\xfcller.png")
    field.rename(odd)
    assert tilscore("run", odd, "--mpp", 0.5, out=out) == 0


def test_unfinished_results_are_no_slides(field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(field.parent)
    assert tilscore("tissue", ".", "--mpp", 0.5, out=Path("results")) == 0
    assert tilscore("run", ".", "--mpp", 0.5, out=Path("results")) == 0
    assert {p.name for p in Path("results").iterdir() if not p.name.startswith(".")} == {"a", "scores.csv"}
