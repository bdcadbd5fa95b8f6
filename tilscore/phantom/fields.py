"""Where tissue, tumour, fat, necrosis and lumens lie: smooth fields on a lattice, in microns from their edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max

from tilscore.labels import Region
from tilscore.masks import large
from tilscore.phantom.config import PhantomConfig
from tilscore.phantom.texture import Image, fbm, interpolate, lattice_noise

STEP_UM = 8.0
"""Lattice step of every field."""
PAD = 4
"""Lattice steps beyond each edge of the slide."""
NAMES = ("tissue", "tumour", "fat", "necrosis", "lumen", "u", "v", "dense", "tone", "loose", "pen", "focus")
"""The fields, in the order of the first axis of the stack. The first five are distances in um, positive inside."""
_CLIP_UM = 30.0
_SMALLEST_NEST_UM2 = 900.0
_REACH_UM = 170.0
"""No stroma is much farther from a nest than this: well inside the 250 um of a tumour bed."""
_SATELLITE_UM = 62.0
"""Radius of the nests that are added for it: large enough to count as tumour by themselves."""


class Fields:
    """All fields of a slide, on one lattice.

    Parameters
    ----------
    stack : [n hl wl] float32 in the order of `NAMES`; node (j, i) lies at ((i - PAD) STEP_UM, (j - PAD) STEP_UM).
    """

    def __init__(self, stack: Image) -> None:
        self.stack = stack

    def __getitem__(self, name: str) -> Image:
        found: Image = self.stack[NAMES.index(name)]
        return found

    def at(
        self,
        y_um: NDArray[np.floating],
        x_um: NDArray[np.floating],
        names: Sequence[str] = NAMES,
    ) -> dict[str, Image]:
        """Values at the rows `y_um` and columns `x_um` (ascending): name -> [len(y) len(x)]."""
        chosen = self.stack if tuple(names) == NAMES else self.stack[[NAMES.index(n) for n in names]]
        return dict(zip(names, interpolate(chosen, y_um / STEP_UM + PAD, x_um / STEP_UM + PAD), strict=True))

    def nearest(self, name: str, y_um: NDArray[np.floating], x_um: NDArray[np.floating]) -> Image:
        """Value of the nearest node for scattered points [n]."""
        j, i = (np.round(c / STEP_UM + PAD).astype(np.int64) for c in (y_um, x_um))
        return self[name][j, i]


def regions_from(fields: dict[str, Image]) -> NDArray[np.uint8]:
    """[h w] values of `labels.Region`: later layers lie over earlier ones; lumens and glass are OTHER."""
    out = np.full(fields["tissue"].shape, Region.STROMA, np.uint8)
    out[fields["fat"] > 0] = Region.FAT
    tumour = fields["tumour"] > 0
    out[tumour] = Region.TUMOUR
    out[tumour & (fields["necrosis"] > 0)] = Region.NECROSIS
    out[tumour & (fields["lumen"] > 0)] = Region.OTHER
    out[fields["tissue"] <= 0] = Region.OTHER
    return out


def _distance(f: Image) -> Image:
    """The field `f` in um from its zero line: f over its slope, which is held up where it is flat."""
    dy, dx = np.gradient(f, STEP_UM)
    slope = np.hypot(dy, dx)
    near = np.abs(f) < np.quantile(np.abs(f), 0.2)
    floor = 0.4 * float(np.median(slope[near])) + 1e-9
    return np.clip(f / np.maximum(cv2.GaussianBlur(slope, (0, 0), 1.5), floor), -_CLIP_UM, _CLIP_UM).astype(np.float32)


def _threshold(f: Image, where: NDArray[np.bool_], share: float) -> Image:
    """`f` less the level above which `share` of the nodes of `where` lie."""
    if share <= 0 or not where.any():
        return np.full_like(f, -1.0)
    return f - np.quantile(f[where], 1 - min(share, 1.0)).astype(np.float32)


def _from_share(f: NDArray[Any], where: NDArray[np.bool_], share: float) -> Image:
    """Distance field of the highest `share` of `f` within `where`."""
    if share <= 0 or not where.any():
        return np.full(f.shape, -_CLIP_UM, np.float32)
    return _distance(_threshold(f.astype(np.float32), where, share))


def _depth(d: Image) -> Image:
    """Distance in um to the outside of `d > 0`, 0 outside."""
    return np.asarray(ndimage.distance_transform_edt(d > 0) * STEP_UM, np.float32)


def _warp(f: Image, rng: np.random.Generator, cell_um: float, amplitude_um: float) -> Image:
    shape = (f.shape[0], f.shape[1])
    y, x = np.indices(shape, dtype=np.float32)
    shift = amplitude_um / STEP_UM
    wx, wy = (lattice_noise(rng, shape, STEP_UM, cell_um) * np.float32(shift) for _ in range(2))
    return np.asarray(cv2.remap(f, x + wx, y + wy, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), np.float32)


def _outline(cfg: PhantomConfig, rng: np.random.Generator, y: Image, x: Image) -> Image:
    """Distance field of the tissue; `y`, `x` are the lattice's coordinates in um."""
    width, height = (1000 * s for s in cfg.size_mm)
    shape = (y.shape[0], x.shape[1])
    if cfg.shape == "field":
        return np.full(shape, _CLIP_UM, np.float32)
    short = min(width, height)
    rough = fbm(rng, shape, STEP_UM, short / 5, 5)
    if cfg.shape == "section":
        cx, cy = width * rng.uniform(0.47, 0.53), height * rng.uniform(0.47, 0.53)
        power = rng.uniform(2.2, 3.2)
        r = (np.abs((x - cx) / (0.41 * width)) ** power + np.abs((y - cy) / (0.40 * height)) ** power) ** (1 / power)
        f = (1 - r) * np.float32(0.4 * short) + rough * np.float32(0.035 * short)
    else:
        f = _strips(rng, width, height, y, x) + rough * np.float32(25.0)
    f = f + lattice_noise(rng, shape, STEP_UM, 18) * np.float32(6.0)
    border = np.minimum(np.minimum(x, width - x), np.minimum(y, height - y)) - 40
    return np.asarray(np.clip(np.minimum(f, border), -_CLIP_UM, _CLIP_UM), np.float32)


