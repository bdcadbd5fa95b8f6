"""What rank and assays add to the page: which score it is, its units, how it was done, and reports of all slides."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from pages import Page

from tilscore.cohort.assays import assays
from tilscore.cohort.page import write_page
from tilscore.cohort.page.assaytables import assay_tables
from tilscore.cohort.page.text import items
from tilscore.cohort.paired import analyse
from tilscore.cohort.rank import rank
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation
from tilscore.files import write_text


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty patients, of whom most have one biopsy; every slide has a report; places with spaces and umlauts."""
    folder = tmp_path_factory.mktemp("others")
    results, out = folder / "rés 1", folder / "Köln 2"
    write_simulation(results, SimulateConfig(patients=24, pairs=8, series=0, seed=4))
    for slide in pd.read_csv(results / "slides.csv")["slide_id"]:
        write_text(results / slide / "report.html", "report")
    files = results / "slides.csv", results
    analyse(*files, out)
    rank(*files, out, n=3, measure="stil", by="either")
    assays(*files, results / "assays.csv", out)
    write_page(out, results)
    return out


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "cohort.html").read_text(encoding="utf-8"))


def test_every_slide_has_a_link_to_its_report(out: Path, page: Page) -> None:
    """Those of patients without a pair too: the most unusual patients are mostly known by a baseline alone."""
    linked = {Path(unquote(v)).parent.name for v in page.values("href") if v.endswith("report.html")}
    assert linked == set(pd.read_csv(out / "slides.csv")["slide_id"])


def test_the_score_and_its_units_are_named(out: Path, page: Page) -> None:
    text = " ".join(page.text.split())
    assert "Score: sTIL area of the baseline biopsy. The list goes by level or change." in text
    assert "Score: TIL density of the baseline biopsy." in text
    assert "months since baseline" in (out / "figures" / "survival.svg").read_text(encoding="utf-8")
    assert set(pd.read_csv(out / "km.csv")["unit"]) == {"months"}


def test_centres_stand_beside_the_unusual_patients(out: Path, page: Page) -> None:
    text = "".join(page.text.split())
    table = pd.read_csv(out / "centres.csv")
    assert len(table) > 2
    for row in table.to_dict("records"):
        level = f"{row['estimate']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f}) points"
        told = f"{row['n']} of {row['n'] + row['n_others']} {row['n_reference']} "
        said = f"{row['centre']} {told}{level if pd.notna(row['estimate']) else '- too few'}"
        assert "".join(said.split()) in text
    assert "centres.csv" in page.values("href")


def test_reasons_are_a_list_and_their_brackets_are_told(out: Path, page: Page) -> None:
    """One reason a line, and what stands in brackets is said to be an interval."""
    html = (out / "cohort.html").read_text(encoding="utf-8")
    first = pd.read_csv(out / "shortlist.csv")["reasons"][0]
    listed = re.search(r'<ul class="why">(.*?)</ul>', html, re.DOTALL)
    assert listed is not None
    assert listed[1].count("<li>") == len(items(first)) > 1
    assert "in brackets its 95\xa0% interval" in page.text
    assert items("a (b; c (4); d); e; f") == ["a (b; c (4); d)", "e", "f"]


def test_methods_tell_what_was_done(out: Path, page: Page) -> None:
    text = " ".join(page.text.split())
    cited = [int(n) for group in re.findall(r"\[([\d,]+)\]", text) for n in group.split(",")]
    assert list(dict.fromkeys(cited)) == list(range(1, len(set(cited)) + 1))
    version = json.loads((out / "assays.json").read_text(encoding="utf-8"))["versions"]["lifelines"]
    for part in ("placed among the other patients", "Spearman's correlation", f"lifelines {version}", "Hochberg ["):
        assert part in text


