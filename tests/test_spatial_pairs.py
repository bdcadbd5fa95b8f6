"""Pairs and nearest neighbours against the theory of Poisson and Thomas processes."""

from __future__ import annotations

import numpy as np
import pytest
from point_theory import pair_correlation_exact, thomas_g, thomas_k

from tilscore.masks import Mask
from tilscore.space import Grid
from tilscore.spatial.nearest import edge_distance, nearest_distances
from tilscore.spatial.pairs import PairCorrelation, pair_correlation
from tilscore.spatial.processes import poisson, thomas

GRID = Grid(4.0, 375, 375)
"""1.5 x 1.5 mm."""
SIDE = GRID.width_um
PARENTS, SIGMA = 30.0, 40.0


def ring_with_a_bite() -> Mask:
    """A disc with a hole and a notch: an edge everywhere."""
    y, x = (np.indices(GRID.shape) + 0.5) * GRID.mpp
    away = np.hypot(x - 750, y - 750)
    return (away < 740) & (away > 150) & ~((np.abs(x - 750) < 80) & (y < 500))


WINDOW = ring_with_a_bite()


def inside(points: np.ndarray) -> np.ndarray:
    col, row = GRID.index(points).T
    return points[WINDOW[row, col]]


def runs(make, n: int = 40, *, two: bool = False) -> list[PairCorrelation]:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(11)
    return [pair_correlation(make(rng), make(rng) if two else None, WINDOW, GRID, max_um=160) for _ in range(n)]


def off(values: list[np.ndarray], theory: np.ndarray) -> np.ndarray:
    """How many standard errors the mean of simulations lies from theory."""
    v = np.array(values)
    return np.abs(v.mean(0) - theory) / (v.std(0, ddof=1) / len(v) ** 0.5)


def csr(rng: np.random.Generator) -> np.ndarray:
    return poisson(rng, 400, SIDE, SIDE)


def clumps(rng: np.random.Generator) -> np.ndarray:
    return thomas(rng, 400, SIDE, SIDE, parents_per_mm2=PARENTS, sigma_um=SIGMA)


@pytest.mark.parametrize("two", [False, True], ids=["one kind", "two kinds"])
def test_poisson(two: bool) -> None:
    """g = 1 and K = pi r^2, whatever the shape of the window."""
    found = runs(csr, two=two)
    first = found[0]
    assert off([f.g for f in found], np.ones_like(first.g)).max() < 4
    assert off([f.k_um2 for f in found], np.pi * first.edge_um**2).max() < 4
    assert np.mean([f.l_um for f in found], 0)[3:] == pytest.approx(first.edge_um[3:], rel=0.03)


def test_thomas() -> None:
    """Closed form of g and K. The pooled intensity estimate lowers both by a few per cent of the excess (ratio bias),
    which is allowed for."""
    found = runs(clumps, 60)
    first = found[0]
    g = thomas_g(first.r_um, parents_per_mm2=PARENTS, sigma_um=SIGMA)
    k = thomas_k(first.edge_um, parents_per_mm2=PARENTS, sigma_um=SIGMA)
    # Pooled over the runs: pairs over expected pairs.
    weight = np.array([f.n_from * (f.n_from - 1) for f in found], float)[:, None]
    area = WINDOW.sum() * GRID.mpp**2
    scale = weight / (400e-6 * area) ** 2
    assert (np.array([f.g for f in found]) * scale).mean(0)[1:] == pytest.approx(g[1:], rel=0.1)
    assert (np.array([f.k_um2 for f in found]) * scale).mean(0)[2:] == pytest.approx(k[2:], rel=0.1)
    assert off(list(np.array([f.k_um2 for f in found]) * scale), k)[2:].max() < 4


@pytest.mark.parametrize("two", [False, True], ids=["one kind", "two kinds"])
def test_the_fast_path_is_the_exact_one(two: bool) -> None:
    rng = np.random.default_rng(4)
    one = thomas(rng, 3000, SIDE, SIDE, parents_per_mm2=PARENTS, sigma_um=SIGMA)
    other = one[::3] + rng.normal(0, 30, one[::3].shape) if two else None
    fast, exact = (f(one, other, WINDOW, GRID, max_um=200) for f in (pair_correlation, pair_correlation_exact))
    assert (fast.n_from, fast.n_to) == (exact.n_from, exact.n_to)
    assert fast.g[1:] == pytest.approx(exact.g[1:], rel=0.03)
    assert fast.k_um2[2:] == pytest.approx(exact.k_um2[2:], rel=0.015)


@pytest.mark.parametrize(("path", "rel"), [(pair_correlation, 0.06), (pair_correlation_exact, 0.02)])
def test_one_pair_in_a_rectangle(path, rel: float) -> None:  # type: ignore[no-untyped-def]
    """K of one pair = |W|^2 / mean set covariance, which for a rectangle is ab - 2 r (a + b) / pi + r^2 / pi."""
    grid, d = Grid(4.0, 200, 120), 160.0
    a, b = grid.width_um, grid.height_um
    one, other = np.array([[202.0, 202.0]]), np.array([[202.0 + d, 202.0]])
    found = path(one, other, np.ones(grid.shape, bool), grid, max_um=240, step_um=4)
    covariance = a * b - 2 * d * (a + b) / np.pi + d**2 / np.pi
    ring = np.flatnonzero(found.g)
    assert found.r_um[ring] == pytest.approx([d])
    # On the lattice a ring has as many lags as fall into it, not exactly its area.
    assert found.k_um2[-1] == pytest.approx((a * b) ** 2 / covariance, rel=rel)


