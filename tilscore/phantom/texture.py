"""Noise that depends on the position alone, so that every window over a slide shows the same pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Image = NDArray[np.float32]
"""[h w] float32."""

_SPLINE_STD = 0.479
"""Standard deviation of white unit noise after cubic B-spline interpolation in two dimensions."""
_TILE_PX = 1024
_FIBRE_TEXEL_UM = (2.0, 0.5)
"""Size of a texel of the collagen texture along and across the fibre."""


def spline_weights(position: NDArray[np.floating]) -> tuple[int, csr_array]:
    """Cubic B-spline weights of lattice nodes for points along one axis.

    Parameters
    ----------
    position : [n], in lattice steps, ascending.

    Returns
    -------
    first : index of the first node that is used.
    weights : [n m] sparse float32, four in each row, which sum to 1.
    """
    cell = np.floor(position).astype(np.int64)
    t = position - cell
    first, shape = int(cell[0]) - 1, (len(position), int(cell[-1]) - int(cell[0]) + 4)
    terms = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    values = (np.stack(terms, axis=1) / 6).astype(np.float32)
    nodes = (cell - 1 - first)[:, None] + np.arange(4)
    return first, csr_array((values.ravel(), nodes.ravel(), 4 * np.arange(len(position) + 1)), shape=shape)


def interpolate(lattice: Image, y: NDArray[np.floating], x: NDArray[np.floating]) -> Image:
    """Smooth values of `lattice` [n hl wl] at the rows `y` and columns `x` (in steps): [n len(y) len(x)].

    Sparse weights keep to one thread; a dense product would start all threads for sums of this size.
    """
    y_first, y_weights = spline_weights(y)
    x_first, x_weights = spline_weights(x)
    rows = np.clip(np.arange(y_first, y_first + y_weights.shape[1]), 0, lattice.shape[1] - 1)
    cols = np.clip(np.arange(x_first, x_first + x_weights.shape[1]), 0, lattice.shape[2] - 1)
    local = lattice[:, rows[:, None], cols[None, :]].transpose(2, 1, 0)
    wl, hl, n = local.shape
    along_x = (x_weights @ np.ascontiguousarray(local).reshape(wl, hl * n)).reshape(len(x), hl, n)
    both = y_weights @ np.ascontiguousarray(along_x.transpose(1, 2, 0)).reshape(hl, n * len(x))
    return np.asarray(both.reshape(len(y), n, len(x)).transpose(1, 0, 2), np.float32)


def lattice_noise(rng: np.random.Generator, shape: tuple[int, int], step_um: float, cell_um: float) -> Image:
    """Smooth noise of mean 0 and variance about 1 on a lattice of `step_um`, with features of about 2 `cell_um`."""
    ratio = step_um / cell_um
    coarse = rng.standard_normal((int(shape[0] * ratio) + 5, int(shape[1] * ratio) + 5), np.float32)
    shift = rng.random(2)
    y, x = (np.arange(n) * ratio + 1 + s for n, s in zip(shape, shift, strict=True))
    return np.asarray(interpolate(coarse[None], y, x)[0] / np.float32(_SPLINE_STD), np.float32)


def fbm(rng: np.random.Generator, shape: tuple[int, int], step_um: float, cell_um: float, octaves: int = 3) -> Image:
    """Sum of `octaves` of `lattice_noise`, each half as wide and half as strong as the last."""
    parts = [lattice_noise(rng, shape, step_um, cell_um / 2**k) * np.float32(0.5**k) for k in range(octaves)]
    return np.asarray(np.sum(parts, axis=0) / np.sqrt(sum(0.25**k for k in range(octaves))), np.float32)


def periodic_noise(rng: np.random.Generator, sigma_y: float, sigma_x: float, size: int = _TILE_PX) -> Image:
    """[size size] Gaussian noise of mean 0 and variance 1 that wraps around, smoothed by these sigmas in texels."""
    f = np.fft.fftfreq(size)
    r = np.fft.rfftfreq(size)
    keep = np.exp(-2 * np.pi**2 * ((sigma_y * f[:, None]) ** 2 + (sigma_x * r[None, :]) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * keep, (size, size))
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


@dataclass(frozen=True)
class Textures:
    """Tiles that wrap around, one texel per pixel of the slide, except for the two of collagen."""

    sensor: Image
    grain: Image
    mottle: Image
    cloud: Image
    bundles: Image
    fibrils: Image

    @staticmethod
    def at(tile: Image, y_px: int, x_px: int, shape: tuple[int, int]) -> Image:
        """The window of `shape` at this pixel of the slide."""
        rows = np.arange(y_px, y_px + shape[0]) % len(tile)
        cols = np.arange(x_px, x_px + shape[1]) % len(tile)
        return tile[rows[:, None], cols[None, :]]

    @staticmethod
    def along(tile: Image, u_um: Image, v_um: Image) -> Image:
        """A collagen texture under the fibre coordinates u (along) and v (across)."""
        size = len(tile)
        u, v = u_um / np.float32(_FIBRE_TEXEL_UM[0]), v_um / np.float32(_FIBRE_TEXEL_UM[1])
        u -= np.float32(np.floor(u.min() / size) * size)
        v -= np.float32(np.floor(v.min() / size) * size)
        return np.asarray(cv2.remap(tile, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


@lru_cache(maxsize=8)
def textures(seed: int, mpp: float) -> Textures:
    """The textures of one look; few seeds are enough, since the layout differs."""
    rng = np.random.default_rng([seed, 77])

    def round_noise(sigma_um: float) -> Image:
        return periodic_noise(rng, sigma_um / mpp, sigma_um / mpp)

    def streaks(across_um: float, along_um: float) -> Image:
        return periodic_noise(rng, across_um / _FIBRE_TEXEL_UM[1], along_um / _FIBRE_TEXEL_UM[0])

    bundles = 0.75 * streaks(3.2, 26) + 0.65 * streaks(1.5, 14)
    fibrils = 0.7 * streaks(0.55, 6.5) + 0.7 * streaks(0.8, 4)
    return Textures(
        round_noise(0.0), round_noise(0.45), round_noise(1.6), round_noise(7.0), bundles, fibrils.astype(np.float32)
    )
