"""Figures of the change: patients over time, each patient's change, and the sites apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.cohort.page.results import CohortResults
from tilscore.cohort.page.style import (
    DOWN,
    FLAT,
    INK,
    MANY,
    MUTED,
    SPECIMENS,
    UP,
    in_rows,
    log_axis,
    lowest,
    new_figure,
    span,
    specimen_key,
)
from tilscore.cohort.page.text import time_name
from tilscore.cohort.paired.pairs import Measure
from tilscore.errors import printable
from tilscore.inputs.words import order, several

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
FLOOR_PER_MM2 = 1.0
"""Densities below are drawn here: a logarithmic axis has no 0."""
N_MIN_MEDIAN = 3
"""Fewer values have no median worth a line."""
N_NAMED = 60
"""More patients in a row than this cannot be named under their bars."""
N_SITES = 8
N_IN_A_ROW = 4
N_LEVEL = 5
"""Time points under a panel whose names have room side by side; those of more stand upright."""
LONGEST = 24
"""Characters of a name in a figure."""


def spaghetti(found: CohortResults) -> Figure:
    """Density of the paired patients, one panel a later time point; first all time points where there are several."""
    later = [t for t in found.later if (found.pairs["timepoint"] == t).any()]
    parts = ([None] if len(later) > 1 else []) + later
    n_rows, n_columns = in_rows(len(parts), N_IN_A_ROW)
    figure = new_figure(max(4.5, 2.9 * n_columns), 3.5 * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    panels = grid.ravel()[: len(parts)]
    lowest(grid, len(parts))
    values = pd.concat([found.pairs["density_before"], found.pairs["density_after"]]).clip(lower=FLOOR_PER_MM2)
    for axes, timepoint in zip(panels, parts, strict=True):
        table = found.pairs if timepoint is None else found.pairs[found.pairs["timepoint"] == timepoint]
        _series(axes, table, later) if timepoint is None else _paired(axes, table, timepoint)
        axes.grid(axis="y")
    log_axis(panels[0].yaxis, *span(values))
    for axes in grid[:, 0]:
        axes.set_ylabel("TILs per mm² of stroma")
    return figure


def _lines(axes: Axes, lines: list[Any], colour: str, dashed: bool, label: str) -> None:
    from matplotlib.collections import LineCollection

    if lines:
        style = (0, (4, 2)) if dashed else "solid"
        drawn = LineCollection(lines, colors=colour, linewidths=0.7, alpha=0.65, linestyles=[style], label=label)
        drawn.set_rasterized(len(lines) > MANY)
        axes.add_collection(drawn, autolim=True)


def _paired(axes: Axes, table: pd.DataFrame, timepoint: str) -> None:
    """One line a pair; pairs of one specimen type apart from those that changed it."""
    sides = table[["density_before", "density_after"]].astype(float).clip(lower=FLOOR_PER_MM2).to_numpy()
    same = table["same_specimen"].to_numpy(bool)
    for chosen, colour, dashed, label in (
        (same, MUTED, False, "same specimen type"),
        (~same, DOWN, True, "specimen type changed or unknown"),
    ):
        _lines(axes, [[(0, a), (1, b)] for a, b in sides[chosen]], colour, dashed, f"{label} ({chosen.sum()})")
    if len(sides) >= N_MIN_MEDIAN:
        axes.plot([0, 1], np.median(sides, axis=0), color=INK, linewidth=2.4, marker="o", label="median of the pairs")
    axes.set_xticks([0, 1], ["baseline", time_name(timepoint)])
    axes.set_xlim(-0.15, 1.15)
    axes.set_title(f"baseline and {time_name(timepoint)}: {several(len(sides), 'pair')}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12))


def _series(axes: Axes, table: pd.DataFrame, later: list[str]) -> None:
    """Each patient's line over all time points; no medians, as the patients of two time points differ."""
    times = ["baseline", *later]
    first = table.drop_duplicates("patient_id").assign(timepoint="baseline")
    both = pd.concat(
        [first.assign(value=first["density_before"]), table.assign(value=table["density_after"])], ignore_index=True
    )
    wide = both.pivot(index="patient_id", columns="timepoint", values="value").reindex(columns=times).astype(float)
    wide = wide.clip(lower=FLOOR_PER_MM2)
    lines = [[(i, v) for i, v in enumerate(row) if np.isfinite(v)] for row in wide.to_numpy(float)]
    _lines(axes, lines, MUTED, False, several(len(lines), "patient"))
    axes.set_xlim(-0.3, len(times) - 0.7)
    if len(times) > N_LEVEL:
        axes.set_xticks(range(len(times)), [f"{time_name(t)}, n = {wide[t].count()}" for t in times], rotation=90)
        axes.set_title(f"{several(len(lines), 'patient')} with a pair")
        return
    axes.set_xticks(range(len(times)), [f"{time_name(t)}\nn = {wide[t].count()}" for t in times])
    axes.set_title("all patients with a pair")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))


def waterfall(found: CohortResults, measure: Measure) -> Figure:
    """Each patient's adjusted change with the interval of its measurement, sorted; reliable changes in colour.

    Patients whose change cannot be adjusted stand last, without a bar.
    """
    known = found.pairs[found.pairs[measure.delta].notna()]
    later = [t for t in found.later if (known["timepoint"] == t).any()]
    figure = new_figure(11.0, 2.9 * len(later))
    panels = figure.subplots(len(later), 1, squeeze=False)[:, 0]
    for axes, timepoint in zip(panels, later, strict=True):
        _bars(axes, known[known["timepoint"] == timepoint], measure, timepoint)
    return figure


