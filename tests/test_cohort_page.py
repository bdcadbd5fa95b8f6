"""The page of a cohort: complete, self-contained, true to the analysis, and harmless whatever the names are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from pages import Page

import tilscore
from tilscore.cohort.agreement.text import draw
from tilscore.cohort.assays import assays
from tilscore.cohort.page import write_page
from tilscore.cohort.page.style import inline, make_svg, new_figure
from tilscore.cohort.page.text import (
    estimate_text,
    factors,
    items,
    p_text,
    percent_change,
    prose,
    ratio_text,
    reason_words,
    time_name,
)
from tilscore.cohort.paired import analyse
from tilscore.cohort.rank import rank
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation
from tilscore.errors import DataError
from tilscore.files import write_json, write_text
from tilscore.inputs.words import several

HOSTILE = "<img src=x onerror=alert(1)>\"'</svg></title><script>alert(2)</script>$\\frac&"
SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Made:
    out: Path
    results: Path
    analysis: dict[str, Any]
    html: str
    page: Page


def made(folder: Path, cfg: SimulateConfig, prepare: Callable[[Path, Path], None]) -> Made:
    """A simulated cohort, analysed; `prepare(out, results)` adds what is to be there before the page is written."""
    results, out = folder / "results", folder / "cohort 1"
    write_simulation(results, cfg)
    analyse(results / "slides.csv", results, out)
    prepare(out, results)
    html = write_page(out, results).read_text(encoding="utf-8")
    return Made(out, results, json.loads((out / "analysis.json").read_text(encoding="utf-8")), html, Page(html))


def renamed(value: Any, old: str, new: str) -> Any:
    """A JSON value with `old` in every text replaced."""
    if isinstance(value, dict):
        return {k: renamed(v, old, new) for k, v in value.items()}
    if isinstance(value, list):
        return [renamed(v, old, new) for v in value]
    return value.replace(old, new) if isinstance(value, str) else value


def with_a_hostile_patient(out: Path, results: Path) -> None:
    """The last pair's patient gets a hostile code, all other verbs leave their files, and two slides have reports."""
    rank(results / "slides.csv", results, out, n=3)
    inputs = json.loads((out / "analysis.json").read_text(encoding="utf-8"))["inputs"]
    tests = [{"assay": HOSTILE, "family": "spearman", "n": 20, "estimate": 0.42, "low": None, "status": "ok"}]
    write_json(out / "assays.json", {"inputs": inputs, "notes": ["a note"], "tests": tests})
    x = np.array([5.0, 20, 40, 60, 10])
    sheet = pd.DataFrame(
        {"case": list("abcde"), "x": x, "y": x + 1, "mean": x + 0.5, "difference": [-1.0, 1, 2, -3, 0]}
    )
    draw(out / "agreement" / "bland_altman_pair", "one", "other", sheet)
    write_text(out / "agreement" / "agreement.txt", "ICC(1)  0.639 <b>\n")
    pairs = json.loads((out / "analysis.json").read_text(encoding="utf-8"))["pairs"]
    for slide in slides_of(out, pairs[0]["patient_id"]):
        write_text(results / slide / "report.html", "report")
    old = pairs[-1]["patient_id"]
    for name in ("analysis.json", "rank.json"):
        value = json.loads((out / name).read_text(encoding="utf-8"))
        write_json(out / name, renamed(value, old, HOSTILE))
    for name in ("slides.csv", "biopsies.csv"):
        table = pd.read_csv(out / name, dtype=str, keep_default_na=False)
        table.map(lambda v: v.replace(old, HOSTILE)).to_csv(out / name, index=False)


def slides_of(out: Path, patient: str) -> list[str]:
    """The patient's slides with a score."""
    table = pd.read_csv(out / "slides.csv")
    return table.loc[(table["patient_id"] == patient) & (table["status"] == "ok"), "slide_id"].tolist()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Made:
    cfg = SimulateConfig(patients=16, pairs=14, series=0, effect_log={"post": 1.2}, not_evaluable_frac=0.08, seed=4)
    return made(tmp_path_factory.mktemp("cohort"), cfg, with_a_hostile_patient)


def test_nothing_is_fetched_and_nothing_runs(cohort: Made) -> None:
    page = cohort.page
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for value in page.values("src", "srcset", "xlink:href", "action", "data"):
        assert value.startswith(("#", "data:image/"))
    plain = re.sub(r'xmlns(:\w+)?="[^"]*"|data:image/[^"]*"', "", cohort.html)
    assert not re.search(r"https?:|@import|url\((?!#)", plain)


def test_hostile_names_stay_text(cohort: Made) -> None:
    assert HOSTILE in cohort.page.text
    svgs = cohort.html.count("<svg ")
    assert svgs == cohort.html.count("</svg>")
    assert "onerror=alert(1)>" not in cohort.html
    for name in ("waterfall_density", "spaghetti"):
        ElementTree.parse(cohort.out / "figures" / f"{name}.svg")
    assert HOSTILE[:23] in "".join(
        ElementTree.parse(cohort.out / "figures" / "waterfall_density.svg").getroot().itertext()
    )


