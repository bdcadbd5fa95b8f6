"""How a slide is stained and how sharp it is, measured on sound tissue and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.errors import ConfigError
from tilscore.labels import Area
from tilscore.masks import Mask
from tilscore.raster import Raster
from tilscore.slide import Slide
from tilscore.space import Grid, Window
from tilscore.stain.vectors import Floats, Stains, Vector, find_stains, optical_density, unmix
from tilscore.stain.white import GLASS_LEVEL, Colour, glass_of
from tilscore.tissue import segment
from tilscore.tissue.focus import FocusConfig, structure

_MARGIN_PX = 16
"""Pixels around a tile whose structure depends on what lies beyond (see `focus.structure`)."""
_FIELD_MPP = 8.0
"""Resolution at which tissue is found in a picture alone, um/px: that of the tissue map."""


@dataclass(frozen=True)
class StainConfig:
    """Where and how the stain is measured."""

    mpp: float = 2.0
    """um/px of the reads: nuclei are three pixels across and pure in the middle, and focus is defined here."""
    tile_px: int = 128
    """Side of a tile: 256 um at 2 um/px."""
    max_tiles: int = 64
    """Tiles read, evenly over the tissue: 4 mm2, under a second."""
    min_tissue_mm2: float = 0.02
    """Less stained tissue than this says nothing on a slide's stain."""
    min_od: float = 0.10
    """Norm of the OD from which a pixel is stained; below it noise turns the direction by more than 3 degrees."""
    tail_pct: float = 1.0
    """%, the pixels purer than what is taken for a pure stain, at each end (1 in Macenko et al. 2009)."""
    min_angle_deg: float = 8.0
    """Stains nearer to each other than this cannot be told apart; H&E has 20 to 40 degrees."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.mpp <= 4.0 or self.tile_px < 16 or self.max_tiles < 1:
            found = f"{self.mpp}, {self.tile_px}, {self.max_tiles}"
            raise ConfigError("needs 1 to 4 um/px, tiles of 16 px and one tile at least", where="stain", found=found)


@dataclass(frozen=True)
class StainStats:
    """What was measured; None where it cannot be told.

    Parameters
    ----------
    reason : why the stains are not told: `too_little_tissue`, `too_pale` or `one_stain`.
    white_rgb : what is taken for white; `white_source` is `glass`, or `declared` where there is none.
    n_tiles, tissue_mm2 : what was looked at. stained_frac : share of it that is stained.
    od_median, od_p90 : mean OD over the three colours, of the tissue.
    saturation_frac : median of (largest - least) / largest of R, G, B of stained pixels, white taken as 1.
    haematoxylin, eosin : unit vectors of OD in R, G, B.
    h_red_deg, h_blue_deg, e_red_deg, e_blue_deg : the vectors as angles, atan2(red, green) and atan2(blue, green).
    between_deg : angle between the vectors.
    h_median_od, h_p99_od, e_median_od, e_p99_od : densities along the vectors, of stained pixels.
    sharpness_median, sharpness_p5 : fine over coarse structure (see `focus`), median and 5th percentile.
    """

    reason: str | None
    white_rgb: Colour
    white_source: str
    n_tiles: int
    tissue_mm2: float
    stained_frac: float | None = None
    od_median: float | None = None
    od_p90: float | None = None
    saturation_frac: float | None = None
    haematoxylin: Vector | None = None
    eosin: Vector | None = None
    h_red_deg: float | None = None
    h_blue_deg: float | None = None
    e_red_deg: float | None = None
    e_blue_deg: float | None = None
    between_deg: float | None = None
    h_median_od: float | None = None
    h_p99_od: float | None = None
    e_median_od: float | None = None
    e_p99_od: float | None = None
    sharpness_median: float | None = None
    sharpness_p5: float | None = None

    @property
    def stains(self) -> Stains | None:
        """The two vectors, where they are told."""
        if self.haematoxylin is None or self.eosin is None:
            return None
        return Stains(self.haematoxylin, self.eosin)

    def as_values(self) -> dict[str, Any]:
        """For JSON; decimals beyond the measurement are left out."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


