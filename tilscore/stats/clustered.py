"""Least squares with small-sample cluster-robust errors: CR2 and Satterthwaite's degrees of freedom.

Bell & McCaffrey, Survey Methodology 2002; Pustejovsky & Tipton, J Bus Econ Stat 2018. The usual sandwich is too small
with few or unequal clusters; CR2 is unbiased under equal variances, and the t distribution's degrees of freedom are
those of the contrast at hand. With clusters of one row it is HC2 with Bell-McCaffrey's degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contrast:
    """A coefficient with its robust standard error, degrees of freedom, two-sided p and interval."""

    estimate: float
    se: float
    df: float
    p: float
    low: float
    high: float


@dataclass(frozen=True)
class ClusteredFit:
    """Ordinary least squares of `y` on `x` with what the robust errors need; see `contrast`.

    Attributes
    ----------
    x : (n, k) regressors. beta : (k,) coefficients. residuals : (n,). bread : (k, k) inverse of x'x.
    parts : for each cluster the rows' x, already multiplied by (I - H_ii)^(-1/2), in order of `groups`.
    """

    x: Floats
    beta: Floats
    residuals: Floats
    bread: Floats
    parts: list[Floats]
    groups: list[NDArray[np.intp]]

    def contrast(self, weights: Floats, level: float = 0.95) -> Contrast:
        """The combination `weights @ beta`; `weights` is (k,)."""
        direction = self.bread @ weights
        adjusted = [part @ direction for part in self.parts]
        scores = np.array([u @ self.residuals[g] for u, g in zip(adjusted, self.groups, strict=True)])
        se = float(np.sqrt(np.sum(scores**2)))
        df = self._satterthwaite(adjusted)
        estimate = float(weights @ self.beta)
        reach = float(stats.t.ppf(0.5 + level / 2, df)) * se
        p = float(2 * stats.t.sf(abs(estimate) / se, df)) if se > 0 else float("nan")
        return Contrast(estimate, se, df, p, estimate - reach, estimate + reach)

    def _satterthwaite(self, adjusted: list[Floats]) -> float:
        """(sum of eigenvalues)^2 / sum of squared eigenvalues of the variance estimate as a quadratic form."""
        size = np.array([u @ u for u in adjusted])
        q = np.array([self.x[g].T @ u for u, g in zip(adjusted, self.groups, strict=True)])
        taken = np.einsum("ik,kl,il->i", q, self.bread, q)
        cross = self.bread @ (q.T @ q)
        trace = float(np.sum(size - taken))
        squares = float(np.sum(size**2) - 2 * np.sum(size * taken) + np.sum(cross * cross.T))
        return max(1.0, trace**2 / squares) if squares > 0 else 1.0


def fit_clustered(y: Floats, x: Floats, cluster: NDArray[np.intp]) -> ClusteredFit:
    """Fit by least squares.

    Parameters
    ----------
    y : (n,). x : (n, k) of full column rank. cluster : (n,) integer of each row's cluster.

    Raises
    ------
    ValueError : `x` has not full column rank.
    """
    if np.linalg.matrix_rank(x / np.maximum(np.sqrt((x**2).sum(0)), 1e-300)) < x.shape[1]:
        raise ValueError("columns are not independent")
    bread: Floats = np.asarray(np.linalg.inv(x.T @ x), dtype=np.float64)
    beta = bread @ (x.T @ y)
    order = np.argsort(cluster, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)
    parts = [_inverse_root(np.eye(g.size) - x[g] @ bread @ x[g].T) @ x[g] for g in groups]
    return ClusteredFit(x, beta, y - x @ beta, bread, parts, groups)


def _inverse_root(matrix: Floats) -> Floats:
    """Symmetric inverse square root; directions that the fit takes wholly are left out."""
    if matrix.shape == (1, 1):
        return matrix**-0.5 if matrix[0, 0] > 1e-10 else np.zeros((1, 1))
    values, vectors = np.linalg.eigh(matrix)
    root = np.where(values > 1e-10, np.maximum(values, 1e-10) ** -0.5, 0.0)
    return np.asarray((vectors * root) @ vectors.T)
