"""The paired analysis: published examples, laws, and simulated cohorts of known truth."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tilscore.cohort.paired import analyse
from tilscore.cohort.paired.change import change_tests
from tilscore.cohort.paired.missing import missing_tests
from tilscore.cohort.paired.model import Design, fit_model, mixed_variances, model_design
from tilscore.cohort.paired.pairs import AnalyseConfig, build_pairs, category, shifts
from tilscore.cohort.paired.reliable import add_adjusted
from tilscore.cohort.paired.sampling import covariates
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation
from tilscore.cohort.tables import write_xlsx
from tilscore.stats.aligned import aligned_signed_rank, aligned_test
from tilscore.stats.clustered import fit_clustered
from tilscore.stats.paired import (
    adjust_p,
    minimum_detectable,
    minimum_detectable_normal,
    mover,
    reliable_change,
    signed_rank,
    signed_rank_pmf,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import check_pairs

CFG = AnalyseConfig()
# Hamilton depression scale factor IV of 9 patients: Hollander & Wolfe 1973, p. 27; data and result in R, ?wilcox.test.
HAMILTON_X = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
HAMILTON_Y = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
NONE = np.empty((9, 0))


def test_signed_rank_as_hollander_and_wolfe() -> None:
    found = signed_rank(HAMILTON_X - HAMILTON_Y)
    assert (found.statistic, found.method) == (40, "exact")
    assert found.p / 2 == pytest.approx(0.01953, abs=5e-6)  # R: V = 40, p-value = 0.01953, one-sided
    assert (found.estimate, found.low, found.high) == pytest.approx((0.46, 0.010, 0.786))  # H&W: 96 % interval
    assert found.level == pytest.approx(0.961, abs=5e-4)


def test_exact_interval_agrees_with_exact_test() -> None:
    d = np.random.default_rng(2).normal(0.5, 1, 15)
    found = signed_rank(d)
    for limit in (found.low, found.high):
        inside, outside = limit + 1e-6 * (found.estimate - limit), limit - 1e-6 * (found.estimate - limit)
        assert stats.wilcoxon(d - inside).pvalue > 0.05 - 1e-12 > stats.wilcoxon(d - outside).pvalue


def test_signed_rank_pmf_counts_subsets() -> None:
    assert signed_rank_pmf(np.arange(1, 5)) * 16 == pytest.approx([1, 1, 1, 2, 2, 2, 2, 2, 1, 1, 1])


def test_reliable_change_as_jacobson_and_truax() -> None:
    # J Consult Clin Psychol 1991, 59:14: 47.5 to 32.5, SD 7.5, reliability 0.80; RC = -15 / 4.74 = -3.16.
    error = 7.5 * np.sqrt(1 - 0.80)
    assert reliable_change(32.5 - 47.5, error, error) == pytest.approx(-3.16, abs=0.005)
    assert np.isnan(reliable_change(3.0, np.nan, 1.0))


@pytest.mark.parametrize(("n", "sd", "published"), [(40, 9.5, 5.9), (40, 5, 3.1), (20, 9.5, 8.4), (20, 5, 4.4)])
def test_detectable_change(n: int, sd: float, published: float) -> None:
    from statsmodels.stats.power import TTestPower

    assert minimum_detectable_normal(n, sd * 2**0.5) == pytest.approx(published, abs=0.06)
    exact = minimum_detectable(n, sd * 2**0.5)
    assert TTestPower().power(exact / (sd * 2**0.5), n, 0.05) == pytest.approx(0.8, abs=1e-6)


@settings(max_examples=10)
@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=6))
def test_adjusted_p_as_statsmodels(p: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    for ours, theirs in (("holm", "holm"), ("bh", "fdr_bh")):
        assert adjust_p([None, *p], ours)[1:] == pytest.approx(list(multipletests(p, method=theirs)[1]))


def test_mover_of_symmetric_intervals_adds_variances() -> None:
    change, low, high = mover([10.0], [7.0], [13.0], [20.0], [16.0], [24.0])
    assert (change[0], low[0], high[0]) == pytest.approx((10, 5, 15))


def test_aligned_without_covariates_is_hodges_lehmann() -> None:
    d = HAMILTON_X - HAMILTON_Y
    found, z = aligned_signed_rank(d, NONE), (40 - 22.5) / np.sqrt(9 * 10 * 19 / 24)
    assert found.estimate == pytest.approx(0.46, abs=1e-6)
    assert (found.z, found.n_effective) == pytest.approx((z, 9))


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(-50, 50), st.floats(-50, 50))
def test_aligned_follows_shifts_of_change_and_covariates(seed: int, shift: float, slope: float) -> None:
    rng = np.random.default_rng(seed)
    d, x = rng.normal(size=25), rng.normal(size=(25, 2))
    one, other = aligned_signed_rank(d, x), aligned_signed_rank(d + shift + slope * x[:, 0], x * [1000, -1])
    moved = np.array([other.estimate, other.low, other.high]) - shift
    assert moved == pytest.approx([one.estimate, one.low, one.high], abs=1e-5)


def test_aligned_interval_holds_what_the_test_accepts() -> None:
    rng = np.random.default_rng(4)
    d, x = rng.normal(1, 1, 30), (rng.random((30, 1)) < 0.4) * 1.0
    found = aligned_signed_rank(d, x)
    for inside, outside in ((found.low + 1e-4, found.low - 1e-4), (found.high - 1e-4, found.high + 1e-4)):
        assert aligned_test(d, x, inside)[1] >= 0.05 > aligned_test(d, x, outside)[1]
    with pytest.raises(ValueError, match="explain"):
        aligned_signed_rank(d, np.ones((30, 1)))


def test_clustered_errors_have_closed_forms() -> None:
    rng = np.random.default_rng(5)
    y = rng.normal(size=60)
    one = fit_clustered(y, np.ones((60, 1)), np.arange(60)).contrast(np.ones(1))
    t = stats.ttest_1samp(y, 0)
    assert (one.p, one.df) == pytest.approx((t.pvalue, 59))
    grouped = fit_clustered(y, np.ones((60, 1)), np.repeat(np.arange(20), 3)).contrast(np.ones(1))
    t = stats.ttest_1samp(y.reshape(20, 3).mean(1), 0)  # balanced clusters: the t test of their means
    assert (grouped.p, grouped.df) == pytest.approx((t.pvalue, 19))
    x = np.column_stack([np.ones(60), np.arange(60) < 20])
    assert fit_clustered(y, x, np.arange(60)).contrast(np.eye(2)[1]).se == pytest.approx(
        np.sqrt(y[:20].var(ddof=1) / 20 + y[20:].var(ddof=1) / 40)  # HC2 of two groups is Welch's
    )


def cohort(effect: float = 0.0, n: int = 40, seed: int = 0) -> pd.DataFrame:
    return check_pairs.make_cohort(np.random.default_rng(seed), n, effect, "added")


def test_model_is_that_of_statsmodels_with_robust_errors() -> None:
    from statsmodels.regression.mixed_linear_model import MixedLM

    design = model_design(cohort(), CFG)
    theirs = MixedLM(design.y, design.x, groups=design.patient).fit(reml=True)
    ours = fit_model(cohort(), CFG)
    assert [r["estimate"] for r in ours.rows] == pytest.approx(list(theirs.fe_params), abs=1e-4)
    assert ours.diagnostics["random_effect_variance"] == pytest.approx(theirs.cov_re[0, 0], rel=1e-3)
    assert check_pairs.fast_reml(design) == pytest.approx(mixed_variances(design)[0], rel=0.01)


@pytest.mark.parametrize("between", [0.0, 0.3, 0.6])
def test_model_is_fitted_where_patients_differ_little(between: float) -> None:
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(40), 2)
    x = np.column_stack([np.ones(80), np.arange(80) % 2, rng.normal(size=80)])
    y = x @ [5, 0.3, 0.2] + rng.normal(0, between, 40)[patient] + rng.normal(0, 0.6, 80)
    design = Design(y, x, ["intercept", "timepoint: post", "log area"], patient)
    found, _ = mixed_variances(design)
    assert found is not None
    assert found == pytest.approx(check_pairs.fast_reml(design), rel=0.01, abs=1e-4)


def test_model_falls_back_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tilscore.cohort.paired.model.mixed_variances", lambda design: (None, ["|grad| = 13"]))
    found = fit_model(cohort(effect=1.0), CFG)
    assert found.diagnostics["kind"] == "fallback_fixed_effects"
    assert any("did not converge" in note and "fixed effects" in note for note in found.notes)
    assert not any("|grad|" in note for note in found.notes), "an optimiser's words stand in the diagnostics"
    assert found.diagnostics["warnings"] == ["|grad| = 13"]
    row = found.rows[0]
    assert row["term"] == "timepoint: post"
    assert row["low"] < check_pairs.LOG_RATIO < row["high"]


def test_change_that_is_all_sampling_is_not_evaluable() -> None:
    table = cohort()
    table["specimen"] = np.where(table["timepoint"] == "baseline", "core", "resection")
    tests = change_tests(build_pairs(table, CFG), CFG).set_index(["measure", "test"])
    row = tests.loc[("stil", "wilcoxon_adjusted")]
    assert row["status"] == "not_evaluable"
    assert row["reason"].startswith("confounded")
    assert pd.isna(row["p"])
    assert pd.isna(row["estimate"])
    assert fit_model(table, CFG).diagnostics["status"] == "not_evaluable"


def test_too_few_pairs_give_a_reason() -> None:
    tests = change_tests(build_pairs(cohort(n=4), CFG), CFG)
    assert (tests["status"] == "not_evaluable").all()
    assert tests["reason"].str.startswith("too_few_pairs").all()
    assert tests["p"].isna().all()


def test_equal_sampling_gives_the_exact_test() -> None:
    table = cohort().assign(specimen="core", stroma_mm2=2.0, n_cores=3)
    pairs = build_pairs(table, CFG)
    tests = change_tests(pairs, CFG).set_index(["measure", "test"])
    plain = stats.wilcoxon(pairs["stil_delta"])
    assert tests.loc[("stil", "wilcoxon_adjusted"), "p"] == pytest.approx(plain.pvalue)
    assert pd.isna(tests.loc[("stil", "wilcoxon_naive"), "flag"])


def test_naive_test_is_flagged() -> None:
    tests = change_tests(build_pairs(cohort(), CFG), CFG)
    assert set(tests.loc[tests["test"] == "wilcoxon_naive", "flag"]) == {"naive, confounded"}
    assert covariates(build_pairs(cohort(), CFG), CFG).used == ["specimen", "area", "cores"]


def test_reliable_change_takes_the_sampling_out() -> None:
    given_sd = AnalyseConfig(measurement_sd_points=5.0)
    pairs = add_adjusted(build_pairs(cohort(n=60), given_sd), given_sd)
    moved = pairs["specimen_before"].eq("core") & pairs["specimen_after"].eq("resection")
    assert pairs.loc[moved, "stil_delta"].mean() > pairs.loc[moved, "stil_adjusted"].mean() + 2
    assert pairs["stil_error_sd"].to_numpy() == pytest.approx(5 * 2**0.5)
    assert (pairs["stil_reliable"] != "none").mean() < 0.2
    assert pairs["density_reliable"].isna().all()  # no interval, no index


def test_categories_and_shifts() -> None:
    values = pd.Series([0.0, 10.0, 10.1, 40.0, 41.0, np.nan])
    assert list(category(values, CFG)) == ["0-10", "0-10", "10-40", "10-40", ">40", None]
    pairs = build_pairs(cohort(), CFG)
    assert shifts(pairs, CFG)["n_pairs"].sum() == len(pairs)


def test_missing_pairs_that_depend_on_the_baseline_are_seen() -> None:
    table = cohort(n=80)
    level = table["til_density_per_mm2"]
    high = set(table.loc[(table["timepoint"] == "baseline") & (level > level.median()), "patient_id"])
    rng = np.random.default_rng(3)
    lost = table["patient_id"].isin(high) & (table["timepoint"] == "post") & (rng.random(len(table)) < 0.6)
    p = {r["test"]: r["p"] for r in missing_tests(table[~lost], CFG)}
    assert max(p.values()) < 0.01
    assert all(r["status"] == "not_evaluable" and "p" not in r for r in missing_tests(table, CFG))


def test_baselines_that_are_all_equal_tell_nothing_of_who_is_missing() -> None:
    table = cohort(n=20).assign(til_density_per_mm2=0.0)
    lost = table["patient_id"].isin(table["patient_id"].unique()[:6]) & (table["timepoint"] == "post")
    rows = missing_tests(table[~lost], CFG)
    assert [r["reason"] for r in rows] == ["no_spread: all baseline densities are equal"] * 2
    assert not any("p" in r for r in rows)


def test_type_one_error_coverage_and_power() -> None:
    """A small run of scripts/check_pairs.py; the wide limits are 4 standard errors of so few cohorts."""
    rows = check_pairs.run(80, 40, (("added", 0.0), ("added", 1.0)))
    rates = {(r["effect"], r["test"]): (r["rejected"], r["coverage"]) for r in rows}
    for (effect, test), (rejected, coverage) in rates.items():
        if "naive" in test:
            assert effect or rejected > 0.2
        elif "rank_sum" in test:
            assert rejected > 0.08
        else:
            assert coverage > 0.85
            assert rejected < 0.15 if not effect else rejected > 0.6
    assert rates[1.0, "stil wilcoxon_adjusted"][0] > 0.9


def test_analysis_from_files(tmp_path: Path) -> None:
    made = SimulateConfig(patients=60, pairs=40, series=10, effect_log={"post": 0.8}, missing_frac=0.1, seed=4)
    write_simulation(tmp_path / "in", made)
    found = analyse(tmp_path / "in" / "slides.csv", tmp_path / "in" / "scores.csv", tmp_path / "out")
    names = ("slides", "biopsies", "pairs", "tests", "by_group", "model", "shifts", "missing", "mde", "sensitivity")
    assert {p.stem for p in (tmp_path / "out").glob("*.csv")} == set(names)
    assert json.loads((tmp_path / "out" / "analysis.json").read_text()) == found
    flow = found["flow"]
    assert sum(flow["n_slides_by_status"].values()) == flow["n_slides"]
    assert len(flow["left_out"]) == flow["n_slides"] - flow["n_slides_by_status"]["ok"] > 0
    with open(tmp_path / "out" / "pairs.csv", encoding="utf-8") as f:
        assert len(list(csv.reader(f))) - 1 == sum(flow["n_pairs"].values())
    primary = {(r["measure"], r["timepoint"]): r for r in found["tests"] if r["test"] == "wilcoxon_adjusted"}
    change = primary["density", "post"]
    assert change["low"] < 0.8 < change["high"]
    assert change["p_holm"] >= change["p"]
    assert all(r["p"] is None for r in found["tests"] if r["status"] != "ok")


def test_workbook_has_text_not_formulas(tmp_path: Path) -> None:
    from openpyxl import load_workbook

    write_xlsx(tmp_path / "t.xlsx", {"pairs": pd.DataFrame({"patient_id": ["=1+1", "a\x07"], "x": [np.nan, 2.0]})})
    cells = list(load_workbook(tmp_path / "t.xlsx")["pairs"].values)
    assert cells == [("patient_id", "x"), ("=1+1", None), ("a", 2)]
