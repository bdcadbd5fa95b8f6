"""How sure a density is: a spatial block bootstrap, corrected for what blocks cut apart.

TILs come in clusters, so a density rests on far fewer independent pieces than cells. Two estimates of its variance are
made: the spread of a block bootstrap of the ratio sum(n) / sum(area), whose blocks follow the measured correlation
length, and the variance that the measured covariance implies for this window (`stats.correlogram`), which is not
blind to what spans blocks. The larger one counts. The interval is that of an over-dispersed Poisson count with t
quantiles. `scripts/check_coverage.py` shows how often it holds the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tilscore.config import check_ranges
from tilscore.masks import Mask, extent
from tilscore.space import Grid
from tilscore.stats.correlogram import Correlogram, fit_correlogram
from tilscore.stats.intervals import binomial_limits, logit_limits, overdispersed_limits, poisson_limits

Plane = NDArray[np.float64]
LEVEL = 0.95
"""Share of slides whose interval is to hold the truth. No setting: tables, reports and cohorts take the limits for
those of 95 %."""


@dataclass(frozen=True)
class IntervalConfig:
    """How the intervals are made."""

    n_draws: int = 1000
    """Bootstrap draws: the standard deviation is then known to 2 %."""
    lattice_um: float = 25.0
    """Cells and stroma are summed into squares of about this side (a whole number of pixels)."""
    block_lengths: float = 2.0
    """Side of a block in correlation lengths."""
    min_block_um: float = 100.0
    """Smaller blocks are nearly all edge."""
    max_block_um: float = 1000.0
    """Larger blocks than a core is wide say nothing."""
    n_origins: int = 4
    """The grid of blocks is laid at this many random origins, each with its share of the draws."""
    min_blocks: int = 6
    """With fewer blocks their spread says nothing, and the covariance alone counts."""
    df_per_patch: float = 0.4
    """Degrees of freedom of the variance for each independent patch: clusters are skewed, so a patch is worth less
    than the one that normal values would give. Chosen by coverage on simulated slides."""
    min_df: float = 4.0
    """A window of hardly one patch: the t quantile is then 2.8 in place of 1.96. With 2 the smallest cores are covered
    in 99 % and their interval says nothing."""

    def __post_init__(self) -> None:
        blocks = {"block_lengths": (0.1, 100), "min_block_um": (1, 1e5), "max_block_um": (self.min_block_um, 1e5)}
        draws = {"n_draws": (10, 1e6), "n_origins": (1, self.n_draws), "min_blocks": (2, 1000)}
        freedom = {"df_per_patch": (0.01, 10), "min_df": (1, 1000)}
        check_ranges(self, "score.interval", lattice_um=(1, 1000), **blocks, **draws, **freedom)


@dataclass(frozen=True)
class Interval:
    """An interval and how it was made.

    Parameters
    ----------
    low, high : limits; None where they cannot be had, `note` says why.
    sd : standard deviation of the estimate, in its unit.
    level : share of slides whose interval is to hold the truth.
    block_um : side of the bootstrap's blocks. correlation_um : distance at which the correlation of the density falls
    to 1/e; None where there is none to measure. n_blocks : blocks that hold stroma. n_draws : bootstrap draws.
    method : how, in one word of `block_bootstrap`, `covariance`, `exact`, `none`.
    estimate : what the interval is about. df : degrees of freedom of the variance.
    """

    low: float | None
    high: float | None
    sd: float | None = None
    level: float = LEVEL
    block_um: float | None = None
    correlation_um: float | None = None
    n_blocks: int = 0
    n_draws: int = 0
    method: str = "none"
    estimate: float | None = None
    df: float | None = None
    note: str = ""

    def scaled(self, factor: float) -> Interval:
        """The interval of `factor` times the quantity, e.g. of the sTIL area % from that of the density."""
        names = ("low", "high", "sd", "estimate")
        scaled: dict[str, Any] = {k: None if (v := getattr(self, k)) is None else v * factor for k in names}
        return replace(self, **scaled)

    def as_values(self) -> dict[str, Any]:
        """Plain values for a file, rounded to what they are worth."""
        return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in self.__dict__.items()}


def density_interval(
    x_um: ArrayLike,
    y_um: ArrayLike,
    prob: ArrayLike | None,
    stroma: Mask,
    grid: Grid,
    cfg: IntervalConfig | None = None,
    *,
    seed: int = 0,
) -> Interval:
    """Interval of the density of TILs per mm2 of evaluable stroma.

    Parameters
    ----------
    x_um, y_um : [n] TILs; those outside `stroma` are left out.
    prob : [n] calibrated probability that each is a TIL: the estimate is then sum(prob) / area, and each draw adds the
        variance p (1 - p) of a count of uncertain cells (Poisson-binomial). None: each counts for 1.
    stroma : [h w] bool on `grid`, the evaluable stroma.
    seed : of the bootstrap; the same seed gives the same interval.

    Returns
    -------
    Interval in 1/mm2, about the intensity of the process that the slide is a sample of. Without TILs the upper limit
    is the exact Poisson one, which takes TILs to be independent.
    """
    cfg = cfg or IntervalConfig()
    x, y = np.asarray(x_um, np.float64), np.asarray(y_um, np.float64)
    weight = np.ones(len(x)) if prob is None else np.asarray(prob, np.float64)
    if not len(x) == len(y) == len(weight) or ((weight < 0) | (weight > 1)).any():
        raise ValueError("x_um, y_um and prob must be equally long, and prob in 0 to 1")
    lattice = _Lattice.of(stroma, grid, cfg.lattice_um)
    if lattice is None:
        return Interval(None, None, note="no evaluable stroma")
    cell, inside = lattice.cell_of(x, y, stroma, grid)
    weight = weight[inside]
    count, doubt = (lattice.summed(cell, w) for w in (weight, weight * (1 - weight)))
    n, area = float(count.sum()), float(lattice.area_mm2.sum())
    if n == 0:
        low, high = (v / area for v in poisson_limits(0, LEVEL))
        return Interval(low, high, method="exact", estimate=0.0, note="no TILs: Poisson limit")
    fit = fit_correlogram(count, lattice.area_mm2, lattice.side_um, self_pairs=float((weight**2).sum()))
    boot = _bootstrap(count, doubt, lattice, fit, cfg, seed)
    variance = max(n / area**2 + fit.clustered_var, boot.variance)
    df = max(cfg.df_per_patch * fit.n_patches, cfg.min_df)
    limits = overdispersed_limits(n, dispersion=variance * area**2 / n, df=df, level=LEVEL)
    return _made(n / area, limits[0] / area, limits[1] / area, math.sqrt(variance), df, boot, fit, cfg)


def share_interval(
    covered: Mask,
    stroma: Mask,
    grid: Grid,
    cfg: IntervalConfig | None = None,
    *,
    area_per_til_um2: float | None = None,
    seed: int = 0,
) -> Interval:
    """Interval of the share of stroma that is covered, in %, e.g. of the infiltrated area.

    Parameters
    ----------
    covered, stroma : [h w] bool on `grid`; what is covered outside the stroma does not count.
    area_per_til_um2 : area that one TIL alone covers. Where nothing is covered the upper limit is then that of the
        Poisson limit of the number of TILs (Boolean model: 1 - exp(-density * area)).

    Returns
    -------
    Interval in %. Where nothing (no `area_per_til_um2`) or all is covered, the limit is that of Clopper and Pearson
    for as many trials as there are blocks of stroma.
    """
    cfg = cfg or IntervalConfig()
    lattice = _Lattice.of(stroma, grid, cfg.lattice_um)
    if lattice is None:
        return Interval(None, None, note="no evaluable stroma")
    hit = lattice.summed_mask(covered & stroma, grid)
    area = float(lattice.area_mm2.sum())
    share = min(float(hit.sum()) / area, 1.0)
    fit = Correlogram(0.0, None, 1.0)
    if 0 < share < 1:
        fit = fit_correlogram(hit, lattice.area_mm2, lattice.side_um, self_pairs=0.0)
    boot = _bootstrap(hit, np.zeros_like(hit), lattice, fit, cfg, seed)
    if share == 0 and area_per_til_um2 is not None:
        high = 1 - math.exp(-poisson_limits(0, LEVEL)[1] / area * area_per_til_um2 / 1e6)
        return Interval(0.0, 100 * high, method="exact", estimate=0.0, note="no TILs: Poisson limit")
    if share in (0.0, 1.0):
        low, high = binomial_limits(share * boot.n_blocks, boot.n_blocks, LEVEL)
        note = "all or nothing is covered: binomial limit over the blocks"
        over: dict[str, Any] = {"block_um": boot.block_um, "n_blocks": boot.n_blocks}
        return Interval(100 * low, 100 * high, **over, method="exact", estimate=100 * share, note=note)
    variance = max(fit.clustered_var, boot.variance)
    df = max(cfg.df_per_patch * fit.n_patches, cfg.min_df)
    low, high = logit_limits(share, math.sqrt(variance), df=df, level=LEVEL)
    return _made(share, low, high, math.sqrt(variance), df, boot, fit, cfg).scaled(100.0)


@dataclass(frozen=True)
class _Lattice:
    """The stroma in squares: area of stroma in each [h w] and where the first one begins."""

    area_mm2: Plane
    side_um: float
    step_px: int
    x_px: int
    y_px: int

    @classmethod
    def of(cls, stroma: Mask, grid: Grid, side_um: float) -> _Lattice | None:
        """None where there is no stroma."""
        rows, cols = extent(stroma)
        if rows.stop == 0:
            return None
        step = max(round(side_um / grid.mpp), 1)
        size = [-(-(side.stop - side.start) // step) for side in (rows, cols)]
        empty = cls(np.zeros(size), step * grid.mpp, step, cols.start, rows.start)
        return cls(empty.summed_mask(stroma, grid), empty.side_um, step, empty.x_px, empty.y_px)

    def summed_mask(self, mask: Mask, grid: Grid) -> Plane:
        """[h w] area of `mask` in each square, mm2."""
        (h, w), k = self.area_mm2.shape, self.step_px
        part = mask[self.y_px : self.y_px + h * k, self.x_px : self.x_px + w * k]
        part = np.pad(part, ((0, h * k - part.shape[0]), (0, w * k - part.shape[1])))
        rows = part.reshape(h, k, w * k).sum(1, dtype=np.int32)
        return np.asarray(rows.reshape(h, w, k).sum(2) * grid.pixel_mm2, np.float64)

    def cell_of(self, x_um: Plane, y_um: Plane, stroma: Mask, grid: Grid) -> tuple[NDArray[np.int64], Mask]:
        """Index of the square of each point in the stroma, and which points those are."""
        col, row = grid.index(x_um), grid.index(y_um)
        inside = (col >= 0) & (row >= 0) & (col < grid.width_px) & (row < grid.height_px)
        inside[inside] = stroma[row[inside], col[inside]]
        i, j = (row[inside] - self.y_px) // self.step_px, (col[inside] - self.x_px) // self.step_px
        return i * self.area_mm2.shape[1] + j, inside

    def summed(self, cell: NDArray[np.int64], weight: Plane) -> Plane:
        """[h w] sum of `weight` in each square."""
        summed = np.bincount(cell, weight, self.area_mm2.size).reshape(self.area_mm2.shape)
        return np.asarray(summed, np.float64)


@dataclass(frozen=True)
class _Bootstrap:
    variance: float
    block_um: float
    n_blocks: int
    n_draws: int


def _bootstrap(
    count: Plane, doubt: Plane, lattice: _Lattice, fit: Correlogram, cfg: IntervalConfig, seed: int
) -> _Bootstrap:
    """Variance of sum(count) / sum(area) over resampled blocks (Hall 1985; ratio estimator, weights multinomial)."""
    wanted = cfg.block_lengths * (fit.length_um or 0.0)
    step = max(round(min(max(wanted, cfg.min_block_um), cfg.max_block_um) / lattice.side_um), 1)
    rng = np.random.default_rng(seed)
    draws, n_blocks = [], []
    for k in range(cfg.n_origins):
        top, left = (0, 0) if k == 0 else rng.integers(0, step, 2)
        n, a, q = (_blocks(p, step, int(top), int(left)) for p in (count, lattice.area_mm2, doubt))
        keep = a > 0
        n, a, q = n[keep], a[keep], q[keep]
        n_blocks.append(len(a))
        if len(a) < cfg.min_blocks:
            continue
        times = rng.multinomial(len(a), np.full(len(a), 1 / len(a)), -(-cfg.n_draws // cfg.n_origins)).astype(float)
        noise = rng.standard_normal(len(times)) * np.sqrt(times @ q)
        draws.append((times @ n + noise) / (times @ a))
    variance = float(np.mean([d.var() for d in draws])) if draws else 0.0
    n_draws = sum(len(d) for d in draws)
    return _Bootstrap(variance, step * lattice.side_um, round(float(np.mean(n_blocks))), n_draws)


def _blocks(plane: Plane, step: int, top: int, left: int) -> Plane:
    """Sums over square blocks of `step` cells, the first one begun `top` and `left` cells before the plane."""
    rows, cols = ((np.arange(n) + o) // step for n, o in zip(plane.shape, (top, left), strict=True))
    n_cols = int(cols[-1]) + 1
    cell = (rows[:, None] * n_cols + cols[None]).ravel()
    return np.asarray(np.bincount(cell, plane.ravel(), (int(rows[-1]) + 1) * n_cols), np.float64)


def _made(
    estimate: float,
    low: float,
    high: float,
    sd: float,
    df: float,
    boot: _Bootstrap,
    fit: Correlogram,
    cfg: IntervalConfig,
) -> Interval:
    few = boot.n_draws == 0
    note = f"fewer than {cfg.min_blocks} blocks: variance from the fitted covariance" if few else ""
    method = "covariance" if few else "block_bootstrap"
    blocks: dict[str, Any] = {"block_um": boot.block_um, "n_blocks": boot.n_blocks, "n_draws": boot.n_draws}
    how: dict[str, Any] = {"method": method, "df": df, "note": note}
    return Interval(low, high, sd, correlation_um=fit.length_um, estimate=estimate, **blocks, **how)
