"""The ground that nuclei lie on: collagen, cytoplasm, fat, necrosis, lumens, as densities of the two stains."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from tilscore.phantom.texture import Image, Textures


def smoothstep(value: Image, start: float, end: float) -> Image:
    """0 below `start`, 1 above `end`, smooth between."""
    t = np.clip((value - np.float32(start)) * np.float32(1 / (end - start)), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


class Noise:
    """The textures under one window, from its pixel on the slide; each is cut out when it is first asked for."""

    def __init__(self, textures: Textures, y_px: int, x_px: int, shape: tuple[int, int]) -> None:
        self.tiles = textures
        self._at = (y_px, x_px, shape)

    @cached_property
    def sensor(self) -> Image:
        return Textures.at(self.tiles.sensor, *self._at)

    @cached_property
    def grain(self) -> Image:
        return Textures.at(self.tiles.grain, *self._at)

    @cached_property
    def mottle(self) -> Image:
        return Textures.at(self.tiles.mottle, *self._at)

    @cached_property
    def cloud(self) -> Image:
        return Textures.at(self.tiles.cloud, *self._at)


def paint_ground(f: dict[str, Image], noise: Noise, gap_um: Image | None) -> Image:
    """Densities of the tissue without its nuclei.

    Parameters
    ----------
    f : the fields of the window, [h w] each.
    gap_um : [h w] distance to the nearest membrane of a fat cell; None where there is no fat.

    Returns
    -------
    [h w 2] float32, haematoxylin and eosin.
    """
    rough = np.float32(0.8) * noise.mottle
    h, e = _stroma(f, noise)
    if gap_um is not None:
        h, e = _over(h, e, smoothstep(f["fat"] + rough, -1.5, 1.5), *_fat(gap_um, noise))
    if f["tumour"].max() > -8:
        h, e = _retract(h, e, f, noise)
        tumour = smoothstep(f["tumour"] + rough, -1.2, 1.2)
        h, e = _over(h, e, tumour, *_cytoplasm(f, noise))
        if f["necrosis"].max() > -4:
            h, e = _over(h, e, tumour * smoothstep(f["necrosis"] + 2 * rough, -4, 4), *_necrosis(noise))
        if f["lumen"].max() > -4:
            empty = 1 - tumour * smoothstep(f["lumen"] + 0.5 * rough, -1.0, 1.0) * np.float32(0.97)
            h, e = h * empty, e * empty
    tissue = smoothstep(f["tissue"] + 1.5 * rough + 0.5 * noise.grain, -1.5, 1.5)
    if f["tissue"].min() < 25:
        edge = np.exp(-np.square(f["tissue"] / np.float32(9)))
        h, e = h * (1 + np.float32(0.2) * edge), e * (1 + np.float32(0.3) * edge)
    thick = tissue * (1 + np.float32(0.05) * f["tone"])
    return np.stack([h * thick, e * thick], axis=-1)


def _over(h: Image, e: Image, weight: Image, h_new: Image, e_new: Image) -> tuple[Image, Image]:
    return h + weight * (h_new - h), e + weight * (e_new - e)


def _stroma(f: dict[str, Image], noise: Noise) -> tuple[Image, Image]:
    """Wavy collagen: bundles and fibrils along the fibre, slits between them, loose and dense places."""
    v = f["v"] + np.float32(2.2) * noise.cloud + np.float32(0.45) * noise.mottle
    bundles = Textures.along(noise.tiles.bundles, f["u"], v)
    fibrils = Textures.along(noise.tiles.fibrils, f["u"] + np.float32(37), v * np.float32(1.07))
    loose = np.float32(0.75) * f["loose"] - np.float32(0.5) * f["dense"]
    fluff = np.float32(0.5) * fibrils - bundles + np.float32(0.45) * noise.mottle + np.float32(0.2) * noise.cloud
    slit = smoothstep(loose + fluff, 1.0, 2.9)
    e = np.float32(0.355) + np.float32(0.065) * np.clip(f["dense"], -1.8, 1.8)
    detail = np.float32(0.12) * bundles + np.float32(0.17) * fibrils + np.float32(0.10) * noise.mottle
    e = e * (1 + detail + np.float32(0.08) * noise.grain + np.float32(0.06) * noise.cloud)
    e = np.maximum(e, np.float32(0.05)) * (1 - np.float32(0.86) * slit)
    h = np.float32(0.10) - np.float32(0.03) * np.clip(f["dense"] - f["loose"], -1.5, 1.5)
    h = h * (1 + np.float32(0.30) * fibrils + np.float32(0.2) * noise.mottle + np.float32(0.25) * noise.cloud)
    h = np.maximum(h, np.float32(0.01)) * (1 - np.float32(0.75) * slit)
    return h, e


def _retract(h: Image, e: Image, f: dict[str, Image], noise: Noise) -> tuple[Image, Image]:
    """White slits along parts of the nests' edges, as left by shrinkage."""
    part = smoothstep(f["loose"], 0.6, 1.2)
    ring = np.exp(-np.square((f["tumour"] + np.float32(2.2) + np.float32(0.6) * noise.mottle) / np.float32(1.6)))
    keep = 1 - np.float32(0.9) * part * ring
    return h * keep, e * keep


