"""Whether groups of patients change differently: equal to scipy and statsmodels, and honest under unequal sampling."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from tilscore.cli import main
from tilscore.cohort.paired.groups import check_columns, group_tests
from tilscore.cohort.paired.pairs import AnalyseConfig, build_pairs
from tilscore.cohort.paired.sampling import covariates
from tilscore.errors import UsageError
from tilscore.inputs.words import as_word, in_order

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import check_pairs

CFG = AnalyseConfig(by=("response",))


def cohort(response: np.ndarray, seed: int = 0, *, plain: bool = False, effect: float = 0.0) -> pd.DataFrame:
    """Pairs of patients with these responses; `plain`: nothing differs in the sampling. `effect`: of `yes`, points."""
    n = len(response)
    table = check_pairs.make_cohort(np.random.default_rng(seed), n, 0.0, "added")
    table["response"] = np.repeat(response, 2)
    table.loc[(table["response"] == "yes") & (table["timepoint"] == "post"), "stil_area_pct"] += effect
    return table.assign(specimen="core", stroma_mm2=2.0, n_cores=3) if plain else table


def row_of(table: pd.DataFrame, test: str, measure: str = "stil", group: str = "yes") -> dict[str, Any]:
    (row,) = table[(table["test"] == test) & (table["measure"] == measure) & (table["group"] == group)].to_dict(
        "records"
    )
    return row


def test_without_sampling_it_is_the_test_of_welch_and_of_mann_and_whitney() -> None:
    words = np.array(["yes"] * 12 + ["no"] * 20)
    pairs = build_pairs(cohort(words, plain=True), CFG)
    table = group_tests(pairs, CFG)
    a, b = (pairs.loc[pairs["response"] == w, "stil_delta"].to_numpy(float) for w in ("yes", "no"))
    welch, ranks = stats.ttest_ind(a, b, equal_var=False), stats.mannwhitneyu(a, b, method="exact")
    row = row_of(table, "difference")
    assert row["estimate"] == pytest.approx(a.mean() - b.mean())
    assert row["statistic"] == pytest.approx(welch.statistic)
    assert (row["n_pairs"], row["n_against"], row["against"], row["role"]) == (12, 20, "no", "primary")
    assert row_of(table, "change")["estimate"] == pytest.approx(a.mean())
    assert row_of(table, "change", group="no")["estimate"] == pytest.approx(b.mean())
    row = row_of(table, "rank_sum")
    assert (row["p"], row["flag"], row["role"]) == (pytest.approx(ranks.pvalue), None, "supporting")
    ratio = row_of(table, "difference", "density")
    assert np.log([ratio["ratio"], ratio["ratio_low"]]) == pytest.approx([ratio["estimate"], ratio["low"]])


@pytest.mark.parametrize("test", ["difference", "difference_given_baseline"])
def test_with_sampling_it_is_the_regression_of_statsmodels(test: str) -> None:
    rng = np.random.default_rng(1)
    words = rng.choice(["CR", "SD", "PD"], 60, p=[0.25, 0.35, 0.4])
    pairs = build_pairs(cohort(words), CFG)
    table = group_tests(pairs, CFG)
    sampling = covariates(pairs, CFG, n_taken=2)
    assert sampling.used == ["specimen", "area", "cores"]
    names = ["CR", "SD", "PD"]
    assert list(table.loc[table["test"] == "change", "group"].unique()) == names
    member = np.array([pairs["response"] == name for name in names], float).T
    before = pairs["stil_before"].to_numpy(float)
    given = [before - before.mean()] if test.endswith("baseline") else []
    fit = sm.OLS(pairs["stil_delta"].to_numpy(float), np.column_stack([member, sampling.x, *given])).fit(cov_type="HC2")
    n = member.sum(0)
    for i, name in enumerate(names):
        contrast = np.zeros(fit.params.size)
        contrast[:3] = -n / (n.sum() - n[i])
        contrast[i] = 1
        expected = fit.t_test(contrast)
        row = row_of(table, test, group=name)
        assert row["against"] == "all others"
        assert row["estimate"] == pytest.approx(expected.effect[0])
        assert row["statistic"] == pytest.approx(expected.tvalue[0])
        assert row["p_holm"] >= row["p"]


def test_groups_that_were_sampled_differently_differ_by_themselves_in_the_naive_test_alone() -> None:
    """A group that is resected more often seems to rise; 4 standard errors of 200 cohorts are 6 points."""
    rng, n = np.random.default_rng(7), 200
    made = (check_pairs.make_cohort(rng, 40, 0.0, "added") for _ in range(n))
    tests = [check_pairs.group_tests_of(check_pairs.with_responders(one, rng), CFG) for one in made]
    told = [one for one in tests if "stil difference" in one]
    assert len(told) > 190
    for test in ("difference", "difference_given_baseline"):
        p, held = np.array([one[f"stil {test}"] for one in told]).T
        assert (p < 0.05).mean() < 0.11
        assert held.mean() > 0.89
    assert np.mean([one["stil rank_sum"][0] < 0.05 for one in told]) > 0.1


def test_a_true_difference_is_found_and_estimated() -> None:
    words = np.array(["yes", "no"] * 40)
    row = row_of(group_tests(build_pairs(cohort(words, 3, effect=12), CFG), CFG), "difference")
    assert row["p"] < 0.01
    assert row["low"] < 12 < row["high"]


def test_small_groups_are_left_out_by_name_and_too_few_give_no_number() -> None:
    words = np.array(["CR"] * 3 + ["PR"] * 8 + ["PD"] * 9 + [""] * 4)
    table = group_tests(build_pairs(cohort(words, plain=True), CFG), CFG)
    assert set(table["group"]) == {"PR", "PD"}
    assert (table["reason"] == "left out, fewer than 5 pairs: CR (3)").all()
    few = group_tests(build_pairs(cohort(np.array(["CR"] * 4 + ["PD"] * 16), plain=True), CFG), CFG)
    assert set(few["status"]) == {"not_evaluable"}
    assert few["estimate"].isna().all()
    assert few["reason"].str.startswith("too_few_pairs: two groups of at least 5").all()
    one = group_tests(build_pairs(cohort(np.array(["PD"] * 20), plain=True), CFG), CFG)
    assert one.empty


def test_a_group_that_is_a_specimen_is_not_told_from_it() -> None:
    table = cohort(np.full(40, "no"), 2).assign(specimen="core", n_cores=3, stroma_mm2=2.0)
    late = table["timepoint"] == "post"
    table.loc[late & (np.arange(len(table)) < 40), ["specimen", "response"]] = ["resection", "yes"]
    table["response"] = table.groupby("patient_id")["response"].transform("last")
    found = group_tests(build_pairs(table, CFG), CFG)
    told = found[found["test"].str.startswith("difference")]
    assert set(told["status"]) == {"not_evaluable"}
    assert told["reason"].str.startswith("confounded").all()
    assert told["p"].isna().all()


def test_words_are_shown_in_their_order_and_numbers_are_words_too() -> None:
    assert in_order(["SD", "other", "pd", "CR", "PR"]) == ["CR", "PR", "SD", "pd", "other"]
    table = cohort(np.full(20, ""), plain=True).assign(mutated=np.repeat([0.0, 1.0] * 10, 2))
    found = group_tests(build_pairs(table, AnalyseConfig(by=("mutated",))), AnalyseConfig(by=("mutated",)))
    assert set(found["group"]) == {"0", "1"}


def test_words_are_of_the_patient_and_of_one_spelling() -> None:
    """Stated at the later biopsy alone, or in two ways; numbers of many digits stay apart, and columns count once."""
    words = np.array(["Yes", "no"] * 10 + ["yes", "no"] * 5)
    table = cohort(words, plain=True)
    plain = group_tests(build_pairs(table, CFG), CFG)
    assert set(plain["group"]) == {"Yes", "no"}
    late = table.assign(response=table["response"].where(table["timepoint"] == "post", ""))
    twice = AnalyseConfig(by=("response", "response"))
    pd.testing.assert_frame_equal(plain, group_tests(build_pairs(late, twice), twice))
    said = [as_word(v) for v in (20240115.0, 20240116.0, 0.5, float("nan"), None)]
    assert said == ["20240115", "20240116", "0.5", "", ""]


def test_columns_that_are_not_there_name_the_nearest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    check_columns(("response", "arm", "site"), ["patient_id", "site"])
    for name in ("sight", "patient_id"):
        with pytest.raises(UsageError, match="no such column to group by"):
            check_columns((name,), ["patient_id", "site"])
    assert main(["cohort", "simulate", str(tmp_path), "--patients", "40", "--pairs", "30", "--series", "0"]) == 0
    scored = [str(tmp_path / "slides.csv"), "--results", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["cohort", "analyse", *scored, "--by", "Centers"]) == 2
    assert "one of: specimen, site, centre, arm" in capsys.readouterr().err
    assert main(["cohort", "analyse", *scored, "--by", "arm", "Centre"]) == 0
    found = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert {row["by"] for row in found["by_group"]} == {"arm", "centre"}
    page = " ".join((tmp_path / "out" / "cohort.html").read_text(encoding="utf-8").split())
    assert "arm: B against A" in page
    assert "Groups (" not in page  # nothing differs in this made cohort
    scores = pd.read_csv(tmp_path / "scores.csv")
    slides = pd.read_csv(tmp_path / "slides.csv").set_index("slide_id").loc[scores["slide_id"]]
    raised = ((slides["arm"] == "B") & (slides["timepoint"] == "post")).to_numpy()
    for name in ("n_tils", "til_density_per_mm2", "til_density_low", "til_density_high"):
        scores[name] = np.where(raised, 8 * scores[name], scores[name])
    scores.to_csv(tmp_path / "scores.csv", index=False)
    assert main(["cohort", "analyse", *scored, "--by", "arm"]) == 0
    page = (tmp_path / "out" / "cohort.html").read_text(encoding="utf-8")
    assert "Groups (arm): the change of B was" in page
    assert "Groups of patients (arm) of at least 5 pairs" in page
    assert (tmp_path / "out" / "figures" / "by_group.svg").is_file()
    assert main(["cohort", "analyse", *scored, "--by"]) == 0
    page = (tmp_path / "out" / "cohort.html").read_text(encoding="utf-8")
    assert "Change in groups of patients" not in page
    assert not (tmp_path / "out" / "figures" / "by_group.svg").exists()
