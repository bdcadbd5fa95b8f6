"""Codes of patients that two tables spell otherwise, and tables of other shapes than one row a patient."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilscore.cohort.assays import assays
from tilscore.cohort.assays.table import read_assays
from tilscore.cohort.manifest.check import check_manifest
from tilscore.cohort.manifest.spelling import not_known, spelled_otherwise
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation
from tilscore.errors import UsageError

TOLD = "patients of the assays differ from the manifest's"


@pytest.mark.parametrize(
    ("asked", "known"),
    [("P07", "P-07"), ("p 07", "P-07"), ("P-7", "P-007"), ("7", "P-007"), ("P-007", "7"), ("007", "7")],
)
def test_spellings_of_one_code(asked: str, known: str) -> None:
    (note,) = spelled_otherwise([asked, "X-1"], [known, "X-1"], TOLD)
    assert note.startswith(f"1 {TOLD} in spelling only, as {asked!r} and {known!r}")
    with pytest.raises(UsageError, match="none of 1 patient is in the manifest"):
        not_known([asked], [known], where="a.csv")


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("7", ["A-007", "B-007"]),
        ("A-007", ["B-007"]),
        ("P-07", ["P-70"]),
        ("P07", ["P-07", "P 07"]),
        ("PX", ["P-1"]),
    ],
)
def test_what_may_be_several_or_nobody_is_not_told_to_be_one(asked: str, known: list[str]) -> None:
    assert spelled_otherwise([asked], known, TOLD) == []


@given(
    st.lists(st.integers(1, 999), min_size=1, max_size=20, unique=True),
    st.sampled_from(["P-{:03d}", "S{:04d}", "x_{}"]),
)
def test_numbers_that_a_spreadsheet_made_of_codes_are_seen(numbers: list[int], shape: str) -> None:
    """Law: `7` of `P-007` for every patient of a study; codes that are alike give no note."""
    codes = [shape.format(n) for n in numbers]
    (note,) = spelled_otherwise([str(n) for n in numbers], codes, TOLD)
    assert note.startswith(f"{len(numbers)} ")
    assert spelled_otherwise(codes, codes, TOLD) == not_known(codes, codes, where="") == []
    if len(codes) > 1:
        (lack,) = not_known(codes, codes[1:], where="")
        assert lack.startswith(f"1 of {len(codes)} patients of the assays are not in the manifest, as {codes[0]!r}")


def test_a_table_of_other_codes_is_refused(tmp_path: Path) -> None:
    """It had given empty tables and `no score at this time point`."""
    write_simulation(tmp_path, SimulateConfig(patients=20, pairs=0, series=0))
    table = pd.read_csv(tmp_path / "assays.csv", dtype=str)
    table["patient_id"] = table["patient_id"].str.removeprefix("SIM-").astype(int).astype(object)
    table.to_csv(tmp_path / "other.csv", index=False)
    files = tmp_path / "slides.csv", tmp_path, tmp_path / "other.csv", tmp_path / "out"
    with pytest.raises(UsageError, match=r"none of 20 patients .*'1' here, 'SIM-001' there.*write the codes"):
        assays(*files)
    assert not (tmp_path / "out").exists()
    table.loc[:9, "patient_id"] = table.loc[:9, "patient_id"].map("SIM-{:03d}".format)
    table.loc[19, "patient_id"] = "Z-9"
    table.to_csv(tmp_path / "other.csv", index=False)
    notes = assays(*files)["notes"]
    assert any(note.startswith(f"9 {TOLD} in spelling only, as '11' and 'SIM-011'") for note in notes)
    assert any(note.startswith("10 of 20 patients of the assays are not in the manifest") for note in notes)


def test_tables_of_another_shape_are_told_so(tmp_path: Path) -> None:
    path = tmp_path / "assays.csv"
    path.write_text(
        "patient_id,timepoint,marker,value\nP1,baseline,CD3,1.5\nP1,baseline,CD8,2\nP2,baseline,CD3,3\n"
        "P2,baseline,CD8,4\n"
    )
    with pytest.raises(UsageError, match=r"a row for each 'marker' .*'CD3', 'CD8'"):
        read_assays(path)
    path.write_text(",P1,P2,P3\nCD3,1,2,3\nCD8,4,5,6\n")
    with pytest.raises(UsageError, match="turn a table with a column for each patient over"):
        read_assays(path)
    path.write_text("patient_id,grade,value\nP1,low,1\nP1,low,2\nP2,high,3\n")
    with pytest.raises(UsageError, match="a key is there twice"):
        read_assays(path)


def test_decimal_commas_of_a_manifests_own_columns_are_told(tmp_path: Path) -> None:
    path = tmp_path / "slides.csv"
    head = "slide_id;path;patient_id;timepoint;specimen;site;purity;note\n"
    path.write_text(head + "a;a.svs;P1;baseline;core;breast;0,45;1,5 or so\nb;b.svs;P2;baseline;core;breast;NA;\n")
    (found,) = [p for p in check_manifest(path, files=False) if p.column in ("purity", "note")]
    assert (found.line, found.severity) == (2, "warning")
    assert "'0,45' has a decimal comma: the column is carried along as text" in found.message
