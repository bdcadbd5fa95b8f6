"""Kaplan-Meier curves with their medians, and the test of proportional hazards of a Cox model: as R has them.

lifelines, which fits the models, takes a later median where a curve stands at 1/2, gives 0 to 0 as limits where nobody
is left, and has the short form of the test alone (see `proportional_hazards_p`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
_ROUNDING = 1e-8
"""A share that differs by less from 1/2 is 1/2: products of shares carry rounding (R has the same tolerance)."""


@dataclass(frozen=True)
class Curve:
    """A Kaplan-Meier curve at time 0 and every time of an event or a censoring.

    Attributes
    ----------
    time, survival, low, high : (k,); limits are NaN where nobody is left without the event. n_at_risk : just before
    the time. n_events : at the time. median : (median, low, high), NaN where the curve or limit does not fall to 1/2.
    """

    time: Floats
    n_at_risk: NDArray[np.int64]
    n_events: NDArray[np.int64]
    survival: Floats
    low: Floats
    high: Floats
    median: tuple[float, float, float]


def kaplan_meier_curve(time: ArrayLike, event: ArrayLike, level: float = 0.95) -> Curve:
    """Product-limit estimate with Greenwood's error on the log-log scale (Kalbfleisch & Prentice 1980).

    The limits of the median are the times at which the limits of the curve fall to 1/2 (Brookmeyer & Crowley 1982).

    Parameters
    ----------
    time : (n,) at least 0. event : (n,) 1 or 0.
    """
    t, e = np.asarray(time, np.float64), np.asarray(event, np.float64) > 0
    at = np.union1d([0.0], t)
    n_at_risk = t.size - np.searchsorted(np.sort(t), at, side="left")
    n_events = np.array([int(e[t == one].sum()) for one in at])
    survival = np.asarray(np.cumprod(1 - n_events / n_at_risk), np.float64)
    left = n_at_risk - n_events
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.cumsum(n_events / (n_at_risk * np.where(left > 0, left, np.nan)))) / np.abs(np.log(survival))
        reach = np.exp(float(stats.norm.ppf(0.5 + level / 2)) * error)
        low, high = survival**reach, survival ** (1 / reach)
    limits = [np.asarray(np.where(survival == 1, 1.0, np.where(left > 0, v, np.nan)), np.float64) for v in (low, high)]
    median = (_half(at, survival), _half(at, limits[0]), _half(at, limits[1]))
    return Curve(at, n_at_risk, n_events, survival, limits[0], limits[1], median)


def _half(time: Floats, share: Floats) -> float:
    """When a falling curve is at 1/2: where it stays there for a while, the middle of that while; NaN: never."""
    reached = np.flatnonzero(share < 0.5 + _ROUNDING)
    if reached.size == 0:
        return math.nan
    first = reached[0]
    below = np.flatnonzero(share < share[first] - _ROUNDING)
    flat = abs(share[first] - 0.5) < _ROUNDING and below.size > 0
    return float(time[first] + time[below[0]]) / 2 if flat else float(time[first])


def proportional_hazards_p(x: ArrayLike, time: ArrayLike, event: ArrayLike, beta: ArrayLike) -> Floats:
    """p of each coefficient being the same at all times, against one that changes with the share of events so far.

    That share is 1 - the Kaplan-Meier curve of all just before the time, as R's `cox.zph` takes it. The score test of
    Grambsch & Therneau 1994 with the information at each event as it is; its short form takes the same for all events,
    which is far off where a covariate is rare. Ties after Efron, as in the fit.

    Parameters
    ----------
    x : (n, k) covariates. time, event : (n,). beta : (k,) the fit's coefficients.

    Returns
    -------
    (k,) p, NaN where the events tell nothing of it.
    """
    z, t, e = np.asarray(x, np.float64), np.asarray(time, np.float64), np.asarray(event, np.float64) > 0
    k = z.shape[1]
    z = z - z.mean(0)
    weight = np.exp(z @ np.asarray(beta, np.float64))
    curve = kaplan_meier_curve(t, e)
    so_far = 1 - np.r_[1.0, curve.survival][np.searchsorted(curve.time, t, side="left")]
    so_far = so_far - so_far[e].mean()
    score, plain, cross, square = np.zeros(k), np.zeros((k, k)), np.zeros((k, k)), np.zeros((k, k))
    for one in np.unique(t[e]):
        risk, died = t >= one, e & (t == one)
        d, g = int(died.sum()), float(so_far[died][0])
        for tied in range(d):
            w = np.where(died, weight * (1 - tied / d), weight)[risk]
            w = w / w.sum()
            mean = w @ z[risk]
            spread = (z[risk] * w[:, None]).T @ z[risk] - np.outer(mean, mean)
            score += g * (z[died].mean(0) - mean)
            plain, cross, square = plain + spread, cross + g * spread, square + g * g * spread
    left = np.diag(square - cross @ np.linalg.pinv(plain) @ cross)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(stats.chi2.sf(np.where(left > 1e-12 * np.diag(square), score**2 / left, np.nan), 1))
