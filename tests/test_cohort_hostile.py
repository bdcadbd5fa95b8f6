"""Hostile manifests: whatever is sent, every problem is told by line and column, and nothing raises."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import GOOD, HEAD, extra, lines, second, written

from tilscore.cohort.manifest.check import check, check_manifest
from tilscore.cohort.manifest.read import read_manifest
from tilscore.errors import UsageError

HOSTILE: list[tuple[str | bytes, str]] = [
    ("", "1: the file is empty"),
    (" \n\n", "1: the file is empty"),
    (HEAD + "\n", "1: no slide is listed"),
    (GOOD + "\n", "1: no column of a manifest"),
    (HEAD.replace(",", "|") + "\n", "1: no column of a manifest"),
    ("<html><body>404</body></html>\n", "1: no column of a manifest"),
    (lines(GOOD + ",x", head=HEAD + ",site"), "1: site: the column is there 2 times (columns 6, 7)"),
    (lines(GOOD, head=HEAD.replace("timepoint", "timpoint")), "1: timepoint: no column 'timepoint'; rename 'timpoint'"),
    (lines(GOOD, head=HEAD.replace("patient_id", "x")), "1: patient_id: no column"),
    (extra("patient_name", "Jo", "Jo"), "1: patient_name: a column for names"),
    (lines(GOOD + ",7", head=HEAD + ","), "2: column 7: a value under a column without a name"),
    (second("S2,b.svs,P001,week6,core,bréast").encode("latin-1"), "3: site: not UTF-8 (perhaps 'bréast')"),
    (extra("Größe", "1").encode("latin-1"), "1: column 7: not UTF-8"),
    (second("S2,b.svs,P0\0002,baseline,core,skin"), "3: patient_id: a NUL (U+0000)"),
    (lines(GOOD).encode("utf-16-le"), "1: the text is UTF-16 without its mark"),
    (lines(GOOD).encode("utf-16")[:-1], "2: the text is cut or damaged"),
    (second("S2,b.svs,P\a002,baseline,core,skin"), "3: patient_id: a control character (U+0007)"),
    (second("S2,b\u202e.svs,P002,baseline,core,skin"), "3: path: a character that turns the direction"),
    (second("S2,b.svs,P\u200b001,week6,core,skin"), "3: patient_id: an invisible character (U+200B)"),
    (second('S2,"b\n.svs",P001,week6,core,skin'), "3: path: a line break"),
    (second('S2,"b\n.svs",P001,week6,core,skin\nS3,c.svs,P001,post,core,moon'), "5: site: unknown word 'moon'"),
    (second(f"S2,{'b' * 140_000},P001,week6,core,skin"), "3: the line cannot be understood: field larger"),
    (
        extra("stain", "HE", "H&R"),
        "3: stain: warning: unknown stain 'H&R': slides with it are not scored; did you mean 'H&E'",
    ),
    (second(f"S2,{'b' * 5000},P001,week6,core,skin"), "3: path: file name too long"),
    (extra("roi", "", "gone.geojson"), "3: roi: no such file"),
    (lines(f'{GOOD},"0,25"', head=f"{HEAD},mpp"), "2: mpp: '0,25' has a decimal comma; write 0.25"),
    (extra("mpp", "0.25", "400"), "3: mpp: '400' is no number from 0.02 to 10.0"),
    (extra("mpp", "0.25", "inf"), "3: mpp: 'inf' is no number"),
    (extra("note", "", "@SUM(1)"), "3: note: warning: '@SUM(1)' would be run"),
    (extra("contact", "", "a.b@clinic.org"), "3: contact: 'a.b@clinic.org' looks like an e-mail"),
    (extra("arm", "A", "B"), "3: arm: patient 'P001' has 'B' here and 'A' on line 2"),
    (extra("response", "PR", "PD"), "3: response: patient 'P001' has 'PD' here"),
    (extra("centre", "C1", "C2"), "3: centre: warning: patient 'P001' has 'C2' here"),
    (extra("date", "2024-05-02", "2024-04-02"), "3: date: week6 lies before baseline of line 2"),
    (extra("date", "2024-05-02", "02.06.2024"), "3: date: '02.06.2024' is no date; write YYYY-MM-DD"),
    (extra("day", "0", "-42"), "3: day: week6 lies before baseline of line 2"),
    (
        lines("S1,a.svs,P001,baseline,core,breast,A1", "S2,b.svs,P001,baseline,core,liver,A1", head=f"{HEAD},block"),
        "3: site: block 'A1' of patient 'P001' is 'liver' here and 'breast' on line 2",
    ),
    (extra("day", "44000", "44042"), "2: day: warning: '44000' looks like a date as spreadsheets count"),
    (
        extra("block", "A1", "02-Jan"),
        "3: block: warning: '02-Jan' looks like a code that a spreadsheet took for a date",
    ),
    (extra("seen_on", "02.03.2021"), "2: seen_on: warning: '02.03.2021' looks like a date"),
    (extra("remark", "A1", "taken 02-Feb-2021"), "3: remark: warning: 'taken 02-Feb-2021' looks like a date"),
    (extra("n_tils", "1"), "1: n_tils: warning: is the name of a result"),
]
"""Whole files, and the line, the column and the message that are to be told."""
SECOND_LINES = """
S2,"b.svs,P001,week6,core,skin | 3: the line cannot be understood
S2,b,c.svs,P001,week6,core,skin | 3: column 7: 7 values for 6 columns
S2,b.svs,P001,week6 | 3: specimen: warning: 4 values for 6 columns
s1,b.svs,P001,week6,core,skin | 3: slide_id: 's1' is used on line 2 already
S2,./a.svs,P001,week6,core,skin | 3: path: './a.svs' is listed on line 2 already
S2,,P001,week6,core,skin | 3: path: is empty
S2,b.svs,N/A,week6,core,skin | 3: patient_id: is empty
S2,b.svs,P001,,core,skin | 3: timepoint: is empty
S2,b.svs,P002,basline,core,skin | 3: timepoint: unknown word 'basline'; did you mean 'baseline'
S2,b.svs,P001,post,core,livr | 3: site: unknown word 'livr'; did you mean 'liver'
S2,b.svs,P001,post,biopsy,skin | 3: specimen: unknown word 'biopsy'; write core or excision
S2,gone.svs,P001,week6,core,skin | 3: path: no such file or directory: 'gone.svs'
S2,..,P001,week6,core,skin | 3: path: is a folder
S2,https://x.org/b.svs,P001,week6,core,skin | 3: path: an address of the net
=cmd(),b.svs,P001,week6,core,skin | 3: slide_id: '=cmd()' would be run as a formula
S2,b.svs,Mueller_Anna,baseline,core,skin | 3: patient_id: 'Mueller_Anna' looks like a person's name
S2,b.svs,1961-03-14,baseline,core,skin | 3: patient_id: '1961-03-14' looks like a date
S2,b.svs,3/14/61,baseline,core,skin | 3: patient_id: '3/14/61' looks like a date
S2,b.svs,03.02.61,baseline,core,skin | 3: patient_id: '03.02.61' looks like a date
S2,b.svs,03-02-61,baseline,core,skin | 3: patient_id: warning: '03-02-61' looks like a date
S2,b.svs,02-Feb-1961,baseline,core,skin | 3: patient_id: '02-Feb-1961' looks like a date
S2,b.svs,1.00E+10,baseline,core,skin | 3: patient_id: '1.00E+10' is a number that a spreadsheet has shortened
S2,b.svs,00482913,baseline,core,skin | 3: patient_id: warning: '00482913' looks like a medical record
S2,b.svs,P002,post,core,skin | 3: timepoint: warning: patient 'P002' has 'post' but no baseline
S2,b.svs,P001,baseline,resection,breast | 3: specimen: warning: patient 'P001' at baseline is 'resection' here
S2,b.svs,p-001,baseline,core,breast | 3: patient_id: warning: 'p-001' differs from 'P001' (line 2) in spelling only
S2,b.svs,P#001,baseline,core,breast | 3: patient_id: warning: 'P#001' differs from 'P001' (line 2) in spelling only
"""
"""Lines after a good one."""
HOSTILE += [(second(row), told) for row, told in (line.split(" | ") for line in SECOND_LINES.strip().splitlines())]


@pytest.mark.parametrize(("text", "told"), HOSTILE, ids=[told[:40] for _, told in HOSTILE])
def test_hostile_manifests(tmp_path: Path, text: str | bytes, told: str) -> None:
    path = written(tmp_path, text)
    said: list[str] = []
    code = check(path, say=said.append)
    assert any(line.startswith(f"{path}:{told}") for line in said), "\n".join(said)
    assert all("\n" not in line and line.isprintable() for line in said)
    warning = ": warning: " in told
    assert code == (0 if warning and not any(p.severity == "error" for p in check_manifest(path)) else 1)
    if not warning and ": path: " not in told and ": roi: " not in told:
        with pytest.raises(UsageError, match=r"slides\.csv:\d+: "):
            read_manifest(path)


def test_the_hostile_list_is_long_enough() -> None:
    assert len({told for _, told in HOSTILE}) >= 50
    assert all(re.match(r"\d+: ", told) for _, told in HOSTILE)


def test_what_cannot_be_read_at_all(tmp_path: Path) -> None:
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with open(tmp_path / "huge.csv", "wb") as f:
        f.truncate(1 << 30)
    for name in ("gone.csv", ".", "loop.csv", "pipe.csv", "huge.csv", "x" * 300, "nul\0.csv"):
        said: list[str] = []
        assert check(tmp_path / name, say=said.append) == 2, name
        assert "1 error, 0 warnings" in said[-1]


def test_every_problem_at_once(tmp_path: Path) -> None:
    bad = "S1,gone.svs,P001,w6,core,livr,400,B"
    path = written(tmp_path, lines(GOOD + ",0.25,A", bad, bad, head=f"{HEAD},mpp,arm"))
    found = [(p.line, p.column) for p in check_manifest(path)]
    for line in (3, 4):
        assert {(line, c) for c in ("slide_id", "path", "site", "mpp")} <= set(found)
    assert (3, "arm") in found
    assert found == sorted(found, key=lambda f: f[0])


def test_folders_and_annotations_are_looked_at(tmp_path: Path) -> None:
    """A folder is told once; what ends a path, and a day, are no identifiers."""
    head = f"{HEAD},roi,day,date_seen"
    rows = [
        f"S{i},Mueller_Anna/1961-03-14/{i}.svs,P001,{time},core,breast,rois/{roi},{i},2021-02-03"
        for i, (time, roi) in enumerate(
            [
                ("baseline", "annotation.geojson"),
                ("week6", "annotation.geojson.gz"),
                ("week12", "annotation.json"),
                ("post", "Rossi_Maria.geojson"),
            ]
        )
    ]
    found = check_manifest(written(tmp_path, lines(*rows, head=head)), files=False)
    assert [(p.line, p.column, p.severity) for p in found if "looks like" in p.message] == [
        (2, "path", "warning"),
        (2, "path", "warning"),
        (5, "roi", "warning"),
    ]
    assert [p.message for p in found if "the folder" in p.message] == [
        "the folder '1961-03-14' looks like a date, perhaps of birth",
        "the folder 'Mueller_Anna' looks like a person's name",
    ]


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_no_bytes_make_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("m") / "slides.csv"
    for text in (data, HEAD.encode() + b"\n" + data):
        path.write_bytes(text)
        problems = check_manifest(path)
        assert all(p.told("slides.csv").isprintable() for p in problems)
        with contextlib.suppress(UsageError):
            read_manifest(path)