class _Seen(NamedTuple):
    """The tissue pixels of one tile: RGB [n 3], and the sharpness [m] where there is structure."""

    rgb: NDArray[np.uint8]
    sharpness: Floats


def measure_stain(
    slide: Slide, tissue: Raster, cfg: StainConfig | None = None, *, glass: Colour | None = None
) -> StainStats:
    """Stain and focus of a slide, from tiles of its sound tissue.

    Parameters
    ----------
    tissue : of `labels.Area`; only TISSUE is looked at.
    glass : colour of the glass where it is known. Else it is measured; a field, which may hold none, is seen as the
        network sees it, against `GLASS_LEVEL`.

    Raises
    ------
    SlideError : the slide cannot be read.
    """
    cfg = cfg or StainConfig()
    if glass is None and not slide.is_field:
        glass = glass_of(slide)
    tiles = choose_tiles(slide.level0.at(cfg.mpp), tissue, cfg)
    seen = []
    for tile in tiles:
        around = tile.grow(_MARGIN_PX).clip()
        inside = (
            slice(tile.y - around.y, tile.y - around.y + tile.h),
            slice(tile.x - around.x, tile.x - around.x + tile.w),
        )
        seen.append(_look(slide.read(around), _on_tile(tissue, tile), inside))
    return _stats(seen, glass, cfg)


