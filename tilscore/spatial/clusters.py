"""Clusters of TILs: cells with many others near, linked by distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

Points = NDArray[np.floating]


@dataclass(frozen=True)
class Clusters:
    """Which cluster each point is in.

    Parameters
    ----------
    label : [n] number of the cluster, -1 for points in none. sizes : [k] points in each.
    """

    label: NDArray[np.int64]
    sizes: NDArray[np.int64]


def dbscan(points: Points, *, eps_um: float, min_points: int) -> Clusters:
    """Density-based clusters (Ester, Kriegel, Sander and Xu 1996).

    A point with at least `min_points` points within `eps_um`, itself included, is a core; cores within `eps_um` of each
    other share a cluster; another point within `eps_um` of a core joins the cluster of its nearest core.
    """
    n = len(points)
    if n == 0:
        return Clusters(np.zeros(0, np.int64), np.zeros(0, np.int64))
    points = np.asarray(points, np.float64)
    tree = cKDTree(points)
    n_near = tree.query_ball_point(points, eps_um, return_length=True)
    core = np.flatnonzero(n_near >= min_points)
    label = np.full(n, -1, np.int64)
    if len(core) == 0:
        return Clusters(label, np.zeros(0, np.int64))
    cores = cKDTree(points[core])
    pairs = cores.query_pairs(eps_um, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs), np.bool_), pairs.T), (len(core), len(core)))
    n_clusters, of_core = connected_components(graph, directed=False)
    label[core] = of_core
    rest = np.flatnonzero(n_near < min_points)
    away, nearest = cores.query(points[rest], distance_upper_bound=np.nextafter(eps_um, np.inf))
    joined = np.isfinite(away)
    label[rest[joined]] = of_core[nearest[joined]]
    return Clusters(label, np.bincount(label[label >= 0], minlength=n_clusters))
