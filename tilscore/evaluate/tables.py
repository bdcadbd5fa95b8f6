"""The evaluation as plain values: per set, organ, scanner and centre, what JSON and the page hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.config import as_values
from tilscore.evaluate.bootstrap import LEVEL, figures_with_intervals
from tilscore.evaluate.calibration import N_BINS
from tilscore.evaluate.figures import Pool, pool
from tilscore.evaluate.froc import MEAN_OVER, RATES_PER_MM2, Froc
from tilscore.evaluate.predict import FieldResult, by_set
from tilscore.labels import Cell, Region

FORMAT = 1
TAGS = ("organ", "scanner", "centre")
CELLS = [c.name.lower() for c in Cell]
REGIONS = [r.name.lower() for r in Region]
MEANINGS = {
    "detection": "Nuclei found, whatever their class. Cells and nuclei are paired one to one, as many as possible "
    "within the radius, then the closest. Where a set does not mark every nucleus, only the recall is known; where it "
    "marks every nucleus of a class, cells of the class count everywhere: precision, F1 joint, the free-response curve "
    "and P(inflammatory nucleus) of the class are known too, F_c is not.",
    "class/f_c": "F_c of Graham et al. 2019 (HoVer-Net), weights 2, 2, 1, 1.",
    "class/f1_joint": "F1 where a cell counts only with the right class; weighted: by the number of nuclei.",
    "class/precision": "Share of the cells of a class that lie on a nucleus of it. Cells on nuclei without a class do "
    "not count, those on no nucleus do: in a partly typed set precision, F1 joint and F_c are lower bounds.",
    "class/recall": "Share of the nuclei of a class that are found and named right.",
    "class/f1_given_nucleus": "F1 of the class among nuclei that were found.",
    "class/auroc_given_nucleus": "Area under the ROC curve of P(class | nucleus) among nuclei that were found.",
    "froc": "Sensitivity at 5 to 300 false positives per mm2; the mean is over 10 to 300.",
    "calibration/ece": f"Expected calibration error over {N_BINS} equal bins of probability, of the cells that are "
    "kept: P(nucleus); P(inflammatory nucleus); P(inflammatory | nucleus) on nuclei that were found.",
    "region/dice": "Dice coefficient over labelled pixels at 4 um/px.",
}


def evaluate_fields(fields: list[FieldResult], *, n_bootstrap: int = 1000, seed: int = 1) -> dict[str, Any]:
    """All figures of some fields as plain values without NaN.

    Parameters
    ----------
    n_bootstrap : draws for the intervals.

    Returns
    -------
    `pools`: one entry for each set, then all sets together, organs, scanners and centres, where the sets tell them
    and there is more than one; each with counts, `figures` (value, low, high, reason), confusion tables,
    reliability and free-response curves. `settings` and `meanings` say what was done.
    """
    return {
        "format": FORMAT,
        "settings": {
            "interval": LEVEL,
            "n_bootstrap": n_bootstrap,
            "seed": seed,
            "resampled": "patients, each with all sets that show them; images where no patient is told",
            "froc_rates_per_mm2": list(RATES_PER_MM2),
            "froc_mean_over": list(MEAN_OVER),
            "n_calibration_bins": N_BINS,
        },
        "operating_points": _operating_points(fields),
        "meanings": MEANINGS,
        "pools": [
            {"kind": kind, "name": name, **describe(own, n_bootstrap, seed)} for kind, name, own in _pools(fields)
        ],
    }


def _pools(fields: list[FieldResult]) -> Iterator[tuple[str, str, list[FieldResult]]]:
    sets = by_set(fields)
    for name, own in sets.items():
        yield "set", name, own
    if len(sets) > 1:
        yield "all", "all sets", fields
    for tag in TAGS:
        values = sorted({f.tag(tag) for f in fields} - {""})
        for value in values if len(values) > 1 else []:
            yield tag, value, [f for f in fields if f.tag(tag) == value]


def _operating_points(fields: list[FieldResult]) -> list[dict[str, Any]]:
    """Every threshold and calibration in use, with the number of its fields: one a model."""
    points = dict.fromkeys((f.threshold, f.calibration) for f in fields)
    return [
        {
            "threshold": threshold,
            "calibration": as_values(calibration),
            "n_fields": sum((f.threshold, f.calibration) == (threshold, calibration) for f in fields),
        }
        for threshold, calibration in points
    ]


def describe(fields: list[FieldResult], n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Counts, figures, tables and curves of one pool."""
    own = pool(fields)
    label = np.concatenate([f.sample.label for f in fields])
    computed = figures_with_intervals(own, n_bootstrap, seed)
    return {
        "n_fields": len(fields),
        "n_groups": len(own.groups),
        "n_nuclei": len(label),
        "n_typed": int((label >= 0).sum()),
        "n_cells_found": int(sum(len(f.cells) for f in fields)),
        "known_mm2": round(sum(f.known_mm2 for f in fields), 4),
        "class_mm2": {c.name.lower(): round(sum(f.class_mm2(c) for f in fields), 4) for c in Cell},
        "radius_um": sorted({f.radius_um for f in fields}),
        "figures": {name: {k: v for k, v in asdict(f).items() if v != ""} for name, f in computed.items()},
        "confusion": _table(own.cells.sum(axis=0), [*CELLS, "untyped", "spurious"], [*CELLS, "missed"]),
        "region_confusion": _table(own.regions.sum(axis=0), REGIONS, REGIONS),
        "reliability": {name: reliability(b.sum(axis=0)) for name, b in own.bins.items()},
        "froc": {name: _curve(f, own) for name, f in own.frocs.items()},
    }


def _table(counts: NDArray[np.integer], true: list[str], found: list[str]) -> dict[str, Any]:
    return {"true": true, "found": found, "counts": counts.astype(int).tolist()}


def reliability(bins: NDArray[np.floating]) -> list[dict[str, float]]:
    """Bins [15 3] that hold a case: number, mean probability, share that was right."""
    return [
        {"n": int(n), "mean_probability": float(p / n), "share_right": float(hit / n)} for n, p, hit in bins if n > 0
    ]


def _curve(froc: Froc, own: Pool, n_points: int = 60) -> dict[str, list[float]]:
    """The curve up to the highest rate, thinned to points that are even in the logarithm of the rate."""
    rate, sensitivity = froc.curve(np.ones(len(own.groups)))
    if not len(rate):
        return {"false_per_mm2": [], "sensitivity": []}
    at = np.geomspace(1, RATES_PER_MM2[-1], n_points)
    rows = np.searchsorted(rate, at, side="right") - 1
    return {"false_per_mm2": [round(float(r), 3) for r in at], "sensitivity": sensitivity[rows].tolist()}
