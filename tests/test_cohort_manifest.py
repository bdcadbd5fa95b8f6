"""The manifest as a table: canonical words, names as in a run; identifiers of persons are seen, codes pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from manifests import lines, second, written

from tilscore.cohort.manifest.check import check, check_manifest
from tilscore.cohort.manifest.privacy import suspicion
from tilscore.cohort.manifest.read import read_manifest
from tilscore.inputs import read_inputs
from tilscore.inputs.words import COLUMNS, STAINS, advice, canonical


def test_a_good_manifest(tmp_path: Path) -> None:
    text = (
        "\ufeffsep=;\r\n"
        "Slide ID;Path;Patient;Time point;Specimen;Site;Block;Stain;Center;arm;mpp;response;age;n_tils\r\n"
        "S 1; a.svs ;P001;BL;Core needle biopsy;Lymph Node;A1;H & E;Milan;A;0.25;PR;61;3\r\n"
        '\r\n"S2";b.svs;P001;C1D1;CNB;LN;A1;CD3;milan;NA;;PR;;4\r\n'
        "S3;c.svs;P002;Week 06;core;hepatic;;;;;;;;\r\n"
    )
    path = written(tmp_path, text)
    (tmp_path / "c.svs").write_bytes(b"x")
    assert [p for p in check_manifest(path) if p.severity == "error"] == []
    table = read_manifest(path)
    assert list(table.columns) == [*COLUMNS, "age", "n_tils_given", "line"]
    assert table["slide_id"].tolist() == ["S_1", "S2", "S3"]
    assert table["path"].tolist() == [str(tmp_path / n) for n in ("a.svs", "b.svs", "c.svs")]
    assert table["timepoint"].tolist() == ["baseline", "baseline", "week6"]
    assert table["specimen"].tolist() == ["core"] * 3
    assert table["site"].tolist() == ["lymph_node", "lymph_node", "liver"]
    assert table["stain"].tolist() == ["H&E", "CD3", ""]
    assert table["centre"].tolist() == ["Milan", "Milan", ""]
    assert table["arm"].tolist() == ["A", "", ""]
    assert table["line"].tolist() == [3, 5, 6]
    assert table["mpp"].isna().tolist() == [False, True, True]
    np.testing.assert_equal(table["age"].to_numpy(), [61.0, np.nan, np.nan])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_separators_and_encodings(tmp_path: Path, encoding: str, delimiter: str) -> None:
    rows = second('S2,b.svs,P001,post,core,"liver"').replace(",", delimiter)
    table = read_manifest(written(tmp_path, rows.encode(encoding)))
    assert table["site"].tolist() == ["breast", "liver"]


def test_names_of_slides_are_those_of_a_run(tmp_path: Path) -> None:
    rows = ["x/S1.svs,P1,baseline,", "y/s1.svs,P1,week6,", "y/IHC.svs,P1,week6,CD8", "z/Fall Ü 3.ome.tif,P2,BL,HES"]
    path = written(tmp_path, lines(*rows, head="path,patient_id,timepoint,stain"))
    said: list[str] = []
    specs = read_inputs([path], say=said.append)
    table = read_manifest(path)
    assert [spec.slide_id for spec in specs] == table["slide_id"][table["stain"].isin(["", *STAINS])].tolist()
    assert said == ["tilscore: 1 of 4 slides are not H&E and are not scored: IHC (CD8)"]


def test_an_image_inside_an_ome_ngff_folder_is_a_slide(tmp_path: Path) -> None:
    (tmp_path / "a.zarr" / "0").mkdir(parents=True)
    path = written(tmp_path, lines("a.zarr/0,P1,baseline", head="path,patient_id,timepoint"))
    assert [p.message for p in check_manifest(path) if "is a folder" in p.message]
    (tmp_path / "a.zarr" / "0" / ".zattrs").write_text("{}", encoding="utf-8", newline="\n")
    assert not [p.message for p in check_manifest(path) if "folder" in p.message]
    assert read_manifest(path)["slide_id"].tolist() == ["a-0"]


def test_names_of_slides_stay_where_the_cohort_moves(tmp_path: Path) -> None:
    """Scored on a server, analysed elsewhere: equal file names are told apart by their place in the folder."""
    rows = ["P1/baseline.svs,P1,baseline", "P2/baseline.svs,P2,baseline", "/far/baseline.svs,P3,baseline"]
    names = []
    for place in ("server", "laptop"):
        (tmp_path / place).mkdir()
        path = written(tmp_path / place, lines(*rows, head="path,patient_id,timepoint"))
        names.append(read_manifest(path)["slide_id"].tolist())
        assert names[-1] == [spec.slide_id for spec in read_inputs([path])]
    assert names[0] == names[1]
    assert len(set(names[0])) == 3


@pytest.mark.parametrize(
    ("column", "texts", "word"),
    [
        ("timepoint", "BL pre Screening C1D1 week0 BASELINE", "baseline"),
        ("timepoint", "W6 wk6 week_6 Week-06 6w 6weeks 6-weeks", "week6"),
        ("timepoint", "d14 Day14 14days", "day14"),
        ("timepoint", "EOT PD progression off-treatment", "post"),
        ("specimen", "CNB core-needle-biopsy tru-cut", "core"),
        ("site", "LN lymph-node lymph_nodes nodal", "lymph_node"),
        ("stain", "HE H&E h+e haematoxylin-eosin", "H&E"),
        ("site", "N/A - unknown ?", ""),
    ],
)
def test_words(column: str, texts: str, word: str) -> None:
    assert {canonical(column, text) for text in texts.split()} == {word}


def test_no_word_is_guessed() -> None:
    for column, text in (("timepoint", "C2D1"), ("timepoint", "week"), ("site", "axilla"), ("specimen", "biopsy")):
        assert canonical(column, text) is None


def test_blanks_in_a_count_do_not_matter() -> None:
    assert {canonical("timepoint", text) for text in ("week  6", "6\u00a0weeks", " W 06 ", "wk_ 6")} == {"week6"}


@pytest.mark.parametrize(
    "text", ["day -14", "D-14", "-14 d", "week -6", "w-6", "week 4.5", "1.4 days", "week 1-2", "1-2 weeks", "W6/12"]
)
def test_a_time_before_treatment_or_a_range_is_no_count(text: str) -> None:
    """Read without its sign, a screening biopsy would be one after treatment: the change would be turned round."""
    assert canonical("timepoint", text) is None
    assert "write baseline for a time before treatment" in advice("timepoint", text)


def test_summary_of_one_slide(tmp_path: Path) -> None:
    (tmp_path / "slides.csv").write_text("slide_id,patient_id,timepoint,specimen,site\nS1,P1,baseline,core,liver\n")
    said: list[str] = []
    check(tmp_path / "slides.csv", files=False, say=said.append)
    assert said[-1].endswith("slides.csv: 1 slide of 1 patient (1 baseline): 0 errors, 1 warning")


def test_codes_of_studies_pass() -> None:
    codes = """P001 BIG-0042 NCT-12-003 TCGA-A1-A0SB Site01-Pat003 MILANO-003 IEO_0042 HR-0001-BL GEICAM-2019-01
    1-2-3 1-2-003 12.3.4 40-02-61 03-13-613 13.13.61 1-2.34 0.5.61 12-MAR-7 QuPath annotations
    S21-12345 1E10 E-12 12-MAR MAR-012 A1/2/10
    Patient_A PT_001_Screening PALOMA3_021 ABC SIM-001_baseline_B1_1 Mayo-0001 A1 7 0042 P-2024-017 X12Y9"""
    assert {code: suspicion(code) for code in codes.split() if suspicion(code)} == {}


def test_identifiers_are_seen() -> None:
    # Numbers are the public specimens of their makers' own documentation, or made with a right check digit.
    certain = ["Mueller_Anna", "MUELLER, ANNA", "J. Doe", "Li Wei", "RossiMaria", "1961-03-14", "14.3.1961", "19610314",
               "14/3/61", "03.02.61", "3.2.61", "02-Feb-1961", "2. Mai 1961", "Feb 2, 1961",
               "a@b.de", "078-05-1120", "1EG4-TE5-MK73", "RSSMRA85T10A562S", "811218-9876",
               "756.9217.0769.85", "943 476 5919", "A123456780", "12345678Z", "MRN 12345",
               "255081416802538"]  # fmt: skip
    for text in certain:
        found = suspicion(text)
        assert found is not None, text
        assert found.is_certain, text
    assert suspicion("03-02-61") == ("a date, perhaps of birth", False)  # it may be a code
    wrong_digit = ["943 476 5918", "A123456781", "12345678A"]
    assert [suspicion(text) for text in wrong_digit] == [None] * 3
    assert suspicion("Rossi1961") is not None
