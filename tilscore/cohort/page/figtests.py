"""Figures of results: forests of estimates, shifts of category, and the flow from slides to pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tilscore.cohort.page.results import CohortResults, rows
from tilscore.cohort.page.style import (
    DOWN,
    FLAT,
    INK,
    MUTED,
    UP,
    in_rows,
    log_axis,
    lowest,
    new_figure,
    span,
)
from tilscore.cohort.page.text import estimate_text, ratio_text, time_name
from tilscore.errors import printable
from tilscore.inputs.words import several

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

TESTS = {
    "wilcoxon_adjusted": "Adjusted ranks (primary)",
    "mean_adjusted": "Adjusted mean",
    "mixed_model": "Mixed model",
    "fixed_effects_model": "Fixed effects (fallback)",
    "wilcoxon_same_specimen": "Same specimen type only",
    "wilcoxon_naive": "Not adjusted",
}
"""Tests of change by name, in the order shown."""
RATIO_REACH = 20.0
"""A forest's axis ends at this ratio and its inverse; longer intervals are cut there."""

LONGEST_REASON = 32
"""Characters of a reason beside a forest; longer ones would leave its axes no room, and stand in the tables."""

N_IN_A_ROW = 3
"""Time points of a forest side by side."""
N_TABLES_IN_A_ROW = 4

BEYOND = 1e9
"""Where the line of an interval without a limit ends: outside every axis."""


@dataclass(frozen=True)
class Mark:
    """One estimate of a forest: value, limits (infinite where there are none), and how it is drawn.

    Attributes
    ----------
    style : `lead`, `plain` or `naive`.
    """

    value: float
    low: float
    high: float
    style: str = "plain"


@dataclass(frozen=True)
class Forest:
    """Rows (a title, and whether it is a heading), columns, and the mark or the reason in each cell."""

    lines: Sequence[tuple[str, bool]]
    columns: Sequence[str]
    cells: Mapping[tuple[int, int], Mark | str]
    log: bool


def tests_forest(found: CohortResults, measure: str) -> Forest:
    """Every test of the change of one measure, a column a time point."""
    log = measure == "density"
    names = [t for t in TESTS if rows(found, "tests", measure=measure, test=t)]
    cells: dict[tuple[int, int], Mark | str] = {}
    for i, test in enumerate(names):
        style = {"wilcoxon_adjusted": "lead", "wilcoxon_naive": "naive"}.get(test, "plain")
        for j, timepoint in enumerate(found.later):
            for row in rows(found, "tests", measure=measure, test=test, timepoint=timepoint):
                cells[i, j] = mark(row, log, style)
    return Forest([(TESTS[t], False) for t in names], found.later, cells, log)


def sensitivity_forest(found: CohortResults, unit: str) -> Forest:
    """The adjusted change under each definition in this unit and each choice of pairs, a column a time point."""
    log = unit == "log ratio"
    lines: list[tuple[str, bool]] = []
    cells: dict[tuple[int, int], Mark | str] = {}
    table = rows(found, "sensitivity", unit=unit)
    for definition in dict.fromkeys(row["definition"] for row in table):
        lines.append((definition_name(definition), True))
        for pairs in dict.fromkeys(row["pairs"] for row in table):
            lines.append((pairs, False))
            for row in table:
                if row["definition"] == definition and row["pairs"] == pairs:
                    style = "lead" if pairs == "all" else "plain"
                    cells[len(lines) - 1, found.later.index(row["timepoint"])] = mark(row, log, style)
    return Forest(lines, found.later, cells, log)


def definition_name(column: str) -> str:
    """A column of scores in words."""
    names = {
        "til_density_per_mm2": "TIL density",
        "itil_density_per_mm2": "iTIL density",
        "contact_itil_density_per_mm2": "iTIL density with contact",
        "stil_area_pct": "sTIL area",
        "infiltrated_area_pct": "Infiltrated area",
        "calibrated_stil_pct": "Calibrated sTIL",
    }
    return names.get(column, printable(column, 40))


def mark(row: Mapping[str, Any], log: bool, style: str) -> Mark | str:
    """The mark of a row, or why it has none."""
    keys = ("ratio", "ratio_low", "ratio_high") if log else ("estimate", "low", "high")
    values = [row.get(k) for k in keys]
    if row["status"] != "ok" or values[0] is None:
        words = str(row.get("reason") or row["status"]).split(":")[0].replace("_", " ")
        return words if len(words) <= LONGEST_REASON else "not evaluable"
    value, low, high = (float(end if v is None else v) for v, end in zip(values, (0, -np.inf, np.inf), strict=True))
    return Mark(value, low, high, style)


