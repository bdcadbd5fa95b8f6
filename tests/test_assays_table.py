"""The verb on other assays and its tables: what is joined to whom, whose a value is, and hostile tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilscore.cohort.assays import assays
from tilscore.cohort.assays.outcomes import events, outcome_notes, survival_columns
from tilscore.cohort.assays.table import (
    N_REPEATED,
    Assays,
    of_patients,
    origin_notes,
    patient_columns,
    read_assays,
)
from tilscore.cohort.paired.pairs import MEASURES, Measure
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation
from tilscore.errors import UsageError


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_simulation(folder, SimulateConfig(patients=80, pairs=30, series=0, seed=4))
    return folder


def test_the_verb(cohort: Path, tmp_path: Path) -> None:
    """Known truths are found; a test has one row a patient, whether or not later biopsies are in the table."""
    files = cohort / "slides.csv", cohort / "scores.csv"
    found = assays(*files, cohort / "assays.csv", tmp_path / "all")
    assert found == json.loads((tmp_path / "all" / "assays.json").read_text())
    tests = {(t["assay"], t["test"]): t for t in found["tests"]}
    for assay, truth in (("ihc_cd3_per_mm2", 0.8), ("facs_cd8_frac", 0.5)):
        assert 0 < tests[assay, "spearman"]["low"] < truth
        assert tests[assay, "spearman"]["p_bh"] < 0.05
    assert {k for k, _ in tests} >= {"pik3ca_mut", "response", "os", "pfs"}
    assert max(t["n"] for t in found["tests"]) <= found["counts"]["n_patients_scored"] <= 80
    alone = next(r for r in found["cox"] if r["outcome"] == "pfs" and r["model"] == "alone")
    assert alone["high"] < 1.1  # truth: 0.75 per SD
    table = pd.read_csv(cohort / "assays.csv")
    assert (table["timepoint"] == "post").sum() == 30
    table[table["timepoint"] == "baseline"].drop(columns="timepoint").to_csv(tmp_path / "once.csv", index=False)
    once = assays(*files, tmp_path / "once.csv", tmp_path / "once")
    assert once["tests"] == found["tests"]
    assert once["cox"] == found["cox"]
    for name in ("assays", "joined", "km", "cox"):
        assert len(pd.read_csv(tmp_path / "all" / f"{name}.csv")) > 0


def test_negative_times_are_told(cohort: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cohort / "assays.csv")
    scored = pd.read_csv(cohort / "scores.csv").query("status == 'ok'")["slide_id"].str.cat(sep=" ")
    who = [p for p in table["patient_id"].unique() if p in scored][:2]
    table.loc[table["patient_id"].isin(who), "pfs_months"] = -1.0
    table.to_csv(tmp_path / "a.csv", index=False)
    found = assays(cohort / "slides.csv", cohort / "scores.csv", tmp_path / "a.csv", tmp_path / "out")
    n = found["counts"]["n_patients_scored"]
    told = f"pfs: 2 of {n} patients have a negative time"
    assert any(note.startswith(told) for note in found["notes"])
    assert not any(note.startswith("os: ") for note in found["notes"])
    assert {t["n"] for t in found["tests"] if t["assay"] == "pfs"} == {n - 2}


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("os_months", "> 60", "line 4 column 'os_months': is no time .found > 60"),
        ("os_event", "alive", "line 4 column 'os_event': is no event .found alive"),
        ("os_months", "12,5", "a.csv:4: os_months: '12,5' has a decimal comma; write 12.5"),
        ("facs_cd8_frac", "0,1", "a.csv:4: facs_cd8_frac: '0,1' has a decimal comma; write 0.1"),
    ],
)
def test_a_time_that_is_no_number_is_refused(cohort: Path, tmp_path: Path, name: str, wrong: str, told: str) -> None:
    table = pd.read_csv(cohort / "assays.csv", dtype=str)
    table.loc[2, name] = wrong
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UsageError, match=told):
        assays(cohort / "slides.csv", cohort / "scores.csv", tmp_path / "a.csv", tmp_path / "out")


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_an_assay_may_have_the_name_of_a_measure(cohort: Path, tmp_path: Path, measure: Measure) -> None:
    table = pd.read_csv(cohort / "assays.csv").rename(columns={"ihc_cd3_per_mm2": measure.column})
    table.to_csv(tmp_path / "a.csv", index=False)
    files = cohort / "slides.csv", cohort / "scores.csv", tmp_path / "a.csv"
    found = assays(*files, tmp_path / "out", measure=measure.name)
    assert f"{measure.column}_assay" in {t["assay"] for t in found["tests"]}
    assert {measure.column, f"{measure.column}_assay"} <= set(pd.read_csv(tmp_path / "out" / "joined.csv").columns)


def test_two_columns_never_become_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("patient_id,density,density_assay\nP1,1,2\nP2,3,4\n")
    with pytest.raises(UsageError, match=r"a\.csv:1: columns 'density' and 'density_assay' would have one name"):
        read_assays(tmp_path / "a.csv")


def test_columns_of_other_outcomes_are_no_assays(cohort: Path, tmp_path: Path) -> None:
    """A correlation with a time that may be censored, or with the event alone, would be no result."""
    files = cohort / "slides.csv", cohort / "scores.csv", cohort / "assays.csv"
    found = assays(*files, tmp_path / "out", survival=["pfs_months:pfs_event"])
    assert not {t["assay"] for t in found["tests"]} & {"os", "os_months", "os_event"}
    assert any(n.endswith("outcomes that were not asked for: os_months, os_event.") for n in found["notes"])


def test_spellings(cohort: Path, tmp_path: Path) -> None:
    """Words of a group in two spellings are one group; patients whose codes differ in spelling only are told."""
    table = pd.read_csv(cohort / "assays.csv", dtype=str).query("timepoint == 'baseline'")
    table["tp53"] = [("Mut", "mut ", "WT", "wt")[i % 4] for i in range(len(table))]
    table.loc[table.index[:3], "patient_id"] = table["patient_id"].str.lower()
    table.to_csv(tmp_path / "a.csv", index=False)
    found = assays(cohort / "slides.csv", cohort / "scores.csv", tmp_path / "a.csv", tmp_path / "out")
    (tp53,) = [t for t in found["tests"] if t["assay"] == "tp53"]
    assert (tp53["test"], tp53["unit"]) == ("mann_whitney", "WT / Mut")
    (told,) = [n for n in found["notes"] if "spelling only" in n]
    assert told.startswith("3 patients of the assays differ")
    assert "'sim-001' and 'SIM-001'" in told


def test_an_outcome_in_two_units_is_two() -> None:
    names = ["os_months", "os_days", "os_event", "pfs_months", "pfs_status"]
    found = [outcome for outcome, _, _ in survival_columns(names)]
    assert found == ["os_months", "os_days", "pfs"]


def test_later_biopsies_have_no_survival(cohort: Path, tmp_path: Path) -> None:
    files = cohort / "slides.csv", cohort / "scores.csv", cohort / "assays.csv"
    found = assays(*files, tmp_path, timepoint="post", measure="stil")
    outcome = [t for t in found["tests"] if t["test"] == "log_rank"] + found["cox"]
    assert len(outcome) == 4
    assert all(t["status"] == "not_evaluable" and "survived" in t["reason"] for t in outcome)
    assert max(t["n"] for t in found["tests"] if t["n"]) <= 30


def test_the_same_block(tmp_path: Path) -> None:
    """IHC of block A is compared with the H&E of block A, not with the whole biopsy."""
    rng = np.random.default_rng(6)
    a, b = rng.integers(50, 2000, 24), rng.integers(50, 2000, 24)
    who = [f"P{i:02}" for i in range(24)]
    lines = [f"{p}{k},x/{p}{k}.svs,{p},baseline,core,breast,{k}" for p in who for k in "AB"]
    (tmp_path / "slides.csv").write_text("slide_id,path,patient_id,timepoint,specimen,site,block\n" + "\n".join(lines))
    scores = [
        f"{p}{k},ok,{n},{n},1" for p, *pair in zip(who, a, b, strict=True) for k, n in zip("AB", pair, strict=True)
    ]
    head = "slide_id,status,til_density_per_mm2,n_tils,stroma_mm2\n"
    (tmp_path / "scores.csv").write_text(head + "\n".join(scores))
    rows = [f"{p};baseline;a;{n}" for p, n in zip(who, a, strict=True)]
    (tmp_path / "cd3.csv").write_text("Patient;Visit;Block;CD3 per mm2\n" + "\n".join(rows))
    found = assays(tmp_path / "slides.csv", tmp_path, tmp_path / "cd3.csv", tmp_path / "out")
    tests = {t["test"]: t for t in found["tests"]}
    assert tests["spearman"]["estimate"] == pytest.approx(1)
    assert tests["ratio"]["estimate"] == pytest.approx(1)
    (tmp_path / "cd3.csv").write_text("Patient;Visit;CD3 per mm2\n" + "\n".join(r.replace(";a;", ";") for r in rows))
    whole = assays(tmp_path / "slides.csv", tmp_path, tmp_path / "cd3.csv", tmp_path / "out")
    assert next(t for t in whole["tests"] if t["test"] == "spearman")["estimate"] < 0.95


HOSTILE = {
    "marker,timepoint\n1,baseline\n": "patient_id",
    "patient_id,marker\nP1,1\nP1,2\n": ":2: a key is there twice",
    "patient_id,timepoint,marker\nP1,basline,1\n": ":2: timepoint: unknown word 'basline'",
    "patient_id,marker\n,1\n": ":2: patient_id: is empty",
    "patient_id,marker\nMueller Anna,1\n": "looks like",
    "patient_id,marker,marker\nP1,1,2\n": "there 2 times",
    "": "empty",
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_hostile_tables(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_assays(tmp_path / "a.csv")


def of_text(folder: Path, text: str) -> Assays:
    (folder / "a.csv").write_text(text)
    return read_assays(folder / "a.csv")


def test_reading(tmp_path: Path) -> None:
    """What is the patient's is taken from any row, what is the biopsy's from its own."""
    twice = "".join(f"Q{i},BL,3,no,\nQ{i},post,4,no,\n" for i in range(N_REPEATED - 1))
    head = "patient_id,timepoint,cd8,mut,Response\n"
    rows = "P1,BL,1,yes,PR\nP1,post,5,yes,PR\nP2,post,7,no,PD\nP3,pre,,no,\n"
    table = of_text(tmp_path, head + twice + rows)
    assert patient_columns(table, ()) == ["mut"]
    found = of_patients(table, "baseline", ()).loc[["P1", "P2", "P3"]]
    assert found["mut"].to_dict() == {"P1": "yes", "P2": "no", "P3": "no"}
    assert found["cd8"].dropna().to_dict() == {"P1": 1.0}
    assert found["response_assay"].fillna("").to_dict() == {"P1": "PR", "P2": "", "P3": ""}
    few = of_text(tmp_path, head + rows)
    assert patient_columns(few, ()) == []  # one patient alone may have the same value twice by chance
    names = ["os_months", "os_event", "pfs_days", "age_years", "cd8"]
    assert survival_columns(names) == [("os", "os_months", "os_event")]
    (told,) = outcome_notes(names, {"os_months", "os_event"}, [])
    assert told.startswith("pfs_days: a plain number here")
    assert "without pfs_event" in told
    with pytest.raises(UsageError, match="no such columns"):
        survival_columns(["os_months"], ["os_months:dead"])
    assert events(pd.Series([1.0, np.nan, 0.0]), "os_event").tolist()[::2] == [1, 0]
    with pytest.raises(UsageError, match="is no event"):
        events(pd.Series([1.0, 2.0]), "os_event")


def test_values_of_later_biopsies_are_no_baselines(tmp_path: Path) -> None:
    """Equal only because they are missing, or stated once: nothing shows that they are the patient's."""
    lacking = "".join(f"Q{i},baseline,,\nQ{i},post,,\n" for i in range(N_REPEATED))
    text = "patient_id,timepoint,cd3,pdl1\nP2,post,900,high\nP3,post,800,low\nP4,baseline,70,low\n"
    table = of_text(tmp_path, text + lacking)
    found = of_patients(table, "baseline", ()).reindex(["P2", "P3", "P4", "Q0"])
    assert found["cd3"].dropna().to_dict() == {"P4": 70.0}
    assert found["pdl1"].fillna("").tolist() == ["", "", "low", ""]
    (note,) = origin_notes(table, "baseline", ())
    assert note == "Not used, as stated at other time points only: cd3 (2 patients), pdl1 (2 patients)."


