"""Random crops of annotated fields: geometry, scanner scale, stain, focus and compression."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.config import check_ranges
from tilscore.datasets.sample import Sample
from tilscore.errors import ConfigError
from tilscore.labels import UNKNOWN
from tilscore.network.config import MPP

HED_FROM_OD = np.linalg.inv(np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]))
"""Optical density to haematoxylin, eosin, residual (Ruifrok and Johnston 2001, the vectors as rows, inverted)."""
_OD_FROM_HED = np.linalg.inv(HED_FROM_OD)
_DENSITY = -np.log(np.arange(1, 257, dtype=np.float32) / 256)
"""Optical density of each grey level."""


@dataclass(frozen=True)
class AugmentConfig:
    """How training crops vary; every chance is a probability."""

    mpp_low: float = 0.40
    """Finest apparent resolution, um/px: what a 0.4 um/px scanner read as 0.5 would look like."""
    mpp_high: float = 0.62
    """Coarsest apparent resolution, um/px."""
    stain_gain: float = 0.20
    """Half-range of the factor on each stain's density."""
    stain_shift: float = 0.05
    """Half-range of the density added to each stain."""
    stain_turn: float = 0.0
    """Most that is added to the red, green and blue of each stain's colour vector, and half of the most by which those
    of all stains are multiplied together; drawn anew for each crop, so that most are turned by less. The vectors keep
    their lengths. Laboratories differ in dyes, not in their amounts alone."""
    colour_gain: float = 0.10
    """Half-range of the factor on each colour channel: scanners differ in white balance."""
    blur_chance: float = 0.25
    blur_sigma_px: float = 1.2
    """Largest Gaussian blur at 0.5 um/px."""
    coarse_chance: float = 0.15
    """Seen through a coarser scan: slides down to 1.4 um/px are scored when the user insists."""
    coarse_mpp_high: float = 1.4
    """Coarsest scan, um/px."""
    sharpen_chance: float = 0.15
    """Of those not blurred: some scanners sharpen."""
    jpeg_chance: float = 0.25
    jpeg_quality_low: int = 45
    noise_chance: float = 0.25
    noise_sd: float = 6.0
    """Largest standard deviation of sensor noise in grey levels."""

    def __post_init__(self) -> None:
        chances = dict.fromkeys([f.name for f in fields(self) if f.name.endswith("_chance")], (0, 1))
        shares = dict.fromkeys(("stain_gain", "colour_gain"), (0, 0.99)) | {"stain_turn": (0, 0.3)}
        scans = {"mpp_low": (0.05, 5), "mpp_high": (0.05, 5), "coarse_mpp_high": (MPP, 50)}
        check_ranges(self, "augment", **chances, **shares, **scans, stain_shift=(0, 10), blur_sigma_px=(0.3, 50))
        check_ranges(self, "augment", jpeg_quality_low=(1, 94), noise_sd=(1, 255))
        if self.mpp_low > self.mpp_high:
            found = f"{self.mpp_low} to {self.mpp_high}"
            raise ConfigError("mpp_low is above mpp_high", where="augment", found=found)


LONGEST_PX = 32_766
"""Longest side of an image that OpenCV can turn and scale."""
_PIECE_PX = 2048
"""Side of a piece of a larger one: at 0.05 um/px it is made of 20,480 px."""


@dataclass(frozen=True)
class Crop:
    """A crop at the network's resolution: square where it is random, a whole field else.

    Parameters
    ----------
    image : [h w 3] uint8.
    x_px, y_px : [n] float32, centres in continuous crop pixels; some lie just outside.
    label : [n] int8.
    known : [h w] bool.
    regions : [h w] uint8.
    """

    image: NDArray[np.uint8]
    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    label: NDArray[np.int8]
    known: NDArray[np.bool_]
    regions: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    """The image before its colours were changed and it was degraded."""