def draw_forest(forest: Forest) -> Figure:
    """Estimates with intervals, numbers beside them; what could not be computed says why."""
    n, k = len(forest.lines), len(forest.columns)
    n_rows, n_columns = in_rows(k, N_IN_A_ROW)
    figure = new_figure(3.0 + 2.9 * n_columns, 0.4 + n_rows * (0.45 + 0.235 * n))
    grid = figure.subplots(n_rows, n_columns, sharey=True, sharex=True, squeeze=False)
    panels = grid.ravel()[:k]
    for axes in lowest(grid, k):
        axes.tick_params(labelbottom=True)
    marks = [m for m in forest.cells.values() if isinstance(m, Mark)]
    limits = [v for m in marks for v in (m.value, m.low, m.high) if np.isfinite(v)]
    for j, axes in enumerate(panels):
        axes.axvline(1 if forest.log else 0, color=INK, linewidth=0.8)
        for i, (_, heading) in enumerate(forest.lines):
            if not heading and (i, j) in forest.cells:
                _cell(axes, i, forest.cells[i, j], forest.log)
        axes.set_title(time_name(forest.columns[j]))
        axes.set_ylim(n - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
    if forest.log:
        ends = [float(np.clip(v, 1 / RATIO_REACH, RATIO_REACH)) for v in limits]
        log_axis(panels[0].xaxis, *span([*ends, 1.0], least=4), "{:g}".format)
    elif limits:
        low, high = min(0.0, *limits), max(0.0, *limits)
        panels[0].set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    panels[0].set_yticks(range(n), [title if head else f"  {title}" for title, head in forest.lines])
    for axes in grid[:, 0]:
        for label, (_, head) in zip(axes.get_yticklabels(), forest.lines, strict=True):
            label.set_fontweight("bold" if head else "normal")
            label.set_horizontalalignment("right")
    figure.supxlabel("after / before (1: no change)" if forest.log else "change, points (0: no change)", fontsize=9)
    return figure


def _cell(axes: Axes, at: int, mark: Mark | str, log: bool) -> None:
    beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 7.5}
    if isinstance(mark, str):
        axes.annotate(mark, (1.02, at), color=MUTED, ha="left", annotation_clip=False, **beside)
        return
    colour = {"lead": UP, "naive": DOWN}.get(mark.style, INK)
    solid = "white" if mark.style == "naive" else colour
    reach = [1 / BEYOND if log and mark.low == -np.inf else max(mark.low, -BEYOND), min(mark.high, BEYOND)]
    axes.plot(reach, [at, at], color=colour, linewidth=1.8 if mark.style == "lead" else 1.1)
    sign = "D" if mark.style == "lead" else "o"
    axes.plot([mark.value], [at], sign, color=colour, markerfacecolor=solid, markersize=5.5 if sign == "D" else 4.5)
    keys = ("ratio", "ratio_low", "ratio_high") if log else ("estimate", "low", "high")
    ends = [v if np.isfinite(v) else None for v in (mark.value, mark.low, mark.high)]
    text = (ratio_text if log else estimate_text)(dict(zip(keys, ends, strict=True)))
    axes.annotate(text, (1.02, at), color=colour, ha="left", annotation_clip=False, **beside)


def draw_shifts(found: CohortResults) -> Figure:
    """Patients by category before and after: a table for each measure and time point, shaded by count."""
    table = found.analysis["shifts"]
    measures = sorted({row["measure"] for row in table})
    times = [t for t in found.later if any(row["timepoint"] == t for row in table)]
    n_rows, n_columns = in_rows(len(times), N_TABLES_IN_A_ROW)
    figure = new_figure(max(4.0, 2.7 * n_columns), 2.1 * n_rows * len(measures))
    panels = figure.subplots(n_rows * len(measures), n_columns, squeeze=False)
    names = {"stil": "sTIL area", "calibrated": "calibrated sTIL"}
    for i, measure in enumerate(measures):
        grid = panels[i * n_rows : (i + 1) * n_rows]
        bottom = lowest(grid, len(times))
        for axes, timepoint in zip(grid.ravel(), times, strict=False):
            _heat(axes, [r for r in table if r["measure"] == measure and r["timepoint"] == timepoint])
            axes.set_title(f"{names.get(measure, measure)}, {time_name(timepoint)}")
        for axes in grid[:, 0]:
            axes.set_ylabel("baseline, %")
        for axes in bottom if i == len(measures) - 1 else []:
            axes.set_xlabel("after, %")
    return figure


