"""From a crop's annotations to what the network should say, and how far it is from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from tilscore.config import check_ranges
from tilscore.datasets.crops import Crop
from tilscore.labels import UNKNOWN, Cell, Region
from tilscore.network.config import CELL_STRIDE, REGION_STRIDE
from tilscore.network.nets import CellMaps

_REACH_PX = 5
"""Half-width of the stamp around a centre, in map pixels: 3 sigma and more."""
_OFFSET_PX = 1.5
"""Offsets are taught this far around a centre, in map pixels."""


@dataclass(frozen=True)
class LossConfig:
    """Weights and widths of the training loss."""

    spacing_share: float = 0.22
    """Width (sigma) of a centre's peak as a share of the distance to the nearest other nucleus: a broad peak gathers
    what is uncertain about a large nucleus's centre, and below a quarter of their distance two peaks stay apart."""
    sigma_low_px: float = 0.7
    """Narrowest peak, in map pixels (1 um)."""
    sigma_high_px: float = 1.6
    """Broadest peak, in map pixels: that of a nucleus on its own."""
    type_radius_px: float = 2.5
    """Types are taught this far around a centre, in map pixels: inside the smallest nuclei."""
    type_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.2, 1.5)
    """Weight of each class: rare classes count more."""
    detection: float = 0.4
    types: float = 1.0
    offset: float = 0.2
    regions: float = 1.0
    lesson: float = 0.5
    """Share of what teachers say in the target, where there are teachers; what nobody annotated they alone tell."""

    def __post_init__(self) -> None:
        widths = dict.fromkeys(("spacing_share", "sigma_low_px", "sigma_high_px", "type_radius_px"), (0.01, 100))
        weights = dict.fromkeys(("type_weights", "detection", "types", "offset", "regions"), (0, 1e6))
        check_ranges(self, "loss", **widths, **weights, lesson=(0, 1))


class Targets(NamedTuple):
    """What the network should say for a batch; shapes as in `nets.CellMaps`."""

    peak_B1hw: Tensor
    """Gaussian around each centre, exactly 1 in the pixel that holds it."""
    known_B1hw: Tensor
    type_Bhw: Tensor
    """Class around each typed centre, -1 elsewhere."""
    offset_B2hw: Tensor
    near_Bhw: Tensor
    """Where the offset is taught."""
    regions_Bhw: Tensor