def crop_at(sample: Sample, matrix: NDArray[np.float64], size_px: int | tuple[int, int]) -> Crop:
    """The crop that `matrix` (2 x 3, sample pixel edges to crop pixel edges) cuts out of `sample`.

    Parameters
    ----------
    size_px : its side, or its width and height.
    """
    # cv2 counts from pixel centres; the matrix from pixel edges.
    centre = matrix.copy()
    centre[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    size = (size_px, size_px) if isinstance(size_px, int) else size_px
    reduce = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    image, of_image = sample.image, centre.copy()
    height, width = image.shape[:2]
    if reduce < 0.75:
        x, y, image = _around(image, matrix, size)
        image = np.asarray(cv2.blur(image, (2, 2), anchor=(0, 0)), np.uint8)
        of_image[:, 2] += matrix[:, :2] @ (x + 0.5, y + 0.5)  # pixel i of the blurred image lies at the edge i + 1
    known = np.ones((height, width), np.uint8) if sample.known is None else sample.known.astype(np.uint8)
    if sample.regions is None:
        regions = np.full(size[::-1], UNKNOWN, np.uint8)
    else:
        regions = warped(sample.regions, centre, size, flags=cv2.INTER_NEAREST, borderValue=UNKNOWN)
    seen = warped(image, of_image, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    xy = np.stack([sample.x_px, sample.y_px], 1) @ matrix[:, :2].T + matrix[:, 2]
    near = ((xy > -8) & (xy < np.add(size, 8))).all(1)
    return Crop(
        image=seen,
        x_px=xy[near, 0].astype(np.float32),
        y_px=xy[near, 1].astype(np.float32),
        label=sample.label[near],
        known=warped(known, centre, size, flags=cv2.INTER_NEAREST, borderValue=0).astype(bool),
        regions=regions,
        seen=seen,
    )


def warped(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int], **how: Any
) -> NDArray[np.uint8]:
    """`cv2.warpAffine` of an image [h w ...] of any size, which cuts and fills pieces of what is too long for OpenCV.

    Parameters
    ----------
    matrix : [2 3] from pixel centres to pixel centres. size : width and height. how : `flags`, and what lies outside.
    """
    if max(*image.shape[:2], *size) <= LONGEST_PX:
        return np.asarray(cv2.warpAffine(image, matrix, size, **how), np.uint8)
    out = np.empty((*size[::-1], *image.shape[2:]), np.uint8)
    for top in range(0, size[1], _PIECE_PX):
        for left in range(0, size[0], _PIECE_PX):
            piece = min(_PIECE_PX, size[0] - left), min(_PIECE_PX, size[1] - top)
            own = matrix.copy()
            own[:, 2] -= left, top
            x, y, part = _around(image, own, piece)
            own[:, 2] += own[:, :2] @ (x, y)
            out[top : top + piece[1], left : left + piece[0]] = cv2.warpAffine(part, own, piece, **how)
    return out


def _around(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[int, int, NDArray[np.uint8]]:
    """The part of `image` that a crop shows, wide enough to be mirrored at the image's edges; its left and top."""
    back, (height, width) = np.linalg.inv(matrix[:, :2]), image.shape[:2]
    middle = back @ (np.divide(size, 2) - matrix[:, 2])
    outside = np.abs(middle - np.clip(middle, 0, (width, height)))
    far = np.abs(back) @ np.divide(size, 2) + 2 * outside + 4
    x, y = (int(v) for v in np.maximum(np.floor(middle - far), 0))
    right, low = (int(v) for v in np.ceil(middle + far))
    return x, y, image[y:low, x:right]


def random_crop(sample: Sample, size_px: int, cfg: AugmentConfig, rng: np.random.Generator) -> Crop:
    """A randomly placed, turned, mirrored, scaled and recoloured crop."""
    scale = sample.mpp / np.exp(rng.uniform(np.log(cfg.mpp_low), np.log(cfg.mpp_high)))
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]]) * scale
    if rng.random() < 0.5:
        turn[:, 0] *= -1
    height, width = sample.image.shape[:2]
    half = 0.35 * size_px / scale
    at = np.array([_place(rng, width, half), _place(rng, height, half)])
    matrix = np.hstack([turn, (size_px / 2 - turn @ at)[:, None]])
    crop = crop_at(sample, matrix, size_px)
    image = _recolour(crop.image, cfg, rng)
    return replace(crop, image=_degrade(image, cfg, rng))


def plain_crop(sample: Sample, mpp: float = MPP, multiple: int = 32) -> Crop:
    """The whole field at `mpp`, padded on the right and below to sides that are multiples of `multiple`."""
    scale = sample.mpp / mpp
    height, width = (int(np.ceil(n * scale / multiple - 1e-6)) * multiple for n in sample.image.shape[:2])
    return crop_at(sample, np.array([[scale, 0, 0], [0, scale, 0]], float), (width, height))


def _place(rng: np.random.Generator, length: int, half: float) -> float:
    return length / 2 if length <= 2 * half else rng.uniform(half, length - half)


def _recolour(image: NDArray[np.uint8], cfg: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Vary each stain's density (after Tellez et al. 2018), its colour and the white balance."""
    gain = 1 + rng.uniform(-cfg.stain_gain, cfg.stain_gain, 3)
    shift = rng.uniform(-cfg.stain_shift, cfg.stain_shift, 3)
    white = 1 + rng.uniform(-cfg.colour_gain, cfg.colour_gain / 3, 3)
    vectors = _OD_FROM_HED
    if cfg.stain_turn:
        much = rng.uniform(0, cfg.stain_turn)
        vectors = (vectors + much * rng.uniform(-1, 1, (3, 3))) * (1 + 2 * much * rng.uniform(-1, 1, 3))
        vectors = np.maximum(vectors, 0)  # no dye gives light
        vectors *= (np.linalg.norm(_OD_FROM_HED, axis=1) / np.linalg.norm(vectors, axis=1))[:, None]
    density = cv2.LUT(image, _DENSITY)
    darkest = cv2.max(cv2.max(density[..., 0], density[..., 1]), density[..., 2])
    tissue = np.minimum(darkest / np.float32(0.3), 1)
    # Rows of `mix`: what a density gains from that of red, green and blue, from tissue being there, and anywhere.
    mix = np.vstack([HED_FROM_OD @ (gain[:, None] * vectors), shift @ vectors, -np.log(white)])
    light = cv2.exp(cv2.transform(cv2.merge([density, tissue]), -mix.T))
    return np.asarray(cv2.addWeighted(light, 256, light, 0, -1, dtype=cv2.CV_8U), np.uint8)


def _coarsen(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """`image` as if it had been scanned `factor` times coarser and read at the network's resolution."""
    side = max(1, round(image.shape[0] / factor))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _degrade(image: NDArray[np.uint8], cfg: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    out: np.ndarray = image
    if rng.random() < cfg.coarse_chance:
        out = _coarsen(out, rng.uniform(MPP, cfg.coarse_mpp_high) / MPP)
    elif rng.random() < cfg.blur_chance:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, cfg.blur_sigma_px))
    elif rng.random() < cfg.sharpen_chance:
        out = cv2.addWeighted(out, 1.6, cv2.GaussianBlur(out, (0, 0), 1.0), -0.6, 0)
    if rng.random() < cfg.noise_chance:
        noise = rng.normal(0, rng.uniform(1, cfg.noise_sd), out.shape[:2]).astype(np.float32)[..., None]
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < cfg.jpeg_chance:
        quality = int(rng.integers(cfg.jpeg_quality_low, 95))
        jpeg = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        out = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    return np.asarray(out, np.uint8)
