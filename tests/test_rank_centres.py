"""Centres in a ranking: how their levels differ, and what speaks for caution about a place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.cohort.manifest.pool import pool_biopsies
from tilscore.cohort.rank.centres import centre_notes, centre_table
from tilscore.cohort.rank.placement import RankConfig, level_table
from tilscore.cohort.rank.run import rank, rank_tables, shortlist
from tilscore.cohort.simulate.cohort import SimulateConfig, simulate_cohort, write_simulation
from tilscore.cohort.tables import write_table

CFG = RankConfig()
DENSITY = ["til_density_per_mm2", "til_density_low", "til_density_high"]


def cohort(seed: int = 3, **settings: object) -> pd.DataFrame:
    cfg = SimulateConfig(patients=90, pairs=0, series=0, failed_frac=0.0, seed=seed, **settings)  # type: ignore[arg-type]
    manifest, scores, _ = simulate_cohort(cfg)
    return pool_biopsies(manifest, scores)


def times(table: pd.DataFrame, centre: str, factor: float) -> pd.DataFrame:
    """The table with the densities of one centre times a factor, as another stain could make them."""
    out = table.copy()
    out.loc[out["centre"] == centre, DENSITY] *= factor
    return out


@pytest.fixture(scope="module")
def biopsies() -> pd.DataFrame:
    return cohort()


def centres_of(mine: pd.DataFrame, others: pd.DataFrame, cfg: RankConfig = CFG) -> pd.DataFrame:
    return centre_table(level_table(mine, cfg), level_table(others, cfg), cfg)


def test_a_centre_whose_stain_is_off_is_told(biopsies: pd.DataFrame) -> None:
    table = times(biopsies, "C2", 6.0)
    found = centres_of(table, table).set_index("centre")
    assert found.loc["C2", "low"] < 6 < found.loc["C2", "high"]
    notes = centre_notes(found.reset_index(), CFG)
    assert sum(note.startswith("Centre C2 reads") for note in notes) == 1
    assert any("--adjust specimen area site centre takes it away" in note for note in notes)
    adjusted = RankConfig(adjust=("specimen", "area", "site", "centre"))
    ranks = rank_tables(table, table, adjusted)[0].query("centre == 'C2' and status == 'ok'")
    assert ranks["percentile"].median() > 80
    assert 35 < ranks["percentile_adjusted"].median() < 65
    assert "are adjusted for" in centre_notes(centres_of(table, table, adjusted), adjusted)[-2]


@given(st.floats(0.3, 3.0), st.sampled_from(["C1", "C2", "C3", "C4"]))
@settings(max_examples=15, deadline=None)
def test_the_estimate_goes_with_the_level(factor: float, centre: str) -> None:
    """Law: where the offset is next to nothing, a centre times c has c times the ratio and limits."""
    cfg = RankConfig(density_offset_per_mm2=0.01, adjust=())
    who = np.arange(40)
    table = pd.DataFrame(
        {"patient_id": who.astype(str), "timepoint": "baseline", "centre": [f"C{i % 4 + 1}" for i in who]}
    )
    density = np.exp(np.random.default_rng(1).normal(6, 1, 40))
    table = table.assign(til_density_per_mm2=density, til_density_low=density / 2, til_density_high=density * 2)
    before, after = (
        centres_of(t, t, cfg).set_index("centre").loc[centre] for t in (table, times(table, centre, factor))
    )
    for name in ("estimate", "low", "high"):
        assert after[name] == pytest.approx(factor * before[name], rel=1e-3)


def test_centres_that_do_not_differ_are_seldom_told_to(biopsies: pd.DataFrame) -> None:
    told = 0
    for seed in range(30):
        table = cohort(seed, sd_centre_log=0.0)
        table["centre"] = np.random.default_rng(seed).permutation(table["centre"])
        told += any(note.startswith("Centre ") for note in centre_notes(centres_of(table, table), CFG))
    assert told <= 5, "1.5 are expected of 30; 6 or more have a chance of 0.3 %"


def test_a_centre_counts_once_and_few_patients_tell_nothing(biopsies: pd.DataFrame) -> None:
    found = centres_of(biopsies, biopsies)
    n = int(biopsies["til_density_per_mm2"].notna().sum())
    assert (found["n"] + found["n_others"]).eq(n).all()
    assert found["n_reference"].sum() == n
    few = biopsies.copy()
    few.loc[few["centre"] == "C1", "centre"] = ""
    few.loc[:2, "centre"] = "Z"
    row = centres_of(few, few).set_index("centre").loc["Z"]
    assert pd.isna(row["estimate"])
    assert row["reason"].startswith("too_few")
    assert centres_of(biopsies.assign(centre=""), biopsies.assign(centre="C1")).empty
    assert centres_of(biopsies.drop(columns="centre"), biopsies.drop(columns="centre")).empty


def test_a_centre_that_the_reference_has_not_is_a_caution(biopsies: pd.DataFrame) -> None:
    others, mine = biopsies[biopsies["centre"] != "C3"], biopsies[biopsies["centre"] == "C3"].copy()
    ranks = rank_tables(mine, others, CFG)[0].query("status == 'ok'")
    told = "no reference patient is of centre C3: what its stain and scanner do is not known"
    assert ranks["cautions"].str.contains(told, regex=False).all()
    assert shortlist(ranks, 3)["reasons"].str.contains(f"caution: {told}", regex=False).all()
    assert not rank_tables(mine, biopsies, CFG)[0]["cautions"].str.contains("centre").any()
    assert not rank_tables(mine, others.assign(centre=""), CFG)[0]["cautions"].str.contains("centre").any()
    unknown = rank_tables(mine.assign(centre=""), others, CFG)[0].query("status == 'ok'")
    assert unknown["cautions"].str.contains("centre unknown").all()


def test_what_a_slide_warns_of_is_a_caution(biopsies: pd.DataFrame) -> None:
    table = biopsies.assign(reasons="site_liver;wide_interval")
    known = table.index[table["til_density_per_mm2"].notna()]
    table.loc[known[0], "reasons"] = "stain_out_of_range;wide_interval"
    ranks = rank_tables(table, table, CFG)[0]
    said = ranks["cautions"].str.contains("stain beyond what the model was trained on")
    assert ranks.loc[said, "patient_id"].tolist() == [table.loc[known[0], "patient_id"]]


def test_other_settings_than_the_references_are_told(tmp_path: Path) -> None:
    write_simulation(tmp_path, SimulateConfig(patients=30, pairs=0, series=0, failed_frac=0.0, seed=4))
    scores = pd.read_csv(tmp_path / "scores.csv").assign(settings="s1", version="1.0")
    scores.to_csv(tmp_path / "scores.csv", index=False)
    rank(tmp_path / "slides.csv", tmp_path, tmp_path / "own")
    manifest, simulated, _ = simulate_cohort(SimulateConfig(patients=30, pairs=0, series=0, failed_frac=0.0, seed=9))
    reference = pool_biopsies(manifest, simulated)
    for made, note, caution in (
        ({"settings": "s2", "version": "1.0"}, "settings (s1) that the reference was not (s2)", "with settings (s1)"),
        ({"settings": "s1", "version": "0.9"}, "One model with one setting", "with a version of tilscore (1.0)"),
        ({"settings": "", "version": ""}, "Its settings must have been the same too", ""),
    ):
        write_table(tmp_path / "biopsies.csv", reference.assign(**made))
        found = rank(tmp_path / "slides.csv", tmp_path, tmp_path / "out", reference=tmp_path)
        assert any(note in said for said in found["notes"])
        placed = [row["cautions"] or "" for row in found["ranks"] if row["status"] == "ok"]
        assert placed
        assert all(caution in text if caution else "scored with" not in text for text in placed)
    assert (tmp_path / "out" / "centres.csv").exists()


def test_patients_that_cannot_be_adjusted_are_counted(tmp_path: Path) -> None:
    write_simulation(tmp_path, SimulateConfig(patients=60, pairs=0, series=0, failed_frac=0.0, seed=4))
    table = pd.read_csv(tmp_path / "slides.csv", dtype=str, keep_default_na=False)
    of_c1 = table["centre"] == "C1"
    for name, rows in (("mine", of_c1), ("theirs", ~of_c1)):
        table[rows].to_csv(tmp_path / f"{name}.csv", index=False)
    found = rank(
        tmp_path / "mine.csv",
        tmp_path,
        tmp_path / "out",
        reference=tmp_path / "theirs.csv",
        reference_results=tmp_path,
        adjust=("centre",),
    )
    n = found["counts"]["n_placed"]
    told = f"level baseline: {n} placed without adjustment: too few reference patients with centre C1 ({n})."
    assert told in found["notes"]
