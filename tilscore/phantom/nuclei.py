"""A bank of nuclei: their shapes, and their stamps as optical density of haematoxylin and eosin."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.labels import Cell
from tilscore.phantom.texture import Image, periodic_noise

_SS = 4
"""Stamps are computed on a grid this many times finer than the slide's."""


class Kind(IntEnum):
    """What a stamp shows; the kinds without a cell class are litter that nobody counts."""

    LYMPHOCYTE = 0
    PLASMA = 1
    TUMOUR = 2
    SPINDLE = 3
    DEBRIS = 4
    CAPILLARY = 5


LABEL = {
    Kind.LYMPHOCYTE: Cell.INFLAMMATORY,
    Kind.PLASMA: Cell.INFLAMMATORY,
    Kind.TUMOUR: Cell.EPITHELIAL,
    Kind.SPINDLE: Cell.STROMAL,
}
_COUNT = {
    Kind.LYMPHOCYTE: 96,
    Kind.PLASMA: 48,
    Kind.TUMOUR: 180,
    Kind.SPINDLE: 192,
    Kind.DEBRIS: 32,
    Kind.CAPILLARY: 40,
}
_N_PHI = 360
N_ANGLES = 24
"""Directions of the spindle nuclei, over half a turn."""
_REACH_UM = {
    Kind.LYMPHOCYTE: 2.4,
    Kind.PLASMA: 4.2,
    Kind.TUMOUR: 4.4,
    Kind.SPINDLE: 3.0,
    Kind.DEBRIS: 1.0,
    Kind.CAPILLARY: 3.0,
}
"""What a stamp shows beyond its nucleus."""


@dataclass(frozen=True)
class Bank:
    """Shapes of all variants, one entry each in every column.

    Parameters
    ----------
    kind : [n] int8, values of `Kind`.
    a_um, b_um : [n] half axes of the ellipse that holds the nucleus.
    theta : [n] angle of the long axis, radians from x towards y.
    wobble : [n 4 2] amplitude and phase of the outline's harmonics 2 to 5.
    area_um2 : [n] area of the nucleus as drawn.
    """

    seed: int
    kind: NDArray[np.int8]
    a_um: NDArray[np.float64]
    b_um: NDArray[np.float64]
    theta: NDArray[np.float64]
    wobble: NDArray[np.float64]
    area_um2: NDArray[np.float64]

    def of(self, kind: Kind) -> NDArray[np.int64]:
        """Indices of the variants of one kind."""
        return np.flatnonzero(self.kind == kind)


@dataclass(frozen=True)
class Stamp:
    """What a nucleus does to the densities below: `through` keeps a share of them, `add` comes on top.

    Parameters
    ----------
    through : [n n 1] float32; add : [n n 2] float32 of haematoxylin and eosin.
    half_px : the nucleus's pixel lies at [half_px half_px].
    """

    through: Image
    add: Image
    half_px: int


