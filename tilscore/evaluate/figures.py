"""Every figure of a pool of fields as a function of the weight of each group, so that its interval needs no other code.

A group is what is drawn again in the bootstrap: a patient or an image. With all weights 1 the figures are those of
the fields as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tilscore.evaluate.calibration import bins_of, calibration_error
from tilscore.evaluate.froc import Froc, froc_of
from tilscore.evaluate.metrics import N, confusion, judged_tables, scores_of
from tilscore.evaluate.predict import FieldResult
from tilscore.evaluate.summary import dice
from tilscore.labels import Cell

Weights = NDArray[np.floating]
T = TypeVar("T", np.int64, np.float64)


@dataclass(frozen=True)
class Ranking:
    """Cases of one class against the rest, in order of their probability.

    Parameters
    ----------
    rank : [n] int, place of the probability among the distinct ones, lowest first.
    positive : [n] bool. group : [n] int.
    """

    rank: NDArray[np.int64]
    positive: NDArray[np.bool_]
    group: NDArray[np.int64]

    def auroc(self, weight: Weights) -> float:
        """Chance that a case of the class is ranked above another (ties half); NaN where one of the two is missing."""
        w = weight[self.group]
        n = int(self.rank.max(initial=-1)) + 1
        yes = np.bincount(self.rank, weights=w * self.positive, minlength=n)
        no = np.bincount(self.rank, weights=w * ~self.positive, minlength=n)
        both = yes.sum() * no.sum()
        return float((yes * (np.cumsum(no) - no / 2)).sum() / both) if both else nan


@dataclass(frozen=True)
class Pool:
    """Fields as sums per group; the axes after the group's are those of the tables.

    Parameters
    ----------
    cells, closed : [g 6 5], `metrics.confusion` of all fields, and of those in which every nucleus is marked.
    judged : [g 4 6 5], per class of the fields in which every nucleus of it is marked.
    told : of what false detections are known in some field: names of classes, and `nuclei`.
    regions : [g 5 5]. bins : per probability, [g 15 3], `calibration.bins_of`.
    """

    groups: tuple[str, ...]
    cells: NDArray[np.int64]
    closed: NDArray[np.int64]
    judged: NDArray[np.int64]
    told: frozenset[str]
    regions: NDArray[np.int64]
    bins: dict[str, NDArray[np.float64]]
    rankings: dict[str, Ranking]
    frocs: dict[str, Froc]


def pool(fields: list[FieldResult]) -> Pool:
    """Everything that the figures need of some fields."""
    groups = tuple(dict.fromkeys(f.group for f in fields))
    place = {group: i for i, group in enumerate(groups)}
    at = np.array([place[f.group] for f in fields], np.int64)

    def per_group(tables: list[NDArray[T]]) -> NDArray[T]:
        out = np.zeros((len(groups), *tables[0].shape), tables[0].dtype)
        np.add.at(out, at, np.stack(tables))
        return out

    tables = [confusion(f.matches) for f in fields]
    cases = [_cases(f) for f in fields]
    return Pool(
        groups=groups,
        cells=per_group(tables),
        closed=per_group([t * f.matches.exhaustive for t, f in zip(tables, fields, strict=True)]),
        judged=per_group([judged_tables(f.matches, t) for t, f in zip(tables, fields, strict=True)]),
        told=frozenset(
            [c.name.lower() for c in Cell if any(f.matches.tells_of(c) for f in fields)]
            + ["nuclei"] * any(f.matches.exhaustive for f in fields)
        ),
        regions=per_group([f.regions for f in fields]),
        bins={name: per_group([bins_of(*c[name]) for c in cases]) for name in cases[0]},
        rankings={c.name.lower(): _ranking(fields, at, c) for c in Cell},
        frocs={"nuclei": froc_of(fields, at, None), "inflammatory": froc_of(fields, at, Cell.INFLAMMATORY)},
    )


def _labels(f: FieldResult) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Class of the nucleus each cell of the field is paired with (-1 = none or untyped), and whether it has a pair."""
    label = np.full(len(f.cells), -1, np.int64)
    paired = np.zeros(len(f.cells), bool)
    label[f.matches.pairs[:, 1]] = f.matches.true_label[f.matches.pairs[:, 0]]
    paired[f.matches.pairs[:, 1]] = True
    return label, paired


