"""Percentiles and what is expected of a patient: closed forms, simulation, and laws of the robust fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tilscore.cohort.rank.regression import fit_robust
from tilscore.stats.percentile import median_and_spread, place


def test_an_exact_value_has_jeffreys_interval() -> None:
    """Brown, Cai & DasGupta 2001: quantiles of Beta(k + 1/2, n - k + 1/2), closed at the ends."""
    reference = np.arange(100.0)
    at = place(96.5, reference)
    assert at.percentile == 97
    limits = 100 * stats.beta.ppf([0.025, 0.975], 97.5, 3.5)
    assert (at.low, at.high) == pytest.approx(limits, abs=1e-3)
    top = place(1000, reference)
    assert (top.percentile, top.high) == (100, 100)
    assert top.low == pytest.approx(100 * stats.beta.ppf(0.025, 100.5, 0.5), abs=1e-3)
    assert place(50, reference).percentile == 50.5  # a tie counts half
    assert place(3, np.full(20, 3.0)).percentile == 50


@given(st.lists(st.integers(-30, 30), min_size=3, max_size=40), st.integers(-35, 35), st.floats(0, 8), st.floats(0, 8))
@settings(max_examples=40)
def test_a_mirror_turns_the_percentile(values: list[int], value: int, down: float, up: float) -> None:
    """Laws: the mirrored problem has the mirrored answer; more measurement error never narrows it at the centre."""
    reference = np.array(values, float)
    one, other = place(value, reference, down=down, up=up), place(-value, -reference, down=up, up=down)
    assert one.percentile == pytest.approx(100 - other.percentile)
    assert (one.low, one.high) == pytest.approx((100 - other.high, 100 - other.low), abs=1e-2)
    assert 0 <= one.low <= one.percentile <= one.high <= 100


def test_intervals_of_percentiles_cover() -> None:
    """95 % intervals hold the population's share below the true value; without the patient's own error they do not."""
    rng = np.random.default_rng(1)
    covered, naive = [], []
    for _ in range(400):
        truth, error = rng.standard_normal(), rng.uniform(0.1, 0.5)
        measured, reference = truth + error * rng.standard_normal(), rng.standard_normal(50)
        share = 100 * stats.norm.cdf(truth)
        for sd, kept in ((error, covered), (0.0, naive)):
            found = place(measured, reference, down=sd, up=sd)
            kept.append(found.low <= share <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.98
    assert np.mean(naive) < 0.88


def test_percentiles_are_uniform_where_nobody_is_unusual() -> None:
    """A patient from the same population is equally likely at every rank, also after adjustment with few patients.

    With 23 in the reference, 2 of 24 ranks are the extremes. Residuals of the plain fit put too many there.
    """
    rng = np.random.default_rng(2)
    extremes, plain = [], []
    for _ in range(60):
        x = np.column_stack([np.ones(23), rng.standard_normal((23, 4))])
        fit = fit_robust(x, x @ np.array([5, 1, 0, -1, 2.0]) + rng.standard_normal(23))
        for _ in range(8):
            x0 = np.concatenate([[1.0], rng.standard_normal(4)])
            y0 = float(x0 @ np.array([5, 1, 0, -1, 2.0])) + rng.standard_normal()
            value, rest, _ = fit.added(x0, y0)
            extremes.append(value > rest.max() or value < rest.min())
            error = y0 - float(x0 @ fit.beta)
            plain.append(error > fit.residuals.max() or error < fit.residuals.min())
    assert np.mean(extremes) == pytest.approx(2 / 24, abs=0.035)
    assert np.mean(plain) > np.mean(extremes) + 0.02


def test_a_row_that_joins_equals_a_row_that_was_in() -> None:
    """The rank-one update gives the residuals of the fit made anew with the row (no outliers: all weights are 1)."""
    rng = np.random.default_rng(3)
    x = np.column_stack([np.ones(30), rng.uniform(-1, 1, (30, 2))])
    y = x @ [1.0, 2.0, 3.0] + np.tile([-1.0, 1.0], 15) * rng.uniform(0.9, 1.1, 30)
    within, without = fit_robust(x, y), fit_robust(x[:-1], y[:-1])
    assert (within.weights == 1).all()
    assert (without.weights == 1).all()
    here, there = within.inside(29), without.added(x[-1], float(y[-1]))
    assert here[0] == pytest.approx(there[0])
    np.testing.assert_allclose(here[1], there[1])


def test_one_wild_value_does_not_move_what_is_expected() -> None:
    x, y = np.ones((40, 1)), np.linspace(-1, 1, 40)
    y[0] = 1000.0
    fit = fit_robust(x, y)
    assert abs(fit.beta[0]) < 0.1
    assert fit.sd == pytest.approx(median_and_spread(y)[1], rel=0.1)
