"""The network on annotated fields: what it finds, beside what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.crops import Crop, plain_crop
from tilscore.datasets.sample import Sample
from tilscore.datasets.splits import group_of
from tilscore.evaluate.metrics import Matches, claim, match
from tilscore.labels import UNKNOWN, Cell, Region
from tilscore.network.config import CELL_STRIDE, DETECTION_THRESHOLD, MPP, REGION_STRIDE, Calibration
from tilscore.network.peaks import IDENTITY, Candidates, Peaks, find_candidates, lowest_logit, operate, probabilities

if TYPE_CHECKING:
    from torch import nn

RADII_UM = {"crchisto": 3.3}
"""Matching radius where a set's literature has another (SC-CNN: 6 px of 0.55 um), by a word in the set's name."""
RADIUS_UM = 3.0
FLOOR = 0.02
"""Uncalibrated probability down to which candidates are kept, so that curves reach 300 false positives per mm2."""


def radius_of(source: str, radius_um: float | None = None) -> float:
    """Matching radius of a set, um: what was asked for, else what its literature uses."""
    if radius_um is not None:
        return radius_um
    return next((own for word, own in RADII_UM.items() if word in source.lower()), RADIUS_UM)


@dataclass(frozen=True)
class FieldResult:
    """One field: its annotation, every candidate of the network, and the operating point it is judged at.

    Parameters
    ----------
    sample : the annotated field.
    found : candidates down to `FLOOR`, in pixels at 0.5 um/px; none outside the image.
    regions : [true found] pixel counts [5 5] at 4 um/px.
    radius_um : a detection this far from a nucleus still is it.
    threshold, calibration : as for `peaks.operate`.
    """

    sample: Sample
    found: Candidates
    regions: NDArray[np.int64]
    radius_um: float = RADIUS_UM
    threshold: float = DETECTION_THRESHOLD
    calibration: Calibration = field(default_factory=Calibration)

    def at(self, threshold: float, calibration: Calibration) -> FieldResult:
        """The same candidates at another operating point."""
        return replace(self, threshold=threshold, calibration=calibration)

    @property
    def source(self) -> str:
        return self.sample.source

    @property
    def group(self) -> str:
        """What is drawn again as one: a patient, whatever sets show them; else the set's own unit, or its group."""
        own = self.sample.source, self.sample.unit
        return "/".join(own if self.sample.unit else group_of(self.sample))

    def tag(self, name: str) -> str:
        """`organ`, `scanner` or `centre` of the field; empty where the set does not tell it."""
        return str(getattr(self.sample, name, "") or "")

    @cached_property
    def true_um(self) -> NDArray[np.float64]:
        """[n 2] nucleus centres, um from the field's corner."""
        return np.stack([self.sample.x_px, self.sample.y_px], 1).astype(np.float64) * self.sample.mpp

    @cached_property
    def found_um(self) -> NDArray[np.float64]:
        """[k 2] candidates, um from the field's corner."""
        return np.stack([self.found.x_px, self.found.y_px], 1).astype(np.float64) * MPP

    @cached_property
    def known_mm2(self) -> float:
        """Area in which every nucleus is marked."""
        if not self.sample.exhaustive:
            return 0.0
        known = self.sample.known
        n = self.sample.image.shape[0] * self.sample.image.shape[1] if known is None else int(known.sum())
        return n * self.sample.mpp**2 / 1e6

    @property
    def complete(self) -> tuple[Cell, ...]:
        """Classes of which every nucleus of the whole field is marked, where not all nuclei of any ground are."""
        return () if self.known_mm2 > 0 else self.sample.complete

    def class_mm2(self, cell: Cell) -> float:
        """Area in which every nucleus of a class is marked."""
        return self.sample.area_mm2 if cell in self.complete else self.known_mm2

    @cached_property
    def in_known(self) -> NDArray[np.bool_]:
        """[k] whether a candidate lies where every nucleus is marked."""
        if self.sample.known is None or not self.sample.exhaustive:
            return np.full(len(self.found_um), self.sample.exhaustive)
        x, y = np.floor(self.found_um / self.sample.mpp).astype(np.int64).T
        return np.asarray(self.sample.known[y, x], bool)

    @property
    def typed(self) -> bool:
        """Whether the classes of this field are known: it has no nuclei, or some of them have a class."""
        return len(self.sample.label) == 0 or bool((self.sample.label >= 0).any())

    @cached_property
    def probs(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """P(nucleus) [k] and P(class | nucleus) [k 4], calibrated."""
        return probabilities(self.found.logit, self.found.type_logits, self.calibration)

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """[k] candidates that are cells at the operating point."""
        numbered = self.found._replace(x_px=np.arange(len(self.found.logit), dtype=np.float32))
        keep = np.zeros(len(self.found.logit), bool)
        keep[operate(numbered, self.threshold, self.calibration).x_px.astype(np.int64)] = True
        return keep

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """[k] true nucleus of each candidate, -1 = none; the more probable choose first (`metrics.claim`)."""
        return claim(self.true_um, self.found_um, self.found.logit, self.radius_um)

    @cached_property
    def judged(self) -> NDArray[np.bool_]:
        """[k] candidates that count: where every nucleus is marked, or on a nucleus."""
        return np.asarray(self.in_known | (self.owner >= 0), bool)

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """[c] index of the candidates in `matches`: kept, and paired or where all (of their class) are marked."""
        kept = np.flatnonzero(self.kept)
        pairs = match(self.true_um, self.found_um[kept], self.radius_um)
        counts = self.in_known[kept] | np.isin(self.probs[1][kept].argmax(axis=1), self.complete)
        counts[pairs[:, 1]] = True
        return np.asarray(kept[counts], np.int64)

    @cached_property
    def matches(self) -> Matches:
        """The cells at the operating point, paired with the truth as well as possible."""
        pairs = match(self.true_um, self.found_um[self.cells], self.radius_um)
        named = self.probs[1][self.cells].argmax(axis=1).astype(np.int64)
        label = self.sample.label.astype(np.int64)
        return Matches(pairs, label, named, exhaustive=self.known_mm2 > 0, complete=self.complete)


def forward_crop(net: nn.Module, crop: Crop) -> list[NDArray[np.float32]]:
    """The four maps of one crop (as `nets.CellMaps`), without the batch axis."""
    import torch

    device = next(net.parameters()).device
    image = torch.from_numpy(crop.image.transpose(2, 0, 1)[None].astype(np.float32)).to(device)
    with torch.inference_mode():
        return [m[0].float().cpu().numpy() for m in net(image.contiguous(memory_format=torch.channels_last))]


def predict_crop(
    net: nn.Module, crop: Crop, threshold: float, calibration: Calibration = IDENTITY
) -> tuple[Peaks, NDArray[np.uint8]]:
    """Cells and regions [h/8 w/8] of one crop at 0.5 um/px."""
    maps = forward_crop(net, crop)
    found = find_candidates(maps[0][0], maps[1], maps[2], lowest_logit(threshold, calibration), CELL_STRIDE)
    return operate(found, threshold, calibration), maps[3].argmax(axis=0).astype(np.uint8)


def predict_all(
    net: nn.Module,
    samples: list[Sample],
    threshold: float,
    calibration: Calibration = IDENTITY,
    *,
    radius_um: float | None = None,
) -> list[FieldResult]:
    """Run the network on whole fields at 0.5 um/px; it is left in the mode it was in.

    Parameters
    ----------
    radius_um : matching radius; None = each set's own (`RADII_UM`).
    """
    was_training = net.training
    net.eval()
    out = []
    for sample in samples:
        maps = forward_crop(net, plain_crop(sample))
        out.append(judge(sample, maps, threshold, calibration, radius_um=radius_um))
    net.train(was_training)
    return out


def judge(
    sample: Sample,
    maps: list[NDArray[np.float32]],
    threshold: float,
    calibration: Calibration = IDENTITY,
    *,
    radius_um: float | None = None,
) -> FieldResult:
    """The result of a field from the network's maps (as `nets.CellMaps`, without the batch axis)."""
    lowest = min(lowest_logit(FLOOR), lowest_logit(threshold, calibration))
    found = _inside(sample, find_candidates(maps[0][0], maps[1], maps[2], lowest, CELL_STRIDE))
    regions = region_confusion(sample, maps[3].argmax(axis=0).astype(np.uint8))
    return FieldResult(sample, found, regions, radius_of(sample.source, radius_um), threshold, calibration)


def _inside(sample: Sample, found: Candidates) -> Candidates:
    """The candidates that lie in the image and not in the margin that the crop adds."""
    height, width = sample.image.shape[:2]
    x, y = (np.floor(v.astype(np.float64) * MPP / sample.mpp) for v in (found.x_px, found.y_px))
    keep = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    return Candidates(*(v[keep] for v in found))


def region_confusion(sample: Sample, regions: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[true found] pixel counts at 4 um/px over the labelled pixels of a field."""
    out = np.zeros((len(Region), len(Region)), np.int64)
    truth = plain_crop(sample).regions[REGION_STRIDE // 2 :: REGION_STRIDE, REGION_STRIDE // 2 :: REGION_STRIDE]
    known = truth != UNKNOWN
    np.add.at(out, (truth[known], regions[known]), 1)
    return out


def by_set(fields: list[FieldResult]) -> Mapping[str, list[FieldResult]]:
    """Fields of each set, in the order of the sets."""
    return {s: [f for f in fields if f.source == s] for s in dict.fromkeys(f.source for f in fields)}