def test_outcomes_are_the_patients(tmp_path: Path) -> None:
    """One row a patient, some of a later biopsy: the outcome counts, the marker does not; two outcomes are none."""
    names = {"os_months", "os_event"}
    head = "patient_id,timepoint,cd3,os_months,os_event\n"
    table = of_text(tmp_path, head + "P1,baseline,5,12,1\nP2,post,9,30,0\nP3,baseline,4,8,1\nP3,post,4,9,1\n")
    found = of_patients(table, "baseline", names)
    assert found["cd3"].dropna().to_dict() == {"P1": 5.0, "P3": 4.0}
    assert found["os_months"].dropna().to_dict() == {"P1": 12.0, "P2": 30.0}
    assert found["os_event"].to_dict() == {"P1": 1.0, "P2": 0.0, "P3": 1.0}
    theirs, other, differ = origin_notes(table, "baseline", names)
    assert theirs.startswith("Taken as the patient's")
    assert theirs.endswith(": os_months (1 patients), os_event (1 patients).")
    assert other == "Not used, as stated at other time points only: cd3 (1 patients)."
    assert differ == "os_months: 1 patients have several values, so that none is used."
    plain = of_text(tmp_path, "patient_id,cd3\nP1,5\n")
    assert origin_notes(plain, "baseline", names)[0].startswith("The assays state no time points")


def test_assays_of_scores_by_several_models(cohort: Path, tmp_path: Path) -> None:
    scores = pd.read_csv(cohort / "scores.csv", dtype=str, keep_default_na=False)
    scores.loc[::2, "model"] = "other@1"
    scores.to_csv(tmp_path / "scores.csv", index=False)
    found = assays(cohort / "slides.csv", tmp_path, cohort / "assays.csv", tmp_path / "out")
    assert found["notes"][0].startswith("Several models scored these biopsies")
    assert set(pd.read_csv(tmp_path / "out" / "joined.csv")["model"]) >= {"simulated", "other@1"}


def test_the_table_is_not_written_over(cohort: Path) -> None:
    before = (cohort / "assays.csv").read_bytes()
    with pytest.raises(UsageError, match="written over"):
        assays(cohort / "slides.csv", cohort, cohort / "assays.csv", cohort)
    assert (cohort / "assays.csv").read_bytes() == before
