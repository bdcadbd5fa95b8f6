"""Tests of other assays: published examples, closed forms, and one row a patient in each."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.cohort.assays.survival import cox, fit_cox, kaplan_meier
from tilscore.cohort.assays.tests import agreement, correlations, groups, with_fdr
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
    at_once = frame.assign(event=1.0, time=12.0)
    assert cox(at_once, "os", "doubling")[0]["status"] == "not_evaluable"  # nobody outlives another
