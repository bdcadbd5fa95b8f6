"""Where patients stand: planted outliers, what is adjusted for, words, privacy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilscore.cohort.manifest.pool import pool_biopsies, read_scores
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.rank.identifiers import without_identifiers
from tilscore.cohort.rank.placement import RankConfig
from tilscore.cohort.rank.reasons import reasons
from tilscore.cohort.rank.run import rank, rank_tables, shortlist
from tilscore.cohort.simulate.cohort import SimulateConfig, simulate_cohort, write_simulation
from tilscore.cohort.tables import write_table
from tilscore.errors import DataError, UsageError

CFG = RankConfig()


@pytest.fixture(scope="module")
def biopsies() -> pd.DataFrame:
    """A made cohort of 70 patients with 24 pairs."""
    manifest, scores, _ = simulate_cohort(SimulateConfig(patients=70, pairs=24, series=0, failed_frac=0.0, seed=5))
    return pool_biopsies(manifest, scores)


def level_of(ranks: pd.DataFrame, patient: str) -> pd.Series:
    return ranks[(ranks["patient_id"] == patient) & (ranks["kind"] == "level")].iloc[0]


def test_a_planted_outlier_leads_the_list(biopsies: pd.DataFrame) -> None:
    table = biopsies.copy()
    at = table.index[(table["timepoint"] == "baseline") & (table["status"] == "ok")][4]
    columns = ["til_density_per_mm2", "til_density_low", "til_density_high"]
    middle = table.loc[table["timepoint"] == "baseline", columns[0]].median()
    table.loc[at, columns] = [100 * middle, 80 * middle, 125 * middle]
    ranks, _ = rank_tables(table, table, CFG)
    found = level_of(ranks, table.loc[at, "patient_id"])
    assert found["outlier"] == "high"
    assert found["outlier_sure"]
    assert found["percentile_adjusted"] == 100
    short = shortlist(ranks, 3)
    assert short["patient_id"].iloc[0] == table.loc[at, "patient_id"]
    assert "outlier" in short["reasons"].iloc[0]
    assert "allowing for" in short["reasons"].iloc[0]
    assert table.loc[at, "patient_id"] not in set(shortlist(ranks, 3, direction="low")["patient_id"])
    table.loc[at, columns[1:]] = [0.01, 1e6]  # the same value, but hardly measured: it does not lead
    assert table.loc[at, "patient_id"] not in set(shortlist(rank_tables(table, table, CFG)[0], 3)["patient_id"])


def test_site_is_adjusted_for() -> None:
    """Where livers have a quarter of the density, a typical liver is low as it is and typical when adjusted."""
    cfg = SimulateConfig(patients=120, pairs=0, series=0, site_effect_log={"liver": -1.4}, failed_frac=0.0, seed=7)
    manifest, scores, _ = simulate_cohort(cfg)
    table = pool_biopsies(manifest, scores)
    ranks, about = rank_tables(table, table, CFG)
    liver = ranks[(ranks["site"] == "liver") & (ranks["status"] == "ok")]
    assert liver["percentile"].median() < 30
    assert 38 < liver["percentile_adjusted"].median() < 62
    assert about["level baseline"]["adjusted_for"] == ["specimen", "area", "site"]
    assert about["level baseline"]["coefficients"]["site: liver"] == pytest.approx(-1.4, abs=0.6)


def test_what_the_reference_cannot_tell_stays_empty(biopsies: pd.DataFrame) -> None:
    few = biopsies[biopsies["patient_id"].isin(biopsies["patient_id"].unique()[:8])]
    row = rank_tables(biopsies, few, CFG)[0].iloc[-1]
    assert row["status"] == "not_evaluable"
    assert "too_few_reference" in row["reason"]
    assert pd.isna(row["percentile"])
    bone = biopsies.copy()
    bone.loc[0, "site"] = "bone"
    others = biopsies[biopsies["patient_id"] != bone.loc[0, "patient_id"]]
    found = level_of(rank_tables(bone, others, CFG)[0], bone.loc[0, "patient_id"])
    assert pd.notna(found["percentile"])
    assert pd.isna(found["percentile_adjusted"])
    assert found["not_adjusted_because"] == "too few reference patients with site bone"


def test_changes_are_placed_too(biopsies: pd.DataFrame) -> None:
    table = biopsies.copy()
    paired = table.index[(table["timepoint"] == "post") & (table["status"] == "ok")]
    at = next(i for i in paired if table.loc[i - 1, "status"] == "ok")
    columns = ["til_density_per_mm2", "til_density_low", "til_density_high"]
    table.loc[at, columns] = table.loc[at - 1, columns].to_numpy() * 60
    ranks, _ = rank_tables(table, table, CFG)
    change = ranks[(ranks["patient_id"] == table.loc[at, "patient_id"]) & (ranks["kind"] == "change")].iloc[0]
    assert change["value"] == pytest.approx(60, rel=0.1)
    assert change["percentile"] == 100
    short = shortlist(ranks, 1, by="change")
    assert short["patient_id"].iloc[0] == table.loc[at, "patient_id"]
    assert "baseline to post" in short["reasons"].iloc[0]


def test_the_verb(tmp_path: Path, biopsies: pd.DataFrame) -> None:
    """An earlier cohort's table as reference gives what its own patients give; files, counts and nulls hold."""
    cfg = SimulateConfig(patients=40, pairs=12, series=0, not_evaluable_frac=0.15, seed=11)
    write_simulation(tmp_path, cfg)
    own = rank(tmp_path / "slides.csv", tmp_path / "scores.csv", tmp_path / "own", n=5)
    manifest, scores, _ = simulate_cohort(cfg)
    write_table(tmp_path / "biopsies.csv", pool_biopsies(manifest, scores))
    earlier = rank(tmp_path / "slides.csv", tmp_path, tmp_path / "again", reference=tmp_path, n=5)
    for a, b in zip(own["ranks"], earlier["ranks"], strict=True):
        for name in ("patient_id", "percentile", "percentile_adjusted", "n_reference_adjusted"):
            assert a[name] == b[name], "the digits that a table loses make nobody another patient"
    assert any("40 patients are in the reference too" in note for note in earlier["notes"])
    assert own == json.loads((tmp_path / "own" / "rank.json").read_text())
    assert own["counts"]["n_placed"] + own["counts"]["n_not_evaluable"] == 40
    assert own["counts"]["n_not_evaluable"] > 0
    assert all(row["reason"] for row in own["ranks"] if row["percentile"] is None)
    assert len(pd.read_csv(tmp_path / "own" / "shortlist.csv")) == 5
    assert len(pd.read_csv(tmp_path / "own" / "ranks.csv")) == len(own["ranks"])