def test_assays_are_told_with_their_intervals(out: Path) -> None:
    """The page holds the figures of the tables, in their order, and no column of theirs twice."""
    held = json.loads((out / "assays.json").read_text(encoding="utf-8"))
    sheets = {sheet.csv + str(i): sheet for i, sheet in enumerate(assay_tables(held))}
    spearman = [r for r in held["tests"] if r["family"] == "spearman"]
    assert [line.cells[0] for line in sheets["assays0"].lines] == [r["assay"] for r in spearman]
    for line, r in zip(sheets["assays0"].lines, spearman, strict=True):
        assert line.cells[1:3] == [str(r["n"]), f"{r['estimate']:.2f} ({r['low']:.2f} to {r['high']:.2f})"]
    cox = next(r for r in held["cox"] if r["model"] == "alone")
    (first, *_) = sheets["cox4"].lines
    assert first.cells[0] == [cox["outcome"], f"{cox['n']} patients, {cox['n_events']} events"]
    assert first.cells[2] == f"{cox['hazard_ratio']:.2f} ({cox['low']:.2f} to {cox['high']:.2f})"
    assert all(len(line.cells) == len(sheet.head) for sheet in sheets.values() for line in sheet.lines)


def test_assays_that_could_not_be_tested_say_why() -> None:
    few: dict[str, object] = {"status": "not_evaluable", "reason": "too_few: 4 patients, 10 are needed"}
    tests = [few | {"assay": name, "family": "spearman", "n": 4.0, "estimate": None} for name in ("cd3", "cd8")]
    tests.append({"assay": "os", "family": "log_rank", "n": None, "status": "not_evaluable", "reason": "no time"})
    shown, survival = assay_tables({"tests": tests, "km": [], "cox": None})
    assert [line.cells[:3] for line in shown.lines] == [["cd3", "4", "-"], ["cd8", "4", "-"]]
    assert [line.said for line in shown.lines] == [[], []], "said once, beneath the table"
    assert shown.note.startswith("Not evaluable: too few (4 patients, 10 are needed).")
    assert list(survival.lines[0].said) == ["Log-rank test not evaluable: no time."]
    tests[0] |= {"status": "ok", "estimate": 0.5, "low": 0.1, "high": None, "p": 0.03, "p_bh": 0.06}
    (made, other), *_ = (sheet.lines for sheet in assay_tables({"tests": tests}))
    assert made.cells[2:5] == ["0.50 (0.10 to no limit)", "0.030", "0.060"]
    assert (list(made.said), len(other.said)) == ([], 1)


def test_groups_are_told_whole_whatever_their_names() -> None:
    named = "grade 3; no special type: mixed: median 61.5 (n 9); H1047R; kinase: median 1.2e+04 (n 41)"
    tests = [{"assay": "type", "family": "group", "groups": named, "n": 50, "status": "ok"}]
    (sheet,) = assay_tables({"tests": tests})
    assert sheet.lines[0].cells[1] == ["grade 3; no special type: mixed: median 61.5 (n 9)", named.split("(n 9); ")[1]]
    (other,) = assay_tables({"tests": [tests[0] | {"groups": "as another version said it"}]})
    assert other.lines[0].cells[1] == "as another version said it", "not an empty cell"


def test_long_names_leave_the_numbers_in_the_page(out: Path, page: Page) -> None:
    """Columns of text break anywhere, those of numbers do not, and the groups that are compared are no number."""
    style = (out / "cohort.html").read_text(encoding="utf-8").partition("</style>")[0]
    assert "table.assays td { max-width: 44ch; overflow-wrap: anywhere; }" in style
    assert "num lines" in page.values("class")


def test_figures_have_room_where_no_test_could_be_made(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Two patients and three later time points: no long reason pushes the axes away."""
    write_simulation(tmp_path, SimulateConfig(patients=4, pairs=2, series=2, seed=1))
    analyse(tmp_path / "slides.csv", tmp_path, tmp_path / "out")
    write_page(tmp_path / "out")
    assert not [str(w.message) for w in recwarn if "layout" in str(w.message)]
    text = (tmp_path / "out" / "figures" / "tests_density.svg").read_text(encoding="utf-8")
    assert "too few pairs" in text
    assert "who also have a baseline" not in text