def _bars(axes: Axes, table: pd.DataFrame, measure: Measure, timepoint: str) -> None:
    log = measure.scale == "log"
    table = table.sort_values(f"{measure.name}_adjusted", kind="stable")
    plain, change = (table[c].to_numpy(float) for c in (measure.delta, f"{measure.name}_adjusted"))
    moved = np.nan_to_num(change - plain)
    limits = [table[f"{measure.delta}_{end}"].to_numpy(float) + moved for end in ("low", "high")]
    if log:
        plain, change, limits = np.exp(plain), np.exp(change), [np.exp(v) for v in limits]
    at, zero = np.arange(len(table)), 1.0 if log else 0.0
    words = table[f"{measure.name}_reliable"].to_numpy(object)
    colours = [UP if w == "increase" else DOWN if w == "decrease" else FLAT for w in words]
    axes.bar(at, change - zero, 0.78, bottom=zero, color=colours, linewidth=0)
    axes.vlines(at, *limits, color=INK, linewidth=0.8)
    axes.plot(at, plain, "o", markersize=3, markerfacecolor="white", markeredgecolor=INK, markeredgewidth=0.6)
    axes.axhline(zero, color=INK, linewidth=0.8)
    named = len(table) <= N_NAMED
    names = [printable(patient, LONGEST) for patient in table["patient_id"]] if named else []
    axes.set_xticks(at if named else [], names, rotation=90, fontsize=7)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.8, len(table) - 0.2)
    _reach(axes, np.concatenate([plain, change[np.isfinite(change)]]), limits, log)
    for word, sign, side in (("increase", "^", 1), ("decrease", "v", 0)):
        here = words == word
        if here.any():
            tip = np.clip(limits[side][here], *axes.get_ylim())
            axes.plot(at[here], tip, sign, color=UP if side else DOWN, markersize=6, clip_on=False)
    axes.grid(axis="y")
    n_up, n_down = (int((words == w).sum()) for w in ("increase", "decrease"))
    judged = f"beyond measurement error {n_up} up, {n_down} down" if pd.notna(words).any() else "none is judged"
    title = f"{time_name(timepoint)}: {several(len(table), 'patient')}; {judged}"
    axes.set_title(title)


def _reach(axes: Axes, bars: Floats, limits: list[Floats], log: bool) -> None:
    """Limits of the axis: all bars, and the intervals as far as they leave the bars readable."""
    ends = np.concatenate([v[np.isfinite(v)] for v in limits])
    if log:
        low, high = span([*bars, *np.clip(ends, bars.min() / 5, bars.max() * 5)])
        log_axis(axes.yaxis, min(low, 0.8), max(high, 1.25))
        axes.set_ylabel("after / before")
        return
    room = max(float(np.ptp([*bars, 0.0])), 1.0)
    ends = np.clip([*bars, *ends, 0.0], min(bars.min(), 0) - room, max(bars.max(), 0) + room)
    axes.set_ylim(ends.min() - 0.04 * room, ends.max() + 0.04 * room)
    axes.set_ylabel("change, points")


def sites(found: CohortResults) -> Figure:
    """Density at each time point, one panel a site, the specimens apart."""
    known = found.biopsies[found.biopsies["til_density_per_mm2"].notna()]
    most = list(known["site"].replace("", "unknown").value_counts().index[:N_SITES])
    times = sorted(set(known["timepoint"]), key=order)
    n_columns = 3 if len(most) in (5, 6) else min(4, len(most))
    n_rows = -(-len(most) // n_columns)
    figure = new_figure(max(4.5, 2.9 * n_columns), 2.8 * n_rows + 0.3)
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    rng = np.random.default_rng(0)
    for axes, site in zip(panels, most, strict=False):
        _site(axes, known[known["site"].replace("", "unknown") == site], times, rng)
        axes.set_title(printable(site, LONGEST).replace("_", " "))
        axes.grid(axis="y")
    for axes in panels[len(most) :]:
        axes.set_axis_off()
    low, high = span(known["til_density_per_mm2"].clip(lower=FLOOR_PER_MM2))
    log_axis(panels[0].yaxis, low / 1.6, high)
    figure.supylabel("TILs per mm² of stroma", fontsize=9)
    used = {specimen_key(s) for s in known["specimen"]}
    signs = [axes_sign(name, *SPECIMENS[name]) for name in SPECIMENS if name in used]
    figure.legend(handles=signs, loc="outside lower center", ncols=len(signs))
    return figure


def axes_sign(name: str, marker: str, colour: str) -> Any:
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", marker=marker, color=colour, markersize=5, label=name.replace("_", " "))


def _site(axes: Axes, table: pd.DataFrame, times: list[str], rng: np.random.Generator) -> None:
    turned = 90 if len(times) > N_LEVEL else 0
    for i, timepoint in enumerate(times):
        here = table[table["timepoint"] == timepoint]
        values = here["til_density_per_mm2"].clip(lower=FLOOR_PER_MM2)
        for name, (marker, colour) in SPECIMENS.items():
            chosen = values[here["specimen"].map(specimen_key) == name]
            x = i + rng.uniform(-0.22, 0.22, len(chosen))
            axes.plot(
                x,
                chosen,
                marker,
                color=colour,
                markersize=3.5,
                alpha=0.7,
                markeredgewidth=0,
                rasterized=len(chosen) > MANY,
            )
        if len(values) >= N_MIN_MEDIAN:
            axes.hlines(values.median(), i - 0.32, i + 0.32, color=INK, linewidth=2)
        where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom"}
        axes.annotate(f"n = {len(here)}", (i, 0.005), color=MUTED, fontsize=7, rotation=turned, **where)
    axes.set_xticks(range(len(times)), [time_name(t) for t in times], rotation=turned)
    axes.set_xlim(-0.5, len(times) - 0.5)