def test_scores_of_another_model_are_no_reference(tmp_path: Path) -> None:
    write_simulation(tmp_path, SimulateConfig(patients=12, pairs=0, series=0))
    files = tmp_path / "slides.csv", tmp_path / "scores.csv", tmp_path / "out"
    reference = tmp_path / "biopsies.csv"
    table = pool_biopsies(read_manifest(files[0]), read_scores(files[1]))
    write_table(reference, table)
    assert any(n.startswith("One model scored") for n in rank(*files, reference=reference)["notes"])
    spelled = table["patient_id"].str.lower().str.replace("-", "_")
    write_table(reference, table.assign(patient_id=spelled, stroma_mm2=table["stroma_mm2"] + 1))
    notes = rank(*files, reference=reference)["notes"]
    told = "12 patients of the reference count as others than patients who are ranked, and differ in spelling only"
    assert any(n.startswith(told) for n in notes)
    write_table(reference, table.drop(columns="model"))
    assert any("Not every score names its model" in n for n in rank(*files, reference=reference)["notes"])
    write_table(reference, table.assign(model="other@1"))
    with pytest.raises(UsageError, match=r"biopsies.csv: scores of several models .*other@1, simulated"):
        rank(*files, reference=reference)


@pytest.mark.parametrize(
    ("site", "said"), [("", "unknown"), ("mixed", "mixed"), (np.nan, "unknown"), (None, "unknown")]
)
def test_unknown_sites_are_not_alike(biopsies: pd.DataFrame, site: object, said: str) -> None:
    cores = biopsies.assign(specimen="core", site="breast")
    known, _ = rank_tables(cores, cores, CFG)
    assert known["n_alike"].max() > 10
    unknown, _ = rank_tables(*[cores.assign(site=site) if site is not None else cores.drop(columns="site")] * 2, CFG)
    assert (unknown["status"] == "ok").any()
    assert unknown[["n_alike", "percentile_alike", "percentile_alike_low"]].isna().all(axis=None)
    texts = shortlist(unknown, 3)["reasons"]
    assert not texts.str.contains(" with a ").any()
    assert texts.str.contains(f"caution: site {said}").all()
    assert shortlist(known, 3)["reasons"].str.contains("with a breast core").all()


