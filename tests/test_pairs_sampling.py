"""What differs in the sampling of pairs: what cannot be told from it has no number, what is unknown is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_pairs import CFG, cohort

from tilscore.cohort.paired.change import change_tests
from tilscore.cohort.paired.model import model_design
from tilscore.cohort.paired.pairs import build_pairs
from tilscore.cohort.paired.run import analyse_tables
from tilscore.inputs.words import COLUMNS
from tilscore.stats.aligned import aligned_signed_rank, aligned_test


def confounded_cohort(n: int) -> pd.DataFrame:
    """Every baseline a core, every later biopsy a resection, which reads 1.6 times as high; no effect of treatment."""
    rng = np.random.default_rng(n)
    rows = [(f"P{i:02d}", t) for i in range(n) for t in ("baseline", "post")]
    table = pd.DataFrame(rows, columns=["patient_id", "timepoint"])
    first = table["timepoint"] == "baseline"
    reads = np.where(first, 1.0, 1.6) * np.exp(0.1 * rng.normal(size=len(table)))
    return table.assign(
        specimen=np.where(first, "core", "resection"),
        site="breast",
        stroma_mm2=2.0,
        n_cores=np.nan,
        til_density_per_mm2=500 * reads,
        stil_area_pct=10 * reads,
    )


@pytest.mark.parametrize("n", [6, 7, 8, 20])
def test_confounded_pairs_have_no_p_however_few(n: int) -> None:
    tests = change_tests(build_pairs(confounded_cohort(n), CFG), CFG).set_index("test")
    for name in ("wilcoxon_adjusted", "mean_adjusted"):
        row = tests.loc[name]
        assert set(row["status"]) == {"not_evaluable"}
        assert row["reason"].str.startswith("confounded").all()
        assert row[["p", "estimate", "low", "ratio"]].isna().all(axis=None)
    assert (tests.loc["wilcoxon_naive", "p"] < 0.05).all()  # what the adjusted test must not say


def test_model_that_cannot_take_the_specimen_says_so_and_gives_no_number() -> None:
    table = confounded_cohort(7)
    # 15 pairs have room for one coefficient, three specimens need two; but 7 pairs are alike.
    some = confounded_cohort(15).assign(specimen="core")
    changed = some["patient_id"].isin([f"P{i:02d}" for i in range(9)]) & (some["timepoint"] == "post")
    some.loc[changed, "specimen"] = "resection"
    some.loc[some["patient_id"] == "P00", "specimen"] = "excision"
    for biopsies, status in ((table, "not_evaluable"), (some, "ok")):
        tables, rest = analyse_tables(*as_manifest(biopsies), CFG)
        (row,) = tables["tests"][tables["tests"]["test"].str.endswith("_model")].to_dict("records")
        assert row["status"] == status
        assert row["not_adjusted_for"] == "specimen"
        assert "not adjusted for specimen" in row["flag"]
        term = tables["model"].set_index("term").loc["timepoint: post"]
        assert pd.isna(term.get("p")) == (status != "ok")
        assert rest["model_diagnostics"]["not_adjusted_for"] == ["specimen"]
    assert row["p"] < 0.05
    adjusted = analyse_tables(*as_manifest(cohort()), CFG)[0]["tests"].set_index("test").loc["mixed_model"]
    assert adjusted["adjusted_for"] == "specimen;area;cores"
    assert pd.isna(adjusted["flag"])


def test_equal_changes_have_no_spread_to_test_against() -> None:
    """Every density doubles: the errors are those of rounding, and t would be 1e15."""
    table = confounded_cohort(18).assign(specimen="core")
    first = table.loc[table["timepoint"] == "baseline", ["til_density_per_mm2", "stil_area_pct"]].to_numpy()
    later = first * [2, 1] + [5, 0.7]  # twice the density with its offset of 5
    table.loc[table["timepoint"] == "post", ["til_density_per_mm2", "stil_area_pct"]] = later
    tables, _ = analyse_tables(*as_manifest(table), CFG)
    tests = tables["tests"].set_index("test")
    for name in ("mean_adjusted", "mixed_model"):
        rows = tests.loc[[name]]
        assert rows["reason"].str.startswith("no_spread").all()
        assert rows[["p", "low", "high", "statistic"]].isna().all(axis=None)
    assert (tests.loc["wilcoxon_adjusted", "p"] < 1e-4).all()
    seen = tables["mde"][tables["mde"]["stage"] == "after"]
    assert set(seen["reason"]) == {"too_few_pairs or no spread"}
    assert seen["mde"].isna().all()


def as_manifest(biopsies: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Manifest and scores of one slide a biopsy."""
    names = biopsies["patient_id"] + biopsies["timepoint"]
    stated = {c: biopsies.get(c, "") for c in COLUMNS} | {"slide_id": names}
    blank = {"infiltrated_area_pct": np.nan, "calibrated_stil_pct": np.nan, "itil_density_per_mm2": np.nan}
    blank |= {"tumour_mm2": 1.0, "tissue_mm2": 9.0, "status": "ok", "reasons": ""}
    measured = biopsies[[c for c in biopsies if c not in COLUMNS]].assign(slide_id=names, **blank)
    return pd.DataFrame(stated), measured.assign(
        n_tils=measured["til_density_per_mm2"] * measured["stroma_mm2"], n_cores=measured["n_cores"].astype(float)
    )