def _strips(rng: np.random.Generator, width: float, height: float, y: Image, x: Image) -> Image:
    """Core biopsy: bent strips along the longer side, 1 mm wide."""
    along, across, long, short = (x, y, width, height) if width >= height else (y, x, height, width)
    n = max(1, round(short / 2500))
    out = np.full((y.shape[0], x.shape[1]), -1e4, np.float32)
    for k in range(n):
        t = along / long
        bend = np.sin(2 * np.pi * (t * rng.uniform(0.6, 1.4) + rng.random()))
        centre = short * (k + 0.5) / n + 0.06 * short / n * bend
        half = min(500.0, 0.36 * short / n)
        ends = np.minimum(along - long * rng.uniform(0.05, 0.1), long * rng.uniform(0.88, 0.95) - along)
        gap = np.abs(along - long * rng.uniform(0.3, 0.7)) - rng.uniform(20, 90)
        strip = np.minimum(half - np.abs(across - centre), np.minimum(ends, gap))
        np.maximum(out, strip.astype(np.float32), out=out)
    return out


def _tumour(cfg: PhantomConfig, rng: np.random.Generator, allowed: NDArray[np.bool_], share: float) -> Image:
    """Nests, and by chance cords: thresholded, warped noise without islands that hold no cell."""
    shape = (allowed.shape[0], allowed.shape[1])
    cell = cfg.nest_um / 1.6
    cords = rng.choice([0.0, 0.0, 0.35, 0.8])
    blobs = fbm(rng, shape, STEP_UM, cell, 2)
    ridges = 1.1 - 2.2 * np.abs(lattice_noise(rng, shape, STEP_UM, cell * 0.9))
    bed = lattice_noise(rng, shape, STEP_UM, 6 * cfg.nest_um)
    f = _warp((1 - cords) * blobs + cords * ridges + 0.75 * bed, rng, cell * 0.6, cell * 0.2).astype(np.float32)
    d = _from_share(np.where(allowed, f, f - 3), allowed, share)
    label, n = ndimage.label(d > 0)
    small = np.flatnonzero(np.bincount(label.ravel(), minlength=n + 1) * STEP_UM**2 < _SMALLEST_NEST_UM2)
    d = np.where(np.isin(label, small[small > 0]), np.float32(-6.0), d)
    if cfg.tumour_frac > 0:
        d = _spread(d, allowed, rng)
    return np.asarray(cv2.GaussianBlur(d, (0, 0), 1.2), np.float32)