def stain_of_image(image: NDArray[np.uint8], mpp: float, cfg: StainConfig | None = None) -> StainStats:
    """The same of a picture alone [h w 3], seen against `GLASS_LEVEL`; its tissue is found first."""
    cfg = cfg or StainConfig()
    image = _resized(image, mpp / cfg.mpp)
    coarse = _resized(image, cfg.mpp / _FIELD_MPP)
    sound = (segment(coarse, _FIELD_MPP) == Area.TISSUE).astype(np.uint8)
    height, width = image.shape[:2]
    mask = cv2.resize(sound, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    return _stats([_look(image, mask, (slice(None), slice(None)))], None, cfg)


def choose_tiles(grid: Grid, tissue: Raster, cfg: StainConfig) -> list[Window]:
    """At most `cfg.max_tiles` tiles of `grid`, evenly over those that are mostly tissue, or else hold any."""
    sound = tissue.mask(Area.TISSUE)
    if not sound.any():
        return []
    tiles, share = [], []
    for tile in _rows_with(sound, tissue.grid, grid, cfg.tile_px):
        inside = sound[tissue.grid.covering_window(tile.box).slices]
        if inside.any():
            tiles.append(tile)
            share.append(inside.mean() * tile.w * tile.h / cfg.tile_px**2)
    full = [t for t, s in zip(tiles, share, strict=True) if s >= 0.5]
    chosen = full if len(full) >= min(cfg.max_tiles, 4) else tiles
    picks = np.unique(np.linspace(0, len(chosen) - 1, min(cfg.max_tiles, len(chosen))).round().astype(int))
    return [chosen[i] for i in picks]


def _rows_with(sound: Mask, coarse: Grid, grid: Grid, size_px: int) -> Iterator[Window]:
    """Tiles of the part of `grid` over the box of `sound`."""
    rows, cols = np.flatnonzero(sound.any(1)), np.flatnonzero(sound.any(0))
    step_um = size_px * grid.mpp
    y0, x0 = (int(v[0] * coarse.mpp / step_um) * size_px for v in (rows, cols))
    y1, x1 = (int(np.ceil((v[-1] + 1) * coarse.mpp / grid.mpp)) for v in (rows, cols))
    yield from Window(grid, x0, y0, max(x1 - x0, 0), max(y1 - y0, 0)).clip().split(size_px)


def _on_tile(tissue: Raster, tile: Window) -> Mask:
    """[h w] bool: sound tissue on the pixels of a tile."""
    y, x = (
        tissue.grid.index(tile.grid.to_um(np.arange(start, start + n) + 0.5)).clip(0, last - 1)
        for start, n, last in zip((tile.y, tile.x), (tile.h, tile.w), tissue.grid.shape, strict=True)
    )
    return np.asarray(tissue.values[np.ix_(y, x)] == Area.TISSUE)


def _look(image: NDArray[np.uint8], mask: Mask, inside: tuple[slice, slice]) -> _Seen:
    """What the tissue `mask` of the tile `inside` a picture shows."""
    focus = FocusConfig()
    size = int(focus.window_um / focus.mpp) | 1
    weight = mask.astype(np.float32)
    bands = [structure(image)[inside][..., k] * weight for k in range(2)]
    share, fine, coarse = (cv2.blur(p, (size, size), borderType=cv2.BORDER_REFLECT) for p in (weight, *bands))
    told = mask & (coarse > focus.min_structure**2 * share)
    ratio = np.sqrt(np.maximum(fine[told], 0) / coarse[told])
    return _Seen(image[inside][mask], ratio[:: max(len(ratio) // 2000, 1)])


def _stats(seen: list[_Seen], glass: Colour | None, cfg: StainConfig) -> StainStats:
    white = glass or (GLASS_LEVEL,) * 3
    rgb = np.concatenate([s.rgb for s in seen]) if seen else np.zeros((0, 3), np.uint8)
    pixel_mm2 = cfg.mpp**2 / 1e6
    head: dict[str, Any] = {"white_rgb": white, "white_source": "declared" if glass is None else "glass"}
    head |= {"n_tiles": len(seen), "tissue_mm2": len(rgb) * pixel_mm2}
    if len(rgb) * pixel_mm2 < cfg.min_tissue_mm2:
        return StainStats("too_little_tissue", **head)
    od = np.maximum(optical_density(rgb, white), 0)
    mean = od.mean(axis=1)
    head |= {"od_median": float(np.median(mean)), "od_p90": float(np.percentile(mean, 90))}
    ratios = np.concatenate([s.sharpness for s in seen])
    if len(ratios):
        head |= {"sharpness_median": float(np.median(ratios)), "sharpness_p5": float(np.percentile(ratios, 5))}
    stained = np.einsum("ij,ij->i", od, od) >= cfg.min_od**2
    head["stained_frac"] = float(stained.mean())
    if stained.sum() * pixel_mm2 < cfg.min_tissue_mm2:
        return StainStats("too_pale", **head)
    return _with_stains(od[stained], rgb[stained] / np.array(white, np.float32), head, cfg)


def _with_stains(od: Floats, light: Floats, head: dict[str, Any], cfg: StainConfig) -> StainStats:
    """The statistics with those of the stains, of stained pixels: OD and light let through [n 3]."""
    most = np.maximum(light.max(axis=1), 1e-3)
    head["saturation_frac"] = float(np.median((most - light.min(axis=1)) / most))
    stains = find_stains(od, cfg.tail_pct)
    head["between_deg"] = stains.angle_deg
    if stains.angle_deg < cfg.min_angle_deg:
        return StainStats("one_stain", **head)
    for letter, vector, amount in zip("he", stains, unmix(od, stains).T, strict=True):
        red, green, blue = vector
        head[f"{letter}_red_deg"] = float(np.degrees(np.arctan2(red, green)))
        head[f"{letter}_blue_deg"] = float(np.degrees(np.arctan2(blue, green)))
        head[f"{letter}_median_od"], head[f"{letter}_p99_od"] = (float(v) for v in np.percentile(amount, (50, 99)))
    return StainStats(None, haematoxylin=stains.haematoxylin, eosin=stains.eosin, **head)


def _resized(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """`image` with `factor` times its pixels a side, averaged where it shrinks."""
    size = max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value
