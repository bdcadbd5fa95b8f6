"""Ties and zeros of paired changes, which floating point would blur."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tilscore.cohort.paired.missing import missing_tests
from tilscore.cohort.paired.pairs import AnalyseConfig
from tilscore.stats.paired import difference, mover, signed_rank


def test_equal_changes_are_tied_and_no_change_is_zero() -> None:
    before, after = [0.1, 0.2, 0.4, 1.3, 1e-7], [0.2, 0.3, 0.3, 0.1 * 13, 2e-7]
    assert after[0] - before[0] != after[1] - before[1]
    change = difference(after, before)
    np.testing.assert_allclose(change, [0.1, 0.1, -0.1, 0, 1e-7], rtol=0, atol=1e-12)
    assert (change[0], change[3]) == (change[1], 0)


def test_the_test_counts_ties_that_are_there() -> None:
    before = np.array([0.1, 0.7, 1.1, 0.9, 2.3, 0.3, 0.7, 0.3, 1.1])
    steps = np.array([1, 1, 1, 1, 1, -1, -1, 2, 2])
    after = np.round(before + 0.1 * steps, 1)
    assert np.unique(np.abs(after - before)).size > 2
    blurred, tied, whole = (signed_rank(v) for v in (after - before, difference(after, before), steps))
    assert (tied.method, tied.p) == ("exact", whole.p)
    assert blurred.p != whole.p


def test_pairs_at_the_end_of_a_calibration_have_not_changed() -> None:
    """Slides of unequal size that all carry 1.3 %: their mean by area is 1.3 up to rounding."""
    weights = np.random.default_rng(0).uniform(0.1, 9, (40, 2))
    pooled = (weights * 1.3).sum(1) / weights.sum(1)
    assert len(set(pooled.tolist())) > 1
    change, _, _ = mover(*(pooled[:20],) * 3, *(pooled[20:],) * 3)
    assert not change.any()


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9).filter(any))
def test_exact_p_with_ties_is_that_of_all_signs(changes: list[int]) -> None:
    """Every way of giving signs to the sizes is drawn, and those as far from the middle are counted."""
    found = signed_rank(changes)
    used = np.array([c for c in changes if c])
    ranks = stats.rankdata(np.abs(used))
    sums = np.array([ranks[list(up)].sum() for up in itertools.product((False, True), repeat=used.size)])
    far = np.abs(sums - ranks.sum() / 2) >= abs(ranks[used > 0].sum() - ranks.sum() / 2)
    assert (found.method, found.n, found.n_zero) == ("exact", len(changes), len(changes) - used.size)
    assert found.p == pytest.approx(far.mean())


def test_many_ties_as_the_normal_approximation_has_them() -> None:
    steps = np.random.default_rng(7).integers(-5, 8, 50)
    found = signed_rank(steps)
    assert (found.method, signed_rank(np.append(steps, 1)).method) == ("exact", "normal")
    assert found.p == pytest.approx(stats.wilcoxon(steps, method="asymptotic", correction=True).pvalue, rel=0.1)
    with pytest.raises(ValueError, match="no change"):
        signed_rank([0, 0])


def test_exact_level_and_coverage_hold_with_ties() -> None:
    """Whole numbers symmetric around 2: the test of their centre rejects at most 5 %, the interval holds it in 95 %."""
    rng = np.random.default_rng(11)
    draws = 2 + rng.integers(0, 5, (1500, 12)) - rng.integers(0, 5, (1500, 12))
    rejected = [signed_rank(d - 2).p <= 0.05 for d in draws if (d != 2).any()]
    found = [signed_rank(d) for d in draws]
    assert 0.03 < np.mean(rejected) <= 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5
    assert np.mean([f.low <= 2 <= f.high for f in found]) > 0.95


def test_missingness_is_exact_in_small_cohorts() -> None:
    """R 4.2.2: `wilcox.test(lack, have)` gives W = 20 and p = 0.00356044548, exact; 0.0051 by its approximation."""
    lack = [2.1, 3.4, 1.9, 5.6, 4.4, 3.1, 2.8, 6.2, 5.1, 4.9, 3.9]
    have = [3.3, 4.1, 6.6, 7.2, 5.9, 6.1, 4.7, 8.0, 7.7, 5.5, 6.9, 9.1]
    first = pd.DataFrame({"timepoint": "baseline", "til_density_per_mm2": [*lack, *have]})
    first["patient_id"] = [f"P{i}" for i in first.index]
    later = first.iloc[len(lack) :].assign(timepoint="post")
    row = missing_tests(pd.concat([first, later], ignore_index=True), AnalyseConfig())[0]
    assert (row["test"], row["statistic"], row["n_pairs"]) == ("missing_rank", 20, 12)
    assert row["p"] == pytest.approx(0.00356044548, rel=1e-7)
    assert "exact" in row["method"]
