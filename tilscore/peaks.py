"""From the network's cell maps to cells: local maxima of the detection map, found where the maps are."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

RADIUS_PX = 2
"""A peak is the maximum of the square that reaches this far, in map pixels (2 um): no two nuclei lie closer."""
MIN_SPACING_PX = 2.0
"""Of two refined centres nearer than this (ties on a plateau), the more probable stays."""
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


def find_peaks(
    detection_hw: NDArray[np.float32],
    types_Chw: NDArray[np.float32],
    offset_2hw: NDArray[np.float32],
    *,
    threshold: float,
    stride: int,
) -> Peaks:
    """Cells of one block, from logits.

    Parameters
    ----------
    detection_hw, types_Chw, offset_2hw : as `nets.CellMaps`, one image of the batch.
    threshold : lowest probability of a nucleus.
    stride : input pixels per map pixel.
    """
    logit_threshold = float(np.log(threshold / (1 - threshold)))
    at_peak = (cv2.dilate(detection_hw, _SQUARE) == detection_hw) & (detection_hw > logit_threshold)
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
) -> Peaks:
    """Map pixels that are peaks, with what the network says there, to cells.

    Parameters
    ----------
    row, col : [n], peak pixels. dx, dy : [n], offsets in map pixels. logit : [n]. type_logits : [n 4].
    """
    x, y = col + 0.5 + dx, row + 0.5 + dy
    keep = _apart(x, y, logit)
    e = np.exp(type_logits[keep] - type_logits[keep].max(axis=1, keepdims=True, initial=-np.inf))
    return Peaks(
        (x[keep] * stride).astype(np.float32),
        (y[keep] * stride).astype(np.float32),
        (1 / (1 + np.exp(-logit[keep]))).astype(np.float32),
        (e / e.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def _apart(x: NDArray[np.floating], y: NDArray[np.floating], logit: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices that stay when of two centres within `MIN_SPACING_PX` the less probable (on a tie the later) goes."""
    if len(x) < 2:
        return np.arange(len(x))
    pairs = cKDTree(np.stack([x, y], 1)).query_pairs(MIN_SPACING_PX, output_type="ndarray")
    rank = np.empty(len(x), np.int64)
    rank[np.lexsort((np.arange(len(x)), -logit))] = np.arange(len(x))
    gone = np.zeros(len(x), bool)
    for a, b in sorted(((a, b) if rank[a] < rank[b] else (b, a) for a, b in pairs), key=lambda ab: rank[ab[0]]):
        if not gone[a]:
            gone[b] = True
    return np.nonzero(~gone)[0]
