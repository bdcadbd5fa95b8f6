"""How well nuclei are found and named: one-to-one matching within a radius, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from tilscore.labels import Cell


@dataclass(frozen=True)
class Matches:
    """Truth and detections of one image after matching.

    Parameters
    ----------
    pairs : [m 2] int, index in truth, index in detections.
    true_label : [n] int, -1 = untyped.
    found_label : [k] int.
    exhaustive : False where not every nucleus is marked: an unmatched detection says nothing there.
    complete : classes of which every nucleus is marked all the same: an unmatched detection of theirs is false.
    """

    pairs: NDArray[np.int64]
    true_label: NDArray[np.int64]
    found_label: NDArray[np.int64]
    exhaustive: bool = True
    complete: tuple[Cell, ...] = ()

    @property
    def spurious(self) -> NDArray[np.int64]:
        """Index of the detections that are known to be false: unmatched, where that says something."""
        alone = np.delete(np.arange(len(self.found_label)), self.pairs[:, 1])
        return alone if self.exhaustive else alone[np.isin(self.found_label[alone], self.complete)]

    def tells_of(self, cell: Cell) -> bool:
        """Whether false detections of a class are known."""
        return self.exhaustive or cell in self.complete


def match(
    true_xy_um: NDArray[np.floating],
    found_xy_um: NDArray[np.floating],
    radius_um: float,
) -> NDArray[np.int64]:
    """Pairs [m 2] of truth and detection within `radius_um`: as many as possible, then the closest.

    Each entry is used once (optimal assignment, Kuhn 1955). Graham et al. 2019 assign first and then drop pairs that
    are too far apart, which finds as many pairs or fewer.
    """
    none = np.zeros((0, 2), np.int64)
    if len(true_xy_um) == 0 or len(found_xy_um) == 0:
        return none
    near = cKDTree(true_xy_um).sparse_distance_matrix(cKDTree(found_xy_um), radius_um, output_type="coo_matrix")
    if near.nnz == 0:
        return none
    far = radius_um * (min(near.shape) + 1)
    rows, row_of = np.unique(near.row, return_inverse=True)
    cols, col_of = np.unique(near.col, return_inverse=True)
    cost = np.full((len(rows), len(cols)), far)
    cost[row_of, col_of] = near.data
    a, b = linear_sum_assignment(cost)
    real = cost[a, b] < far
    return np.stack([rows[a[real]], cols[b[real]]], 1).astype(np.int64)


def claim(
    true_xy_um: NDArray[np.floating],
    found_xy_um: NDArray[np.floating],
    score: NDArray[np.floating],
    radius_um: float,
) -> NDArray[np.int64]:
    """[k] index of the true nucleus that each detection gets, -1 = none: the highest score chooses first, the nearest.

    Whoever claims a nucleus keeps it however many weaker detections follow, so that the counts at every threshold
    come from one pass (as in free-response curves).
    """
    owner = np.full(len(found_xy_um), -1, np.int64)
    if len(true_xy_um) == 0 or len(found_xy_um) == 0:
        return owner
    near = cKDTree(true_xy_um).query_ball_point(found_xy_um, radius_um)
    free = np.ones(len(true_xy_um), bool)
    for i in np.argsort(-score, kind="stable"):
        open_to = [t for t in near[i] if free[t]]
        if open_to:
            gaps = np.hypot(*(true_xy_um[open_to] - found_xy_um[i]).T)
            owner[i] = open_to[int(gaps.argmin())]
            free[owner[i]] = False
    return owner


N = len(Cell)
UNTYPED_ROW, SPURIOUS_ROW, MISSED_COLUMN = N, N + 1, N
"""Places in a confusion table after the classes: nuclei without a class, detections of nothing, nuclei not found."""


def confusion(image: Matches) -> NDArray[np.int64]:
    """[true found] counts [6 5] of one image: four classes, untyped and spurious; four classes and missed."""
    table = np.zeros((N + 2, N + 1), np.int64)
    true = np.where(image.true_label < 0, UNTYPED_ROW, image.true_label)
    np.add.at(table, (true[image.pairs[:, 0]], image.found_label[image.pairs[:, 1]]), 1)
    table[:, MISSED_COLUMN] += np.bincount(np.delete(true, image.pairs[:, 0]), minlength=N + 2)
    table[SPURIOUS_ROW] += np.bincount(image.found_label[image.spurious], minlength=N + 1)
    return table


def judged_tables(image: Matches, table: NDArray[np.int64]) -> NDArray[np.int64]:
    """[4 6 5] the image's confusion for each class of which false detections are known; 0 for the others."""
    return np.stack([table if image.tells_of(cell) else np.zeros_like(table) for cell in Cell])


