"""A Monte-Carlo test of a whole curve at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Envelope:
    """Outcome of a global envelope test.

    Parameters
    ----------
    low, high : [k] the envelope: a curve of the null model leaves it anywhere with chance `level`.
    p : Monte-Carlo p value. outside : whether the observed curve leaves the envelope, which is p <= level.
    """

    low: Values
    high: Values
    p: float
    outside: bool


def global_envelope(observed: Values, simulated: Values, level: float = 0.05) -> Envelope:
    """Global envelope test by extreme rank length (Myllymaki et al. 2017; Narisetty and Nair 2016).

    Parameters
    ----------
    observed : [k] the curve, e.g. L(r) - r. simulated : [m k] curves of the null model, at least 1 / level - 1 of them.

    Raises
    ------
    ValueError : too few simulated curves for the level, or curves of different length.

    Notes
    -----
    At each distance the curves are ranked from below and from above, ties by their mean rank; a curve is described by
    its pointwise ranks in ascending order, and curves are compared by these words: the smaller, the more extreme. p is
    the share of curves at least as extreme as the observed one, so the test has size `level` whatever the curve.
    """
    m = len(simulated) + 1
    if simulated.ndim != 2 or observed.shape != simulated.shape[1:]:
        raise ValueError(f"curves of unequal length: {observed.shape} and {simulated.shape}")
    if m * level < 1:
        raise ValueError(f"{m - 1} simulated curves are too few for a level of {level}")
    curves = np.concatenate([observed[None], simulated])
    depth = extreme_rank_length(curves)
    p = float((depth <= depth[0]).mean())
    # The depth of a curve is its p value: those stay that would not be rejected, so that ties leave or stay together.
    stay = curves[depth > level]
    return Envelope(stay.min(0), stay.max(0), p, bool(p <= level))


def extreme_rank_length(curves: Values) -> Values:
    """[m] depth of each of [m k] curves in (0, 1]: the share of curves that are at least as extreme."""
    from scipy.stats import rankdata

    ranks = np.minimum(rankdata(curves, axis=0), rankdata(-curves, axis=0))
    ranks.sort(axis=1)
    order = np.lexsort(ranks.T[::-1])
    new = np.concatenate([[True], (np.diff(ranks[order], axis=0) != 0).any(1)])
    group = np.cumsum(new) - 1
    upto = np.cumsum(np.bincount(group))
    depth = np.empty(len(curves))
    depth[order] = upto[group] / len(curves)
    return depth