def _spread(d: Image, allowed: NDArray[np.bool_], rng: np.random.Generator) -> Image:
    """`d` with small nests wherever tumour is far: the tumour reaches through all of the tissue, so that the stroma of
    the slide is the stroma of its tumour bed, and one truth serves both."""
    inside = ndimage.distance_transform_edt(np.pad(allowed, 1))[1:-1, 1:-1] * STEP_UM
    wobble = lattice_noise(rng, (d.shape[0], d.shape[1]), STEP_UM, 40) * np.float32(10)
    spacing = int(1.3 * _REACH_UM / STEP_UM)
    for _ in range(8):
        nests = large(d > 0, _SATELLITE_UM**2 * np.pi / STEP_UM**2 / 2)
        away = ndimage.distance_transform_edt(~nests) * STEP_UM if nests.any() else np.full(d.shape, np.inf)
        wanted = np.where(inside > 0.6 * _SATELLITE_UM, np.minimum(away, 1e4), 0)
        far = peak_local_max(wanted, min_distance=spacing, threshold_abs=_REACH_UM, exclude_border=False)
        if len(far) == 0:
            break
        centres = np.ones(d.shape, bool)
        centres[far[:, 0], far[:, 1]] = False
        disc = _SATELLITE_UM + wobble - ndimage.distance_transform_edt(centres) * STEP_UM
        d = np.maximum(d, np.clip(np.where(allowed, disc, -6), -_CLIP_UM, _CLIP_UM)).astype(np.float32)
    return d


def _fibres(rng: np.random.Generator, tumour: Image, y: Image, x: Image) -> tuple[Image, Image]:
    """Coordinates along (u) and across (v) the collagen, which bends and wraps around the nests."""
    shape = (tumour.shape[0], tumour.shape[1])
    angle = rng.uniform(0, np.pi)
    bend = lattice_noise(rng, shape, STEP_UM, 420) * 60 + lattice_noise(rng, shape, STEP_UM, 60) * 6
    outside = ndimage.distance_transform_edt(tumour <= 0) * STEP_UM
    around = cv2.GaussianBlur((120 * np.tanh(outside / 120)).astype(np.float32), (0, 0), 2.0)
    v = y * np.cos(angle) - x * np.sin(angle) + bend + 1.1 * around
    u = y * np.sin(angle) + x * np.cos(angle) + lattice_noise(rng, shape, STEP_UM, 300) * 40
    return u.astype(np.float32), v.astype(np.float32)


def make_fields(cfg: PhantomConfig) -> Fields:
    """The fields of a slide; the pen and the focus are filled by `artefacts`."""
    width, height = (1000 * s for s in cfg.size_mm)
    shape = tuple(int(np.ceil(s / STEP_UM)) + 2 * PAD + 1 for s in (height, width))
    hl, wl = shape[0], shape[1]
    y = ((np.arange(hl, dtype=np.float32) - PAD) * STEP_UM)[:, None]
    x = ((np.arange(wl, dtype=np.float32) - PAD) * STEP_UM)[None, :]
    rngs = [np.random.default_rng([cfg.seed, 1, k]) for k in range(8)]
    stack = np.zeros((len(NAMES), hl, wl), np.float32)
    f = Fields(stack)
    f["tissue"][:] = _outline(cfg, rngs[0], y, x)
    tissue = f["tissue"] > 0
    f["fat"][:] = _from_share(fbm(rngs[1], (hl, wl), STEP_UM, 420, 3), tissue, cfg.fat_frac)
    allowed = tissue & (f["fat"] <= 0)
    rest = max(1e-9, float(allowed.sum()))
    f["tumour"][:] = _tumour(cfg, rngs[2], allowed, cfg.tumour_frac * float(tissue.sum()) / rest)
    f["tumour"][:] = np.where(f["fat"] > -4, np.minimum(f["tumour"], -4), f["tumour"])
    depth = _depth(f["tumour"])
    tumour = depth > 0
    deep = fbm(rngs[3], (hl, wl), STEP_UM, 90, 3) + np.minimum(depth, 160) * np.float32(1 / 35)
    f["necrosis"][:] = np.minimum(_from_share(deep, tumour, cfg.necrosis_frac), depth - 30)
    holes = fbm(rngs[4], (hl, wl), STEP_UM, 26, 2) + np.minimum(depth, 32) * np.float32(1 / 12)
    f["lumen"][:] = np.minimum(_from_share(holes, tumour, cfg.lumen_frac), np.minimum(depth - 22, -f["necrosis"] - 4))
    f["u"][:], f["v"][:] = _fibres(rngs[5], f["tumour"], y, x)
    f["dense"][:] = fbm(rngs[6], (hl, wl), STEP_UM, 260, 3)
    f["tone"][:] = lattice_noise(rngs[6], (hl, wl), STEP_UM, 700)
    f["loose"][:] = fbm(rngs[7], (hl, wl), STEP_UM, 110, 3)
    return f