@dataclass(frozen=True)
class CellScores:
    """Pooled over images; NaN where there is nothing to count.

    Parameters
    ----------
    f_detection : F1 of finding nuclei, whatever their class (F_d of Graham et al. 2019).
    precision, recall : of finding nuclei.
    f_class : per class, F_c of Graham et al. 2019 (eq. 8 with weights 2, 2, 1, 1). Pairs in which neither side is of
        the class are left out, so that no true negatives count, as in the authors' published evaluation; the formula
        read with them would say far more.
    precision_class, recall_class, f1_joint : per class; a detection counts only with the right class. They need the
        nuclei of the class alone to be marked, where `f_class` needs those of every class.
    f1_weighted : F1 of that kind where every nucleus is marked, weighted by the number of true nuclei
        (Sirinukunwattana et al. 2016).
    f1_given_nucleus : per class, F1 of the class among matched, typed nuclei.
    n_true, n_found : numbers of nuclei.
    """

    f_detection: float
    precision: float
    recall: float
    f_class: dict[str, float]
    precision_class: dict[str, float]
    recall_class: dict[str, float]
    f1_joint: dict[str, float]
    f1_weighted: float
    f1_given_nucleus: dict[str, float]
    n_true: int
    n_found: int


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b else float("nan")


def _f1(hits: float, false: float, missed: float) -> float:
    return _ratio(2 * hits, 2 * hits + false + missed)


def score_cells(images: list[Matches]) -> CellScores:
    """Pool matches over images. Pairs with an untyped truth count for detection only."""
    empty = np.zeros((N + 2, N + 1), np.int64)
    tables = [confusion(m) for m in images]
    closed = [t for t, m in zip(tables, images, strict=True) if m.exhaustive]
    judged = [judged_tables(m, t) for t, m in zip(tables, images, strict=True)]
    scores = scores_of(sum(tables, empty), sum(closed, empty), sum(judged, np.zeros((N, *empty.shape), np.int64)))
    return replace(scores, n_found=sum(len(m.found_label) for m in images))


def scores_of(table: NDArray[np.number], closed: NDArray[np.number], judged: NDArray[np.number]) -> CellScores:
    """Scores of pooled confusion tables [6 5].

    Parameters
    ----------
    table : all images; gives recall, and the class given the nucleus.
    closed : the images in which every nucleus is marked; gives what false detections enter into.
    judged : [4 6 5], per class the images in which every nucleus of it is marked (`judged_tables`).
    """
    pairs, n_true = float(closed[: N + 1, :N].sum()), float(closed[: N + 1].sum())
    n_found = float(closed[:, :N].sum())
    f_class, precision, recall, joint, given, weighed = {}, {}, {}, {}, {}, []
    for cell in Cell:
        name = cell.name.lower()
        hit, false, missed, alone, lost = _of_class(_typed(closed), cell)
        f_class[name] = _f1(hit, 2 * false + alone, 2 * missed + lost)
        weighed.append((_f1(hit, false + alone, missed + lost), float(closed[cell].sum())))
        hit, false, missed, alone, lost = _of_class(_typed(judged[cell]), cell)
        joint[name] = _f1(hit, false + alone, missed + lost)
        precision[name] = _ratio(hit, hit + false + alone)
        hit, false, missed, _, lost = _of_class(table, cell)
        recall[name] = _ratio(hit, hit + missed + lost)
        given[name] = _f1(hit, false, missed)
    return CellScores(
        f_detection=_f1(pairs, n_found - pairs, n_true - pairs),
        precision=_ratio(pairs, n_found),
        recall=_ratio(float(table[: N + 1, :N].sum()), float(table[: N + 1].sum())),
        f_class=f_class,
        precision_class=precision,
        recall_class=recall,
        f1_joint=joint,
        f1_weighted=_ratio(sum(f * n for f, n in weighed if n), sum(n for _, n in weighed)),
        f1_given_nucleus=given,
        n_true=int(table[: N + 1].sum()),
        n_found=int(table[:, :N].sum()),
    )


def _typed(table: NDArray[np.number]) -> NDArray[np.number]:
    """The table; zeros where no nucleus has a class: spurious cells alone would make figures of 0."""
    return table if table[:N].any() else np.zeros_like(table)


def _of_class(table: NDArray[np.number], cell: Cell) -> tuple[float, float, float, float, float]:
    """Hits, detections of other classes' nuclei, nuclei called another class, spurious detections, missed nuclei."""
    hit = float(table[cell, cell])
    return (
        hit,
        float(table[:N, cell].sum()) - hit,
        float(table[cell, :N].sum()) - hit,
        float(table[SPURIOUS_ROW, cell]),
        float(table[cell, MISSED_COLUMN]),
    )
