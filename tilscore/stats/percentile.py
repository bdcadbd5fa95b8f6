"""Where one measured value stands in a reference sample: percentile with its interval, and robust z."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Floats = NDArray[np.float64]
N_NODES = 201
"""Points at which the measurement's own distribution is evaluated; more do not change the limits by 0.1 points."""
MAD_TO_SD = 1.4826
"""SD of a normal law in units of its median absolute deviation."""


@dataclass(frozen=True)
class Place:
    """Share of the reference that lies below a value, in percent, with its interval.

    Attributes
    ----------
    percentile : 0..100, ties count half. low, high : its interval. n : reference values.
    """

    percentile: float
    low: float
    high: float
    n: int


def place(value: float, reference: Floats, *, down: float = 0.0, up: float = 0.0, level: float = 0.95) -> Place:
    """Percentile of a measured value in the population from which `reference` was sampled.

    The true value is taken for normal on either side of `value` (SD `down` below and `up` above), and the share of the
    population below a point, given k of n reference values there, for Beta(k + 1/2, n - k + 1/2) (Jeffreys; Brown, Cai
    & DasGupta, Statistical Science 2001). The interval holds the middle `level` of the mixture of both. With `down =
    up = 0` it is Jeffreys' interval of a proportion. At 0 and 100 % it is closed by the percentile itself.

    Parameters
    ----------
    value, reference : the same unit; `reference` is (n,). down, up : SDs of the measurement error, at least 0.

    Raises
    ------
    ValueError : no reference, or a number out of its range.
    """
    ordered = np.sort(np.asarray(reference, np.float64))
    n = ordered.size
    if n == 0 or not (math.isfinite(value) and np.isfinite(ordered).all() and down >= 0 and up >= 0):
        raise ValueError(f"value {value}, {n} reference values, errors {down} and {up}")
    below = float(_below(ordered, np.array([value]))[0])
    z = stats.norm.ppf((np.arange(N_NODES) + 0.5) / N_NODES) if down or up else np.zeros(1)
    counts, weights = np.unique(_below(ordered, value + z * np.where(z < 0, down, up)), return_counts=True)
    tail = (1 - level) / 2
    limits = [_mixture_quantile(q, counts, weights / weights.sum(), n) for q in (tail, 1 - tail)]
    point = below / n
    return Place(100 * point, 100 * min(limits[0], point), 100 * max(limits[1], point), n)


def _below(ordered: Floats, values: Floats) -> Floats:
    """How many of the sorted reference lie below each value, ties half."""
    sides = [np.searchsorted(ordered, values, side="left"), np.searchsorted(ordered, values, side="right")]
    return np.asarray((sides[0] + sides[1]) / 2, np.float64)


def _mixture_quantile(q: float, counts: Floats, weights: Floats, n: int) -> float:
    """Quantile of a mixture of Beta(k + 1/2, n - k + 1/2) with these counts k and weights."""

    def excess(p: float) -> float:
        return float(weights @ special.betainc(counts + 0.5, n - counts + 0.5, p)) - q

    return float(optimize.brentq(excess, 0.0, 1.0, xtol=1e-6))


def median_and_spread(values: Floats) -> tuple[float, float]:
    """Median and robust SD, 1.4826 times the median absolute deviation (0 where over half the values are equal)."""
    middle = float(np.median(values))
    return middle, MAD_TO_SD * float(np.median(np.abs(values - middle)))
