"""Other assays: published examples, closed forms, one row a patient in each test, and hostile tables."""

from __future__ import annotations

import json
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.cohort.assays.assays import assays
from tilscore.cohort.assays.survival import cox, fit_cox, kaplan_meier
from tilscore.cohort.assays.table import (
    N_REPEATED,
    Assays,
    events,
    of_patients,
    origin_notes,
    patient_columns,
    read_assays,
    survival_columns,
)
from tilscore.cohort.assays.tests import agreement, correlations, groups, with_fdr
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation
from tilscore.errors import UsageError
from tilscore.stats.twosample import rank_sum, rank_sum_counts


def frame_of(y: np.ndarray, **columns: object) -> pd.DataFrame:
    n = len(y)
    fixed = {"specimen": ["core"] * n, "site": ["breast"] * n, "stroma_mm2": np.ones(n)}
    return pd.DataFrame({"y": y, "shown": np.exp(y), "density": np.exp(y), **fixed, **columns})


def test_rank_sum_on_the_chorioamnion() -> None:
    """Hollander & Wolfe 1999, table 4.1 and page 111; R's `coin::wilcox_test` documents p = 0.2544, shift 0.305 and
    interval -0.15 to 0.76."""
    term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    early = [1.15, 0.88, 0.90, 0.74, 1.21]
    found = rank_sum(term, early)
    assert (found.statistic, found.method) == (35, "exact")
    assert found.p == pytest.approx(0.2544, abs=5e-5)
    assert (found.shift, found.low, found.high) == pytest.approx((0.305, -0.15, 0.76))


def test_counts_of_the_rank_sum() -> None:
    """Against every order of 4 and 3; and they add up to the number of orders."""
    all_of_them = [sum(a > b for a in x for b in set(range(7)) - set(x)) for x in combinations(range(7), 4)]
    assert list(rank_sum_counts(4, 3)) == np.bincount(all_of_them).tolist()
    assert sum(rank_sum_counts(30, 20)) == comb(50, 20)


samples = st.sets(st.integers(-20, 20), min_size=2, max_size=12)


@given(samples, samples, st.integers(-9, 9))
@settings(max_examples=15)
def test_laws_of_the_shift(x: set[int], y: set[int], by: int) -> None:
    """Without ties: a shift of x moves the estimate with it; x and y in turn change its sign."""
    a, b = np.array(sorted(x), float), np.array(sorted(y)) + 0.3
    one, moved, turned = rank_sum(a, b), rank_sum(a + by, b), rank_sum(b, a)
    assert (moved.shift, moved.low, moved.high) == pytest.approx((one.shift + by, one.low + by, one.high + by))
    assert (turned.shift, turned.low, turned.high) == pytest.approx((-one.shift, -one.high, -one.low))
    assert turned.p == pytest.approx(one.p)
    assert one.low <= one.shift <= one.high


def test_cox_on_rossi() -> None:
    """Fox & Weisberg, An R Companion to Applied Regression, 2nd ed., appendix on Cox regression (R's coxph, Efron).

    All seven terms; then their smaller model, whose cox.zph finds age (p = 0.01) but not fin or prio.
    """
    from lifelines.datasets import load_rossi

    data = load_rossi().astype(float)
    found = {row["term"]: row for row in fit_cox(data, "week", "arrest")}
    published = {
        "fin": (-0.37942, 0.19138),
        "age": (-0.05744, 0.02200),
        "race": (0.31390, 0.30799),
        "wexp": (-0.14980, 0.21222),
        "mar": (-0.43370, 0.38187),
        "paro": (-0.08487, 0.19576),
        "prio": (0.09150, 0.02865),
    }
    assert set(found) == set(published)
    for term, (coefficient, se) in published.items():
        assert found[term]["coefficient"] == pytest.approx(coefficient, abs=1.1e-5)
        assert found[term]["se"] == pytest.approx(se, abs=1e-5)
    small = {r["term"]: r for r in fit_cox(data[["week", "arrest", "fin", "age", "prio"]], "week", "arrest")}
    assert [small[t]["coefficient"] for t in ("fin", "age", "prio")] == pytest.approx(
        [-0.347, -0.0671, 0.0969], abs=6e-5
    )
    assert small["age"]["ph_p"] < 0.05 < 0.2 < min(small["fin"]["ph_p"], small["prio"]["ph_p"])
    assert "changes over time" in small["age"]["reason"]


def test_kaplan_meier_on_leukaemia() -> None:
    """Freireich et al. 1963, as in Kleinbaum & Klein, Survival Analysis, ch. 2: log-rank 16.79, medians 8 and 23."""
    mp6 = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    frame = frame_of(np.repeat([1.0, 0.0], 21), time=np.array(mp6 + placebo, float), event=1.0)
    frame.loc[9:20, "event"] = 0.0
    rows, test, summary = kaplan_meier(frame, "remission", 2)
    assert test["statistic"] == pytest.approx(16.79, abs=0.005)
    assert {s["group"]: s["median"] for s in summary} == {"low": 8, "high": 23}
    curve = {r["time"]: (r["n_at_risk"], round(r["survival"], 4)) for r in rows if r["group"] == "high"}
    assert [curve[t] for t in (6, 10, 23)] == [(21, 0.8571), (15, 0.7529), (6, 0.4482)]


