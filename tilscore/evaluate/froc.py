"""Free-response curves: sensitivity against false positives per mm2."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tilscore.evaluate.metrics import claim
from tilscore.evaluate.predict import FieldResult
from tilscore.labels import Cell

RATES_PER_MM2 = (5, 10, 20, 50, 100, 200, 300)
"""False positives per mm2 at which the sensitivity is read."""
MEAN_OVER = RATES_PER_MM2[1:]
"""Rates of the mean: those of the TIGER challenge, so that means can be compared."""


@dataclass(frozen=True)
class Froc:
    """Detections in order of their score, highest first.

    Parameters
    ----------
    score, hit, group : [n]; a detection that is no hit is a false positive.
    n_true, area_mm2 : [g] per group.
    """

    score: NDArray[np.float64]
    hit: NDArray[np.bool_]
    group: NDArray[np.int64]
    n_true: NDArray[np.float64]
    area_mm2: NDArray[np.float64]

    def curve(self, weight: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False positives per mm2 and sensitivity at each threshold, [n + 1] each; empty without nuclei or area."""
        n_true, area = float(weight @ self.n_true), float(weight @ self.area_mm2)
        if not n_true or not area:
            return np.zeros(0), np.zeros(0)
        w = weight[self.group]
        false, hit = (np.concatenate([[0.0], np.cumsum(w * k)]) for k in (~self.hit, self.hit))
        return false / area, hit / n_true

    def figures(self, weight: NDArray[np.floating]) -> dict[str, float]:
        """Sensitivity at each of `RATES_PER_MM2` (that of the lowest threshold with at most so many), and the mean."""
        rate, sensitivity = self.curve(weight)
        if not len(rate):
            return {**{str(r): nan for r in RATES_PER_MM2}, "mean": nan}
        at = {r: float(sensitivity[np.searchsorted(rate, r * (1 + 1e-12), side="right") - 1]) for r in RATES_PER_MM2}
        return {**{str(r): v for r, v in at.items()}, "mean": float(np.mean([at[r] for r in MEAN_OVER]))}


def froc_of(fields: list[FieldResult], group: NDArray[np.int64], cell: Cell | None) -> Froc:
    """The curve of one class by P(nucleus of the class), or with None of all nuclei by P(nucleus).

    Every candidate takes part, whatever its most probable class. One that lies on an untyped nucleus, or where not
    every nucleus (of the class) is marked, is neither hit nor false. Fields in which nothing is known of the class are
    left out: no area with every nucleus of it marked, or nuclei of which none has a class.

    Parameters
    ----------
    group : [fields] int.
    """
    n = int(group.max(initial=-1)) + 1
    n_true, area = np.zeros(n), np.zeros(n)
    parts = [(np.zeros(0), np.zeros(0, bool), np.zeros(0, np.int64))]
    for f, g in zip(fields, group, strict=True):
        label = f.sample.label
        mm2 = f.known_mm2 if cell is None else f.class_mm2(cell)
        if mm2 == 0 or (cell is not None and not f.typed):
            continue
        score, hit, counts = _judged(f, cell)
        parts.append((score[counts], hit[counts], np.full(int(counts.sum()), g)))
        n_true[g] += len(label) if cell is None else int((label == cell).sum())
        area[g] += mm2
    score, hit, own = (np.concatenate(p) for p in zip(*parts, strict=True))
    order = np.argsort(-score, kind="stable")
    return Froc(score[order], hit[order], own[order], n_true, area)


def _judged(f: FieldResult, cell: Cell | None) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Score of each candidate, whether it is a hit, and whether it counts."""
    score = f.probs[0].astype(np.float64)
    if cell is None:
        return score, f.owner >= 0, f.judged
    score = score * f.probs[1][:, cell]
    hit = claim(f.true_um[f.sample.label == cell], f.found_um, score, f.radius_um) >= 0
    untyped = f.true_um[f.sample.label < 0]
    on_untyped = np.zeros(len(score), bool)
    if len(untyped) and len(score):
        on_untyped = np.isfinite(cKDTree(untyped).query(f.found_um, distance_upper_bound=f.radius_um)[0])
    return score, hit, hit | ((f.in_known | (cell in f.complete)) & ~on_untyped)
