"""Evaluation as a stage: a network against annotated fields."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tilscore.augment import Crop, plain_crop
from tilscore.datasets.sample import Sample
from tilscore.labels import UNKNOWN, Region
from tilscore.metrics import CellScores, Matches, match, score_cells
from tilscore.modelcard import CELL_STRIDE, DETECTION_THRESHOLD, MPP, REGION_STRIDE
from tilscore.nets import TilNet
from tilscore.peaks import Peaks, find_peaks

RADII_UM = {"crchisto": 3.3}
"""Matching radius where a set's literature has another than 3 um (SC-CNN: 6 px of 0.55 um)."""
RADIUS_UM = 3.0


class FieldResult(NamedTuple):
    """One field: its set, its matches, its region confusion [true found]."""

    source: str
    matches: Matches
    regions: NDArray[np.int64]


@dataclass(frozen=True)
class SetScores:
    """One set, pooled over its fields."""

    n_fields: int
    cells: CellScores
    region_dice: dict[str, float]


def predict_crop(net: TilNet, crop: Crop, threshold: float) -> tuple[Peaks, NDArray[np.uint8]]:
    """Cells and regions [h/8 w/8] of one crop at 0.5 um/px."""
    device = next(net.parameters()).device
    image = torch.from_numpy(crop.image.transpose(2, 0, 1)[None].astype(np.float32)).to(device)
    with torch.inference_mode():
        maps = [m[0].float().cpu().numpy() for m in net(image.contiguous(memory_format=torch.channels_last))]
    peaks = find_peaks(maps[0][0], maps[1], maps[2], threshold=threshold, stride=CELL_STRIDE)
    return peaks, maps[3].argmax(axis=0).astype(np.uint8)


def evaluate_net(net: TilNet, samples: list[Sample], *, threshold: float = DETECTION_THRESHOLD) -> dict[str, SetScores]:
    """Scores per set, pooled over its images; the network is left in the mode it was in."""
    return summarise(predict_all(net, samples, threshold))


def predict_all(net: TilNet, samples: list[Sample], threshold: float) -> list[FieldResult]:
    """Run the network on whole fields at 0.5 um/px and pair what it finds with the truth."""
    was_training = net.training
    net.eval()
    out = []
    for sample in samples:
        peaks, regions = predict_crop(net, plain_crop(sample), threshold)
        out.append(FieldResult(sample.source, match_sample(sample, peaks), region_confusion(sample, regions)))
    net.train(was_training)
    return out


def summarise(fields: list[FieldResult]) -> dict[str, SetScores]:
    """Pool fields by set."""
    out = {}
    for source in dict.fromkeys(f.source for f in fields):
        own = [f for f in fields if f.source == source]
        confusion = np.sum([f.regions for f in own], axis=0)
        out[source] = SetScores(len(own), score_cells([f.matches for f in own]), dice(confusion))
    return out


def dice(confusion: NDArray[np.int64]) -> dict[str, float]:
    """Dice coefficient of each region over labelled pixels; NaN where a region occurs in neither."""
    hit, true, found = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return {r.name.lower(): float(2 * hit[r] / (true[r] + found[r])) if true[r] + found[r] else nan for r in Region}


def match_sample(sample: Sample, peaks: Peaks) -> Matches:
    """Pair a field's nuclei with detections made on its crop at 0.5 um/px; those outside what is known are left out."""
    height, width = sample.image.shape[:2]
    found = np.stack([peaks.x_px, peaks.y_px], 1) * MPP
    at = np.floor(found / sample.mpp).astype(np.int64)
    keep = (at[:, 0] < width) & (at[:, 1] < height) & (at >= 0).all(axis=1)
    if sample.known is not None:
        keep[keep] &= sample.known[at[keep, 1], at[keep, 0]]
    truth = np.stack([sample.x_px, sample.y_px], 1) * sample.mpp
    pairs = match(truth, found[keep], RADII_UM.get(sample.source, RADIUS_UM))
    return Matches(pairs, sample.label.astype(np.int64), peaks.types[keep].argmax(axis=1).astype(np.int64))


def region_confusion(sample: Sample, regions: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[true found] pixel counts at 4 um/px over the labelled pixels of a field."""
    out = np.zeros((len(Region), len(Region)), np.int64)
    truth = plain_crop(sample).regions[REGION_STRIDE // 2 :: REGION_STRIDE, REGION_STRIDE // 2 :: REGION_STRIDE]
    known = truth != UNKNOWN
    np.add.at(out, (truth[known], regions[known]), 1)
    return out


def flat_scores(results: dict[str, SetScores]) -> dict[str, float]:
    """`{"consep/f_detection": 0.75, "consep/f_class/stromal": 0.5, ..., "consep/region_dice/stroma": 0.8}`."""
    flat: dict[str, float] = {}
    for source, scores in results.items():
        values = {**asdict(scores.cells), "region_dice": scores.region_dice, "n_fields": scores.n_fields}
        for key, value in values.items():
            items = value.items() if isinstance(value, dict) else [("", value)]
            flat.update({f"{source}/{key}/{k}".rstrip("/"): float(v) for k, v in items})
    return flat


def as_table(results: dict[str, SetScores]) -> str:
    """The figures as lines of text."""
    lines = []
    for source, scores in results.items():
        c = scores.cells
        radius = RADII_UM.get(source, RADIUS_UM)
        lines.append(f"{source}: {scores.n_fields} fields, {c.n_true} nuclei, pairs within {radius} um")
        lines.append(f"  detection   F1 {c.f_detection:.3f}  precision {c.precision:.3f}  recall {c.recall:.3f}")
        for title, figures in (
            ("F_c (HoVer-Net)", c.f_class),
            ("F1 joint", {**c.f1_joint, "weighted": c.f1_weighted}),
            ("F1 given nucleus", c.f1_given_nucleus),
            ("region Dice", scores.region_dice),
        ):
            shown = "  ".join(f"{k} {v:.3f}" for k, v in figures.items() if not isnan(v))
            if shown:
                lines.append(f"  {title:16} {shown}")
    return "\n".join(lines)