def test_adjusting_takes_a_common_cause_away() -> None:
    """Site drives both; beyond it they have nothing in common."""
    rng = np.random.default_rng(1)
    liver = np.arange(120) % 2
    frame = frame_of(rng.normal(3.0 * liver, 1), marker=rng.normal(3.0 * liver, 1))
    frame["site"] = np.where(liver == 1, "liver", "breast")
    plain, partial = correlations(frame, "marker")
    assert plain["low"] > 0.4
    assert partial["low"] < 0 < partial["high"]
    assert partial["adjusted_for"] == "site"


def test_rare_sites_are_left_out_of_the_adjusted_tests_and_named() -> None:
    """The same figures as without these patients, who were once taken for breast."""
    rng = np.random.default_rng(5)
    liver = np.arange(120) % 2
    frame = frame_of(rng.normal(2.0 * liver, 1), marker=rng.normal(2.0 * liver, 1))
    frame["x"], frame["time"], frame["event"] = frame["y"], rng.exponential(np.exp(-0.3 * frame["y"])), 1.0
    frame["site"] = np.where(liver == 1, "liver", "breast")
    frame.loc[[0, 2, 4], ["site", "y", "x", "marker"]] = ["lymph_node", 30.0, 30.0, -30.0]
    kept = frame.drop(index=[0, 2, 4])
    said = "left out, fewer than 5 patients: site lymph node (3)"
    partial, truth = correlations(frame, "marker")[1], correlations(kept, "marker")[1]
    assert (partial["n"], partial["reason"], truth["reason"]) == (117, said, "")
    assert partial["estimate"] == pytest.approx(truth["estimate"])
    rows, true_rows = ({r["term"]: r for r in cox(f, "os", "point") if r["model"] == "adjusted"} for f in (frame, kept))
    assert rows["point"]["hazard_ratio"] == pytest.approx(true_rows["point"]["hazard_ratio"])
    assert (rows["point"]["n"], rows["point"]["n_events"]) == (117, 117)
    assert all(said in row["reason"] for row in rows.values())
    assert next(r for r in cox(frame, "os", "point") if r["model"] == "alone")["n"] == 120


def test_agreement_of_densities() -> None:
    """Twice the density with a relative error of 10 %: ratio 1/2, limits 1/2 * exp(-+1.96 * 0.1)."""
    rng = np.random.default_rng(2)
    density = np.exp(rng.normal(6, 1, 400))
    frame = frame_of(np.log(density), cd3=2 * density * np.exp(rng.normal(0, 0.1, 400)))
    rows = {r["test"]: r for r in agreement(frame, "cd3", 0.0)}
    assert rows["ratio"]["estimate"] == pytest.approx(0.5, rel=0.02)
    for name, sign in (("ratio_limit_low", -1), ("ratio_limit_high", 1)):
        assert rows[name]["low"] < 0.5 * np.exp(sign * 0.196) < rows[name]["high"]
    sd2, shift = 1 + 0.5 * 0.1**2, np.log(2)
    assert rows["ccc_log"]["estimate"] == pytest.approx(2 / (2 * sd2 + shift**2), abs=0.03)


def test_groups() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(6, 0.5, 90)
    two = frame_of(y + np.log(2) * (np.arange(90) % 2), mut=(np.arange(90) % 2).astype(float))
    found = groups(two, "mut", is_log=True)
    assert found["low"] < 2 < found["high"]
    assert found["unit"] == "1 / 0"
    three = frame_of(y, kind=["a", "b", "c"] * 29 + ["rare", "", "a"])
    found = groups(three, "kind", is_log=True)
    assert (found["test"], found["n"]) == ("kruskal_wallis", 88)
    assert "rare" in found["reason"]
    few = groups(three.head(7), "kind", is_log=True)
    assert few["status"] == "not_evaluable"
    assert "p" not in few


def test_false_discovery_rate() -> None:
    """Benjamini & Hochberg 1995: p (k / rank), within a family; tests that were not made do not count."""
    rows = [{"family": "a", "p": p} for p in (0.01, 0.04, 0.03, None)] + [{"family": "b", "p": 0.04}]
    assert with_fdr(rows)["p_bh"].tolist()[:3] == pytest.approx([0.03, 0.04, 0.04])
    assert with_fdr(rows)["p_bh"].iloc[4] == pytest.approx(0.04)


def test_too_few_events_give_no_number() -> None:
    frame = frame_of(np.arange(30.0), x=np.arange(30.0), time=np.arange(1.0, 31), event=np.r_[np.ones(4), np.zeros(26)])
    rows, (_, test, _) = cox(frame, "os", "doubling"), kaplan_meier(frame, "os", 2)
    assert all(r["status"] == "not_evaluable" and "too_few_events" in r["reason"] for r in [*rows, test])
    assert not any("hazard_ratio" in r or "p" in r for r in [*rows, test])
    split = frame.assign(
        event=1.0, x=np.r_[np.zeros(15), np.full(15, 1e3)], time=np.r_[np.full(15, 9.0), np.full(15, 1.0)]
    )
    assert fit_cox(split[["time", "event", "x"]], "time", "event")[0]["status"] == "not_evaluable"  # no finite estimate


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
    assert survival_columns(["os_months", "os_event", "pfs_days", "cd8"]) == [("os", "os_months", "os_event")]
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