def encode(crop: Crop, cfg: LossConfig) -> tuple[NDArray[Any], ...]:
    """One crop's targets as arrays, in the order of `Targets`, without the batch axis."""
    n = crop.image.shape[0] // CELL_STRIDE
    x, y = crop.x_px / CELL_STRIDE, crop.y_px / CELL_STRIDE
    step = np.arange(-_REACH_PX, _REACH_PX + 1)
    rows, cols = np.broadcast_arrays(
        np.floor(y).astype(np.int64)[:, None, None] + step[:, None], np.floor(x).astype(np.int64)[:, None, None] + step
    )
    dx, dy = x[:, None, None] - (cols + np.float32(0.5)), y[:, None, None] - (rows + np.float32(0.5))
    distance2 = (dx**2 + dy**2).astype(np.float32)
    value = np.exp(distance2 * (-0.5 / _sigma(x, y, cfg) ** 2).astype(np.float32)[:, None, None])
    value[:, _REACH_PX, _REACH_PX] = 1.0
    inside = (rows >= 0) & (cols >= 0) & (rows < n) & (cols < n)
    pixel = rows * n + cols
    peak = np.zeros(n * n, np.float32)
    np.maximum.at(peak, pixel[inside], value[inside])

    # Only pixels near a centre are told its type and offset: the nearest of several is written last.
    taught = inside & (distance2 <= max(cfg.type_radius_px, _OFFSET_PX) ** 2)
    farthest_first = np.argsort(-distance2[taught], kind="stable")
    where = pixel[taught][farthest_first]

    def nearest(values: NDArray[Any], fill: float, kind: type) -> NDArray[Any]:
        out = np.full(n * n, fill, kind)
        out[where] = values[taught][farthest_first]
        return out.reshape(n, n)

    gap2 = nearest(distance2, np.inf, np.float32)
    label = nearest(np.broadcast_to(crop.label[:, None, None], distance2.shape), -1, np.int64)
    label = np.where(gap2 > cfg.type_radius_px**2, -1, label)
    parts = [crop.known[i::CELL_STRIDE, j::CELL_STRIDE] for i in range(CELL_STRIDE) for j in range(CELL_STRIDE)]
    known = np.logical_and.reduce(parts)
    step_r = REGION_STRIDE
    regions = crop.regions[step_r // 2 :: step_r, step_r // 2 :: step_r].astype(np.int64)
    return (
        peak.reshape(1, n, n),
        known[None],
        label,
        np.stack([nearest(dx, 0, np.float32), nearest(dy, 0, np.float32)]),
        gap2 <= _OFFSET_PX**2,
        regions,
    )


def _sigma(x: NDArray[np.floating], y: NDArray[np.floating], cfg: LossConfig) -> NDArray[np.float64]:
    """[n] width of each centre's peak, in map pixels, from the distance to its nearest neighbour."""
    if len(x) < 2:
        return np.full(len(x), cfg.sigma_high_px)
    xy = np.stack([x, y], 1)
    spacing = cKDTree(xy).query(xy, k=2)[0][:, 1]
    return np.asarray(np.clip(cfg.spacing_share * spacing, cfg.sigma_low_px, cfg.sigma_high_px), np.float64)


class Lesson(NamedTuple):
    """What teachers say of a batch: probabilities, of the shapes of `nets.CellMaps`."""

    detection_B1hw: Tensor
    types_BChw: Tensor
    regions_BRhw: Tensor


def loss(maps: CellMaps, targets: Targets, cfg: LossConfig, lesson: Lesson | None = None) -> dict[str, Tensor]:
    """Loss terms and their weighted sum under `loss`.

    Detection: quality focal loss (Li et al. 2020, "Generalized focal loss", eq. 5, beta 2) against the peaks, over
    known pixels, per nucleus.
    Types: cross-entropy around typed centres. Both are means over crops, so that crowded fields do not drown the
    sparse ones. Offset: L1. Regions: cross-entropy over labelled pixels.

    With a lesson each target is the mean of annotation and lesson (Hinton et al. 2015, "Distilling the knowledge in a
    neural network"), and what is not annotated is taught by the lesson: nuclei outside the known part, the types of
    untyped nuclei, regions.
    """
    detection = _detection(maps.detection_B1hw.float(), targets, cfg, lesson)
    types = _crop_ce(maps.types_BChw.float(), _types(targets, cfg, lesson), torch.tensor(cfg.type_weights))
    near = targets.near_Bhw
    apart = (maps.offset_B2hw.float() - targets.offset_B2hw).abs() * near[:, None]
    offset = apart.sum() / near.sum().clamp(min=8)
    regions = _mean_ce(maps.regions_BRhw.float(), _regions(targets, cfg, lesson))
    total = cfg.detection * detection + cfg.types * types + cfg.offset * offset + cfg.regions * regions
    return {"loss": total, "detection": detection, "types": types, "offset": offset, "regions": regions}


def _detection(logit: Tensor, targets: Targets, cfg: LossConfig, lesson: Lesson | None) -> Tensor:
    """Quality focal loss per nucleus, mean over the crops that tell anything about nuclei."""
    peak = targets.peak_B1hw
    centre = peak == 1
    taught = targets.known_B1hw | centre
    if lesson is not None:
        said = lesson.detection_B1hw
        top = (F.max_pool2d(said, 5, stride=1, padding=2) == said) & (said > 0.3)
        peak, centre = _mixed(peak, said, taught, cfg), centre | (top & ~taught)
        taught = torch.ones_like(taught)
    each = (peak - logit.sigmoid()) ** 2 * F.binary_cross_entropy_with_logits(logit, peak, reduction="none") * taught
    n_crops = taught.amax((1, 2, 3)).sum().clamp(min=1)
    return (each.sum((1, 2, 3)) / centre.sum((1, 2, 3)).clamp(min=8)).sum() / n_crops


def _types(targets: Targets, cfg: LossConfig, lesson: Lesson | None) -> Tensor:
    """[b c h w] probability of each class where it is taught, 0 for all classes elsewhere."""
    label = targets.type_Bhw
    hard = _one_hot(label, len(Cell), label >= 0)
    if lesson is None:
        return hard
    return _mixed(hard, lesson.types_BChw, (label >= 0)[:, None], cfg) * (targets.near_Bhw | (label >= 0))[:, None]


def _regions(targets: Targets, cfg: LossConfig, lesson: Lesson | None) -> Tensor:
    """[b r h w] probability of each region where it is taught, 0 for all regions elsewhere."""
    label = targets.regions_Bhw
    hard = _one_hot(label, len(Region), label != UNKNOWN)
    return hard if lesson is None else _mixed(hard, lesson.regions_BRhw, (label != UNKNOWN)[:, None], cfg)


def _mixed(told: Tensor, said: Tensor, where: Tensor, cfg: LossConfig) -> Tensor:
    """The mean of annotation and lesson where somebody annotated, the lesson elsewhere."""
    return torch.where(where, torch.lerp(told, said, cfg.lesson), said)


def _one_hot(label: Tensor, n: int, where: Tensor) -> Tensor:
    """[b n h w] float: 1 in the channel of the label where it is told."""
    return F.one_hot(torch.where(where, label, 0), n).movedim(-1, 1) * where[:, None].float()


def _crop_ce(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy against probabilities, per crop over the pixels that have any; mean over such crops."""
    weighted = target * weights.to(target.device)[:, None, None]
    each = -(weighted * logits.log_softmax(1)).sum((1, 2, 3))
    weight = weighted.sum((1, 2, 3))
    return (each / weight.clamp(min=1)).sum() / (weight > 0).sum().clamp(min=1)


def _mean_ce(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy against probabilities over the pixels that have any; 0 where there is none."""
    return -(target * logits.log_softmax(1)).sum() / target.sum().clamp(min=1)


assert len(LossConfig.type_weights) == len(Cell)
assert max(Region) < UNKNOWN
