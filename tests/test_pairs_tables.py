"""The tables of a cohort: what is a definition of the score, which model a row names, and every table as a sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook
from test_pairs import CFG, cohort
from test_pairs_sampling import as_manifest

from tilscore.cohort.assays import assays
from tilscore.cohort.paired import analyse
from tilscore.cohort.paired.pairs import AnalyseConfig
from tilscore.cohort.paired.run import analyse_tables
from tilscore.cohort.rank import rank
from tilscore.cohort.simulate.cohort import SimulateConfig, simulate_cohort, write_simulation
from tilscore.cohort.tables import write_tables
from tilscore.errors import ConfigError


def test_definitions_are_scores_and_nothing_carried() -> None:
    manifest, scores = as_manifest(cohort().assign(stil_area_pct=10.0))
    numbers = np.random.default_rng(0).integers(1, 90, len(manifest)).astype(float)
    manifest = manifest.assign(ki67_pct=numbers, cd8_per_mm2=numbers)
    tables, _ = analyse_tables(manifest, scores.assign(tiger_pct=numbers), CFG)
    assert {"ki67_pct", "cd8_per_mm2"} <= set(tables["biopsies"].columns)
    assert set(tables["sensitivity"]["definition"]) == {"til_density_per_mm2", "stil_area_pct", "tiger_pct"}


@pytest.mark.parametrize("n", [4, 40])
def test_no_fallback_is_named_where_none_was_tried(n: int) -> None:
    tests = analyse_tables(*as_manifest(cohort(n=n)), CFG)[0]["tests"]
    (row,) = tests[tests["test"].str.endswith("_model")].to_dict("records")
    assert (row["test"], row["status"]) == ("mixed_model", "ok" if n == 40 else "not_evaluable")
    assert pd.isna(row["flag"])


def test_scores_under_other_names_are_told() -> None:
    manifest, scores = as_manifest(cohort(n=4))
    _, about = analyse_tables(manifest, scores.assign(slide_id=scores["slide_id"] + "_x"), CFG)
    told = f"{len(scores)} scores belong to slides that the manifest does not list: is slide_id,"
    assert any(note.startswith(told) for note in about["notes"])


def test_results_of_a_part_of_the_slides_are_called_preliminary() -> None:
    manifest, scores = as_manifest(cohort(n=20))
    told = "12 of 40 slides are not in the scores: until they are, every result is preliminary"
    for n_scored, expected in ((28, True), (40, False)):
        _, about = analyse_tables(manifest, scores.head(n_scored), CFG)
        assert any(note.startswith(told) for note in about["notes"]) == expected


def test_scores_of_others_need_no_reasons(tmp_path: Path) -> None:
    write_simulation(tmp_path, SimulateConfig(patients=24, pairs=12, series=0, seed=4, failed_frac=0.2))
    scores = pd.read_csv(tmp_path / "scores.csv").drop(columns="reasons")
    scores.to_csv(tmp_path / "scores.csv", index=False)
    found = analyse(tmp_path / "slides.csv", tmp_path, tmp_path / "out")
    assert found["flow"]["left_out"]
    assert {row["reasons"] for row in found["flow"]["left_out"]} == {""}


def test_tables_of_rank_and_assays_are_sheets_too(tmp_path: Path) -> None:
    write_simulation(tmp_path, SimulateConfig(patients=24, pairs=8, series=0, seed=4))
    rank(tmp_path / "slides.csv", tmp_path, tmp_path / "out", n=3)
    assays(tmp_path / "slides.csv", tmp_path, tmp_path / "assays.csv", tmp_path / "out")
    for book, names in (("rank", ["ranks", "shortlist", "centres"]), ("assays", ["assays", "joined", "km", "cox"])):
        sheets = pd.read_excel(tmp_path / "out" / f"{book}.xlsx", sheet_name=None)
        assert list(sheets) == names
        for name, sheet in sheets.items():
            table = pd.read_csv(tmp_path / "out" / f"{name}.csv")
            assert list(sheet.columns) == list(table.columns)
            assert len(sheet) == len(table) > 0


def test_no_name_of_a_column_is_a_formula(tmp_path: Path) -> None:
    write_tables(tmp_path, {"slides": pd.DataFrame({'=hyperlink("http://x")': ["=1+1"], "n": [2.0]})}, "book")
    head, row = load_workbook(tmp_path / "book.xlsx")["slides"].iter_rows()
    assert [cell.data_type for cell in (*head, *row)] == ["s", "s", "s", "n"]
    assert (tmp_path / "slides.csv").read_text().splitlines() == [""""'=hyperlink(""http://x"")",n""", "'=1+1,2"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": 95.0},
        {"alpha": 7.0},
        {"power": 2.0},
        {"categories_pct": (40.0, 10.0)},
        {"density_offset_per_mm2": 0.0},
    ],
)
def test_settings_have_ranges(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"analyse.{next(iter(wrong))}"):
        AnalyseConfig(**wrong)


def test_the_model_names_what_its_terms_are_against() -> None:
    manifest, scores, _ = simulate_cohort(SimulateConfig(patients=90, pairs=90, series=0, seed=2))
    tables, rest = analyse_tables(manifest, scores, CFG)
    reference, have = rest["model_diagnostics"]["reference"], tables["biopsies"]
    assert set(reference) == {"timepoint", "specimen", "site"}
    for factor, level in reference.items():
        told = [t.removeprefix(f"{factor}: ") for t in tables["model"]["term"] if t.startswith(f"{factor}: ")]
        assert set(told) | {level} == set(have.loc[have["status"] == "ok", factor])
        assert level not in told
