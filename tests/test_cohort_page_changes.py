"""The page where other assays are held against the change of the score: its words, its figure, and what it lacks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import Page

from tilscore.cohort.assays import assays
from tilscore.cohort.page import write_page
from tilscore.cohort.page.assaytables import assay_tables
from tilscore.cohort.page.figassays import N_PANELS, change_panels, draw_changes
from tilscore.cohort.page.results import read_results
from tilscore.cohort.paired import analyse
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs with the assays of a made cohort, a mutation that some acquire, and more genes than panels."""
    folder = tmp_path_factory.mktemp("changes")
    write_simulation(folder, SimulateConfig(patients=60, pairs=50, series=0, seed=4))
    rng, table = np.random.default_rng(1), pd.read_csv(folder / "assays.csv")
    later = (table["timepoint"] == "post").to_numpy()
    table["esr1_mut"] = (later & (rng.random(len(table)) < 0.4)).astype(int)
    table["tmb"] = np.where(later, np.nan, rng.gamma(2.0, 3.0, len(table)))
    table = table.assign(**{f"gene{i}": rng.normal(size=len(table)) for i in range(N_PANELS)})
    table.to_csv(folder / "assays.csv", index=False)
    files = folder / "slides.csv", folder
    analyse(*files, folder / "out")
    assays(*files, folder / "assays.csv", folder / "out", timepoint="post", change=True)
    write_page(folder / "out", folder)
    return folder / "out"


def texts_of(svg: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg.read_text(encoding="utf-8"))


def test_tables_tell_changes(out: Path) -> None:
    text = " ".join(Page((out / "cohort.html").read_text(encoding="utf-8")).text.split())
    for part in (
        "Score: change of TIL density from baseline to the post biopsy, as a ratio.",
        "Correlation with the change of the score (Spearman)",
        "ihc_cd3_per_mm2ratio post / baseline",
        "facs_cd8_fracpost less baseline",
        "tmbas it is, no change",
        "Change of the H&E density against that of other densities (ratio post / baseline)",
        "groups: median ratio post / baseline",
        "esr1_mutbaseline to post",
        "0->1 / 0->0, of the ratios post / baseline",
        "Alone: naive (no allowance for what differs within pairs, specimen, area, site and cores).",
        "Given the sampling: adjusted for specimen type",
        "Log-rank test not evaluable: time counts from the baseline",
        "given what differed in the sampling of both biopsies (Fisher's z",
        "concordance of log ratios [",
        "analysis of covariance of ranks [",
    ):
        assert part in text, part
    for part in ("The score was compared", "Kaplan-Meier", "those of Cox models", "adjusted (95\xa0%) p p corrected"):
        assert part not in text, part


def test_a_mark_is_a_patient_at_its_change(out: Path) -> None:
    found = read_results(out)
    panels = {panel.name: panel for panel in change_panels(found)}
    assert len(panels) == N_PANELS
    assert found.assays is not None
    tests = {(t["assay"], t["family"]): t for t in found.assays["tests"]}
    partial = {name: t["p"] for (name, family), t in tests.items() if family == "spearman_partial"}
    assert set(panels) == set(sorted(partial, key=lambda n: partial[n])[:N_PANELS])
    texts = texts_of(out / "figures" / "assay_changes.svg")
    assert {"TIL density, ratio post / baseline", "ratio post / baseline", "post less baseline"} <= set(texts)
    name = "ihc_cd3_per_mm2"
    both = [tests[name, family]["estimate"] for family in ("spearman", "spearman_partial")]
    assert "{:.2f} alone, {:.2f} given the sampling".format(*both) in texts
    axes = next(a for a in draw_changes(found).axes if a.get_title(loc="left") == name or a.get_title() == name)
    joined = pd.read_csv(out / "joined.csv")
    ratio = (joined[f"{name}_after"] + 5) / (joined[f"{name}_before"] + 5)
    for line, same in zip(axes.lines[:2], (True, False), strict=True):
        kept = joined["same_specimen"] == same
        np.testing.assert_allclose(line.get_xydata(), np.c_[ratio, joined["density_ratio"]][kept], rtol=2e-5)


def test_levels_have_no_words_and_no_figure_of_change(out: Path, tmp_path: Path) -> None:
    folder = out.parent
    files = folder / "slides.csv", folder
    analyse(*files, tmp_path)
    assays(*files, folder / "assays.csv", tmp_path, timepoint="post", change=True, measure="stil")
    write_page(tmp_path, folder)
    assert "sTIL area, post less baseline, points" in texts_of(tmp_path / "figures" / "assay_changes.svg")
    assays(*files, folder / "assays.csv", tmp_path, timepoint="post")
    write_page(tmp_path, folder)
    assert not (tmp_path / "figures" / "assay_changes.svg").exists()
    text = " ".join(Page((tmp_path / "cohort.html").read_text(encoding="utf-8")).text.split())
    for part in ("less baseline", "ratio post / baseline", "given the sampling (", "change of the score"):
        assert part not in text, part
    assert "Correlation with the score (Spearman)" in text


def test_what_tests_have_in_common_is_said_once() -> None:
    """One that could not be made does not keep the others from it."""
    made = {"n": 20, "estimate": 0.5, "low": 0.1, "high": 0.8, "p": 0.01, "p_bh": 0.02, "status": "ok"}
    tests = []
    for name, reason in (("a", "naive: x"), ("b", "left out, fewer than 3: w; naive: x"), ("c", "")):
        row = made | {"assay": name, "taken_as": "delta", "reason": reason}
        row |= {"status": "not_evaluable", "reason": "too_few: 3"} if name == "c" else {}
        tests += [row | {"family": "spearman"}, row | {"family": "spearman_partial", "adjusted_for": "area+cores"}]
    settings = {"timepoint": "week6", "change": True, "measure": "stil"}
    (sheet,) = assay_tables({"tests": tests, "settings": settings})
    assert sheet.note.startswith(
        "Alone: naive (x). Given the sampling: adjusted for evaluable area and number of cores."
    )
    assert [list(line.said) for line in sheet.lines] == [
        [],
        ["Alone: left out, fewer than 3: w.", "Given the sampling: left out, fewer than 3: w."],
        ["Not evaluable: too few (3)."],
    ]
    assert sheet.lines[0].cells[0] == ["a", "week 6 less baseline"]