def test_unknown_and_mixed_sampling_is_not_alike() -> None:
    table = cohort().assign(specimen="core", stroma_mm2=2.0, n_cores=3)
    table.loc[table["patient_id"].isin(["P000", "P001"]), "specimen"] = ["mixed", "mixed", "", ""]
    table.loc[(table["patient_id"] == "P002") & (table["timepoint"] == "post"), "specimen"] = ""
    pairs = build_pairs(table, CFG)
    assert list(pairs["same_specimen"]) == [False] * 3 + [True] * 37
    assert pairs["same_site"].all()
    tests = change_tests(pairs, CFG).set_index("test")
    assert set(tests.loc["wilcoxon_same_specimen", "n_pairs"]) == {37}
    assert set(tests["not_adjusted_for"].dropna()) >= {"specimen (unknown or mixed in 2 of 40 pairs)"}


def test_cohort_without_specimens_is_analysed_and_flagged() -> None:
    table = cohort().assign(stroma_mm2=2.0, n_cores=3).drop(columns=["specimen", "site"])
    tables, rest = analyse_tables(*as_manifest(table), CFG)
    tests = tables["tests"].set_index("test")
    unknown = "specimen (unknown or mixed in 40 of 40 pairs);site (unknown or mixed in 40 of 40 pairs)"
    for name in ("wilcoxon_adjusted", "mean_adjusted", "mixed_model", "wilcoxon_naive"):
        row = tests.loc[[name]].iloc[0]
        assert row["status"] == "ok"
        assert row["p"] > 0
        assert row["not_adjusted_for"] == unknown
        assert row["flag"] == f"not adjusted for {unknown.replace(';', ', ')}"
    assert any("unknown or mixed in 40 of 40" in note for note in rest["notes"])


def many_sites(n: int) -> pd.DataFrame:
    """Cores; half of the later biopsies are of another site than the baseline's lymph node, each in turn."""
    table = confounded_cohort(n).assign(specimen="core", site="lymph_node")
    later = table.index[table["timepoint"] == "post"][::2]
    table.loc[later, "site"] = (["liver", "bone", "skin", "lung"] * n)[: len(later)]
    return table


def test_sites_that_are_two_groups_only_are_told() -> None:
    """Twenty pairs have no room for four sites: what differs among the others is not taken out of the change."""
    tests = change_tests(build_pairs(many_sites(20), CFG), CFG).set_index("test")
    assert set(tests.loc[["wilcoxon_adjusted", "mean_adjusted"], "adjusted_for"]) == {
        "site (lymph_node against all others)"
    }
    assert set(tests.loc["wilcoxon_naive", "not_adjusted_for"]) == {"site"}
    tests = change_tests(build_pairs(many_sites(40), CFG), CFG).set_index("test")
    assert set(tests.loc["wilcoxon_adjusted", "adjusted_for"]) == {"site"}


def test_baselines_without_a_pair_give_the_model_room_for_sites() -> None:
    """They tell how sites differ, as the patient is random; not so where patients are fixed effects."""
    alone = confounded_cohort(60).query("timepoint == 'baseline'")
    alone = alone.assign(
        patient_id="B" + alone["patient_id"], site=["lymph_node", "liver", "bone", "skin", "lung"] * 12
    )
    table = pd.concat([many_sites(20), alone], ignore_index=True)
    design, inner = (model_design(table, CFG, within=within) for within in (False, True))
    assert design.used == ["site"]
    assert inner.used == []
    assert set(inner.dropped) == {"site"}
    assert model_design(many_sites(20), CFG).used == []


def test_limit_that_no_test_gives_is_infinite_and_empty_in_the_table() -> None:
    d, x = np.array([1.0, 2, 3, 4, 5, -0.5]), np.array([[1.0], [1], [1], [0], [0], [0]])
    found = aligned_signed_rank(d, x)  # c is 1 for three pairs: |z| stays below 1.96 however far the centre
    assert abs(aligned_test(d, x, 1e9)[0]) < stats.norm.ppf(0.975)
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert np.isfinite(found.estimate)
    ratio = [1.21, 1.84, 1.03, 1.1, 2.35, 2.34, 1.1, 2.29, -2.33]  # log of the areas, after against before
    table = confounded_cohort(9).assign(specimen="core")
    table.loc[table["timepoint"] == "post", "stroma_mm2"] = 2 * np.exp(ratio)
    tables, _ = analyse_tables(*as_manifest(table), CFG)
    for name, chosen in (("tests", {"test": "wilcoxon_adjusted"}), ("sensitivity", {"pairs": "all"})):
        rows = tables[name][(tables[name][list(chosen)] == pd.Series(chosen)).all(axis=1)]
        assert len(rows)
        assert rows["reason"].str.startswith("no_finite_interval").all()
        assert (rows["status"] == "ok").all()
        assert rows[["p", "estimate"]].notna().all(axis=None)
        assert rows[["low", "high", "ratio_low", "ratio_high"]].isna().all(axis=None)
