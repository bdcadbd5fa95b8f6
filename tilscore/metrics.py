"""How well nuclei are found and named: one-to-one matching within a radius, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    pairs: NDArray[np.int64]
    true_label: NDArray[np.int64]
    found_label: NDArray[np.int64]


def match(
    true_xy_um: NDArray[np.floating],
    found_xy_um: NDArray[np.floating],
    radius_um: float,
) -> NDArray[np.int64]:
    """Pairs [m 2] of truth and detection within `radius_um`: as many as possible, then the closest.

    Each entry is used once (optimal assignment, Kuhn 1955), as in the evaluation of Graham et al. 2019.
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


@dataclass(frozen=True)
class CellScores:
    """Pooled over images.

    Parameters
    ----------
    f_detection : F1 of finding nuclei, whatever their class.
    precision, recall : of finding nuclei.
    f_class : per class, F_c of Graham et al. 2019 (eq. 8 with weights 2, 2, 1, 1).
    f1_joint : per class, F1 where a detection counts only with the right class.
    f1_weighted : `f1_joint` weighted by the number of true nuclei (Sirinukunwattana et al. 2016).
    f1_given_nucleus : per class, F1 of the class among matched, typed nuclei.
    n_true, n_found : numbers of nuclei.
    """

    f_detection: float
    precision: float
    recall: float
    f_class: dict[str, float]
    f1_joint: dict[str, float]
    f1_weighted: float
    f1_given_nucleus: dict[str, float]
    n_true: int
    n_found: int


def _f1(hits: int, false: float, missed: float) -> float:
    return 2 * hits / (2 * hits + false + missed) if hits + false + missed else float("nan")


def score_cells(images: list[Matches]) -> CellScores:
    """Pool matches over images. Pairs with an untyped truth count for detection only."""
    n_true = sum(len(m.true_label) for m in images)
    n_found = sum(len(m.found_label) for m in images)
    n_pairs = sum(len(m.pairs) for m in images)
    truth = np.concatenate([m.true_label[m.pairs[:, 0]] for m in images])
    found = np.concatenate([m.found_label[m.pairs[:, 1]] for m in images])
    lone_truth = np.concatenate([np.delete(m.true_label, m.pairs[:, 0]) for m in images])
    lone_found = np.concatenate([np.delete(m.found_label, m.pairs[:, 1]) for m in images])
    typed = truth >= 0
    f_class, joint, given, support = {}, {}, {}, {}
    for cell in Cell:
        name = cell.name.lower()
        hit = int(((truth == cell) & (found == cell)).sum())
        false = int(((truth != cell) & (found == cell) & typed).sum())
        missed = int(((truth == cell) & (found != cell)).sum())
        alone, lost = int((lone_found == cell).sum()), int((lone_truth == cell).sum())
        f_class[name] = _f1(hit, 2 * false + alone, 2 * missed + lost)
        joint[name] = _f1(hit, false + alone, missed + lost)
        given[name] = _f1(hit, false, missed)
        support[name] = hit + missed + lost
    total = sum(support.values())
    weighted = sum(joint[n] * s for n, s in support.items() if s) / total if total else float("nan")
    return CellScores(
        f_detection=_f1(n_pairs, n_found - n_pairs, n_true - n_pairs),
        precision=n_pairs / n_found if n_found else float("nan"),
        recall=n_pairs / n_true if n_true else float("nan"),
        f_class=f_class,
        f1_joint=joint,
        f1_weighted=weighted,
        f1_given_nucleus=given,
        n_true=n_true,
        n_found=n_found,
    )