@pytest.mark.parametrize("area", [1.0, 2.0])
def test_a_factor_that_varies_in_a_rare_level_alone_is_no_factor(biopsies: pd.DataFrame, area: float) -> None:
    """The one biopsy of another area is also the only one of its site, and so not fitted: the rest has one area."""
    table = biopsies.assign(specimen="core", site="breast", stroma_mm2=area)
    odd = table.index[(table["timepoint"] == "baseline") & table["til_density_per_mm2"].notna()][0]
    table.loc[odd, ["site", "stroma_mm2"]] = ["brain", 0.3]
    ranks, about = rank_tables(table, table, CFG)
    levels = ranks[ranks["kind"] == "level"]
    assert about["level baseline"]["adjusted_for"] == []
    assert about["level baseline"]["too_few_of"] == ["site: brain"]
    assert levels.loc[levels["status"] == "ok", "percentile"].notna().all()
    assert levels["percentile_adjusted"].isna().all()


def test_rare_levels_are_told_where_nothing_can_be_adjusted_for(biopsies: pd.DataFrame) -> None:
    table = biopsies[(biopsies["timepoint"] == "baseline") & biopsies["til_density_per_mm2"].notna()].head(14)
    sites = ["lung", "liver", "skin", "bone", *["breast"] * 10]
    ranks, about = rank_tables(*[table.assign(specimen="core", site=sites)] * 2, CFG)
    assert about["level baseline"]["too_few_of"] == ["site: bone", "site: liver", "site: lung", "site: skin"]
    assert ranks["not_adjusted_because"].str.startswith("too few reference patients with site").sum() == 4


def test_reasons_of_a_change_tell_both_biopsies(biopsies: pd.DataFrame) -> None:
    """A fold of a tiny baseline is no sure one."""
    known = biopsies.assign(specimen="core", site="breast")
    known.loc[known["timepoint"] == "baseline", ["stroma_mm2", "site"]] = [0.2, ""]
    texts = shortlist(rank_tables(known, known, CFG)[0], 3, by="change")["reasons"]
    assert texts.str.contains("caution: only 0.2 mm2 of stroma at baseline; caution: site unknown at baseline").all()


def test_who_has_no_place_is_told(biopsies: pd.DataFrame, tmp_path: Path) -> None:
    """A cohort too small to be a reference, and patients without a biopsy, leave no silence."""
    few = tmp_path / "few"
    write_simulation(few, SimulateConfig(patients=6, pairs=0, series=0, failed_frac=0, not_evaluable_frac=0, seed=2))
    notes = rank(few / "slides.csv", few, few / "out")["notes"]
    told = "level baseline: none of 6 patients could be placed: 5 reference patients, 10 are needed."
    assert told in notes
    assert not any("too small to adjust" in note for note in notes), "nothing was to be adjusted"
    later = rank(few / "slides.csv", few, few / "out", timepoint="week6")["notes"]
    assert "level week6: none of 6 patients could be placed: no biopsy at week6." in later
    some = tmp_path / "some"
    write_simulation(some, SimulateConfig(patients=40, pairs=0, series=0, failed_frac=0.1, seed=11))
    result = rank(some / "slides.csv", some, some / "out")
    n = result["counts"]["n_not_evaluable"]
    assert n > 0
    assert any(f"level baseline: {n} of 40 patients could not be placed: its biopsy is" in x for x in result["notes"])


