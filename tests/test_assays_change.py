"""The change of the score against other assays: what enters as a change, closed forms, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tilscore.cli import main
from tilscore.cohort.assays import assays
from tilscore.cohort.assays.changetests import change_agreement, given_sampling, groups_given_sampling
from tilscore.cohort.assays.tests import correlations
from tilscore.cohort.paired import analyse
from tilscore.errors import UsageError

N = 32
WHO = [f"P{i:02}" for i in range(N)]
TIMES = ("baseline", "post")


@pytest.fixture
def toy(tmp_path: Path) -> pd.DataFrame:
    """Manifest and scores of pairs, half of whose cores became resections of another size; TILs, areas, CD3 by side."""
    rng = np.random.default_rng(8)
    index = pd.Index(WHO, name="patient_id")
    made = pd.DataFrame({"resected": np.arange(N) % 2 == 1, "mutated": np.arange(N) % 3 == 0}, index=index)
    for t in TIMES:
        made[f"area_{t}"] = np.round(np.exp(rng.normal(0, 0.5, N)), 2)
        made[f"tils_{t}"] = rng.integers(20, 3000, N)
        made[f"cd3_{t}"] = np.round(made[f"tils_{t}"] * np.exp(rng.normal(0, 1.5, N)), 1)
        made[f"frac_{t}"] = np.round(rng.random(N), 3)
    slides = ["slide_id,path,patient_id,timepoint,specimen,site"]
    scores = ["slide_id,status,reasons,til_density_per_mm2,n_tils,stroma_mm2"]
    for p, row in made.iterrows():
        for t in TIMES:
            specimen = "resection" if t == "post" and row["resected"] else "core"
            slides.append(f"{p}{t},x/{p}{t}.svs,{p},{t},{specimen},liver")
            n, area = row[f"tils_{t}"], row[f"area_{t}"]
            scores.append(f"{p}{t},ok,,{n / area!r},{n},{area}")
    (tmp_path / "slides.csv").write_text("\n".join(slides))
    (tmp_path / "scores.csv").write_text("\n".join(scores))
    return made


def table_of(toy: pd.DataFrame) -> pd.DataFrame:
    """Assays of both biopsies, with a mutation and an age, the same in both rows, and a score of the baseline alone."""
    parts = []
    for t in TIMES:
        part = toy[[f"cd3_{t}", f"frac_{t}"]].set_axis(["cd3_per_mm2", "facs_frac"], axis=1)
        parts.append(part.assign(timepoint=t, mut=toy["mutated"].astype(int), age=50.5 + toy["area_post"]))
    parts[0]["tmb"] = toy["frac_post"] * 3
    return pd.concat(parts).reset_index()


def result_of(folder: Path, table: pd.DataFrame, **options: Any) -> tuple[dict[tuple[str, str], Any], dict[str, Any]]:
    table.to_csv(folder / "a.csv", index=False)
    given = {"timepoint": "post", "change": True} | options
    found = assays(folder / "slides.csv", folder, folder / "a.csv", folder / "out", **given)
    assert found == json.loads((folder / "out" / "assays.json").read_text(encoding="utf-8"))
    return {(t["assay"], t["test"]): t for t in found["tests"]}, found


def change_of(toy: pd.DataFrame) -> np.ndarray:
    before, after = (np.log(toy[f"tils_{t}"] / toy[f"area_{t}"] + 5) for t in TIMES)
    return np.asarray(after - before)


def test_correlations_are_those_of_the_changes(tmp_path: Path, toy: pd.DataFrame) -> None:
    """Plain against SciPy; given the sampling, p of the assay in a regression of the ranks by statsmodels."""
    import statsmodels.api as sm

    tests, _ = result_of(tmp_path, table_of(toy))
    y = change_of(toy)
    area = np.log(toy["area_post"] / toy["area_baseline"])
    sampling = sm.add_constant(np.column_stack([toy["resected"], area]))
    ranks = stats.rankdata(y)
    x_of = {
        "cd3_per_mm2": np.log((toy["cd3_post"] + 5) / (toy["cd3_baseline"] + 5)),
        "facs_frac": toy["frac_post"] - toy["frac_baseline"],
        "age": toy["area_post"],
        "tmb": toy["frac_post"],
    }
    for name, x in x_of.items():
        plain, partial = tests[name, "spearman"], tests[name, "spearman_partial"]
        truth = stats.spearmanr(y, x)
        assert (plain["estimate"], plain["p"]) == pytest.approx((truth.statistic, truth.pvalue), rel=1e-9)
        assert plain["reason"] == "naive: no allowance for what differs within pairs, specimen and area"
        fit = sm.OLS(ranks, np.column_stack([sampling, stats.rankdata(x)])).fit()
        t = fit.tvalues[-1]
        assert partial["p"] == pytest.approx(fit.pvalues[-1], rel=1e-9)
        assert partial["estimate"] == pytest.approx(t / np.sqrt(t**2 + fit.df_resid), rel=1e-9)
        assert partial["low"] < partial["estimate"] < partial["high"]
        assert (partial["n"], partial["adjusted_for"], partial["reason"]) == (N, "specimen+area", "")
    assert abs(tests["age", "spearman_partial"]["estimate"] - tests["age", "spearman"]["estimate"]) > 0.05


def test_groups_are_those_of_the_changes(tmp_path: Path, toy: pd.DataFrame) -> None:
    import statsmodels.api as sm

    tests, _ = result_of(tmp_path, table_of(toy))
    y, mutated = change_of(toy), toy["mutated"].to_numpy()
    plain, partial = tests["mut", "mann_whitney"], tests["mut", "rank_ancova"]
    assert plain["p"] == pytest.approx(stats.mannwhitneyu(y[mutated], y[~mutated], method="exact").pvalue)
    shift = np.exp(np.median(np.subtract.outer(y[mutated], y[~mutated])))
    assert (plain["estimate"], plain["unit"]) == (pytest.approx(shift), "1 / 0, of the ratios post / baseline")
    medians = [f"{w}: median {np.exp(np.median(y[mutated == bool(w)])):.4g} (n {(mutated == w).sum()})" for w in (0, 1)]
    assert plain["groups"] == "; ".join(medians)
    design = sm.add_constant(np.column_stack([toy["resected"], np.log(toy["area_post"] / toy["area_baseline"])]))
    three = pd.Series(np.array(["a", "b", "c"])[np.arange(N) % 3], index=toy.index)
    frame = pairs_of(tmp_path).assign(three=three)
    for row, words in ((partial, mutated), (groups_given_sampling(frame, "three"), three.to_numpy())):
        levels = np.unique(words)[1:]
        small, large = design, np.column_stack([design, *(words == w for w in levels)])
        f, p, _ = (
            sm.OLS(stats.rankdata(y), large.astype(float))
            .fit()
            .compare_f_test(sm.OLS(stats.rankdata(y), small.astype(float)).fit())
        )
        assert (row["statistic"], row["p"]) == pytest.approx((f, p), rel=1e-9)
        assert row["method"] == f"F({len(levels)}, {N - 3 - len(levels)}) of ranks"


def pairs_of(folder: Path) -> pd.DataFrame:
    """The joined table, with `y` as the tests have it."""
    table = pd.read_csv(folder / "out" / "joined.csv").set_index("patient_id")
    return table.assign(y=table["density_log_ratio"])


def test_changes_are_named_as_such_and_those_of_analyse(tmp_path: Path, toy: pd.DataFrame) -> None:
    tests, found = result_of(tmp_path, table_of(toy))
    taken = {name: t["taken_as"] for (name, _), t in tests.items()}
    assert taken == {"cd3_per_mm2": "log_ratio", "facs_frac": "delta", "mut": "value", "age": "value", "tmb": "value"}
    joined = pd.read_csv(tmp_path / "out" / "joined.csv").set_index("patient_id")
    assert {"facs_frac_before", "facs_frac_after", "facs_frac_delta", "cd3_per_mm2_log_ratio", "age"} < {
        *joined.columns
    }
    assert not {"facs_frac", "cd3_per_mm2", "y", "shown", "tmb_delta"} & {*joined.columns}
    assert joined["facs_frac_delta"].to_numpy() == pytest.approx(toy["frac_post"] - toy["frac_baseline"], abs=1e-6)
    analyse(tmp_path / "slides.csv", tmp_path, tmp_path / "paired")
    pairs = pd.read_csv(tmp_path / "paired" / "pairs.csv").set_index("patient_id")
    same = [c for c in pairs.columns if c in joined and joined[c].dtype.kind in "fi"]
    assert {"density_log_ratio", "density_ratio", "stroma_mm2_after"} <= set(same)
    pd.testing.assert_frame_equal(joined[same], pairs[same])
    assert found["settings"] | {"timepoint": "post", "change": True} == found["settings"]
    notes = "\n".join(found["notes"])
    for text in (
        f"its change from baseline to post, as the paired analysis tells it: {N} pairs.",
        f"log ratio post / baseline (in brackets: pairs that have it): cd3_per_mm2 ({N}).",
        f"post less baseline (in brackets: pairs that have it): facs_frac ({N}).",
        f"of the patient (in brackets: pairs that have it): mut ({N}), age ({N}).",
        f"of the baseline (in brackets: pairs that have it): tmb ({N}).",
        "Within pairs differ: specimen, area.",
        "regression to the mean",
        "does not show that the tumour changed",
    ):
        assert text in notes, text
    assert "no score" not in notes


def test_what_is_stated_once_has_no_change(tmp_path: Path, toy: pd.DataFrame) -> None:
    """Later values are no baselines, an undated row is neither, and a density below 0 is none."""
    table = table_of(toy).drop(columns=["age"])
    later, first = (table["timepoint"] == t for t in ("post", "baseline"))
    table.loc[later & table["patient_id"].isin(WHO[:5]), "facs_frac"] = np.nan
    table.loc[first & (table["patient_id"] == WHO[3]), "cd3_per_mm2"] = -1.0
    table["grade"] = 1 + np.arange(len(table)) % N % 3
    table.loc[later & table["patient_id"].isin(WHO[4:6]), "grade"] = 4
    table.loc[later & table["patient_id"].isin(WHO[-2:]), "grade"] = np.nan
    table["tmb"] = table["tmb"].where(first, np.nan)
    undated = pd.DataFrame({"patient_id": WHO[:2], "timepoint": "", "facs_frac": 0.5, "tmb": 1.5})
    table.loc[first & table["patient_id"].isin(WHO[:2]), "tmb"] = np.nan
    tests, found = result_of(tmp_path, pd.concat([table, undated]))
    assert {name: tests[name, "spearman"]["n"] for name in ("facs_frac", "cd3_per_mm2", "tmb")} == {
        "facs_frac": N - 5,
        "cd3_per_mm2": N - 1,
        "tmb": N,
    }
    notes = found["notes"]
    assert "cd3_per_mm2: left out for a density below 0: 1 pair." in notes
    assert f"grade: the groups are those of the baseline; at post 2 of {N - 2} patients differ." in notes
    assert tests["grade", "kruskal_wallis"]["groups"].count("median") == 3
    once, found = result_of(tmp_path, table[first].drop(columns="timepoint"))
    assert {t["taken_as"] for t in once.values()} == {"value"}
    assert not any(test == "ccc_log" for _, test in once), "a level is not compared with a change"
    assert not any("Taken as change" in note or "tumour changed" in note for note in found["notes"])
    later_only = result_of(tmp_path, table[~first])[0]
    assert later_only["cd3_per_mm2", "spearman"]["reason"] == "too_few: 0 patients, 10 are needed"


def test_a_group_of_two_words_enters_as_its_transition(tmp_path: Path, toy: pd.DataFrame) -> None:
    """Some acquire a mutation; who has one measurement only, or two that differ at one time, is in no group."""
    table = table_of(toy).assign(mut="wt", block="")
    later = table["timepoint"] == "post"
    table.loc[later & table["patient_id"].isin(WHO[:12]), "mut"] = "ESR1"
    table.loc[later & (table["patient_id"] == WHO[20]), "mut"] = ""
    twice = pd.DataFrame({"patient_id": WHO[21:22], "timepoint": "post", "block": "B", "mut": "ESR1"})
    tests, found = result_of(tmp_path, pd.concat([table, twice]))
    test, y = tests["mut", "mann_whitney"], change_of(toy)
    assert (test["taken_as"], test["n"], tests["mut", "rank_ancova"]["n"]) == ("transition", N - 2, N - 2)
    assert test["unit"] == "wt->wt / wt->ESR1, of the ratios post / baseline"
    rest = [i for i in range(12, N) if i not in (20, 21)]
    assert test["p"] == pytest.approx(stats.mannwhitneyu(y[:12], y[rest], method="exact").pvalue)
    joined = pd.read_csv(tmp_path / "out" / "joined.csv", keep_default_na=False)
    assert joined["mut_transition"].value_counts().to_dict() == {"wt->ESR1": 12, "wt->wt": N - 14, "": 2}
    assert "mut: 1 patients have several values, so that none is used." in found["notes"]
    assert f"group at baseline and at post (in brackets: pairs that have it): mut ({N - 2})." in "\n".join(
        found["notes"]
    )


def test_response_is_left_to_the_paired_analysis_unless_asked_for(tmp_path: Path, toy: pd.DataFrame) -> None:
    slides = pd.read_csv(tmp_path / "slides.csv")
    slides["response"] = np.where(slides["patient_id"].isin(WHO[::2]), "PR", "PD")
    slides.to_csv(tmp_path / "slides.csv", index=False)
    tests, found = result_of(tmp_path, table_of(toy))
    assert not any(name == "response" for name, _ in tests)
    assert any(note.startswith("Groups of response are held") for note in found["notes"])
    asked, found = result_of(tmp_path, table_of(toy), flags=["response"])
    assert asked["response", "mann_whitney"]["n"] == N
    assert not any("response" in note for note in found["notes"])


def test_agreement_is_that_of_the_log_ratios(tmp_path: Path, toy: pd.DataFrame) -> None:
    """An assay that rises twice as far: ratio of the ratios 1/2. Levels may differ by any factor without harm."""
    table = table_of(toy)
    density = pd.concat([toy[f"tils_{t}"] / toy[f"area_{t}"] for t in TIMES]).to_numpy()
    table["cd8_per_mm2"] = (density + 5) * np.where(table["timepoint"] == "post", 2.0, 1.0) - 5
    table["il_per_mm2"] = (density + 5) * 7 - 5
    tests, _ = result_of(tmp_path, table)
    assert tests["cd8_per_mm2", "ratio"]["estimate"] == pytest.approx(0.5)
    assert tests["cd8_per_mm2", "ratio"]["unit"] == "H&E / assay, of the ratios post / baseline"
    assert tests["cd8_per_mm2", "spearman"]["estimate"] == pytest.approx(1)
    assert tests["il_per_mm2", "ccc_log"]["estimate"] == pytest.approx(1)
    assert ("il_per_mm2", "ccc") not in tests
    y = change_of(toy)
    x = np.log((toy["cd3_post"] + 5) / (toy["cd3_baseline"] + 5)).to_numpy()
    lin = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert tests["cd3_per_mm2", "ccc_log"]["estimate"] == pytest.approx(lin)
    stil, _ = result_of(tmp_path, table, densities=["cd8_per_mm2"])
    assert ("cd3_per_mm2", "ccc_log") not in stil
    assert stil["cd3_per_mm2", "spearman"]["taken_as"] == "log_ratio"
    few = change_agreement(pd.DataFrame({"y": y[:9], "x": x[:9]}), "x", "")
    assert [row["reason"] for row in few] == ["too_few: 9 patients, 10 are needed"] * 5
    assert not any("estimate" in row for row in few)


def test_each_change_is_of_its_own_block(tmp_path: Path, toy: pd.DataFrame) -> None:
    """CD3 of block A at both times, and of B at no stated one; the H&E of the whole biopsies would go another way."""
    rng = np.random.default_rng(6)
    counts = {(t, k): rng.integers(50, 2000, N) for t in TIMES for k in "AB"}
    slides = ["slide_id,path,patient_id,timepoint,specimen,site,block"]
    scores = ["slide_id,status,til_density_per_mm2,n_tils,stroma_mm2"]
    rows = ["patient_id,timepoint,block,cd3_per_mm2"]
    for (t, k), numbers in counts.items():
        slides += [f"{p}{t}{k},x/{p}{t}{k}.svs,{p},{t},core,breast,{k}" for p in WHO]
        scores += [f"{p}{t}{k},ok,{n},{n},1" for p, n in zip(WHO, numbers, strict=True)]
        rows += [f"{p},{t},A,{n}" for p, n in zip(WHO, numbers, strict=True) if k == "A"]
    (tmp_path / "slides.csv").write_text("\n".join(slides))
    (tmp_path / "scores.csv").write_text("\n".join(scores))
    (tmp_path / "b.csv").write_text("\n".join([*rows, *(f"{p},,B,{i * 99}" for i, p in enumerate(WHO[::2]))]))
    tests, found = result_of(tmp_path, pd.read_csv(tmp_path / "b.csv"))
    assert tests["cd3_per_mm2", "spearman"]["estimate"] == pytest.approx(1)
    assert tests["cd3_per_mm2", "ccc_log"]["estimate"] == pytest.approx(1)
    assert any("nobody is left out" in note for note in found["notes"])
    assert any(note.endswith("the baseline biopsy, where the assay is taken as it is.") for note in found["notes"])
    assert tests["cd3_per_mm2", "spearman_partial"]["reason"] == "nothing that is known differs from pair to pair"
    whole, _ = result_of(tmp_path, pd.read_csv(tmp_path / "b.csv").dropna().drop(columns="block"))
    assert whole["cd3_per_mm2", "spearman"]["estimate"] < 0.95


def test_what_cannot_be_adjusted_for_is_told(tmp_path: Path, toy: pd.DataFrame) -> None:
    """All cores became resections: alike in all pairs. Three specimens and few pairs: no number given the sampling."""
    result_of(tmp_path, table_of(toy))
    pairs = pairs_of(tmp_path).assign(specimen_after="resection", same_specimen=False, stroma_mm2_after=np.nan)
    assert given_sampling(pairs).why == "nothing that is known differs from pair to pair"
    few = pairs.head(12).assign(specimen_after=["resection", "excision"] * 6)
    assert given_sampling(few).why.startswith("confounded: 0 of 12 pairs")
    row = groups_given_sampling(pairs_of(tmp_path).assign(by=lambda t: t["specimen_after"]), "by")
    assert row["reason"] == "the groups cannot be told apart from the sampling"
    some = pairs_of(tmp_path).head(16).assign(by=lambda t: t["mut"])
    assert given_sampling(some).used == "specimen+area"
    row = groups_given_sampling(some, "by")  # two groups take the room of one column
    assert (row["adjusted_for"], row["reason"]) == ("specimen", "not adjusted for area")
    unknown = pairs_of(tmp_path)
    unknown.loc[WHO[:2], ["site_before", "site_after"]] = "unknown"
    unknown.loc[WHO[:2], "same_site"] = False
    _, partial = correlations(unknown.assign(x=np.arange(N) % 7), "x", given_sampling)
    assert partial["reason"] == f"not adjusted for site (unknown or mixed in 2 of {N} pairs)"


def test_refusals(tmp_path: Path, toy: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of(toy)
    with pytest.raises(UsageError, match="a change is that of a later biopsy"):
        result_of(tmp_path, table, timepoint="baseline")
    with pytest.raises(UsageError, match=r"both at baseline and then.*week6.*: post \(32\)"):
        result_of(tmp_path, table, timepoint="week6")
    assert not (tmp_path / "out").exists()
    for name, told in (("facs_frac_delta", "the change of 'facs_frac'"), ("density_ratio", "a column of the pairs")):
        with pytest.raises(UsageError, match=told):
            result_of(tmp_path, table.assign(**{name: toy["frac_post"].mean() + np.arange(2 * N)}))
    scores = (tmp_path / "scores.csv").read_text().replace("post,ok", "post,failed")
    (tmp_path / "scores.csv").write_text(scores)
    with pytest.raises(UsageError, match="score baselines and later biopsies"):
        result_of(tmp_path, table)
    files = [str(tmp_path / "slides.csv"), "--results", str(tmp_path), "--assays", str(tmp_path / "a.csv")]
    assert main(["cohort", "assays", *files, "--out", str(tmp_path / "out"), "--change"]) == 2
    assert "--timepoint post --change" in capsys.readouterr().err


def test_pairs_of_two_models_are_told(tmp_path: Path, toy: pd.DataFrame) -> None:
    scores = pd.read_csv(tmp_path / "scores.csv")
    scores["model"] = np.where(scores["slide_id"].str.contains("post"), "new@1", "old@1")
    scores.to_csv(tmp_path / "scores.csv", index=False)
    _, found = result_of(tmp_path, table_of(toy))
    assert found["notes"][0].startswith(f"{N} of {N} pairs were not scored by one model")
    assert found["notes"][1].startswith("Several models scored these biopsies")
