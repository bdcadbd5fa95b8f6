"""Leave-one-out effects: what covariates do to each row, estimated from the other rows alone.

A least-squares effect takes part of the row's own error with it, all of it where no other row has that level. Here the
row is left out of the fit: with leverage h, residual e and b the coefficients of all rows, those without row i are
b - (X'X)^-1 x_i e_i / (1 - h_i) (Cook & Weisberg, Residuals and Influence in Regression, 1982). Their covariance is
HC2 of the other rows (MacKinnon & White, J Econometrics 1985).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tilscore.stats.aligned import column_basis

Floats = NDArray[np.float64]
_WHOLE = 1 - 1e-9
"""Leverage from which a row decides a coefficient by itself."""


@dataclass(frozen=True)
class LeaveOneOut:
    """Effects of the covariates on each row, estimated without it.

    Attributes
    ----------
    effect, se : (n,) in the unit of the changes, NaN where the other rows cannot tell. leverage : (n,) of all rows, of
    intercept and covariates.
    """

    effect: Floats
    se: Floats
    leverage: Floats


def leave_one_out(changes: Floats, covariates: Floats) -> LeaveOneOut:
    """Least squares of the changes on an intercept and the covariates; each row's covariate part, without the row.

    Parameters
    ----------
    changes : (n,) after minus before. covariates : (n, k) differences of covariates, 0 where nothing differs.
    """
    d = np.asarray(changes, dtype=float)
    basis = column_basis(np.asarray(covariates, dtype=float).reshape(d.size, -1))
    x = np.column_stack([np.ones(d.size), basis])
    bread = np.linalg.pinv(x.T @ x)
    rest = d - x @ (bread @ (x.T @ d))
    leverage = ((x @ bread) * x).sum(axis=1)
    effect, se = np.zeros(d.size), np.zeros(d.size)
    part = x * np.r_[0.0, np.ones(basis.shape[1])]
    for i in np.flatnonzero((np.abs(basis) > 1e-12).any(axis=1)):
        if leverage[i] > _WHOLE:
            effect[i] = se[i] = np.nan
            continue
        taken = bread @ x[i] / (1 - leverage[i])
        others = bread + np.outer(taken, bread @ x[i])
        beta = bread @ (x.T @ d) - taken * rest[i]
        free = 1 - ((x @ others) * x).sum(axis=1)
        free[i] = 0.0
        counts = free > 1 - _WHOLE
        weights = (x @ (others @ part[i]))[counts]
        effect[i] = part[i] @ beta
        se[i] = np.sqrt(np.sum((weights * (d - x @ beta)[counts]) ** 2 / free[counts]))
    return LeaveOneOut(effect, se, leverage)
