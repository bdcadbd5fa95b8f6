"""The files of a score: older versions, the table that runs share, and `explain`."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beds import maps, score_slide, spread, tils, with_nest

from tilscore.cells import Cells, write_cells
from tilscore.config import as_values
from tilscore.errors import DataError, OutputError, TilscoreError, UsageError
from tilscore.labels import Cell
from tilscore.pipeline import process
from tilscore.raster import write_raster
from tilscore.results.owners import find_results
from tilscore.results.provenance import settings_of, version_of
from tilscore.results.table import update_scores
from tilscore.run import Run, RunConfig
from tilscore.score import (
    COLUMNS,
    COLUMNS_1,
    Part,
    ScoreConfig,
    failed_row,
    read_score,
    score_with_parts,
    write_score,
)
from tilscore.score.explain import as_text, explain_folder
from tilscore.slide import SlideSpec


def test_a_score_of_version_1_is_read(tmp_path: Path) -> None:
    old = {
        "schema_version": 1,
        "slide_id": "a",
        "status": "ok",
        "reasons": ["little_stroma"],
        "til_density_per_mm2": 100.0,
        "stil_area_pct": 0.283,
        "n_tils": 5,
        "itil_density_per_mm2": None,
        "stroma_mm2": 0.05,
        "tumour_mm2": 0.1,
        "tissue_mm2": 1.0,
        "area_account_mm2": {"glass": 0.5},
        "constants": {"area_per_til_um2": 28.3},
        "definitions": {},
    }
    path = tmp_path / "score.json"
    path.write_text(json.dumps(old))
    score = read_score(path)
    assert (score.n_tils, score.reasons) == (5, ("little_stroma",))
    assert score.infiltrated_area_pct is score.til_density_low is score.n_cores is score.site is None
    row = score.row("a", mpp_um=0.5, mpp_source="given", model="m", seconds=1.0)
    assert set(row) == set(COLUMNS)
    path.write_text(json.dumps(old | {"schema_version": 3}))
    with pytest.raises(DataError, match="schema version 3"):
        read_score(path)


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def test_a_table_of_version_1_gets_the_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(",".join(COLUMNS_1) + "\na,ok,,12.00,0.340,6,0.5000,0.1,1.0,0.5,given,m,1\n")
    update_scores(path, [failed_row("b", "mpp")])
    rows = read_rows(path)
    assert list(rows[0]) == list(COLUMNS)
    assert [(r["slide_id"], r["til_density_per_mm2"], r["til_density_low"]) for r in rows] == [
        ("a", "12.00", ""),
        ("b", "", ""),
    ]


@pytest.mark.parametrize("n", [len(COLUMNS) - 2, len(COLUMNS) - 1])
def test_a_table_without_the_last_columns_gets_them(tmp_path: Path, n: int) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(",".join(COLUMNS[:n]) + "\n" + ",".join(["a", "failed", "mpp", *[""] * (n - 3)]) + "\n")
    update_scores(path, [failed_row("b", "mpp")])
    assert [(list(r), r["slide_id"]) for r in read_rows(path)] == [(list(COLUMNS), "a"), (list(COLUMNS), "b")]
    path.write_text(",".join(COLUMNS[1:n]) + "\n")
    with pytest.raises(OutputError, match="not a table of this version"):
        update_scores(path, [])


def made_with(cfg: RunConfig, *, roi: str | None = None, calibration: str | None = None) -> dict[str, Any]:
    """The notes of a run with these settings, as far as `settings_of` asks them."""
    made: dict[str, Any] = {stage: {stage: as_values(getattr(cfg, stage))} for stage in ("tissue", "infer", "score")}
    made["infer"] |= {"model": "m@1", "precision": "mixed"}
    made["score"] |= {"roi": roi, "calibration": calibration, "site": "breast"}
    return {
        "made_with": made,
        "made_by": {"tissue": "tilscore 0.1.0", "infer": "tilscore 0.1.0", "score": "tilscore 2"},
    }


def test_settings_have_one_name_wherever_a_slide_is_scored() -> None:
    cfg = RunConfig()
    here = settings_of(made_with(cfg))
    assert re.fullmatch("s[0-9a-f]{8}", here)
    assert version_of(made_with(cfg)) == "0.1.0+2"
    away = replace(cfg, score=replace(cfg.score, calibration=Path("/a/c.json")))
    moved = replace(cfg, score=replace(cfg.score, calibration=Path("/b/c.json")))
    assert settings_of(made_with(away, calibration="1")) == settings_of(made_with(moved, calibration="1"))
    alike = [
        made_with(cfg, roi="f00"),
        made_with(replace(cfg, infer=replace(cfg.infer, block_um=512.0))),
        made_with(replace(cfg, spatial=replace(cfg.spatial, seed=9))),
    ]
    assert {settings_of(notes) for notes in alike} == {here}
    others = [
        made_with(away, calibration="1"),
        made_with(away, calibration="2"),
        made_with(replace(cfg, score=replace(cfg.score, edge_um=50.0))),
        made_with(replace(cfg, infer=replace(cfg.infer, turns=4))),
        made_with(replace(cfg, tissue=replace(cfg.tissue, min_od=0.02))),
    ]
    assert len({here, *map(settings_of, others)}) == 6
    assert settings_of({}) == version_of({}) == settings_of({"made_with": {"tissue": {}}}) == ""


def test_the_table_keeps_one_row_a_slide(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    score = replace(
        score_slide(tils([], []), *maps()),
        status="ok",
        reasons=(),
        til_density_per_mm2=12.345678,
        stil_area_pct=0.0,
        n_tils=0,
    )
    facts = {"mpp_um": 0.5, "mpp_source": "given", "model": "m@1", "seconds": 1.0}
    update_scores(path, [score.row("a", **facts), failed_row("b", "slide_unreadable")])
    update_scores(path, [failed_row("a", "mpp"), score.row("=cmd()", **facts)])
    table = {r["slide_id"]: r for r in read_rows(path)}
    assert list(table) == ["a", "b", "'=cmd()"]
    assert (table["a"]["status"], table["a"]["til_density_per_mm2"]) == ("failed", "")
    assert (table["'=cmd()"]["til_density_per_mm2"], table["'=cmd()"]["n_tils"]) == ("12.35", "0")
    path.write_text("x,y\n1,2\n")
    with pytest.raises(OutputError, match="not a table of this version"):
        update_scores(path, [failed_row("a", "mpp")])


def test_the_table_after_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    update_scores(path, [failed_row("a", "mpp")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    update_scores(path, [failed_row("b", "mpp")])
    assert [r["slide_id"] for r in read_rows(path)] == ["a", "b"]
    for bad in (b"\xe9", b",,x"):
        path.write_bytes(path.read_bytes().rstrip(b"\n") + bad + b"\n")
        before = path.read_bytes()
        with pytest.raises(OutputError, match=r"scores\.csv"):
            update_scores(path, [failed_row("c", "mpp")])
        assert path.read_bytes() == before
        path.write_bytes(before.replace(bad, b""))


def write_many(path: Path, name: str, n: int) -> None:
    for i in range(n):
        update_scores(path, [failed_row(f"{name}{i}", "mpp")])


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_table_is_filled(tmp_path: Path, text: str) -> None:
    """As a full disk, or a program that was stopped, leaves one."""
    path = tmp_path / "scores.csv"
    path.write_text(text, encoding="utf-8")
    update_scores(path, [{"slide_id": "a", "status": "ok", "reasons": ""}])
    assert [row["slide_id"] for row in read_rows(path)] == ["a"]
    path.write_text("\na,ok\n", encoding="utf-8")
    with pytest.raises(OutputError, match="is not a table"):
        update_scores(path, [{"slide_id": "b", "status": "ok", "reasons": ""}])


def test_two_runs_write_one_table(tmp_path: Path) -> None:
    """Without the lock rows of one run are lost to the other."""
    path = tmp_path / "scores.csv"
    context = get_context("fork")
    runs = [context.Process(target=write_many, args=(path, name, 15)) for name in "ab"]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert {r["slide_id"] for r in read_rows(path)} == {f"{name}{i}" for name in "ab" for i in range(15)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    regions, tissue = with_nest()
    tumour_cells = replace(spread(seed=1), label=np.full(600, Cell.EPITHELIAL))
    cells = Cells.concat([spread(), tumour_cells])
    made = score_with_parts(cells, regions, tissue)
    out = tmp_path / "slide"
    write_cells(out / "cells.parquet", cells)
    write_raster(out / "parts.tif", made.parts.raster, Part)
    write_score(out / "score.json", made.score, "slide", ScoreConfig())
    return out


def test_explain_counts_again(folder: Path) -> None:
    made = explain_folder(find_results("slide.svs", folder.parent))
    assert made["agrees"]
    again = {n["name"]: n["recomputed"] for n in made["numbers"] if n["recomputed"] is not None}
    assert len(again) == 11
    assert made["differences"] == []
    text = as_text(made)
    score = read_score(folder / "score.json")
    assert read_score(folder / "score.json") == score
    assert f"{score.n_tils:,} TILs / (" in text
    assert "agrees" in text
    assert "outside_bed" in text
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (("til_density_per_mm2",), "more"),
        (("til_density_per_mm2",), None),
        (("contact_itil_density_per_mm2",), "more"),
        (("contact_itil_density_per_mm2",), None),
        (("n_tils",), "more"),
        (("n_tils",), None),
        (("n_itils",), "more"),
        (("n_itils",), None),
        (("stroma_mm2",), "more"),
        (("tissue_mm2",), "more"),
        (("compat", "tilab", "value"), "more"),
        (("compat", "tilab", "value"), None),
        (("compat", "positive_patches_frac", "value"), "more"),
        (("compat", "positive_patches_frac", "value"), None),
        (("account", 12, "n_px"), "more"),
        (("account", 7, "n_tils"), "more"),
        (("cores", 0, "n_tils"), "more"),
        (("cores", 1, "stroma_mm2"), "more"),
    ],
)
def test_explain_finds_what_was_changed(folder: Path, keys: tuple[str | int, ...], to: str | None) -> None:
    path = folder / "score.json"
    values = json.loads(path.read_text())
    entry = values
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = None if to is None else entry[keys[-1]] + 1
    path.write_text(json.dumps(values))
    made = explain_folder(folder)
    assert not made["agrees"]
    assert "DOES NOT AGREE" in as_text(made)


def test_explain_without_a_score(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no score of this slide"):
        find_results("x.svs", tmp_path)


def test_a_slide_that_failed_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_results("x", tmp_path)
    assert str(caught.value).count(str(tmp_path / "x")) == 1
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "error.json").write_text(json.dumps({"message": "x.svs: file is empty; copy the slide again"}))
    with pytest.raises(UsageError, match=r"it failed: x\.svs: file is empty; copy the slide again"):
        find_results("slides/x.svs", tmp_path)


def test_every_code_of_a_failed_slide_is_documented(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "outputs.md").read_text()
    about = text[text.index("With `failed`") :].split("\n\n")[0]
    kinds = [TilscoreError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {kind.code for kind in kinds[1:]} | {"internal"} <= set(re.findall(r"`(\w+)`", about))
    assert process([SlideSpec("a", tmp_path / "none.svs")], Run(tmp_path), ("tissue",)).n_failed == 1
    error = json.loads((tmp_path / "a" / "error.json").read_text())
    row = next(line for line in text.splitlines() if line.startswith("| `error.json`"))
    assert set(error) == set(re.findall(r"`(\w+)`", row))
