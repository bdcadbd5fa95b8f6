"""What the page says of single patients: what a bar is, who is judged, and what an index does not hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from test_pairs_reliable import cohort
from test_pairs_sampling import as_manifest, confounded_cohort, many_sites

from tilscore.cohort.page import write_page
from tilscore.cohort.paired import analyse


def page_of(folder: Path, biopsies: pd.DataFrame) -> str:
    """The page of an analysed cohort, its words without line breaks."""
    manifest, scores = as_manifest(biopsies)
    for name, table in (("slides", manifest.assign(path=manifest["slide_id"] + ".svs")), ("scores", scores)):
        table.to_csv(folder / f"{name}.csv", index=False)
    analyse(folder / "slides.csv", folder / "scores.csv", folder / "out")
    return " ".join(write_page(folder / "out").read_text(encoding="utf-8").split())


def with_limits(biopsies: pd.DataFrame) -> pd.DataFrame:
    density = biopsies["til_density_per_mm2"]
    return biopsies.assign(til_density_low=0.9 * density, til_density_high=1.1 * density)


def test_confounded_changes_are_not_called_adjusted_and_not_judged(tmp_path: Path) -> None:
    text = page_of(tmp_path, with_limits(confounded_cohort(20)))
    assert "Bar: change as measured, not adjusted: confounded (" in text
    assert "change without the part" not in text.split('id="patients"')[0]
    assert "never in colour: patients where specimen or site differ and are not adjusted for." in text
    assert "none is judged" in (tmp_path / "out" / "figures" / "waterfall_density.svg").read_text(encoding="utf-8")
    assert text.count('<td class="">sampling differs</td>') == 20


def test_equal_sampling_is_said_to_need_no_adjustment(tmp_path: Path) -> None:
    text = page_of(tmp_path, with_limits(confounded_cohort(20)).assign(specimen="core"))
    assert "Bar: change as measured, as nothing differs in the sampling that is known." in text
    assert text.count(" (plain)</td>") == 20
    few = tmp_path / "few"
    few.mkdir()
    text = page_of(few, with_limits(confounded_cohort(4)).assign(specimen="core"))
    assert "Bar: change as measured, not adjusted: too few pairs (4 of at least 6)." in text


def test_who_cannot_be_judged_is_told_and_drawn_without_a_bar(tmp_path: Path) -> None:
    changes = np.random.default_rng(1).normal(0.5, 0.3, 24)
    table = cohort(changes, np.full(24, 0.14), site=np.array(["brain"] + ["breast"] * 23))
    text = page_of(tmp_path, table.assign(stil_area_pct=10.0).drop(columns="log"))
    assert "Bar: change without the part that the sampling explains, as the other pairs tell it." in text
    assert "Of 23 patients, " in text
    assert "Not judged: 1 as too few other pairs differ in that way." in text
    assert "Not judged, and never in colour: patients where too few other pairs differ in that way." in text
    assert text.count("by measurement error alone; two biopsies of an unchanged tumour differ by more") >= 2
    assert "if nothing changed" not in text
    assert "nothing changed." not in text


def test_a_site_that_nobody_stated_is_not_said_to_differ(tmp_path: Path) -> None:
    table = confounded_cohort(20).assign(specimen="core")
    post = table["timepoint"] == "post"
    table.loc[post & table["patient_id"].isin(["P00", "P01"]), "site"] = ["", "liver"]
    text = page_of(tmp_path, with_limits(table))
    assert "1 of 20 pairs differ in site; in 1 of 20 pairs the site is unknown or mixed" in text


def test_sites_in_two_groups_are_told(tmp_path: Path) -> None:
    text = page_of(tmp_path, with_limits(many_sites(20)))
    assert "adjusted for site (lymph node against all others)" in text
    assert "lymph_node against" not in text
    assert "one coefficient for 8 pairs; where the pairs had no room for every site, the most common against" in text


def test_methods_tell_that_a_time_point_is_not_in_the_model(tmp_path: Path) -> None:
    table = confounded_cohort(20).assign(specimen="core")
    early = table[table["timepoint"] == "post"].head(3).assign(timepoint="week6")
    text = page_of(tmp_path, with_limits(pd.concat([table, early], ignore_index=True)))
    assert "40 of 43 biopsies (time points below 6 pairs left out) of 20 patients entered a linear model" in text
    assert "of log density on time point, with" in text


def test_a_cohort_without_any_change_has_a_page(tmp_path: Path) -> None:
    table = confounded_cohort(12).assign(specimen="core", til_density_per_mm2=100.0, stil_area_pct=0.3)
    text = page_of(tmp_path, with_limits(table))
    assert "No result for the post biopsy: no change (every change is exactly 0)." in text
    assert "Of the residuals: not evaluable" in text


def test_a_few_rises_among_many_zeros_are_no_fall(tmp_path: Path) -> None:
    table = confounded_cohort(28).assign(specimen="core", til_density_per_mm2=0.0, stil_area_pct=0.0)
    later = table.index[table["timepoint"] == "post"]
    table.loc[later[:8], "til_density_per_mm2"] = np.arange(50.0, 210.0, 20.0)
    text = page_of(tmp_path, with_limits(table))
    assert "TIL density differed from baseline in some patients, but the typical change is none" in text
    assert "lower than at baseline" not in text