def _half_axes(kind: Kind, n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half axes in um: lymphocytes 5.5 to 7.1 um across, tumour nuclei 7 to 13, spindles 12 to 20 x 3 to 4."""
    if kind == Kind.LYMPHOCYTE:
        r, aspect = rng.uniform(2.75, 3.55, n), rng.uniform(1.0, 1.16, n)
    elif kind == Kind.PLASMA:
        r, aspect = rng.uniform(3.0, 3.7, n), rng.uniform(1.0, 1.2, n)
    elif kind == Kind.TUMOUR:
        r, aspect = np.linspace(3.4, 6.6, n), rng.uniform(1.03, 1.55, n)
    elif kind == Kind.SPINDLE:
        a, b = rng.uniform(5.5, 10.0, n), rng.uniform(1.35, 2.3, n)
        return a, b
    elif kind == Kind.DEBRIS:
        r, aspect = rng.uniform(0.5, 1.7, n), rng.uniform(1.0, 1.5, n)
    else:
        r, aspect = rng.uniform(3.0, 6.0, n), rng.uniform(1.1, 2.2, n)
    return r * np.sqrt(aspect), r / np.sqrt(aspect)


def _relative_radius(wobble: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radius of the outline against its ellipse, at most 1, at `_N_PHI` angles: [n _N_PHI] of wobble [n 4 2]."""
    phi = np.arange(_N_PHI) * (2 * np.pi / _N_PHI)
    waves = wobble[..., 0, None] * np.cos(np.arange(2, 6)[:, None] * phi + wobble[..., 1, None])
    return np.asarray((1 + waves.sum(-2)) / (1 + wobble[..., 0].sum(-1))[..., None])


@lru_cache(maxsize=8)
def make_bank(seed: int) -> Bank:
    """The variants of one look."""
    rng = np.random.default_rng([seed, 5])
    kinds, a, b, theta, wobble = [], [], [], [], []
    for kind, n in _COUNT.items():
        half = _half_axes(kind, n, rng)
        kinds.append(np.full(n, kind, np.int8))
        a.append(half[0])
        b.append(half[1])
        spread = (np.arange(n) % N_ANGLES) * np.pi / N_ANGLES
        theta.append(spread if kind == Kind.SPINDLE else rng.uniform(0, np.pi, n))
        strength = 0.055 if kind in (Kind.TUMOUR, Kind.DEBRIS) else 0.04
        amplitude = np.abs(rng.normal(0, strength, (n, 4))) / np.arange(1, 5) ** 0.7
        wobble.append(np.stack([amplitude, rng.uniform(0, 2 * np.pi, (n, 4))], axis=-1))
    kind_, a_, b_, theta_, wobble_ = (np.concatenate(c) for c in (kinds, a, b, theta, wobble))
    area = np.pi * a_ * b_ * (_relative_radius(wobble_) ** 2).mean(-1)
    return Bank(seed, kind_, a_, b_, theta_, wobble_, area)


@lru_cache(maxsize=8)
def make_stamps(seed: int, mpp: float) -> list[tuple[Stamp, ...]]:
    """For each variant of the bank four stamps: centres at a quarter or three quarters of a pixel in y and x."""
    bank = make_bank(seed)
    rng = np.random.default_rng([seed, 6])
    fine = mpp / _SS
    chromatin = 0.7 * periodic_noise(rng, 0.35 / fine, 0.35 / fine, 512)
    chromatin = (chromatin + 0.7 * periodic_noise(rng, 0.8 / fine, 0.8 / fine, 512)).astype(np.float32)
    return [_stamps_of(bank, i, mpp, chromatin, rng) for i in range(len(bank.kind))]


def _stamps_of(bank: Bank, i: int, mpp: float, chromatin: Image, rng: np.random.Generator) -> tuple[Stamp, ...]:
    kind = Kind(bank.kind[i])
    reach_um = _REACH_UM[kind] + float(bank.a_um[i])
    half = int(np.ceil(reach_um / mpp)) + 1
    n = (2 * half + 1) * _SS
    # centre at a quarter of pixel `half`; the extra half pixel at the start gives the other shifts
    axis = ((np.arange(n + _SS // 2) + 0.5) / _SS - (half + 0.75)).astype(np.float32)
    dy, dx = (axis * mpp)[:, None], (axis * mpp)[None, :]
    c, s = np.float32(np.cos(bank.theta[i])), np.float32(np.sin(bank.theta[i]))
    x, y = dx * c + dy * s, dy * c - dx * s
    j, k = rng.integers(0, 512, 2)
    size = n + _SS // 2
    texture = chromatin[np.ix_((np.arange(size) + j) % 512, (np.arange(size) + k) % 512)]
    through, h, e = _PAINT[kind](bank, i, x, y, texture, rng)
    layers = np.stack(np.broadcast_arrays(through, h, e), axis=-1).astype(np.float32)
    return tuple(_shrink(layers, ky, kx, n, half) for ky in (0, 1) for kx in (0, 1))


def _shrink(layers: Image, ky: int, kx: int, n: int, half: int) -> Stamp:
    y0, x0 = (1 - ky) * _SS // 2, (1 - kx) * _SS // 2
    cut = layers[y0 : y0 + n, x0 : x0 + n]
    m = n // _SS
    mean = cv2.resize(np.ascontiguousarray(cut), (m, m), interpolation=cv2.INTER_AREA)
    return Stamp(np.ascontiguousarray(mean[..., :1]), np.ascontiguousarray(mean[..., 1:]), half)


Layers = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]
"""[h w] each: the share of the densities below that stays, added haematoxylin, added eosin."""


def _edge(inside_um: Image, soft_um: float = 0.35) -> Image:
    """0 outside to 1 inside over about 2 `soft_um`."""
    t = np.clip(inside_um / (2 * soft_um) + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _inside(bank: Bank, i: int, x: Image, y: Image) -> Image:
    """Distance to the outline in um, about; positive inside."""
    a, b = float(bank.a_um[i]), float(bank.b_um[i])
    x, y = x / a, y / b
    phi = np.arctan2(y, x) * (_N_PHI / (2 * np.pi))
    radius = _relative_radius(bank.wobble[i]).astype(np.float32)
    q = np.hypot(x, y) / radius[np.rint(phi).astype(np.int32) % _N_PHI]
    return np.asarray((1 - q) * (a * b) ** 0.5)


def _lymphocyte(bank: Bank, i: int, x: Image, y: Image, t: Image, rng: np.random.Generator) -> Layers:
    d = _inside(bank, i, x, y)
    nucleus = _edge(d)
    h = rng.uniform(1.45, 2.1) * (1 + rng.uniform(0.12, 0.28) * t + 0.12 * np.exp(-((d - 0.4) ** 2) / 0.25))
    rim = _edge(d + rng.uniform(0.3, 1.3) + 0.25 * t, 0.5) - nucleus
    halo = rng.uniform(0.0, 0.6) * (_edge(d + 1.8 + 0.3 * t, 0.9) - nucleus)
    return 1 - np.clip(nucleus + halo, 0, 1), nucleus * h + rim * 0.20, nucleus * 0.20 + rim * 0.10


def _plasma(bank: Bank, i: int, x: Image, y: Image, t: Image, rng: np.random.Generator) -> Layers:
    d = _inside(bank, i, x, y)
    nucleus = _edge(d)
    phi = np.arctan2(y, x)
    clock = 0.16 * np.cos(float(rng.integers(5, 8)) * phi + rng.uniform(0, 6)) * np.clip(1.4 - np.abs(d - 1.0), 0, 1)
    h = rng.uniform(1.45, 1.9) * (1 + clock + 0.12 * t + 0.18 * np.exp(-((d - 0.4) ** 2) / 0.2))
    shift, angle = rng.uniform(1.6, 2.4), rng.uniform(0, 2 * np.pi)
    cx, cy = x - shift * float(np.cos(angle)), y - shift * float(np.sin(angle))
    body = _edge(rng.uniform(4.6, 5.2) - np.hypot(cx, cy), 0.5) * (1 - nucleus)
    hof = np.exp(-(np.hypot(cx, cy) ** 2) / 2.2)
    cyto = body * (1 + 0.12 * t - 0.45 * hof)
    return 1 - np.clip(nucleus + 0.9 * body, 0, 1), nucleus * h + cyto * 0.50, nucleus * 0.15 + cyto * 0.34


def _tumour(bank: Bank, i: int, x: Image, y: Image, t: Image, rng: np.random.Generator) -> Layers:
    d = _inside(bank, i, x, y)
    nucleus = _edge(d)
    vesicular = rng.beta(1.8, 1.8)
    membrane = (0.15 + 0.35 * vesicular) * np.exp(-((d - 0.35) ** 2) / 0.18)
    h = (1.72 - 0.85 * vesicular) * (1 + (0.14 + 0.12 * vesicular) * t) + membrane
    for _ in range(rng.choice(3, p=[0.35, 0.45, 0.2])):
        cx, cy = rng.uniform(-0.4, 0.4) * float(bank.a_um[i]), rng.uniform(-0.4, 0.4) * float(bank.b_um[i])
        h = h + 0.8 * _edge(rng.uniform(0.5, 1.0) - np.hypot(x - cx, y - cy), 0.3)
    # cytoplasm: denser next to the nucleus, a broken paler gap to the neighbour
    body = _edge(d + 2.6 + 0.5 * t, 1.6) - nucleus
    phi = np.arctan2(y, x)
    broken = np.clip(0.6 * np.cos(phi + rng.uniform(0, 6)) + 0.7 * np.cos(3 * phi + rng.uniform(0, 6)), 0, 1)
    gap = np.exp(-((d + rng.uniform(2.2, 3.6) + 0.4 * t) ** 2) / 0.7) * rng.uniform(0.1, 0.85) * broken
    return 1 - np.clip(nucleus + gap, 0, 1), nucleus * h + body * 0.06, nucleus * 0.2 + body * 0.05


def _spindle(bank: Bank, i: int, x: Image, y: Image, t: Image, rng: np.random.Generator) -> Layers:
    a, b = float(bank.a_um[i]), float(bank.b_um[i])
    bend, wave = rng.normal(0, 0.16) * b, rng.normal(0, 0.14) * b
    y = y - bend * ((x / a) ** 2 * 2 - 1) - wave * np.sin(np.pi * x / a)
    blunt = np.clip(1 - np.abs(x / a) ** rng.uniform(1.6, 3.0), 0, 1) ** rng.uniform(0.55, 0.9)
    d = np.minimum((b - abs(bend) - abs(wave)) * blunt * (1 + 0.06 * t) - np.abs(y), (a - np.abs(x)) * 0.6)
    nucleus = _edge(d, 0.38)
    pale = rng.beta(1.6, 1.6)
    h = (1.75 - 0.95 * pale) * (1 + 0.18 * t) + (0.1 + 0.25 * pale) * np.exp(-((d - 0.3) ** 2) / 0.1)
    # cytoplasm drawn out beyond the tips
    tail = np.exp(-((y / (0.45 * b)) ** 2) - (x / (1.2 * a)) ** 4) * (1 - nucleus)
    return 1 - nucleus, nucleus * h + tail * 0.10, nucleus * 0.26 + tail * 0.10


def _debris(bank: Bank, i: int, x: Image, y: Image, t: Image, rng: np.random.Generator) -> Layers:
    nucleus = _edge(_inside(bank, i, x, y), 0.4)
    return 1 - nucleus, nucleus * rng.uniform(0.7, 1.9), nucleus * 0.35


def _capillary(bank: Bank, i: int, x: Image, y: Image, t: Image, rng: np.random.Generator) -> Layers:
    d = _inside(bank, i, x, y)
    lumen = _edge(d, 0.5)
    wall = np.exp(-((d + 0.7) ** 2) / 0.6)
    red = np.zeros_like(d)
    for _ in range(rng.poisson(0.35 * bank.area_um2[i] / 28)):
        cx, cy = rng.uniform(-0.7, 0.7) * float(bank.a_um[i]), rng.uniform(-0.7, 0.7) * float(bank.b_um[i])
        one = rng.uniform(2.2, 3.0) - np.hypot((x - cx) * rng.uniform(0.9, 1.3), y - cy)
        red = np.maximum(red, _edge(one, 0.3) * (0.8 + 0.25 * np.exp(-((one - 0.7) ** 2) / 0.5)))
    red = red * lumen
    return 1 - np.clip(lumen + 0.5 * wall, 0, 1), lumen * 0.03 + wall * 0.12, 0.03 * lumen + red * 0.95 + wall * 0.32


_PAINT = {
    Kind.LYMPHOCYTE: _lymphocyte,
    Kind.PLASMA: _plasma,
    Kind.TUMOUR: _tumour,
    Kind.SPINDLE: _spindle,
    Kind.DEBRIS: _debris,
    Kind.CAPILLARY: _capillary,
}
