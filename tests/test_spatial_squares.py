"""Counts in squares: Getis-Ord, Morisita-Horn, unevenness."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tilscore.spatial.squares import getis_ord, gini, hotspots, unevenness
from tilscore.stats.mixing import morisita_horn


def test_gi_star_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    value, known = rng.gamma(1, 3, (7, 9)), rng.random((7, 9)) < 0.8
    found = getis_ord(value, known)
    n, mean, spread = known.sum(), value[known].mean(), value[known].std()
    for i, j in zip(*np.nonzero(known), strict=True):
        near = [(k, m) for k in range(i - 1, i + 2) for m in range(j - 1, j + 2) if 0 <= k < 7 and 0 <= m < 9]
        near = [p for p in near if known[p]]
        total = sum(value[p] for p in near)
        k = len(near)
        assert found[i, j] == pytest.approx((total - k * mean) / (spread * np.sqrt((n * k - k * k) / (n - 1))))
    assert np.isnan(found[~known]).all()


def test_gi_star_over_all_orders_has_mean_0_and_variance_1() -> None:
    """The moments of Ord and Getis are those of the permutation distribution, exactly."""
    value = np.array([0.0, 1, 1, 4, 9, 2])
    known = np.ones((2, 3), bool)
    found = np.array([getis_ord(np.reshape(p, (2, 3)), known)[0, 0] for p in itertools.permutations(value)])
    assert found.mean() == pytest.approx(0, abs=1e-9)
    assert found.var() == pytest.approx(1)


def test_gi_star_of_equal_values_is_unknown() -> None:
    assert np.isnan(getis_ord(np.full((4, 4), 2.0), np.ones((4, 4), bool))).all()


def test_a_planted_hotspot_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    area = np.full((20, 20), 0.04)
    count = rng.poisson(20, area.shape).astype(float)
    quiet = hotspots(count, area, 200.0, min_share=0.25, level=0.05)
    count[5:8, 10:13] += 60
    found = hotspots(count, area, 200.0, min_share=0.25, level=0.05)
    assert quiet["n_hot"] == 0
    assert found["max_at_um"] == [2300.0, 1300.0]
    assert 9 <= found["n_hot"] <= 25  # type: ignore[operator]


def test_morisita_horn() -> None:
    one = np.array([4.0, 4, 0])
    assert morisita_horn(one, 3 * one) == pytest.approx(1)
    assert morisita_horn(one, np.array([0.0, 0, 7])) == 0
    # p = (1/2, 1/2), q = (1, 0): 2 * 1/2 / (1/2 + 1).
    assert morisita_horn(one, np.array([5.0, 0, 0])) == pytest.approx(2 / 3)
    assert morisita_horn(one, 0 * one) is None


def test_unevenness() -> None:
    """A gamma-mixed Poisson count of mean m and shape a has intensity CV 1 / sqrt(a) and variance / mean 1 + m / a."""
    rng = np.random.default_rng(2)
    area = np.full((100, 100), 0.01)
    even = rng.poisson(12, area.shape).astype(float)
    mixed = rng.poisson(rng.gamma(4, 3, area.shape)).astype(float)
    a, b = (unevenness(n, area, min_share=0.5, side_um=100) for n in (even, mixed))
    assert a["dispersion_index"] == pytest.approx(1, abs=0.05)
    assert a["dispersion_p"] > 0.001  # type: ignore[operator]
    assert b["dispersion_index"] == pytest.approx(1 + 12 / 4, rel=0.07)
    assert b["intensity_cv"] == pytest.approx(0.5, rel=0.05)
    assert b["dispersion_p"] < 1e-6  # type: ignore[operator]
    assert gini(np.array([1.0, 3.0]), np.ones(2)) == pytest.approx(0.25)
    assert gini(np.array([2.0, 6.0]), np.array([1.0, 3.0])) == pytest.approx(0)
    assert unevenness(0 * even, area, min_share=0.5, side_um=100)["gini"] is None


def test_the_spread_of_the_intensity_does_not_shrink_with_few_squares() -> None:
    """In k equal squares it is sqrt((s^2 - m) / m^2), the moment estimate of a mixed Poisson count. In unequal ones
    its square has the right mean: 1 / a for intensities that are gamma with shape a."""
    n = np.array([4.0, 9, 1, 16])
    found = unevenness(n, np.full(4, 0.04), min_share=0.5, side_um=200)["intensity_cv"]
    assert found == pytest.approx(np.sqrt((n.var(ddof=1) - n.mean()) / n.mean() ** 2))
    assert unevenness(np.array([9.0, 11]), np.ones(2), min_share=0.5, side_um=1)["intensity_cv"] == 0
    rng = np.random.default_rng(6)
    area = np.array([0.01, 0.02, 0.04, 0.04])
    squared = []
    for _ in range(3000):
        count = rng.poisson(20_000 * area * rng.gamma(25, 1 / 25, 4)).astype(float)
        cv = unevenness(count, area, min_share=0.2, side_um=200)["intensity_cv"]
        squared.append(cv**2)  # type: ignore[operator]
    assert np.mean(squared) == pytest.approx(1 / 25, rel=0.06)
