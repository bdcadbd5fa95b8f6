"""A non-decreasing map from a score to percent, with a prediction interval, fitted to few cases without overfitting.

The map: cases are cut by quantiles of x into bins, the bins' means are made monotone by isotonic regression (Barlow et
al. 1972) and joined by the monotone cubic of Fritsch & Carlson 1980. The number of bins is chosen by cross-validation
over groups. The interval is conformal: out-of-fold residuals, divided by a scale that grows with the fitted value, give
the quantile (Lei et al. 2018; cross-conformal, Vovk 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from tilscore.stats.agreement import Floats

TOP = 100.0
N_FOLDS = 5
BINS = (2, 3, 4, 5, 6, 8, 10, 14)
LEAST_IN_BIN = 4
GRID = 101
SEED = 20240229


class Shape(NamedTuple):
    """How smooth the map is: bins, and whether it goes on beyond the outer ones or stays level."""

    n_bins: int
    goes_on: bool


@dataclass(frozen=True)
class MonotoneFit:
    """Knots between which the map is linear; beyond them it stays level.

    Parameters
    ----------
    x : [k] increasing. y : [k] non-decreasing, 0..100. low, high : [k] limits of a new case's value, non-decreasing.
    shape : the smoothing that cross-validation chose.
    """

    x: Floats
    y: Floats
    low: Floats
    high: Floats
    shape: Shape

    def __call__(self, x: Floats) -> Floats:
        """The map at `x`."""
        return np.interp(x, self.x, self.y)

    def interval(self, x: Floats) -> tuple[Floats, Floats]:
        """Prediction limits at `x`."""
        return np.interp(x, self.x, self.low), np.interp(x, self.x, self.high)


def folds(group: NDArray[np.intp], n_folds: int, seed: int = SEED) -> NDArray[np.intp]:
    """Fold of each case: groups are dealt in random order, so that a group is never split."""
    n_groups = int(group.max()) + 1
    deal = np.arange(n_groups) % n_folds
    np.random.default_rng(seed).shuffle(deal)
    return np.asarray(deal[group], np.intp)


def bin_means(x: Floats, y: Floats, n_bins: int) -> tuple[Floats, Floats]:
    """Mean x and isotonic mean y of quantile bins; equal x are never split."""
    _, index, counts = np.unique(x, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    bins = np.unique(np.minimum((middle / len(x) * n_bins).astype(int), n_bins - 1), return_inverse=True)[1][index]
    size = np.bincount(bins)
    mean_x, mean_y = np.bincount(bins, x) / size, np.bincount(bins, y) / size
    return mean_x, np.clip(isotonic_regression(mean_y, weights=size).x, 0, TOP)


def smooth(x: Floats, y: Floats, shape: Shape) -> tuple[Floats, Floats]:
    """The map as knots on an even grid over the range of x: monotone cubic through the bins' means.

    Beyond the outer bins it stays level, or goes on with the slope of the outer two (`shape.goes_on`), within 0..100.
    """
    bx, by = bin_means(x, y, shape.n_bins)
    grid = np.linspace(x.min(), x.max(), GRID)
    if len(bx) < 2:
        return grid, np.full(GRID, by[0])
    inside = np.clip(grid, bx[0], bx[-1])
    values = np.interp(inside, bx, by) if len(bx) == 2 else PchipInterpolator(bx, by)(inside)
    if shape.goes_on:
        slope = np.diff(by) / np.diff(bx)
        values = values + np.minimum(grid - bx[0], 0) * slope[0] + np.maximum(grid - bx[-1], 0) * slope[-1]
    return grid, np.maximum.accumulate(np.clip(values, 0, TOP))


def allowed_shapes(n: int) -> list[Shape]:
    """Shapes that leave enough cases in each bin, simplest first."""
    counts = [b for b in BINS if n >= LEAST_IN_BIN * b] or [1]
    return [Shape(b, goes_on) for b in counts for goes_on in (False, True)]


def fit(x: Floats, y: Floats, group: NDArray[np.intp], level: float = 0.95, seed: int = SEED) -> MonotoneFit:
    """Map and interval from cases `x` [n], truth `y` [n] in percent; cases of a `group` stay in one fold."""
    n_folds = min(N_FOLDS, int(group.max()) + 1)
    fold = folds(group, n_folds, seed)
    shapes = allowed_shapes(int(len(x) * (1 - 1 / n_folds)))
    predicted = np.zeros((len(shapes), len(x)))
    for k in range(n_folds):
        out = fold == k
        for c, shape in enumerate(shapes):
            predicted[c, out] = np.interp(x[out], *smooth(x[~out], y[~out], shape))
    errors = ((predicted - y) ** 2).mean(1)
    best = int(np.argmax(errors <= errors.min() * (1 + 1e-9) + 1e-12))
    knots_x, knots_y = smooth(x, y, shapes[best])
    scale, factor = _residual_scale(predicted[best], y, level)
    half = factor * scale(knots_y)
    low = np.minimum.accumulate(np.clip(knots_y - half, 0, TOP)[::-1])[::-1]
    high = np.maximum.accumulate(np.clip(knots_y + half, 0, TOP))
    return MonotoneFit(knots_x, knots_y, low, high, shapes[best])


class _Scale:
    """Typical |residual| at a fitted value: isotonic over bins, not below a quarter of the mean."""

    def __init__(self, fitted: Floats, size: Floats) -> None:
        self.x, self.y = bin_means(fitted, size, max(1, min(4, len(size) // 10)))
        self.floor = max(float(size.mean()) / 4, 1e-9)

    def __call__(self, fitted: Floats) -> Floats:
        return np.maximum(np.interp(fitted, self.x, self.y), self.floor)


def _residual_scale(fitted: Floats, y: Floats, level: float) -> tuple[_Scale, float]:
    size = np.abs(y - fitted)
    scale = _Scale(fitted, size)
    n = len(y)
    rank = min(n, int(np.ceil((n + 1) * level)))
    return scale, float(np.sort(size / scale(fitted))[rank - 1])


@dataclass(frozen=True)
class HeldOut:
    """Predictions of cases that their fit has not seen (outer folds of a nested cross-validation).

    Parameters
    ----------
    predicted, low, high : [n] percent. constant : [n] mean truth of the same training folds. shapes :
    chosen in each fold.
    """

    predicted: Floats
    low: Floats
    high: Floats
    constant: Floats
    shapes: tuple[Shape, ...]


def nested(x: Floats, y: Floats, group: NDArray[np.intp], level: float = 0.95, seed: int = SEED) -> HeldOut:
    """Nested cross-validation: every choice of `fit` is made again without the fold that is predicted."""
    n_folds = min(N_FOLDS, int(group.max()) + 1)
    fold = folds(group, n_folds, seed + 1)
    found = np.zeros((4, len(x)))
    chosen = []
    for k in range(n_folds):
        out = fold == k
        inner = np.unique(group[~out], return_inverse=True)[1]
        map_ = fit(x[~out], y[~out], inner, level, seed)
        chosen.append(map_.shape)
        found[:, out] = map_(x[out]), *map_.interval(x[out]), np.full(int(out.sum()), y[~out].mean())
    return HeldOut(found[0], found[1], found[2], found[3], tuple(chosen))