def test_every_figure_is_in_the_page_and_a_file_with_text(cohort: Made) -> None:
    files = sorted((cohort.out / "figures").glob("*.svg"))
    names = {f.stem for f in files}
    wanted = {"flow", "sites", "spaghetti", "waterfall_density", "waterfall_stil", "waterfall_calibrated", "shifts"}
    wanted |= {"tests_density", "tests_stil", "tests_calibrated", "sensitivity_density", "sensitivity_percent"}
    wanted |= {"by_group"}
    assert names == wanted | {"bland_altman_pair"}
    for file in files:
        assert ElementTree.parse(file).getroot().findall(f".//{SVG}text"), file
        assert f"figures/{file.name}" in cohort.page.values("href")
    assert cohort.html.count("<svg ") == len(wanted)
    assert sum(v.startswith("data:image/svg+xml") for v in cohort.page.values("src")) == 1
    ids = cohort.page.values("id")
    assert len(ids) == len(set(ids))


def test_the_numbers_are_those_of_the_analysis(cohort: Made) -> None:
    text = " ".join(cohort.page.text.split())
    primary = [t for t in cohort.analysis["tests"] if t["role"] == "primary"]
    assert [t["measure"] for t in primary] == ["density", "stil", "calibrated"]
    for row in primary:
        keys = ("ratio", "ratio_low", "ratio_high") if row["measure"] == "density" else ("estimate", "low", "high")
        shape = "{:.2f} ({:.2f} to {:.2f})" if row["measure"] == "density" else "{:+.1f} ({:+.1f} to {:+.1f})"
        assert shape.format(*(row[k] for k in keys)) in text
    naive = next(t for t in cohort.analysis["tests"] if t["test"] == "wilcoxon_naive" and t["measure"] == "density")
    assert f"it would read {naive['ratio']:.2f} ({naive['ratio_low']:.2f}" in text
    flow = cohort.analysis["flow"]
    assert "Not adjusted (confounded)" not in text
    assert f"{flow['n_slides']} slides of {flow['n_patients']} patients listed" in text
    assert f"post {flow['n_pairs']['post']} pairs of {flow['n_pairs_planned']['post']} sampled" in text
    other = sum(not p["same_specimen"] for p in cohort.analysis["pairs"])
    assert f"{other} of {flow['n_pairs']['post']} pairs differ in specimen type" in text
    for row in cohort.analysis["model"][1:]:
        if row["status"] == "ok":
            assert f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})" in text


def test_the_rest_is_there(cohort: Made) -> None:
    text = " ".join(cohort.page.text.split())
    short = json.loads((cohort.out / "rank.json").read_text(encoding="utf-8"))["shortlist"]
    for part in (
        tilscore.NOTE,
        "ICC(1) 0.639 <b>",
        "a note",
        "0.42",
        *(prose(why) for r in short for why in items(r["reasons"])),
    ):
        assert " ".join(part.split()) in text
    assert cohort.analysis["versions"]["statsmodels"] in text
    cited = {int(n) for group in re.findall(r"\[([\d,]+)\]", text) for n in group.split(",")}
    assert cited == set(range(1, len(cited) + 1))


def test_links_lead_somewhere(cohort: Made) -> None:
    links = cohort.page.values("href")
    ids = set(cohort.page.values("id"))
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids
        else:
            assert (cohort.out / unquote(link)).is_file(), link
    reports = {unquote(v) for v in links if v.endswith("report.html")}
    there = {f"../results/{p.parent.name}/report.html" for p in cohort.results.glob("*/report.html")}
    assert len(there) >= 2
    assert reports == there


def test_too_few_pairs_say_so_and_show_no_number(tmp_path: Path) -> None:
    few = made(tmp_path, SimulateConfig(patients=5, pairs=2, series=0, seed=1), lambda out, results: None)
    text = " ".join(few.page.text.split())
    assert few.analysis["tests"][0]["status"] == "not_evaluable"
    assert "No result for the post biopsy: too few pairs" in text
    assert "not evaluable" in text
    assert not re.search(r"\b(NaN|nan|None|inf|Undefined)\b", few.page.text)
    assert "result none" in few.page.values("class")
    assert "Unusual patients" not in text