def _cytoplasm(f: dict[str, Image], noise: Noise) -> tuple[Image, Image]:
    """Amphophilic, finely granular cytoplasm with paler vacuoles."""
    pale = smoothstep(noise.mottle + np.float32(0.6) * noise.cloud, 1.0, 2.6) * np.float32(0.7)
    body = 1 + np.float32(0.14) * noise.mottle + np.float32(0.13) * noise.grain + np.float32(0.08) * noise.cloud
    keep = body * (1 - pale)
    shift = np.float32(0.03) * f["tone"]
    return keep * (np.float32(0.38) + shift), keep * (np.float32(0.29) - shift)


def _fat(gap_um: Image, noise: Noise) -> tuple[Image, Image]:
    """White vacuoles with thin pink membranes."""
    wall = 1 - smoothstep(gap_um + np.float32(0.2) * noise.mottle, 0.3, 1.3)
    return wall * np.float32(0.10), wall * (np.float32(0.42) + np.float32(0.05) * noise.grain)


def _necrosis(noise: Noise) -> tuple[Image, Image]:
    """Pale, granular and pink, without nuclei."""
    body = 1 + np.float32(0.24) * noise.grain + np.float32(0.25) * noise.mottle + np.float32(0.15) * noise.cloud
    return np.maximum(body, 0.1) * np.float32(0.13), np.maximum(body, 0.1) * np.float32(0.46)


def fat_gap(tree: cKDTree, y_um: Image, x_um: Image, edge_um: Image) -> Image:
    """Distance in um to the wall between fat cells, rounded in the corners.

    Parameters
    ----------
    tree : the centres, x and y in um.
    y_um, x_um : [h w] where.
    edge_um : [h w] distance to the edge of the fat, which is a wall too.
    """
    n = min(4, tree.n)
    near = edge_um > -3
    out = np.minimum(edge_um, 0).astype(np.float32)
    if n < 2 or not near.any():
        return out
    distance, index = tree.query(np.stack([x_um[near], y_um[near]], axis=-1), k=n)
    centre = tree.data[index]
    away = np.linalg.norm(centre[:, 1:] - centre[:, :1], axis=-1)
    gap = (distance[:, 1:] ** 2 - distance[:, :1] ** 2) / (2 * np.maximum(away, 1.0))
    walls = np.concatenate([gap, np.maximum(edge_um[near], 0)[:, None]], axis=1).astype(np.float32)
    soft = np.float32(2.5)
    out[near] = -soft * np.log(np.exp(-walls / soft).sum(1)) + np.float32(0.3)
    return out