def _cases(f: FieldResult) -> dict[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Probability and outcome of every kept cell, for each probability that is checked.

    `detection`: P(nucleus). `inflammatory`: P(inflammatory nucleus), without cells on untyped nuclei.
    `inflammatory_given_nucleus`: P(inflammatory | nucleus) of cells on typed nuclei.
    Where not every nucleus is marked, the first is unknown, and the second too unless every inflammatory one is.
    """
    label, paired = _labels(f)
    detection, types = (p[f.cells] for p in f.probs)
    til = types[:, Cell.INFLAMMATORY]
    closed = np.full(len(label), f.matches.exhaustive)
    known = ((closed | (Cell.INFLAMMATORY in f.complete)) & ~(paired & (label < 0))) & f.typed
    typed = label >= 0
    hit = label == Cell.INFLAMMATORY
    joint, outcome = (detection * til)[known], hit[known]
    if Cell.INFLAMMATORY in f.complete:  # the cells of other classes, which `cells` lacks, are on none of its nuclei
        others = np.setdiff1d(np.flatnonzero(f.kept), f.cells)
        joint = np.append(joint, (f.probs[0] * f.probs[1][:, Cell.INFLAMMATORY])[others])
        outcome = np.append(outcome, np.zeros(len(others), bool))
    return {
        "detection": (detection[closed], paired[closed]),
        "inflammatory": (joint, outcome),
        "inflammatory_given_nucleus": (til[typed], hit[typed]),
    }


def _ranking(fields: list[FieldResult], at: NDArray[np.int64], cell: Cell) -> Ranking:
    """Matched, typed nuclei in order of P(class | nucleus)."""
    prob, label, group = [], [], []
    for f, g in zip(fields, at, strict=True):
        own, _ = _labels(f)
        typed = own >= 0
        prob.append(f.probs[1][f.cells][typed, cell])
        label.append(own[typed])
        group.append(np.full(int(typed.sum()), g))
    rank = np.unique(np.concatenate(prob), return_inverse=True)[1].astype(np.int64)
    return Ranking(rank, np.concatenate(label) == cell, np.concatenate(group))


def figures(pool: Pool, weight: Weights | None = None) -> dict[str, float]:
    """All figures by name, `part/figure` or `part/figure/class`; NaN where there is nothing to count.

    Parameters
    ----------
    weight : [g], how often each group counts; None = once.
    """
    w = np.ones(len(pool.groups)) if weight is None else weight

    def total(tables: NDArray[np.number]) -> NDArray[np.floating]:
        return np.asarray(np.tensordot(w, tables, axes=1), np.float64)

    s = scores_of(total(pool.cells), total(pool.closed), total(pool.judged))
    out = {"detection/f1": s.f_detection, "detection/precision": s.precision, "detection/recall": s.recall}
    by_class = {
        "f_c": s.f_class,
        "f1_joint": s.f1_joint,
        "precision": s.precision_class,
        "recall": s.recall_class,
        "f1_given_nucleus": s.f1_given_nucleus,
        "auroc_given_nucleus": {name: r.auroc(w) for name, r in pool.rankings.items()},
    }
    out.update({f"class/{key}/{name}": v for key, values in by_class.items() for name, v in values.items()})
    out["class/f1_joint/weighted"] = s.f1_weighted
    for name, curve in pool.frocs.items():
        out.update({f"froc/{name}/{key}": v for key, v in curve.figures(w).items()})
    out.update({f"calibration/ece/{name}": calibration_error(total(b)) for name, b in pool.bins.items()})
    out.update({f"region/dice/{name}": v for name, v in dice(total(pool.regions)).items()})
    return out


def untold(pool: Pool, name: str) -> bool:
    """Whether a figure is missing because false detections are known nowhere, though its nuclei are annotated."""
    part, _, rest = name.partition("/")
    first, last = rest.split("/")[0], name.rpartition("/")[2]
    if part == "class" and first in ("f_c", "f1_joint", "precision"):
        of = last if last != "weighted" else "nuclei"
        needs = of if first != "f_c" else "nuclei"
    elif name in ("detection/f1", "detection/precision", "calibration/ece/detection") or name.startswith("froc/nuclei"):
        of = needs = "nuclei"
    elif name == "calibration/ece/inflammatory" or name.startswith("froc/inflammatory"):
        of = needs = "inflammatory"
    else:
        return False
    rows = slice(N + 1) if of == "nuclei" else Cell[of.upper()]
    return needs not in pool.told and bool(pool.cells[:, rows].any())