def test_an_interval_without_a_limit_is_shown_as_one(tmp_path: Path) -> None:
    def without(out: Path, results: Path) -> None:
        analysis = json.loads((out / "analysis.json").read_text(encoding="utf-8"))
        for row in (*analysis["tests"], *analysis["sensitivity"]):
            if row["status"] == "ok" and row["measure" if "measure" in row else "definition"] != "missingness":
                row |= {"low": None, "ratio_low": None, "p": 0.4, "p_holm": 0.4, "reason": "no_finite_interval: x"}
        write_json(out / "analysis.json", analysis)

    seen = made(tmp_path, SimulateConfig(patients=20, pairs=16, series=0, seed=1), without)
    assert "from any fall to" in seen.page.text
    assert re.search(r"\d\.\d\d \(no limit to \d\.\d\d\)", seen.page.text)
    for name in ("tests_density", "sensitivity_density"):
        svg = (seen.out / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert re.search(r"\d\.\d\d \(no limit to \d\.\d\d\)", svg)


def test_results_of_other_files_are_left_out_and_told(tmp_path: Path) -> None:
    def outdated(out: Path, results: Path) -> None:
        rank(results / "slides.csv", results, out, n=3)
        assays(results / "slides.csv", results, results / "assays.csv", out)
        text = (results / "scores.csv").read_text(encoding="utf-8")
        write_text(results / "scores.csv", text.replace("simulated", "another"))
        analyse(results / "slides.csv", results, out)

    cfg = SimulateConfig(patients=24, pairs=14, series=0, seed=4)
    seen = made(tmp_path, cfg, lambda out, results: outdated(out, results))
    for verb, title in (("rank", "Unusual patients"), ("assays", "Other assays")):
        assert f"run cohort {verb} again" in seen.page.text
        assert title not in seen.page.text
    assert "Survival by score" not in seen.page.text
    names = ["slides", "biopsies", "pairs", "tests", "by_group", "model", "shifts", "missing", "mde", "sensitivity"]
    assert {v for v in seen.page.values("href") if v.endswith(".csv")} == {f"{name}.csv" for name in names}
    assert [v for v in seen.page.values("href") if v.endswith(".xlsx")] == ["tables.xlsx"]
    rank(seen.results / "slides.csv", seen.results, seen.out, n=3)
    assays(seen.results / "slides.csv", seen.results, seen.results / "assays.csv", seen.out)
    again = Page(write_page(seen.out, seen.results).read_text(encoding="utf-8"))
    assert {"#rank", "#assays", "km.csv", "rank.xlsx", "assays.xlsx"} <= set(again.values("href"))
    assert "left out: run" not in again.text


def test_no_analysis_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="analysis"):
        write_page(tmp_path)


def test_inline_svgs_keep_apart() -> None:
    """Two figures with the same parts: ids differ, and every reference finds its own."""

    def plot() -> Any:
        figure = new_figure(2, 2)
        figure.add_subplot().plot([1, 2], [1, 2], "o-")
        return figure

    svg = make_svg("same", plot)
    assert svg == make_svg("same", plot)
    both = [Page(inline(svg, name, "a label")) for name in ("a", "b")]
    ids = [set(page.values("id")) for page in both]
    assert not ids[0] & ids[1]
    for page, own in zip(both, ids, strict=True):
        assert page.values("aria-label") == ["a label"]
        targets = [v[1:] for v in page.values("xlink:href")]
        targets += re.findall(r"url\(#([^)]+)\)", " ".join(page.values("clip-path")))
        assert targets
        assert set(targets) <= own


def test_words() -> None:
    assert [time_name(t) for t in ("week6", "day15", "post", "baseline")] == ["week 6", "day 15", "post", "baseline"]
    assert [percent_change(r) for r in (0.59, 1.0, 1.69, 2.34)] == [
        "41 % less",
        "0 % more",
        "69 % more",
        "2.3 times as much",
    ]
    assert [p_text(p) for p in (None, 0.00001, 0.00142, 0.0531, 0.649)] == ["-", "<0.0001", "0.001", "0.053", "0.65"]
    assert ratio_text({"ratio": 1.5, "ratio_low": None, "ratio_high": 3.0}) == "1.50 (no limit to 3.00)"
    assert estimate_text({"estimate": 0.6, "low": -0.2, "high": None}) == "+0.6 (-0.2 to no limit)"
    assert estimate_text({"estimate": -0.27, "low": -0.66, "high": -0.01}) == "-0.27 (-0.66 to -0.01)"
    assert estimate_text({"estimate": -0.001, "low": -0.26, "high": 0.44}) == "+0.00 (-0.26 to +0.44)"
    assert [several(*n) for n in ((1, "pair"), (2, "biopsy"), (1200, "slide"))] == [
        "1 pair",
        "2 biopsies",
        "1,200 slides",
    ]
    assert [ratio_text({}), ratio_text({"ratio": 1.5})] == ["-", "1.50"]
    assert prose("baseline to week6: 5 TILs/mm2 of stil_mm2; site: lymph_node") == (
        "baseline to week 6: 5 TILs/mm² of stil_mm2; site: lymph node"
    )
    assert factors("specimen;area;site") == "specimen type, evaluable area and site"
    assert reason_words("too_few_pairs: 2 of at least 6") == "too few pairs (2 of at least 6)."
