"""The change of each patient's score against other assays, as `cohort assays --change` joined them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.cohort.page.changewords import Words, words_of
from tilscore.cohort.page.results import CohortResults
from tilscore.cohort.page.style import INK, MANY, MUTED, UP, in_rows, log_axis, lowest, new_figure, span
from tilscore.cohort.page.text import MEASURES
from tilscore.errors import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_PANELS = 8
"""Assays that are shown; of more, those of the smallest p."""
N_IN_A_ROW = 4
_LONGEST = 28
"""Characters of a name above a panel."""
_ROOM_PT = 12
"""For what is said above a panel."""


@dataclass(frozen=True)
class Panel:
    """An assay of a figure.

    Attributes
    ----------
    name, taken : the assay, and how it is taken in words. x : (n,) its values or changes, NaN where there is none.
    is_ratio : x is a ratio. is_change : x is a change. said : its correlations in words.
    """

    name: str
    taken: str
    x: NDArray[np.float64]
    is_ratio: bool
    is_change: bool
    said: str


def change_panels(found: CohortResults) -> list[Panel]:
    """The assays that have a correlation with the change; none where the assays are not of changes."""
    if found.assays is None or found.joined is None or not (words := words_of(found.assays)).time:
        return []
    of: dict[str, dict[str, Mapping[str, Any]]] = {"spearman": {}, "spearman_partial": {}}
    for row in found.assays.get("tests") or []:
        if row.get("family") in of and row.get("status") == "ok":
            of[row["family"]][row["assay"]] = row
    plain, partial = of["spearman"], of["spearman_partial"]
    names = list(plain)
    if len(names) > N_PANELS:
        least = sorted(names, key=lambda n: partial.get(n, plain[n])["p"])[:N_PANELS]
        names = [n for n in names if n in least]
    made = [_panel(plain[n], partial.get(n), found.joined, words) for n in names]
    return [panel for panel in made if panel is not None]


def _panel(row: Mapping[str, Any], given: Mapping[str, Any] | None, joined: pd.DataFrame, words: Words) -> Panel | None:
    how = row.get("taken_as")
    column = row["assay"] if how == "value" else f"{row['assay']}_{how}"
    if column not in joined:
        return None
    x = pd.to_numeric(joined[column], errors="coerce").to_numpy(float)
    said = f"{row['estimate']:.2f} alone" + (f", {given['estimate']:.2f} given the sampling" if given else "")
    is_ratio = how == "log_ratio"
    return Panel(row["assay"], words.taken(row), np.exp(x) if is_ratio else x, is_ratio, how != "value", said)


def draw_changes(found: CohortResults) -> Figure:
    """A panel an assay, a mark a patient; filled where both biopsies are of one specimen type."""
    from matplotlib.lines import Line2D

    panels = change_panels(found)
    assert found.assays is not None
    assert found.joined is not None
    words, measure = words_of(found.assays), found.assays["settings"]["measure"]
    column = "density_ratio" if words.is_ratio else f"{measure}_delta"
    y = pd.to_numeric(found.joined[column], errors="coerce").to_numpy(float)
    same = (found.joined["same_specimen"].astype(str) == "True").to_numpy()
    n_rows, n_columns = in_rows(len(panels), N_IN_A_ROW)
    figure = new_figure(max(4.5, 3.0 * n_columns), 3.2 * n_rows + 0.3)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    lowest(grid, len(panels))
    for axes, panel in zip(grid.ravel(), panels, strict=False):
        _marks(axes, panel, y, same, words.is_ratio)
    if words.is_ratio:
        log_axis(grid[0, 0].yaxis, *span([*y, 1.0]))
    label = words.ratio if words.is_ratio else f"{words.less}, points"
    for axes in grid[:, 0]:
        axes.set_ylabel(f"{MEASURES[measure]}, {label}")
    signs = [
        Line2D([], [], linestyle="", marker="o", color=UP, markerfacecolor=face, markersize=4.5, label=text)
        for face, text in ((UP, "one specimen type"), ("white", "the type differs, or is not known"))
    ]
    figure.legend(handles=signs, loc="outside lower center", ncols=len(signs))
    return figure


def _marks(axes: Axes, panel: Panel, y: NDArray[np.float64], same: NDArray[np.bool_], is_ratio: bool) -> None:
    known = np.isfinite(panel.x) & np.isfinite(y)
    for chosen, face in ((known & same, UP), (known & ~same, "white")):
        look: dict[str, Any] = {"color": UP, "markerfacecolor": face, "markersize": 4, "markeredgewidth": 0.8}
        axes.plot(panel.x[chosen], y[chosen], "o", rasterized=int(known.sum()) > MANY, **look)
    axes.axhline(1 if is_ratio else 0, color=INK, linewidth=0.8)
    if panel.is_change:
        axes.axvline(1 if panel.is_ratio else 0, color=INK, linewidth=0.8)
    if panel.is_ratio:
        log_axis(axes.xaxis, *span([*panel.x[known], 1.0]))
    axes.set_title(printable(panel.name, _LONGEST), pad=_ROOM_PT + 4)
    above: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "fontsize": 7.5, "color": MUTED}
    axes.annotate(panel.said, (0, 1), xycoords="axes fraction", ha="left", va="bottom", **above)
    axes.set_xlabel(panel.taken)
    axes.grid()
