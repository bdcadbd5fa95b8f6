"""Intervals: published limits, laws, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from point_theory import thomas_covered

from tilscore.masks import Mask
from tilscore.score.interval import IntervalConfig, density_interval, share_interval
from tilscore.space import Grid
from tilscore.spatial.processes import poisson, thomas
from tilscore.stats.correlogram import fit_correlogram
from tilscore.stats.intervals import binomial_limits, logit_limits, overdispersed_limits, poisson_limits


def strands(rng: np.random.Generator, grid: Grid) -> Mask:
    """Two thirds of the grid, in stripes of 120 um with a slant."""
    y, x = np.indices(grid.shape) * grid.mpp
    return (x + rng.uniform(0.2, 1) * y + rng.uniform(0, 180)) % 180 < 120


@pytest.mark.parametrize(
    ("n", "low", "high"), [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390)]
)
def test_poisson_limits_of_the_tables(n: int, low: float, high: float) -> None:
    """Garwood 1936, as in Ulm 1990, Am J Epidemiol 131:373."""
    assert poisson_limits(n) == pytest.approx((low, high), abs=1e-3)


def test_binomial_limits_of_the_tables() -> None:
    """Clopper and Pearson 1934: 1 of 10, and the rule of 0 of n: 1 - 0.025^(1/n)."""
    assert binomial_limits(1, 10) == pytest.approx((0.00253, 0.44502), abs=1e-5)
    assert binomial_limits(0, 20) == pytest.approx((0, 1 - 0.025 ** (1 / 20)))
    assert binomial_limits(20, 20) == pytest.approx((0.025 ** (1 / 20), 1))


@given(n=st.floats(0, 500), dispersion=st.floats(1, 50), df=st.floats(2, 500))
def test_over_dispersed_limits(n: float, dispersion: float, df: float) -> None:
    """They scale as the count does, hold it, and widen as the dispersion is known less well."""
    low, high = overdispersed_limits(n, dispersion=dispersion)
    assert (low, high) == pytest.approx([dispersion * v for v in poisson_limits(n / dispersion)])
    wider = overdispersed_limits(n, dispersion=dispersion, df=df)
    assert wider[0] <= low <= n <= high < wider[1]


@given(share=st.floats(0.001, 0.999), sd=st.floats(0, 0.5), df=st.floats(2, 100))
def test_logit_limits_mirror(share: float, sd: float, df: float) -> None:
    low, high = logit_limits(share, sd, df=df)
    assert 0 <= low <= share * (1 + 1e-9)
    assert share * (1 - 1e-9) <= high <= 1
    assert logit_limits(1 - share, sd, df=df) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize(
    "call", [lambda: poisson_limits(-1), lambda: binomial_limits(3, 2), lambda: logit_limits(0, 1)]
)
def test_limits_refuse_what_has_none(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="level"):
        call()


def test_the_fitted_variance_is_that_of_the_process() -> None:
    """Thomas: Var(density) = (lambda + lambda^2 / kappa) / area in a window that is large against the clusters."""
    rng = np.random.default_rng(3)
    side, n_sims, per_mm2, parents = 4000.0, 12, 400.0, 20.0
    area = np.full((160, 160), 25.0**2 / 1e6)
    fits, found = [], []
    for _ in range(n_sims):
        points = thomas(rng, per_mm2, side, side, parents_per_mm2=parents, sigma_um=80)
        count = np.histogram2d(points[:, 1], points[:, 0], 160, [[0, side], [0, side]])[0]
        fits.append(fit_correlogram(count, area, 25.0, self_pairs=float(count.sum())))
        found.append(count.sum() / 16)
    expected = per_mm2**2 / parents / 16
    assert np.mean([f.clustered_var for f in fits]) == pytest.approx(expected, rel=0.25)
    # exp(-r^2 / 4 sigma^2) falls to 1 / e at 2 sigma.
    assert np.mean([f.length_um for f in fits if f.length_um]) == pytest.approx(160, rel=0.25)


def test_coverage_with_clusters() -> None:
    """Thomas processes in stroma of 0.7 to 3 mm2; the full table is that of scripts/check_coverage.py.

    An interval that takes TILs to be independent holds the truth in less than half of the slides."""
    rng = np.random.default_rng(5)
    n_slides, hit, hit_poisson = 160, 0, 0
    for k in range(n_slides):
        grid = Grid(10.0, 100, int(rng.uniform(100, 450)))
        stroma = strands(rng, grid)
        per_mm2, sigma = float(np.exp(rng.uniform(np.log(100), np.log(2000)))), rng.uniform(40, 120)
        parents = rng.uniform(8, 50)
        points = thomas(rng, per_mm2, grid.width_um, grid.height_um, parents_per_mm2=parents, sigma_um=sigma)
        found = density_interval(*points.T, None, stroma, grid, IntervalConfig(n_draws=200), seed=k)
        assert found.low is not None
        assert found.high is not None
        hit += found.low <= per_mm2 <= found.high
        area = stroma.sum() * grid.pixel_mm2
        low, high = poisson_limits((found.estimate or 0) * area)
        hit_poisson += low / area <= per_mm2 <= high / area
    assert 0.91 <= hit / n_slides <= 0.995
    assert hit_poisson / n_slides < 0.5


def test_coverage_of_the_infiltrated_share() -> None:
    """The share of the plane within 30 um of a point of a Thomas process is known."""
    rng = np.random.default_rng(6)
    grid, n_slides, hits = Grid(10.0, 130, 200), 80, []
    y, x = (np.indices(grid.shape) + 0.5) * grid.mpp
    from scipy.spatial import cKDTree

    for k in range(n_slides):
        stroma, parents, sigma = strands(rng, grid), rng.uniform(10, 40), rng.uniform(40, 100)
        points = thomas(rng, 300, 1360, 2060, parents_per_mm2=parents, sigma_um=sigma) - 30
        away = cKDTree(points).query(np.stack([x.ravel(), y.ravel()], 1))[0].reshape(grid.shape)
        truth = 100 * thomas_covered(30, 300, parents_per_mm2=parents, sigma_um=sigma)
        found = share_interval(away <= 30, stroma, grid, IntervalConfig(n_draws=200), seed=k)
        assert found.low is not None
        assert found.high is not None
        hits.append(found.low <= truth <= found.high)
    assert 0.88 <= np.mean(hits) <= 0.999


def test_the_covered_share_of_many_parents_is_that_of_a_poisson_process() -> None:
    found = thomas_covered(30, 300, parents_per_mm2=1e6, sigma_um=50)
    assert found == pytest.approx(1 - math.exp(-300e-6 * math.pi * 900), rel=1e-3)


def test_no_tils_have_an_exact_bound_and_no_stroma_has_none() -> None:
    grid = Grid(10.0, 50, 40)
    stroma, nothing = np.ones(grid.shape, bool), np.zeros(0)
    found = density_interval(nothing, nothing, None, stroma, grid)
    assert (found.low, found.estimate, found.method) == (0.0, 0.0, "exact")
    assert found.high == pytest.approx(-math.log(0.025) / 0.2)
    share = share_interval(~stroma, stroma, grid, area_per_til_um2=2000.0)
    assert share.high == pytest.approx(100 * (1 - math.exp(math.log(0.025) / 0.2 * 0.002)))
    for none in (density_interval(nothing, nothing, None, ~stroma, grid), share_interval(stroma, ~stroma, grid)):
        assert (none.low, none.high, none.sd, none.note) == (None, None, None, "no evaluable stroma")


def test_all_or_nothing_covered_has_the_limit_of_its_blocks() -> None:
    grid = Grid(10.0, 100, 100)
    stroma = np.ones(grid.shape, bool)
    none, full = share_interval(~stroma, stroma, grid), share_interval(stroma, stroma, grid)
    assert none.low == 0
    assert full.high == 100
    assert none.high == pytest.approx(100 - (full.low or 0))
    assert 0 < (none.high or 0) < 10


def test_one_til_has_about_the_poisson_interval() -> None:
    grid = Grid(10.0, 100, 100)
    found = density_interval([500.0], [500.0], None, np.ones(grid.shape, bool), grid)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0.0254
    assert found.high >= 5.57


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), shift=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_moving_everything_changes_nothing(seed: int, shift: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    grid, n = Grid(10.0, 90, 90), int(rng.integers(1, 300))
    stroma, (x, y) = np.zeros(grid.shape, bool), rng.uniform(0, 600, (2, n))
    stroma[:60, :60] = strands(rng, Grid(10.0, 60, 60))
    moved = np.roll(stroma, shift, (0, 1))
    a = density_interval(x, y, None, stroma, grid, IntervalConfig(n_draws=40), seed=seed)
    b = density_interval(x + 10 * shift[1], y + 10 * shift[0], None, moved, grid, IntervalConfig(n_draws=40), seed=seed)
    assert b.as_values() == a.as_values()
    if a.estimate:
        assert a.low is not None
        assert a.high is not None
        assert a.low <= a.estimate <= a.high


def test_uncertain_cells_widen_the_interval() -> None:
    """Cells at one half: half the expected count, and an interval that is wider for its size."""
    rng = np.random.default_rng(9)
    grid = Grid(10.0, 200, 200)
    stroma, points = np.ones(grid.shape, bool), poisson(rng, 200, 2000, 2000)
    half = np.full(len(points), 0.5)
    one, doubtful = (density_interval(*points.T, p, stroma, grid) for p in (np.ones(len(points)), half))
    assert one.as_values() == density_interval(*points.T, None, stroma, grid).as_values()
    assert doubtful.estimate == pytest.approx((one.estimate or 0) / 2)
    assert (doubtful.sd or 0) / (doubtful.estimate or 1) > (one.sd or 0) / (one.estimate or 1)


def test_a_scaled_interval_and_wrong_input() -> None:
    grid = Grid(10.0, 100, 100)
    points = poisson(np.random.default_rng(1), 300, 1000, 1000)
    found = density_interval(*points.T, None, np.ones(grid.shape, bool), grid)
    area = found.scaled(28.3e-4)
    assert area.high == pytest.approx((found.high or 0) * 28.3e-4)
    assert (area.block_um, area.n_draws) == (found.block_um, found.n_draws)
    with pytest.raises(ValueError, match="prob"):
        density_interval(*points.T, np.full(len(points), 1.5), np.ones(grid.shape, bool), grid)