@pytest.mark.parametrize("path", [pair_correlation, pair_correlation_exact])
def test_what_a_window_cannot_hold_is_not_known(path) -> None:  # type: ignore[no-untyped-def]
    """A square of 140 um holds no pair beyond its diagonal of 198 um: there g is no number, and it was never 0."""
    grid, rng = Grid(4.0, 35, 35), np.random.default_rng(5)
    found = path(rng.uniform(0, 140, (300, 2)), None, np.ones(grid.shape, bool), grid, max_um=300)
    known = np.isfinite(found.g)
    last = int(known.sum())
    assert known[:last].all()
    assert not known[last:].any()
    assert 150 < found.r_um[last - 1] < 198
    for values in (found.k_um2, found.l_um):
        assert np.array_equal(np.isfinite(values), known)
    assert found.g[1:15] == pytest.approx(np.ones(14), rel=0.25)


def test_laws_of_pairs() -> None:
    rng = np.random.default_rng(8)
    points = inside(clumps(rng))
    base = pair_correlation(points, None, WINDOW, GRID)
    grid = Grid(4.0, 475, 455)
    window = np.zeros(grid.shape, bool)
    window[40:415, 100:475] = WINDOW
    moved = pair_correlation(points + np.array([400, 160]), None, window, grid)
    assert moved.k_um2 == pytest.approx(base.k_um2, rel=1e-5)
    larger = pair_correlation(points * 2.5, None, WINDOW, Grid(10.0, 375, 375), max_um=750, step_um=20)
    assert larger.g == pytest.approx(base.g, rel=1e-5)
    assert larger.k_um2 == pytest.approx(base.k_um2 * 6.25, rel=1e-5)
    swapped = [pair_correlation(*p, WINDOW, GRID).g for p in ((points[::2], points[1::2]), (points[1::2], points[::2]))]
    assert swapped[0] == pytest.approx(swapped[1], rel=1e-4)


def test_pairs_need_points() -> None:
    for one, other in (
        (np.zeros((0, 2)), None),
        (np.full((1, 2), 300.0), None),
        (np.full((3, 2), 300.0), np.zeros((0, 2))),
    ):
        with pytest.raises(ValueError, match="points in the window"):
            pair_correlation(one, other, WINDOW, GRID)


def test_nearest_of_a_poisson_process() -> None:
    """G = 1 - exp(-lambda pi r^2) ; without the correction the mean share is far too low."""
    rng, r = np.random.default_rng(2), np.array([10.0, 20, 30, 40, 60, 80])
    found, plain = [], []
    for _ in range(60):
        one, other = inside(poisson(rng, 150, SIDE, SIDE)), inside(poisson(rng, 100, SIDE, SIDE))
        found.append(nearest_distances(one, other, WINDOW, GRID, r))
        plain.append((np.hypot(*(one[:, None] - other[None]).transpose(2, 0, 1)).min(1)[:, None] <= r).mean(0))
    theory = 1 - np.exp(-100e-6 * np.pi * r**2)
    assert off([f.g_km for f in found], theory).max() < 4
    assert off(plain, theory)[-1] > 4
    medians = [f.median_um for f in found if f.median_um is not None]
    assert np.mean(medians) == pytest.approx(np.sqrt(np.log(2) / (100e-6 * np.pi)), rel=0.05)


def test_nearest_of_the_same_kind_leaves_the_cell_itself_out() -> None:
    points = np.array([[700.0, 1100], [710, 1100], [740, 1100]])
    found = nearest_distances(points, None, WINDOW, GRID, np.array([9.0, 10, 29, 30]))
    assert found.g_km == pytest.approx([0, 2 / 3, 2 / 3, 1])
    assert found.mean_um == pytest.approx(50 / 3)


def test_nearest_in_a_rectangle_is_that_of_spatstat() -> None:
    """Gest of spatstat.explore 3.0-6 with the rectangle itself as window, r in steps of 0.001 um, correction `km`.
    The points lie at pixel centres, so the raster knows their distances to the edge exactly."""
    x = [10.0, 34, 62, 62, 66, 78, 98, 102, 114, 126, 186, 202, 202, 214, 230, 230]
    y = [106.0, 94, 14, 102, 14, 42, 58, 98, 78, 70, 10, 38, 102, 58, 2, 66]
    grid, r = Grid(4.0, 61, 31), np.array([10.0, 15, 20, 25, 30])
    found = nearest_distances(np.stack([x, y], 1), None, np.ones(grid.shape, bool), grid, r)
    assert found.g_km == pytest.approx([0.1333333, 0.3066667, 0.3933333, 0.6360000, 1], abs=1e-6)


def test_edge_distance() -> None:
    grid = Grid(4.0, 100, 60)
    window = np.zeros(grid.shape, bool)
    window[:, 20:] = True
    found = edge_distance(np.array([[82.0, 122.0], [202.0, 2.0], [40.0, 40.0]]), window, grid)
    assert found == pytest.approx([2, 2, 0])
