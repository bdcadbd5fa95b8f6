"""From the plan to pixels: densities of two stains, then Beer and Lambert's law, focus and sensor noise."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tilscore.phantom.config import PhantomConfig
from tilscore.phantom.fields import NAMES
from tilscore.phantom.ground import Noise, fat_gap, paint_ground, smoothstep
from tilscore.phantom.layout import Phantom
from tilscore.phantom.nuclei import make_stamps
from tilscore.phantom.place import Ints, Nuclei
from tilscore.phantom.texture import Image, textures
from tilscore.space import Window

Points = NDArray[np.floating]

BLOCK_PX = 512
"""The slide is drawn in squares of this size, each always in the same way, whatever the window."""
_HALO_UM = 12.0
"""Margin of a block: it covers the widest blur and half a stamp."""
_HAEMATOXYLIN = (0.632, 0.700, 0.333)
_EOSIN = (0.120, 0.800, 0.590)
_OUT_OF_FOCUS_UM = 3.5
_COVER = ("tissue", "pen", "focus")
_GROUND = tuple(n for n in NAMES if n not in _COVER)


@dataclass(frozen=True)
class Stain:
    """Optics of one slide.

    Parameters
    ----------
    vectors : [2 3] natural-log density in red, green and blue per unit of haematoxylin and of eosin.
    white : [3] intensity of the empty glass.
    psf_um : sigma of the focus.
    noise : sigma of the sensor, in grey levels.
    """

    vectors: Image
    white: Image
    psf_um: float
    noise: float


def make_stain(cfg: PhantomConfig) -> Stain:
    """The stain of a slide: laboratories differ in hue, strength and focus."""
    rng = np.random.default_rng([cfg.seed, 4])
    jitter = rng.normal(0, 1, (2, 3)).clip(-2, 2) * [[0.022, 0.022, 0.035], [0.03, 0.03, 0.05]]
    vectors = np.maximum(np.array([_HAEMATOXYLIN, _EOSIN]) + cfg.stain * jitter, 0.02)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gain = np.exp(cfg.stain * rng.normal(0, 1, 2).clip(-1.8, 1.8) * [0.13, 0.20])
    white = np.array([242.0, 242.0, 242.0]) + cfg.stain * rng.uniform(-2, 2, 3) + cfg.stain * rng.uniform(-5, 4)
    psf_um = 0.34 + 0.10 * cfg.stain * float(rng.uniform(-1, 1))
    noise = float(rng.uniform(1.0, 2.2))
    return Stain((vectors * gain[:, None]).astype(np.float32), white.astype(np.float32), psf_um, noise)


class _Bins:
    """Nuclei by the block that they lie in."""

    def __init__(self, nuclei: Nuclei, block_um: float) -> None:
        self.nuclei = nuclei
        self.rows, self.cols = (np.floor(c / block_um).astype(np.int64) for c in (nuclei.y_um, nuclei.x_um))
        key = self._key(self.rows, self.cols)
        self.order = np.argsort(key, kind="stable")
        self.keys = key[self.order]

    @staticmethod
    def _key(row: Ints, col: Ints) -> Ints:
        return row * 100_000 + col

    def around(self, row: int, col: int) -> Ints:
        """Indices of the nuclei in the block and its neighbours, ascending."""
        parts = []
        for r in range(max(row - 1, 0), row + 2):
            first = np.searchsorted(self.keys, r * 100_000 + max(col - 1, 0), "left")
            last = np.searchsorted(self.keys, r * 100_000 + col + 1, "right")
            parts.append(self.order[first:last])
        return np.sort(np.concatenate(parts))


class Painter:
    """Draws the blocks of one phantom."""

    def __init__(self, phantom: Phantom) -> None:
        self.grid, self.fields = phantom.grid, phantom.fields
        self.mpp = phantom.grid.mpp
        self.stain = make_stain(phantom.cfg)
        self.ink = np.array(phantom.artefacts.pen_od, np.float32)
        self.textures = textures(phantom.look, self.mpp)
        self.stamps = make_stamps(phantom.look, self.mpp)
        block_um = BLOCK_PX * self.mpp
        self.layers = [_Bins(phantom.litter, block_um), _Bins(phantom.nuclei, block_um)]
        self.fat = cKDTree(phantom.adipocytes_um) if len(phantom.adipocytes_um) else None
        self.halo = 2 * int(np.ceil(_HALO_UM / self.mpp / 2))

    def block(self, row: int, col: int) -> NDArray[np.uint8]:
        """[BLOCK_PX BLOCK_PX 3] uint8 RGB."""
        y_px, x_px = row * BLOCK_PX - self.halo, col * BLOCK_PX - self.halo
        size = BLOCK_PX + 2 * self.halo
        y, x = ((np.arange(p, p + size) + 0.5) * self.mpp for p in (y_px, x_px))
        noise = Noise(self.textures, y_px, x_px, (size, size))
        f = self.fields.at(y, x, _COVER)
        light = np.tile(self.stain.white, (size, size, 1))
        if f["tissue"].max() > -4:
            f |= self.fields.at(y, x, _GROUND)
            density = self._density(f, noise, y, x, row, col)
            light *= np.exp(cv2.transform(density, -self.stain.vectors.T))
        if f["pen"].max() > -4:
            light *= self._through_ink(f["pen"], noise)
        return self._sensed(light, f["focus"], noise)

    def _density(self, f: dict[str, Image], noise: Noise, y: Points, x: Points, row: int, col: int) -> Image:
        gap = None
        if self.fat is not None and f["fat"].max() > -3:
            grid_x, grid_y = np.meshgrid(x[::2], y[::2])
            wave = np.float32(2.5) * noise.cloud[::2, ::2]
            coarse = fat_gap(self.fat, grid_y + wave, grid_x - wave, np.minimum(f["fat"], f["tissue"])[::2, ::2])
            gap = cv2.warpAffine(
                coarse, np.array([[0.5, 0, 0], [0, 0.5, 0]]), f["fat"].shape[::-1],
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
            ).astype(np.float32)  # fmt: skip
        density = paint_ground(f, noise, gap)
        for layer in self.layers:
            self._stamp(density, layer, row, col)
        return density

    def _stamp(self, density: Image, layer: _Bins, row: int, col: int) -> None:
        """Put the nuclei around a block onto its densities [h w 2]."""
        index = layer.around(row, col)
        size = len(density)
        place = [c[index] / self.mpp - p * BLOCK_PX + self.halo for c, p in
                 ((layer.nuclei.y_um, row), (layer.nuclei.x_um, col))]  # fmt: skip
        pixel = [np.floor(p).astype(np.int64) for p in place]
        shift = (2 * (place[0] - pixel[0])).astype(np.int64) * 2 + (2 * (place[1] - pixel[1])).astype(np.int64)
        columns = (layer.nuclei.variant[index], shift, *pixel)
        for v, s, y, x in zip(*(c.tolist() for c in columns), strict=True):
            stamp = self.stamps[v][s]
            top, left, n = y - stamp.half_px, x - stamp.half_px, len(stamp.through)
            y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + n, size), min(left + n, size)
            if y0 < y1 and x0 < x1:
                patch = density[y0:y1, x0:x1]
                part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
                patch *= stamp.through[part]
                patch += stamp.add[part]

    def _through_ink(self, pen: Image, noise: Noise) -> Image:
        cover = smoothstep(pen + 3 * noise.cloud + noise.mottle, -8, 8) * (
            np.float32(0.75) + np.float32(0.06) * noise.cloud
        )
        return np.exp(-cover[..., None] * self.ink)

    def _sensed(self, light: Image, focus: Image, noise: Noise) -> NDArray[np.uint8]:
        """Focus, uneven light, noise; without the halo."""
        sharp = cv2.GaussianBlur(light, (0, 0), self.stain.psf_um / self.mpp)
        if focus.max() > -40:
            soft = cv2.GaussianBlur(light, (0, 0), _OUT_OF_FOCUS_UM / self.mpp)
            sharp += smoothstep(focus, -30, 30)[..., None] * (soft - sharp)
        sharp += (np.float32(self.stain.noise) * noise.sensor + np.float32(0.5) * noise.cloud)[..., None]
        inner = sharp[self.halo : self.halo + BLOCK_PX, self.halo : self.halo + BLOCK_PX]
        return np.clip(np.rint(inner), 0, 255).astype(np.uint8)


_painters: weakref.WeakKeyDictionary[Phantom, Painter] = weakref.WeakKeyDictionary()


def draw_window(phantom: Phantom, window: Window) -> NDArray[np.uint8]:
    """Draw a window of level 0; a pixel is the same whichever window shows it.

    Parameters
    ----------
    window : on `phantom.grid`; white outside it.

    Returns
    -------
    [h w 3] uint8 RGB.
    """
    if window.grid != phantom.grid:
        raise ValueError(f"a phantom is drawn on its own grid {phantom.grid}, found {window.grid}")
    painter = _painters.get(phantom) or _painters.setdefault(phantom, Painter(phantom))
    out = np.full((*window.shape, 3), 255, np.uint8)
    inside = window.clip()
    for row in range(inside.y // BLOCK_PX, -(-(inside.y + inside.h) // BLOCK_PX)):
        for col in range(inside.x // BLOCK_PX, -(-(inside.x + inside.w) // BLOCK_PX)):
            y0, y1 = max(row * BLOCK_PX, inside.y), min((row + 1) * BLOCK_PX, inside.y + inside.h)
            x0, x1 = max(col * BLOCK_PX, inside.x), min((col + 1) * BLOCK_PX, inside.x + inside.w)
            top, left = row * BLOCK_PX, col * BLOCK_PX
            block = painter.block(row, col)[y0 - top : y1 - top, x0 - left : x1 - left]
            out[y0 - window.y : y1 - window.y, x0 - window.x : x1 - window.x] = block
    return out
