"""Survival by group of the score, as `cohort assays` computed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tilscore.cohort.page.style import DOWN, INK, MUTED, UP, in_rows, lowest, new_figure
from tilscore.inputs.words import several

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOOK = {"low": (DOWN, (0, (4, 2))), "middle": (INK, "dotted"), "high": (UP, "solid")}
"""Colour and line of each group of the score."""
N_IN_A_ROW = 3
_TEXT_PT = 7
_AT_RISK_PT = 34
"""How far under the axis the numbers at risk begin."""


def kaplan_meier_figure(curves: pd.DataFrame) -> Figure:
    """Kaplan-Meier curves with their 95 % intervals, one panel an outcome; a tick where patients are censored.

    Parameters
    ----------
    curves : `km.csv`: outcome, group, n, time, unit (months, ...), n_at_risk, survival, low, high.
    """
    outcomes = list(dict.fromkeys(curves["outcome"]))
    n_rows, n_columns = in_rows(len(outcomes), N_IN_A_ROW)
    figure = new_figure(max(4.5, 4.2 * n_columns), 4.2 * n_rows)
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
            ends = one[_n_censored(one) > 0]
            axes.plot(ends["time"], ends["survival"], "|", color=colour, markersize=_TEXT_PT)
            axes.fill_between(one["time"], one["low"], one["high"], step="post", color=colour, alpha=0.12, linewidth=0)
        unit = here["unit"].iloc[0] if "unit" in here else "time"
        axes.set(ylim=(0, 1.02), xlim=(0, None), xlabel=f"{unit} since baseline")
        axes.set_title(outcome)
        below_pt = _at_risk(axes, here)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=below_pt / _TEXT_PT, fontsize=_TEXT_PT)
        axes.grid(axis="y")
    for axes in grid[:, 0]:
        axes.set_ylabel("share without the event")
    return figure


def _n_censored(curve: pd.DataFrame) -> pd.Series[int]:
    """Patients who leave without the event at each time: those at risk who neither have it nor are at risk later."""
    later = curve["n_at_risk"].shift(-1, fill_value=0)
    return curve["n_at_risk"] - curve["n_events"] - later


def at_risk(curve: pd.DataFrame, times: Sequence[float]) -> list[int]:
    """Patients without the event and not yet censored just before each time.

    Parameters
    ----------
    curve : rows of one outcome and group; `n_at_risk` is that just before `time`.
    """
    one = curve.sort_values("time")
    first = np.searchsorted(one["time"].to_numpy(float), times, side="left")
    return [int(n) for n in np.append(one["n_at_risk"].to_numpy(float), 0)[first]]


def _at_risk(axes: Axes, curves: pd.DataFrame) -> float:
    """Write the numbers at risk of each group under the ticks; returns how far below the axis they end, in points."""
    low, high = axes.get_xlim()
    ticks = [t for t in axes.get_xticks() if low <= t <= high]
    y_pt = float(_AT_RISK_PT)
    where: dict[str, Any] = {
        "xycoords": axes.get_xaxis_transform(),
        "textcoords": "offset points",
        "fontsize": _TEXT_PT,
        "va": "top",
    }
    axes.annotate("at risk", (low, 0), (0, -y_pt), color=MUTED, ha="left", **where)
    for group, (colour, _) in _LOOK.items():
        one = curves[curves["group"] == group]
        if one.empty:
            continue
        y_pt += 1.4 * _TEXT_PT
        for tick, n in zip(ticks, at_risk(one, ticks), strict=True):
            axes.annotate(str(n), (tick, 0), (0, -y_pt), color=colour, ha="center", **where)
    return y_pt + 2 * _TEXT_PT
