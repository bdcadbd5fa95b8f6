"""Distances to the nearest cell of another kind, with what lies beyond the window's edge taken as censored."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import CensoredData, ecdf

from tilscore.masks import Mask, extent
from tilscore.space import Grid

Values = NDArray[np.float64]
Points = NDArray[np.floating]


@dataclass(frozen=True)
class Nearest:
    """Nearest-neighbour distances from one kind of point to another.

    Parameters
    ----------
    g_km : [k] share of points with a neighbour within each distance (Kaplan-Meier).
    median_um : smallest distance with a Kaplan-Meier share of at least a half; None where it is not reached.
    mean_um : mean observed distance, not corrected for the edge. n : points.
    """

    g_km: Values
    median_um: float | None
    mean_um: float
    n: int


def nearest_distances(one: Points, other: Points | None, window: Mask, grid: Grid, r_um: Values) -> Nearest:
    """G(r) from `one` to the nearest of `other` (or to the nearest other one of `one`).

    Parameters
    ----------
    one, other : [n 2] points (x, y) in microns, all in `window`.

    Notes
    -----
    A neighbour further away than the edge of the window may be missed: the distance is censored there (Baddeley and
    Gill 1997, Kaplan-Meier estimators of distance distributions for spatial point processes).
    """
    if len(one) == 0 or (other is None and len(one) < 2) or (other is not None and len(other) == 0):
        raise ValueError("nearest distances need points of both kinds")
    away = cKDTree(one).query(one, k=2)[0][:, 1] if other is None else cKDTree(other).query(one)[0]
    edge = edge_distance(one, window, grid)
    censored = away > edge
    cdf = ecdf(CensoredData.right_censored(np.minimum(away, edge), censored)).cdf
    reached = cdf.quantiles[cdf.probabilities >= 0.5]
    median = float(reached[0]) if len(reached) else None
    return Nearest(np.asarray(cdf.evaluate(r_um)), median, float(away.mean()), len(one))


def edge_distance(points: Points, window: Mask, grid: Grid) -> Values:
    """[n] distance to the edge of the window, the slide's border included; 0 outside it.

    From the centre of a point's pixel to that of the nearest pixel outside, less half a pixel: the edge lies between.
    """
    rows, cols = extent(window)
    if rows.stop == 0:
        return np.zeros(len(points))
    part = window[rows, cols]
    padded = np.pad(part.astype(np.uint8), 1)
    away_px = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    col, row = grid.index(points).T
    col = np.clip(col - cols.start + 1, 0, part.shape[1] + 1)
    row = np.clip(row - rows.start + 1, 0, part.shape[0] + 1)
    return np.asarray(np.maximum(away_px[row, col] - 0.5, 0.0) * grid.mpp, np.float64)
