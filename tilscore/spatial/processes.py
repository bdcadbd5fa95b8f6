"""Point processes with known theory, drawn to prove statistics on: Poisson, Thomas, log-Gaussian Cox.

Lengths are in microns, intensities per mm2. Points are given as [n 2] (x, y) in a box from the origin.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

Points = NDArray[np.float64]
UM2_PER_MM2 = 1e6


def poisson(rng: np.random.Generator, per_mm2: float, width_um: float, height_um: float) -> Points:
    """A homogeneous Poisson process in a box."""
    n = rng.poisson(per_mm2 * width_um * height_um / UM2_PER_MM2)
    return rng.uniform((0.0, 0.0), (width_um, height_um), (n, 2))


def thomas(
    rng: np.random.Generator,
    per_mm2: float,
    width_um: float,
    height_um: float,
    *,
    parents_per_mm2: float,
    sigma_um: float,
) -> Points:
    """A Thomas process in a box: Poisson parents, each with a Poisson number of normally scattered offspring.

    Parents are drawn up to 4 sigma outside, so the process is stationary in the box.
    """
    pad = 4 * sigma_um
    parents = poisson(rng, parents_per_mm2, width_um + 2 * pad, height_um + 2 * pad) - pad
    n = rng.poisson(per_mm2 / parents_per_mm2, len(parents))
    points = np.repeat(parents, n, axis=0) + rng.normal(0.0, sigma_um, (int(n.sum()), 2))
    return points[((points >= 0) & (points < (width_um, height_um))).all(1)]


def log_gaussian_cox(
    rng: np.random.Generator,
    per_mm2: float,
    width_um: float,
    height_um: float,
    *,
    variance: float,
    correlation: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    step_um: float = 20.0,
) -> Points:
    """A log-Gaussian Cox process in a box: Poisson given a log-normal intensity of mean `per_mm2`.

    Parameters
    ----------
    variance : of the log intensity. correlation : of the log intensity as a function of the distance in microns.
    step_um : side of the squares in which the intensity is constant.
    """
    shape = int(np.ceil(height_um / step_um)), int(np.ceil(width_um / step_um))
    log = np.sqrt(variance) * gaussian_field(rng, shape, step_um, correlation) - variance / 2
    n = rng.poisson(per_mm2 * np.exp(log) * step_um**2 / UM2_PER_MM2)
    row, col = (np.repeat(i, n.ravel()) for i in np.indices(shape).reshape(2, -1))
    points = (np.stack([col, row], 1) + rng.random((len(row), 2))) * step_um
    return points[(points < (width_um, height_um)).all(1)]


def gaussian_field(
    rng: np.random.Generator,
    shape: tuple[int, int],
    step_um: float,
    correlation: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """[h w] a stationary Gaussian field of mean 0 and variance 1 (circulant embedding, Wood and Chan 1994)."""
    size = [next_fast_len(2 * n, real=True) for n in shape]
    away = [np.minimum(np.arange(n), n - np.arange(n)) * step_um for n in size]
    power = np.maximum(rfft2(correlation(np.hypot(away[0][:, None], away[1][None]))).real, 0.0)
    field = irfft2(np.sqrt(power) * rfft2(rng.standard_normal(size)), size)
    return np.asarray(field[: shape[0], : shape[1]])
