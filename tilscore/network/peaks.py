"""From the network's cell maps to cells: local maxima of the detection map, found where the maps are."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import expit, logit, softmax

from tilscore.labels import Cell
from tilscore.network.config import Calibration

RADIUS_PX = 1
"""A peak is the maximum of the square that reaches this far, in map pixels (1 um)."""
MIN_SPACING_PX = 2.0
"""Of two refined centres nearer than this, in map pixels (2 um), the more probable stays: no two nuclei lie closer."""
LIKE_SPACING_PX = (2.0, 3.0, 3.0, 2.0)
"""The same for two centres of one class, a `labels.Cell`: epithelial and stromal nuclei are longer than lymphocytes,
and mostly those are two peaks in one nucleus (held out: CRCHistoPhenotypes gains 0.005 of F1, CoNSeP loses nothing)."""
IDENTITY = Calibration()
"""Probabilities as the network states them."""
_SQUARE = np.ones((2 * RADIUS_PX + 1, 2 * RADIUS_PX + 1), np.uint8)


class Peaks(NamedTuple):
    """Nuclei of one block, one entry each.

    `x_px, y_px` : [n] float32, continuous coordinates in input pixels of the block (0 = left or top edge).
    `detection` : [n] float32, probability of a nucleus.
    `types` : [n 4] float32, probability of each class given a nucleus.
    """

    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    detection: NDArray[np.float32]
    types: NDArray[np.float32]


class Candidates(NamedTuple):
    """Peaks before calibration, one entry each.

    `x_px, y_px` : [n] float32, as in `Peaks`. `logit` : [n] float32, of a nucleus. `type_logits` : [n 4] float32.
    """

    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    logit: NDArray[np.float32]
    type_logits: NDArray[np.float32]


def find_peaks(
    detection_hw: NDArray[np.float32],
    types_Chw: NDArray[np.float32],
    offset_2hw: NDArray[np.float32],
    *,
    threshold: float,
    stride: int,
    calibration: Calibration = IDENTITY,
) -> Peaks:
    """Cells of one block, from logits.

    Parameters
    ----------
    detection_hw, types_Chw, offset_2hw : as `nets.CellMaps`, one image of the batch.
    threshold : lowest probability of a nucleus, after calibration.
    stride : input pixels per map pixel.
    """
    lowest = lowest_logit(threshold, calibration)
    return operate(find_candidates(detection_hw, types_Chw, offset_2hw, lowest, stride), threshold, calibration)


def lowest_logit(threshold: float, calibration: Calibration = IDENTITY) -> float:
    """The logit of a nucleus whose calibrated probability is `threshold`."""
    return (float(logit(threshold)) - calibration.detection_shift) / calibration.detection_slope


def find_candidates(
    detection_hw: NDArray[np.float32],
    types_Chw: NDArray[np.float32],
    offset_2hw: NDArray[np.float32],
    lowest: float,
    stride: int,
) -> Candidates:
    """Peaks of one block above the logit `lowest`, uncalibrated; parameters as for `find_peaks`."""
    at_peak = (cv2.dilate(detection_hw, _SQUARE) == detection_hw) & (detection_hw > lowest)
    row, col = np.nonzero(at_peak)
    dx, dy = np.clip(offset_2hw[:, row, col], -1.0, 1.0)
    return refine(row, col, dx, dy, detection_hw[row, col], types_Chw[:, row, col].T, stride)


def refine(
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    dx: NDArray[np.float32],
    dy: NDArray[np.float32],
    logit: NDArray[np.float32],
    type_logits: NDArray[np.float32],
    stride: int,
) -> Candidates:
    """Map pixels that are peaks, with what the network says there, to candidates that lie apart.

    Parameters
    ----------
    row, col : [n], peak pixels. dx, dy : [n], offsets in map pixels. logit : [n]. type_logits : [n 4].
    """
    x, y = col + 0.5 + dx, row + 0.5 + dy
    keep = _apart(x, y, logit, type_logits.argmax(axis=1))
    return Candidates(
        (x[keep] * stride).astype(np.float32),
        (y[keep] * stride).astype(np.float32),
        logit[keep].astype(np.float32),
        type_logits[keep].astype(np.float32),
    )


def operate(found: Candidates, threshold: float, calibration: Calibration = IDENTITY) -> Peaks:
    """Candidates to cells: the one place where logits become probabilities and are held against thresholds.

    A candidate is kept where its P(nucleus) is above `threshold` and above its class's threshold.
    """
    detection, types = probabilities(found.logit, found.type_logits, calibration)
    lowest = np.maximum(threshold, np.array(calibration.class_thresholds))
    keep = detection > lowest[types.argmax(axis=1)] if len(detection) else np.zeros(0, bool)
    return Peaks(found.x_px[keep], found.y_px[keep], detection[keep], types[keep])


def probabilities(
    logit: NDArray[np.floating], type_logits: NDArray[np.floating], calibration: Calibration = IDENTITY
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """P(nucleus) [n] and P(class | nucleus) [n 4] of logits [n] and [n 4]."""
    scaled = calibration.type_slope * type_logits.astype(np.float64)
    scaled[:, Cell.INFLAMMATORY] += calibration.inflammatory_shift
    detection = expit(calibration.detection_slope * logit.astype(np.float64) + calibration.detection_shift)
    return detection.astype(np.float32), softmax(scaled, axis=1).astype(np.float32)


def _apart(
    x: NDArray[np.floating], y: NDArray[np.floating], logit: NDArray[np.float32], label: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Indices that stay when of two centres that are too close the less probable (on a tie the later) goes."""
    if len(x) < 2:
        return np.arange(len(x))
    xy = np.stack([x, y], 1)
    pairs = cKDTree(xy).query_pairs(max(LIKE_SPACING_PX), output_type="ndarray")
    one, other = label[pairs].T
    spacing = np.where(one == other, np.array(LIKE_SPACING_PX)[one], MIN_SPACING_PX)
    pairs = pairs[np.hypot(*(xy[pairs[:, 0]] - xy[pairs[:, 1]]).T) <= spacing]
    rank = np.empty(len(x), np.int64)
    rank[np.lexsort((np.arange(len(x)), -logit))] = np.arange(len(x))
    gone = np.zeros(len(x), bool)
    for a, b in sorted(((a, b) if rank[a] < rank[b] else (b, a) for a, b in pairs), key=lambda ab: rank[ab[0]]):
        if not gone[a]:
            gone[b] = True
    return np.nonzero(~gone)[0]
