"""Intervals: the figures of groups drawn again with replacement."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from tilscore.evaluate.figures import Pool, figures, untold

LEVEL = 0.95
UNTOLD = "not every nucleus is marked: false detections are not known"


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval; None with the reason where there is none."""

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


def figures_with_intervals(pool: Pool, n_bootstrap: int, seed: int) -> dict[str, Figure]:
    """All figures of a pool with percentile intervals over `n_bootstrap` draws of its groups (Efron 1979).

    No interval where there are fewer than two groups, or where more than one draw in twenty has no such figure.
    """
    values = figures(pool)
    draws: dict[str, list[float]] = {name: [] for name in values}
    n = len(pool.groups)
    if n >= 2:
        rng = np.random.default_rng(seed)
        for weight in rng.multinomial(n, np.full(n, 1 / n), size=n_bootstrap):
            for name, value in figures(pool, weight.astype(float)).items():
                if isfinite(value):
                    draws[name].append(value)
    return {
        name: Figure(None, None, None, UNTOLD)
        if not isfinite(value) and untold(pool, name)
        else _figure(value, draws[name], n, n_bootstrap)
        for name, value in values.items()
    }


def _figure(value: float, drawn: list[float], n_groups: int, n_bootstrap: int) -> Figure:
    if not isfinite(value):
        return Figure(None, None, None, "nothing of this is annotated or found here")
    if n_groups < 2:
        return Figure(value, None, None, "one image or patient alone: no interval")
    if len(drawn) < max(0.95 * n_bootstrap, 20):
        reason = "no draws were asked for" if n_bootstrap < 20 else "in too few images for an interval"
        return Figure(value, None, None, reason)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, float(low), float(high))
