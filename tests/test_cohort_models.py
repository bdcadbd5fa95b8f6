"""What scored a cohort: models, settings and versions are named, and a mix of them is told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from manifests import GOOD, HEAD, lines, written
from test_cohort_page import made
from test_cohort_pool import biopsies, slide

from tilscore.cohort.manifest.models import model_notes, models_of
from tilscore.cohort.manifest.pool import pool_biopsies, read_scores
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.paired import analyse
from tilscore.cohort.rank import rank
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation
from tilscore.errors import UsageError


def test_biopsies_name_the_models_of_their_scores() -> None:
    """Several are joined; a slide without a score has no say, and a table without the column names none."""
    status, model = ["ok", "ok", "failed", "failed"], ["a@1", "b@2", "c@3", "c@3"]
    where = {"patient_id": ["P1", "P1", "P1", "P2"]}
    table = biopsies(**slide([1, 2, 3, 4], [1, 1, 1, 1]), **where, status=status, model=model)
    assert table["model"].tolist() == ["a@1;b@2", ""]
    assert models_of(table) == {"a@1": 1, "b@2": 1}
    (note,) = model_notes(table)
    assert "a@1 (1 biopsy), b@2 (1 biopsy)" in note
    old = biopsies(**slide([1, 2], [1, 1]), patient_id=["P1", "P2"])
    assert old["model"].tolist() == ["", ""]
    assert models_of(old) == models_of(old.drop(columns="model")) == {"not stated": 2}
    assert model_notes(old) == []
    assert len(model_notes(old.assign(model=["a@1", ""]))) == 1


def test_biopsies_name_the_settings_and_versions_of_their_scores() -> None:
    where = {"patient_id": ["P1", "P1", "P2", "P3"], "model": ["a@1"] * 4}
    made = {"settings": ["s1", "s1", "s2", ""], "version": ["1", "2", "2", ""]}
    table = biopsies(**slide([1, 2, 3, 4], [1, 1, 1, 1]), **where, **made)
    assert table["settings"].tolist() == ["s1", "s2", ""]
    assert table["version"].tolist() == ["1;2", "2", ""]
    settings, versions = model_notes(table)
    assert "Several settings scored these biopsies: s1 (1 biopsy), s2 (1 biopsy), not stated (1 biopsy)" in settings
    assert "Several versions of tilscore scored these biopsies: 2 (2 biopsies), 1 (1 biopsy)" in versions
    alike = table.assign(settings=["s1", "", "s1"], version="")
    assert model_notes(alike) == [], "what is not stated may be the same"


def test_a_model_of_the_manifest_does_not_hide_that_of_the_scores(tmp_path: Path) -> None:
    header = "slide_id,status,til_density_per_mm2,n_tils,stroma_mm2,tumour_mm2,tissue_mm2,model\n"
    (tmp_path / "scores.csv").write_text(header + "S1,ok,100,100,1,1,3,lite@1\n")
    manifest = read_manifest(written(tmp_path, lines(GOOD + ",PDX", head=HEAD + ",model")))
    (row,) = pool_biopsies(manifest, read_scores(tmp_path)).to_dict("records")
    assert (row["model"], row["model_given"]) == ("lite@1", "PDX")


def test_several_models_are_the_first_thing_to_read(tmp_path: Path) -> None:
    """Later biopsies scored anew by another model: told before all else, and who asks for ranks is refused."""

    def mixed(out: Path, results: Path) -> None:
        scores = pd.read_csv(results / "scores.csv", dtype=str, keep_default_na=False)
        later = pd.read_csv(results / "slides.csv").query("timepoint != 'baseline'")["slide_id"]
        scores.loc[scores["slide_id"].isin(later), "model"] = "other@1"
        scores.to_csv(results / "scores.csv", index=False)
        analyse(results / "slides.csv", results, out)

    cfg = SimulateConfig(patients=16, pairs=14, series=0, failed_frac=0.0, not_evaluable_frac=0.0, seed=4)
    seen = made(tmp_path, cfg, mixed)
    n = len(seen.analysis["pairs"])
    told = seen.analysis["notes"]
    assert told[0].startswith(f"{n} of {n} pairs were not scored by one model")
    assert told[1].startswith("Several models scored these biopsies: simulated (16 biopsies), other@1 (14 biopsies)")
    assert f"Read before use{told[0]}" in seen.page.text
    assert seen.analysis["pairs"][0]["model_after"] == "other@1"
    with pytest.raises(UsageError, match="several models cannot be ranked"):
        rank(seen.results / "slides.csv", seen.results, seen.out)


def test_pairs_scored_with_two_settings_are_counted(tmp_path: Path) -> None:
    cfg = SimulateConfig(patients=8, pairs=7, series=0, failed_frac=0.0, not_evaluable_frac=0.0, seed=4)
    write_simulation(tmp_path, cfg)
    scores = pd.read_csv(tmp_path / "scores.csv", dtype=str, keep_default_na=False)
    slides = pd.read_csv(tmp_path / "slides.csv")
    later = slides.query("timepoint != 'baseline'").groupby("patient_id")["slide_id"].apply(list)
    scores["settings"] = "s1"
    for settings, patients in (("s2", later[:3]), ("", later[3:5])):  # the others: as at baseline
        scores.loc[scores["slide_id"].isin(patients.sum()), "settings"] = settings
    scores.to_csv(tmp_path / "scores.csv", index=False)
    told = analyse(tmp_path / "slides.csv", tmp_path, tmp_path / "out")["notes"]
    assert told[0].startswith(
        "3 of 7 pairs were not scored with one setting: their change is a change of settings too."
    )
    assert told[1].startswith("Several settings scored these biopsies")