def test_great_folds_and_narrow_intervals_are_told_as_they_are(biopsies: pd.DataFrame) -> None:
    """127-fold, not 1.3e+02-fold; and 0 to 12 TILs/mm2 is not wide, though no multiple of 0 reaches 12."""
    table = biopsies.assign(specimen="core", site="breast", stroma_mm2=1.0)
    pair = table.loc[table["timepoint"] == "post", "patient_id"].iloc[0]
    for time, values in (("baseline", (0.0, 0.0, 12.0)), ("post", (1000.0, 900.0, 1110.0))):
        at = (table["patient_id"] == pair) & (table["timepoint"] == time)
        columns = ["til_density_per_mm2", "til_density_low", "til_density_high"]
        table.loc[at, columns] = values
    ranks = rank_tables(table, table, CFG)[0]
    theirs = ranks[ranks["patient_id"] == pair]
    level, change = (reasons(theirs[theirs["kind"] == kind].iloc[0], theirs) for kind in ("level", "change"))
    assert "wide interval" not in level
    assert "baseline to post 201-fold: higher than 100 %" in change
    table["til_density_high"] = table["til_density_high"].replace({12.0: 120.0})
    ranks = rank_tables(table, table, CFG)[0]
    theirs = ranks[ranks["patient_id"] == pair]
    assert "caution: wide interval (0 to 120 TILs/mm2)" in reasons(theirs[theirs["kind"] == "level"].iloc[0], theirs)


def test_equal_values_are_ties_with_and_without_adjustment(biopsies: pd.DataFrame) -> None:
    """Residuals of equal values differ by rounding alone, which is no rank."""
    scored = biopsies["til_density_per_mm2"].notna()
    table = biopsies.assign(
        til_density_per_mm2=np.where(scored, 500.0, np.nan), til_density_low=400, til_density_high=620
    )
    levels = rank_tables(table, table, CFG)[0].query("kind == 'level' and status == 'ok'")
    assert levels["percentile_adjusted"].notna().sum() > 20
    for name in ("percentile", "percentile_adjusted"):
        assert levels[name].dropna().unique().tolist() == [50.0]


def test_shares_of_other_patients_tell_their_number(biopsies: pd.DataFrame) -> None:
    """The one excision is among the reference without adjustment, and not among that with it."""
    words = np.where(np.arange(len(biopsies)) % 2, "core", "resection")
    table = biopsies.assign(specimen=words, site="breast", stroma_mm2=1.0)
    scored = table.index[(table["timepoint"] == "baseline") & table["til_density_per_mm2"].notna()]
    table.loc[scored[0], "specimen"] = "excision"
    ranks = rank_tables(table, table, CFG)[0]
    texts = shortlist(ranks[ranks["patient_id"] != table.loc[scored[0], "patient_id"]], 3)["reasons"]
    n = len(scored) - 1
    assert texts.str.contains(f"of {n - 1} reference patients").all()
    assert texts.str.contains(rf" of {n} (?:lower|higher) without adjustment", regex=True).all()


def test_arguments_and_tables_are_checked(tmp_path: Path) -> None:
    write_simulation(tmp_path, SimulateConfig(patients=12, pairs=0, series=0))
    files = tmp_path / "slides.csv", tmp_path / "scores.csv", tmp_path / "out"
    for wrong in (
        {"n": 0},
        {"timepoint": "C2D1"},
        {"direction": "up"},
        {"by": "x"},
        {"adjust": ["age"]},
        {"reference_results": tmp_path},
    ):
        with pytest.raises(UsageError):
            rank(*files, **wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no column"):
        rank(*files, reference=tmp_path / "scores.csv")
    reference = tmp_path / "biopsies.csv"
    reference.write_text('patient_id,timepoint,til_density_per_mm2\nP1,baseline,200.5\nP2,baseline,"12,5"\n')
    with pytest.raises(DataError, match="line 3 column 'til_density_per_mm2'"):
        rank(*files, reference=reference)
    assert not (tmp_path / "out").exists()


def test_identifiers_do_not_pass(tmp_path: Path) -> None:
    names = ["Anna Rossi", "Berta Klein", "Carla Costa", "Dora Weiss", "Emma Lang", "Frida Haas"]
    types = ["triple negative", "luminal b"] * 3
    table = pd.DataFrame({"patient_id": [f"P{i}" for i in range(6)], "asked": names, "subtype": types, "dob": 1})
    kept, notes = without_identifiers(table.assign(seen="2021-03-04", grade=20210304), "assays.csv")
    assert list(kept) == ["patient_id", "subtype", "grade"]
    assert len(notes) == 3
    assert not any(name in " ".join(notes) for name in names)
    with pytest.raises(UsageError, match="looks like"):
        without_identifiers(table.assign(patient_id=names), "assays.csv")
