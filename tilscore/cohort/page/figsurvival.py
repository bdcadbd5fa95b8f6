"""Survival by group of the score, as `cohort assays` computed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from tilscore.cohort.page.inksvg import DOWN, INK, UP, in_rows, lowest, new_figure
from tilscore.cohort.page.told import several

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOOK = {"low": (DOWN, (0, (4, 2))), "middle": (INK, "dotted"), "high": (UP, "solid")}
"""Colour and line of each group of the score."""
N_IN_A_ROW = 3


def kaplan_meier_figure(curves: pd.DataFrame) -> Figure:
    """Kaplan-Meier curves with their 95 % intervals, one panel an outcome.

    Parameters
    ----------
    curves : `km.csv`: outcome, group, n, time, unit (months, ...), n_at_risk, survival, low, high.
    """
    outcomes = list(dict.fromkeys(curves["outcome"]))
    n_rows, n_columns = in_rows(len(outcomes), N_IN_A_ROW)
    figure = new_figure(max(4.5, 4.2 * n_columns), 3.7 * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    lowest(grid, len(outcomes))
    for axes, outcome in zip(grid.ravel(), outcomes, strict=False):
        here = curves[curves["outcome"] == outcome]
        for group, (colour, line) in _LOOK.items():
            one = here[here["group"] == group].sort_values("time")
            if one.empty:
                continue
            n, n_events = int(one["n"].iloc[0]), int(one["n_events"].sum())
            label = f"{group} ({several(n, 'patient')}, {several(n_events, 'event')})"
            axes.step(one["time"], one["survival"], where="post", color=colour, linestyle=line, label=label)
            axes.fill_between(one["time"], one["low"], one["high"], step="post", color=colour, alpha=0.12, linewidth=0)
        unit = here["unit"].iloc[0] if "unit" in here else "time"
        axes.set(ylim=(0, 1.02), xlim=(0, None), xlabel=f"{unit} since baseline")
        axes.set_title(outcome)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))
        axes.grid(axis="y")
    for axes in grid[:, 0]:
        axes.set_ylabel("share without the event")
    return figure
