"""The figures that training follows: per set, without intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.sample import Sample
from tilscore.evaluate.metrics import CellScores, score_cells
from tilscore.evaluate.predict import FieldResult, by_set, predict_all
from tilscore.labels import Region
from tilscore.network.config import DETECTION_THRESHOLD, Calibration
from tilscore.network.peaks import IDENTITY

if TYPE_CHECKING:
    from tilscore.network.nets import TilNet


@dataclass(frozen=True)
class SetScores:
    """One set, pooled over its fields."""

    n_fields: int
    cells: CellScores
    region_dice: dict[str, float]
    radius_um: float


def evaluate_net(
    net: TilNet,
    samples: list[Sample],
    *,
    threshold: float = DETECTION_THRESHOLD,
    calibration: Calibration = IDENTITY,
) -> dict[str, SetScores]:
    """Scores per set, pooled over its images; the network is left in the mode it was in."""
    return summarise(predict_all(net, samples, threshold, calibration))


def summarise(fields: list[FieldResult]) -> dict[str, SetScores]:
    """Pool fields by set."""
    out = {}
    for source, own in by_set(fields).items():
        regions = np.sum([f.regions for f in own], axis=0)
        cells = score_cells([f.matches for f in own])
        out[source] = SetScores(len(own), cells, dice(regions), own[0].radius_um)
    return out


def dice(confusion: NDArray[np.number]) -> dict[str, float]:
    """Dice coefficient of each region over labelled pixels; NaN where a region occurs in neither."""
    hit, true, found = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return {r.name.lower(): float(2 * hit[r] / (true[r] + found[r])) if true[r] + found[r] else nan for r in Region}


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
        found = {"F1": c.f_detection, "precision": c.precision, "recall": c.recall}
        lines.append(f"{source}: {scores.n_fields} fields, {c.n_true} nuclei, pairs within {scores.radius_um:g} um")
        for title, figures in (
            ("detection", found),
            ("F_c (HoVer-Net)", c.f_class),
            ("F1 joint", {**c.f1_joint, "weighted": c.f1_weighted}),
            ("recall joint", c.recall_class),
            ("F1 given nucleus", c.f1_given_nucleus),
            ("region Dice", scores.region_dice),
        ):
            shown = "  ".join(f"{k} {v:.3f}" for k, v in figures.items() if not isnan(v))
            if shown:
                lines.append(f"  {title:16} {shown}")
    return "\n".join(lines)