def _heat(axes: Axes, table: list[dict[str, Any]]) -> None:
    from matplotlib.patches import Rectangle

    names = list(dict.fromkeys(row["before"] for row in table))
    counts = np.zeros((len(names), len(names)))
    for row in table:
        i, j = names.index(row["before"]), names.index(row["after"])
        counts[i, j] = row["n_pairs"]
        axes.text(
            j, i, f"{row['n_pairs']} ({row['n_same_specimen']})" if row["n_pairs"] else "0", ha="center", va="center"
        )
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=2 * max(counts.max(), 1), aspect="auto")
    for i in range(len(names)):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.2))
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_flow(found: CohortResults) -> Figure:
    """From the slides that are listed to the pairs, and what was left out at each step."""
    flow = found.analysis["flow"]
    states: dict[str, int] = flow["n_slides_by_status"]
    lost = [f"{n} {state.replace('_', ' ')}" for state, n in states.items() if state != "ok"]
    n_scored, n_base, n_pairs = flow["n_biopsies_scored"], flow["n_baselines_scored"], flow["n_pairs"]
    times = f": {several(n_base, 'baseline')}, {n_scored - n_base} later" if found.later else ""
    steps = [
        (f"{several(flow['n_slides'], 'slide')} of {several(flow['n_patients'], 'patient')} listed", lost),
        (f"{several(states.get('ok', 0), 'slide')} with a score", []),
        (f"{several(n_scored, 'biopsy')} with a score{times}", _lost_biopsies(found)),
    ]
    width = max(9.0, 1.4 * len(n_pairs))
    low, high = -0.1 if found.later else 1.3, 4.3
    figure = new_figure(width, high - max(low, 0))
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(low, high))
    boxes = [_box(axes, 3.0, 3.9 - 1.1 * i, text) for i, (text, _) in enumerate(steps)]
    for upper, lower in pairwise(boxes):
        _arrow(axes, upper, lower)
    for i, (_, left_out) in enumerate(steps):
        if left_out:
            level = 3.9 - 1.1 * i - (0.55 if i == 0 else 0)
            side = _box(axes, 6.25, level, "left out: " + _in_twos(left_out), side=True)
            _arrow(axes, (3.0, level) if i == 0 else boxes[i], side)
    for i, timepoint in enumerate(found.later):
        x, planned = (i + 0.5) * width / len(n_pairs), flow["n_pairs_planned"].get(timepoint, 0)
        text = f"{time_name(timepoint)}\n{several(n_pairs[timepoint], 'pair')}\nof {planned} sampled"
        _arrow(axes, boxes[-1], _box(axes, x, 0.42, text))
    return figure


def _in_twos(texts: list[str]) -> str:
    """Two to a line, so that the box stays narrow."""
    return ",\n".join(", ".join(texts[i : i + 2]) for i in range(0, len(texts), 2))


def _lost_biopsies(found: CohortResults) -> list[str]:
    states = found.biopsies.loc[found.biopsies["status"] != "ok", "status"].value_counts()
    return [f"{n} {state.replace('_', ' ')}" for state, n in states.items()]


def _box(axes: Axes, x: float, y: float, text: str, *, side: bool = False) -> Text:
    look = {
        "boxstyle": "round,pad=0.55",
        "facecolor": "white" if side else "#f2f6fa",
        "edgecolor": FLAT if side else UP,
    }
    return axes.text(
        x,
        y,
        text,
        ha="left" if side else "center",
        va="center",
        bbox=look,
        color=MUTED if side else INK,
        linespacing=1.4,
    )


def _arrow(axes: Axes, start: Text | tuple[float, float], end: Text) -> None:
    """An arrow from the edge of a box, or from a point, to the edge of a box; both are there already."""
    look: dict[str, Any] = {"arrowstyle": "-|>", "color": MUTED, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
    first = start if isinstance(start, tuple) else start.get_position()
    look |= {"patchA": None if isinstance(start, tuple) else start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
    axes.annotate("", end.get_position(), first, arrowprops=look)
